import SpoolFormat
import SpoolIO

/// A place in a table's segments: where the next chunk begins, and the sequence of its first row.
struct TailPosition: Equatable {
    /// 0 before the first segment was chosen.
    var segmentNumber: UInt64
    var offset: UInt64
    var next: UInt64
}

/// What stands at a position of a table.
enum TailItem {
    case chunk(LocatedChunk, in: OpenSegment)
    /// Nothing more is durable.
    case end
    /// More is durable than has arrived here: a copy in progress, most likely.
    case notHereYet(String)
    /// Go on there: the segment is over.
    case move(to: TailPosition)
    /// Rows that the writer's recovery declared lost; go on behind them.
    case lost(Range<UInt64>, then: TailPosition)
    /// Rows that cannot be read; go on behind them once they are quarantined.
    case damaged(Damage)
    /// Going on could load wrong rows.
    case stop(String)

    struct Damage {
        let rows: Range<UInt64>
        let segment: SegmentName
        let offset: UInt64
        let bytes: UInt64
        let reason: String
        let then: TailPosition
    }
}

/// An open segment with the limit up to which it may be read.
final class OpenSegment {
    let name: SegmentName
    let reader: SegmentReader

    init(name: SegmentName, reader: SegmentReader) {
        self.name = name
        self.reader = reader
    }
}

/// Follows a table's segments up to the durable mark, never past it.
///
/// The decisions are those of the damage table, `docs/spool-format.md` §10, column "loader".
final class SpoolTail {
    /// How long a segment without an index, with later ones behind it, may be a copy in progress. Nanoseconds.
    static let settleTime: Int64 = 60_000_000_000

    let spool: SpoolDirectory
    let table: String
    private let mayQuarantineShort: Bool
    private(set) var mark: DurableMark?
    private var segments: [SegmentName] = []
    private var open: OpenSegment?
    private var short: (name: SegmentName, size: UInt64, since: Int64)?

    /// - Parameter mayQuarantineShort: whether a segment that stays too short may be passed over in the end.
    init(spool: SpoolDirectory, table: String, mayQuarantineShort: Bool) {
        self.spool = spool
        self.table = table
        self.mayQuarantineShort = mayQuarantineShort
    }

    /// Looks anew at which segments there are and how far they are durable.
    func refresh() throws {
        // The mark first: a segment that it names was there before it.
        mark = try spool.mark(of: table)
        segments = try spool.segments(of: table)
        if let mark, mark.writer != spool.writer {
            throw FormatError.malformed("the durable mark is of writer \(mark.writer), the spool of \(spool.writer)")
        }
    }

    /// What stands at the position.
    func item(at position: TailPosition) throws -> TailItem {
        if position.segmentNumber == 0 { return try first(position) }
        guard let name = segments.first(where: { $0.number == position.segmentNumber }) else {
            if segments.isEmpty || position.segmentNumber > (segments.last?.number ?? 0) { return .end }
            return .stop("segment number \(position.segmentNumber), of which sequence \(position.next) is next, is not in the spool")
        }
        let segment: OpenSegment
        do {
            segment = try openSegment(name)
        } catch let error as FormatError {
            return try damagedHeader(name, position, error)
        }
        var limit = try self.limit(of: segment)
        let size = try segment.reader.file.size()
        let isPromised = limit <= size
        limit = min(limit, size)
        var position = position
        if position.offset == 0 { position.offset = segment.reader.start }
        if position.offset >= limit {
            if !isPromised { return .notHereYet("\(table)/\(name) has \(size) bytes here; more are durable") }
            return try isLast(name) || mark?.segmentNumber == name.number ? .end : incomplete(segment, position, size)
        }
        switch try segment.reader.item(at: position.offset, limit: limit) {
        case .chunk(let chunk):
            do throws(FormatError) {
                try chunk.header.check(against: segment.reader.header, expecting: position.next)
            } catch {
                return .stop("\(table)/\(name) at \(position.offset): \(error)")
            }
            return .chunk(chunk, in: segment)
        case .index: return try after(segment, position)
        case .end: return .end
        case .torn where !isPromised: return .notHereYet("\(table)/\(name) has \(size) bytes here; more are durable")
        case .torn, .zeros:
            if mark?.segmentNumber == name.number { return try damaged(segment, position, limit, "bytes below the durable mark are gone") }
            return try incomplete(segment, position, size)
        case .damaged(let error) where error.needsNewerVersion: return .stop("\(table)/\(name) at \(position.offset): \(error)")
        case .damaged(let error): return try damaged(segment, position, limit, "\(error)")
        }
    }

    /// A chunk whose data differs from its checksum, as damage.
    func damage(of chunk: LocatedChunk, in segment: OpenSegment, _ error: FormatError) -> TailItem.Damage {
        TailItem.Damage(
            rows: chunk.header.firstSequence..<chunk.header.endSequence, segment: segment.name, offset: chunk.offset,
            bytes: chunk.end - chunk.offset, reason: "\(error)",
            then: TailPosition(segmentNumber: segment.name.number, offset: chunk.end, next: chunk.header.endSequence))
    }

    /// Opens a segment by its number.
    func segment(number: UInt64) throws -> OpenSegment? {
        try segments.first { $0.number == number }.map { try openSegment($0) }
    }

    // MARK: Steps

    private func first(_ position: TailPosition) throws -> TailItem {
        guard let name = segments.first, isReadable(name) else { return .end }
        let start = TailPosition(segmentNumber: name.number, offset: 0, next: name.firstSequence)
        // With no checkpoint, an old spool may begin anywhere; with one, rows between are missing.
        return position.next <= 1 ? .move(to: start) : try follow(name, from: position)
    }

    private func openSegment(_ name: SegmentName) throws -> OpenSegment {
        if let open, open.name == name { return open }
        let reader = try SegmentReader(path: spool.path(of: name, table: table))
        guard reader.header.table == table, reader.header.writer == spool.writer, reader.header.name == name else {
            throw FormatError.malformed(
                "the header says segment \(reader.header.name) of table \(reader.header.table), writer \(reader.header.writer)")
        }
        let segment = OpenSegment(name: name, reader: reader)
        open = segment
        return segment
    }

    /// Bytes that may be read: those that the mark covers, or all of a sealed segment.
    private func limit(of segment: OpenSegment) throws -> UInt64 {
        guard let mark else { return try SegmentReader.trailer(of: segment.reader.file)?.fileBytes ?? 0 }
        if segment.name.number == mark.segmentNumber { return mark.durableBytes }
        return segment.name.number < mark.segmentNumber ? try segment.reader.file.size() : 0
    }

    private func isReadable(_ name: SegmentName) -> Bool {
        if let mark { return name.number <= mark.segmentNumber }
        return (try? openSegment(name)).flatMap { try? SegmentReader.trailer(of: $0.reader.file) } != nil
    }

    private func isLast(_ name: SegmentName) -> Bool { !segments.contains { $0.number > name.number && isReadable($0) } }

    private func after(_ segment: OpenSegment, _ position: TailPosition) throws -> TailItem {
        guard let next = segments.first(where: { $0.number > segment.name.number }), isReadable(next) else { return .end }
        return try follow(next, from: position)
    }

    /// From the end of one segment to the start of the next, if no row is missing between.
    private func follow(_ next: SegmentName, from position: TailPosition) throws -> TailItem {
        let start = TailPosition(segmentNumber: next.number, offset: 0, next: next.firstSequence)
        if next.firstSequence == position.next { return .move(to: start) }
        if next.firstSequence > position.next, let header = try? openSegment(next).reader.header, header.lostFrom <= position.next,
            header.lostFrom < header.firstSequence
        {
            return .lost(position.next..<next.firstSequence, then: start)
        }
        return .stop("\(table)/\(next) begins at sequence \(next.firstSequence), expected \(position.next)")
    }

    /// The rest of the rows up to the next readable chunk, or up to the segment's end.
    private func damaged(_ segment: OpenSegment, _ position: TailPosition, _ limit: UInt64, _ reason: String) throws -> TailItem {
        var then = TailPosition(segmentNumber: segment.name.number, offset: limit, next: try endSequence(of: segment.name, position))
        if let offset = try segment.reader.resume(after: position.offset, limit: limit) {
            switch try segment.reader.item(at: offset, limit: limit) {
            case .chunk(let chunk): then = TailPosition(segmentNumber: segment.name.number, offset: offset, next: chunk.header.firstSequence)
            case .index(let index, let offset, _):
                then = TailPosition(segmentNumber: segment.name.number, offset: offset, next: index.trailer.endSequence)
            default: break
            }
        } else if !isLast(segment.name), let next = segments.first(where: { $0.number > segment.name.number }) {
            then = TailPosition(segmentNumber: next.number, offset: 0, next: next.firstSequence)
        }
        guard then.next >= position.next else { return .stop("\(table)/\(segment.name) at \(position.offset): \(reason)") }
        return .damaged(
            TailItem.Damage(
                rows: position.next..<then.next, segment: segment.name, offset: position.offset,
                bytes: (then.segmentNumber == segment.name.number ? then.offset : limit) - position.offset, reason: reason, then: then))
    }

    private func damagedHeader(_ name: SegmentName, _ position: TailPosition, _ error: FormatError) throws -> TailItem {
        if error.needsNewerVersion { return .stop("\(table)/\(name): \(error)") }
        if error.isTruncation { return .notHereYet("\(table)/\(name): its header is not complete") }
        guard let next = segments.first(where: { $0.number > name.number }), isReadable(next) else {
            return .stop("\(table)/\(name): segment header: \(error)")
        }
        return .damaged(
            TailItem.Damage(
                rows: position.next..<next.firstSequence, segment: name, offset: 0, bytes: 0, reason: "segment header: \(error)",
                then: TailPosition(segmentNumber: next.number, offset: 0, next: next.firstSequence)))
    }

    /// A segment that is over, since later ones are there, but has no index: a copy in progress, or cut short.
    private func incomplete(_ segment: OpenSegment, _ position: TailPosition, _ size: UInt64) throws -> TailItem {
        let why = "\(table)/\(segment.name) ends at byte \(size) without its index: still being copied, or cut short"
        guard let next = segments.first(where: { $0.number > segment.name.number }) else { return .notHereYet(why) }
        let now = Clock.monotonic()
        if short?.name != segment.name || short?.size != size { short = (segment.name, size, now) }
        guard mayQuarantineShort, let short, now - short.since >= Self.settleTime else { return .notHereYet(why) }
        return .damaged(
            TailItem.Damage(
                rows: position.next..<next.firstSequence, segment: segment.name, offset: position.offset, bytes: size - position.offset,
                reason: "the segment is cut short", then: TailPosition(segmentNumber: next.number, offset: 0, next: next.firstSequence)))
    }

    private func endSequence(of name: SegmentName, _ position: TailPosition) throws -> UInt64 {
        if let mark, mark.segmentNumber == name.number { return mark.durableEnd }
        return segments.first { $0.number > name.number }?.firstSequence ?? position.next
    }
}
