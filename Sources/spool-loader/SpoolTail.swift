import SpoolFormat
import SpoolIO

/// A place in a table's segments: where the next chunk begins, and the sequence of its first row.
struct TailPosition: Equatable {
    /// 0 before the first segment was chosen.
    var segmentNumber: UInt64
    var offset: UInt64
    var next: UInt64
}

extension Checkpoint {
    /// Up to where every row is dealt with.
    var position: TailPosition {
        get { TailPosition(segmentNumber: segmentNumber, offset: offset, next: next) }
        set { (segmentNumber, offset, next) = (newValue.segmentNumber, newValue.offset, newValue.next) }
    }
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
    /// Rows that a segment's header declares gone; go on behind them. Shed ones were given up on purpose, others a damage took.
    case lost(Range<UInt64>, isShed: Bool, then: TailPosition)
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

        /// Only the rows from a sequence on.
        func clipped(from sequence: UInt64) -> Damage {
            Damage(
                rows: max(rows.lowerBound, sequence)..<max(rows.upperBound, sequence), segment: segment, offset: offset, bytes: bytes,
                reason: reason, then: then)
        }

        /// Only what is before a place.
        func clipped(to end: TailPosition) -> Damage {
            guard then.next > end.next else { return self }
            return Damage(
                rows: min(rows.lowerBound, end.next)..<end.next, segment: segment, offset: offset, bytes: bytes, reason: reason, then: end)
        }
    }

    /// For people.
    var text: String {
        switch self {
        case .chunk: "a chunk"
        case .end: "nothing more is durable"
        case .notHereYet(let why), .stop(let why): why
        case .move: "the segment is over"
        case .lost(let rows, _, _): "rows \(rows.lowerBound) to \(rows.upperBound - 1) are gone, as a segment's header declares"
        case .damaged(let damage): damage.reason
        }
    }
}

/// An open segment with the limit up to which it may be read.
final class OpenSegment {
    let name: SegmentName
    let reader: SegmentReader
    /// Columns whose values take more of ClickHouse's memory than of the block.
    let unfixedColumns: Int

    init(name: SegmentName, reader: SegmentReader) {
        self.name = name
        self.reader = reader
        unfixedColumns = reader.header.columns.count { $0.type.contains("String") || $0.type.hasPrefix("Array") }
    }
}

/// Follows a table's segments up to the durable mark, never past it.
///
/// The decisions are those of the damage table, `docs/spool-format.md` §10, column "loader".
final class SpoolTail {
    /// How long a segment without an index, with later ones behind it, may be a copy in progress. Nanoseconds.
    static let settleTime: Int64 = 60_000_000_000
    /// How often a list of segments may turn out to be out of date in one look: the writer replaces what it sheds, `prune` removes.
    private static let maxStaleLists = 5

    let spool: SpoolDirectory
    let table: String
    private let mayQuarantineShort: Bool
    private let settleTime: Int64
    private(set) var mark: DurableMark?
    private var segments: [SegmentName] = []
    private var open: OpenSegment?
    private var short: (name: SegmentName, size: UInt64, since: Int64)?

    /// - Parameters:
    ///   - mayQuarantineShort: whether a segment that stays too short may be passed over in the end.
    ///   - settleTime: for how long it must have stayed as it is, nanoseconds.
    init(spool: SpoolDirectory, table: String, mayQuarantineShort: Bool, settleTime: Int64 = SpoolTail.settleTime) {
        self.spool = spool
        self.table = table
        self.mayQuarantineShort = mayQuarantineShort
        self.settleTime = settleTime
    }

    /// Looks anew at which segments there are and how far they are durable.
    func refresh() throws {
        // The mark first: a segment that it names was there before it.
        mark = try spool.mark(of: table)
        segments = try spool.standingSegments(of: table)
        if let mark, mark.writer != spool.writer {
            throw FormatError.malformed("the durable mark is of writer \(mark.writer), the spool of \(spool.writer)")
        }
    }

    /// What stands at the position.
    func item(at position: TailPosition) throws -> TailItem {
        let item = try currentLook(at: position)
        switch item {
        case .end:
            // A copy can have the mark and not yet the segments.
            guard let mark, mark.durableEnd > max(position.next, 1) else { return item }
            return .notHereYet("\(table): rows before \(mark.durableEnd) are durable, and only those before \(position.next) are here")
        case .notHereYet:
            // A copy replaces files: the one that is open may be an older state for ever.
            open = nil
            return item
        default: return item
        }
    }

    /// Looks again where the list of segments may be at fault: a file that it names is gone, or one that is there is not in it, since a
    /// directory that changes while it is read shows neither the old name nor the new one.
    private func currentLook(at position: TailPosition) throws -> TailItem {
        for _ in 0..<Self.maxStaleLists {
            let known = segments
            do {
                let item = try look(at: position)
                switch item {
                case .stop, .damaged: break
                default: return item
                }
                segments = try spool.standingSegments(of: table)
                if segments == known { return item }
            } catch let failure as IOFailure where failure.isMissing {
                open = nil
                segments = try spool.standingSegments(of: table)
                if segments == known { throw failure }
            }
        }
        return .notHereYet("\(table): its segments change while they are looked at")
    }

    private func look(at position: TailPosition) throws -> TailItem {
        if position.segmentNumber == 0 { return try first(position) }
        guard let name = segments.first(where: { $0.number == position.segmentNumber }) else { return try pruned(position) }
        // A tombstone took the place of the segment that was being read.
        if name.firstSequence > position.next { return try follow(name, from: position) }
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
        if position.offset == 0 || isOfReplaced(position, segment, size) { position.offset = segment.reader.start }
        if position.offset >= limit {
            if !isPromised { return .notHereYet("\(table)/\(name) has \(size) bytes here; more are durable") }
            if isLast(name) || mark?.segment == name { return .end }
            // Behind an index that was damaged: nothing of the segment is left to read.
            if let next = following(name), next.firstSequence == position.next { return try follow(next, from: position) }
            return try incomplete(segment, position, size)
        }
        switch try segment.reader.item(at: position.offset, limit: limit) {
        case .chunk(let chunk):
            do throws(FormatError) {
                // A position may be within a chunk, of which some rows were sent apart from the others.
                let isWithin = chunk.header.firstSequence < position.next && position.next < chunk.header.endSequence
                try chunk.header.check(
                    against: segment.reader.header, expecting: isWithin ? chunk.header.firstSequence : position.next)
            } catch {
                return .stop("\(table)/\(name) at \(position.offset): \(error)")
            }
            return .chunk(chunk, in: segment)
        case .index: return try after(segment, position)
        case .end: return .end
        case .torn where !isPromised, .zeros where !isPromised:
            return .notHereYet("\(table)/\(name) has \(size) bytes here; more are durable")
        case .torn, .zeros:
            if mark?.segment == name { return try damaged(segment, position, limit, "bytes below the durable mark are gone") }
            // A sealed segment is whole: there a frame that runs past its end has a wrong size.
            if try SegmentReader.trailer(of: segment.reader.file) != nil {
                return try damaged(segment, position, limit, "a frame runs past the segment's end")
            }
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

    /// Where the row with the sequence stands, or will stand if it is the next one: the place of its chunk.
    ///
    /// - Returns: nil if what is before it cannot be read.
    func position(of sequence: UInt64, from start: TailPosition) throws -> TailPosition? {
        var position = start
        while true {
            if position.segmentNumber > 0, position.next == sequence { return position }
            switch try item(at: position) {
            case .chunk(let chunk, let segment) where chunk.header.firstSequence <= sequence && sequence < chunk.header.endSequence:
                return TailPosition(segmentNumber: segment.name.number, offset: chunk.offset, next: sequence)
            case .chunk(let chunk, let segment) where chunk.header.endSequence <= sequence:
                position = TailPosition(segmentNumber: segment.name.number, offset: chunk.end, next: chunk.header.endSequence)
            case .move(let next): position = next
            default: return nil
            }
        }
    }

    /// Opens a segment by its number.
    func segment(number: UInt64) throws -> OpenSegment? {
        try segments.first { $0.number == number }.map { try openSegment($0) }
    }

    // MARK: Steps

    private func first(_ position: TailPosition) throws -> TailItem {
        guard let name = segments.first, isReadable(name) else { return .end }
        let start = TailPosition(segmentNumber: name.number, offset: 0, next: name.firstSequence)
        // With a checkpoint, rows between are missing; with none, an old spool may begin anywhere.
        guard position.next <= 1 else { return try follow(name, from: position) }
        if let header = try readableHeader(of: name), !header.lost.isEmpty {
            return .lost(header.lost, isShed: header.isShed, then: start)
        }
        return .move(to: start)
    }

    /// The segment of the position is gone: no harm if it was read to its end.
    private func pruned(_ position: TailPosition) throws -> TailItem {
        guard let next = segments.first(where: { $0.number > position.segmentNumber }) else { return .end }
        guard isReadable(next) else { return .end }
        let item = try follow(next, from: position)
        guard case .stop = item else { return item }
        return .stop("segment number \(position.segmentNumber), of which sequence \(position.next) is next, is not in the spool")
    }

    /// Whether the offset is one of the file in whose place this tombstone stands: its rows were read to their end before.
    private func isOfReplaced(_ position: TailPosition, _ segment: OpenSegment, _ size: UInt64) -> Bool {
        // Where the first row is still to come, only the start is before it; and the end, behind an index that was damaged.
        segment.reader.header.isShed && position.next == segment.name.firstSequence && position.offset != size
    }

    /// The header of a segment; nil if it cannot be read, which shows again once the segment itself is looked at.
    private func readableHeader(of name: SegmentName) throws -> SegmentHeader? {
        do {
            return try openSegment(name).reader.header
        } catch is FormatError {
            return nil
        }
    }

    private func following(_ name: SegmentName) -> SegmentName? { segments.first { $0.number > name.number } }

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
        if segment.name == mark.segment { return mark.durableBytes }
        // Not the mark's own, but of its number: a tombstone, which is whole once it has its name.
        return segment.name.number <= mark.segmentNumber ? try segment.reader.file.size() : 0
    }

    private func isReadable(_ name: SegmentName) -> Bool {
        if let mark { return name.number <= mark.segmentNumber }
        return (try? openSegment(name)).flatMap { try? SegmentReader.trailer(of: $0.reader.file) } != nil
    }

    private func isLast(_ name: SegmentName) -> Bool { !segments.contains { $0.number > name.number && isReadable($0) } }

    private func after(_ segment: OpenSegment, _ position: TailPosition) throws -> TailItem {
        guard let next = following(segment.name), isReadable(next) else { return .end }
        return try follow(next, from: position)
    }

    /// From the end of one segment to the start of the next, if no row is missing between.
    private func follow(_ next: SegmentName, from position: TailPosition) throws -> TailItem {
        let start = TailPosition(segmentNumber: next.number, offset: 0, next: next.firstSequence)
        if next.firstSequence == position.next { return .move(to: start) }
        if next.firstSequence > position.next, let header = try readableHeader(of: next), header.lost.contains(position.next) {
            // What was read before it was given up is not lost.
            return .lost(position.next..<next.firstSequence, isShed: header.isShed, then: start)
        }
        return .stop("\(table)/\(next) begins at sequence \(next.firstSequence), expected \(position.next)")
    }

    /// The rest of the rows up to the next readable chunk, or up to the segment's end.
    private func damaged(_ segment: OpenSegment, _ position: TailPosition, _ limit: UInt64, _ reason: String) throws -> TailItem {
        var then = TailPosition(segmentNumber: segment.name.number, offset: limit, next: try endSequence(of: segment.name, position))
        if let offset = try segment.reader.resume(after: position.offset, limit: limit) {
            switch try segment.reader.item(at: offset, limit: limit) {
            case .chunk(let chunk):
                then = TailPosition(segmentNumber: segment.name.number, offset: offset, next: chunk.header.firstSequence)
            case .index(let index, let offset, _):
                then = TailPosition(segmentNumber: segment.name.number, offset: offset, next: index.trailer.endSequence)
            default: break
            }
        } else if !isLast(segment.name), let next = following(segment.name) {
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
        guard let next = following(name), isReadable(next) else {
            if error.isTruncation { return .notHereYet("\(table)/\(name): its header is not complete") }
            return .stop("\(table)/\(name): segment header: \(error)")
        }
        let size = try File.openForReading(spool.path(of: name, table: table)).size()
        if error.isTruncation, !isSettled(name, size) {
            return .notHereYet("\(table)/\(name): its header is not complete: still being copied, or cut short")
        }
        return passed(name, position, bytes: 0, "segment header: \(error)", next)
    }

    /// A segment that is over, since later ones are there, but has no index: a copy in progress, or cut short.
    private func incomplete(_ segment: OpenSegment, _ position: TailPosition, _ size: UInt64) throws -> TailItem {
        let why = "\(table)/\(segment.name) ends at byte \(size) without its index: still being copied, or cut short"
        guard let next = following(segment.name), isSettled(segment.name, size) else { return .notHereYet(why) }
        // A frame with a wrong size can hide others behind it.
        if try position.offset < size && segment.reader.resume(after: position.offset, limit: size) != nil {
            return try damaged(segment, position, size, "a frame runs past the segment's end")
        }
        return passed(segment.name, position, bytes: size - min(position.offset, size), "the segment is cut short", next)
    }

    /// Whether a segment that is too short stayed so for long enough that it is no copy in progress.
    private func isSettled(_ name: SegmentName, _ size: UInt64) -> Bool {
        let now = Clock.monotonic()
        if short?.name != name || short?.size != size { short = (name, size, now) }
        guard mayQuarantineShort, let short else { return false }
        return now - short.since >= settleTime
    }

    /// The rest of a segment, up to the next one.
    private func passed(_ name: SegmentName, _ position: TailPosition, bytes: UInt64, _ reason: String, _ next: SegmentName) -> TailItem {
        guard next.firstSequence >= position.next else {
            return .stop("\(table)/\(next) begins at sequence \(next.firstSequence), expected \(position.next) or more")
        }
        return .damaged(
            TailItem.Damage(
                rows: position.next..<next.firstSequence, segment: name, offset: position.offset, bytes: bytes, reason: reason,
                then: TailPosition(segmentNumber: next.number, offset: 0, next: next.firstSequence)))
    }

    private func endSequence(of name: SegmentName, _ position: TailPosition) throws -> UInt64 {
        if let mark, mark.segment == name { return mark.durableEnd }
        if let next = following(name) { return next.firstSequence }
        let trailer = try SegmentReader.trailer(of: File.openForReading(spool.path(of: name, table: table)))
        return trailer?.endSequence ?? position.next
    }
}
