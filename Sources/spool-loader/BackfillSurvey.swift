import SpoolFormat
import SpoolIO

/// What of a table there is to load, as far as it can be told without looking into chunks: a small read a segment, and of segments that
/// lie partly in the range their index.
struct BackfillSurvey: Encodable {
    let table: String
    /// Rows of all chunks that have a row in the range: no fewer than there are to load, and few more.
    private(set) var rows: UInt64 = 0
    /// Bytes that those chunks take in the spool.
    private(set) var bytes: UInt64 = 0
    private(set) var segments = 0
    /// Event times of the rows, RFC 3339; absent if there are none.
    private(set) var earliest: String?
    private(set) var latest: String?
    /// Whether chunks lie partly in the range, so that fewer than ``rows`` will be loaded.
    private(set) var isUpperBound = false
    /// The sequence before which everything was dealt with by earlier runs of the same backfill.
    private(set) var next: UInt64
    /// The sequence from which on the rows belong to the loader that runs on this spool; absent if there is none.
    let liveFrom: UInt64?
    /// Whether more is promised than has arrived here: a copy in progress.
    private(set) var isGrowing = false
    private(set) var problems: [String] = []
    /// Rows of days that `retain` has dropped; they are not among ``rows``.
    private(set) var dropped: UInt64 = 0

    private enum CodingKeys: String, CodingKey {
        case table, rows, bytes, segments, earliest, latest, isUpperBound, next, liveFrom, isGrowing, problems, dropped
    }

    private let range: TimeRange
    private let droppedDays: DroppedDays
    private var times = (min: Int64.max, max: Int64.min)

    /// - Parameters:
    ///   - next: the checkpoint of the backfill.
    ///   - liveFrom: the checkpoint of the loader that runs on this spool; nil if there is none.
    ///   - droppedDays: days that are left out.
    init(
        of table: String, in spool: SpoolDirectory, range: TimeRange, next: UInt64, liveFrom: UInt64?,
        droppedDays: DroppedDays = DroppedDays()
    ) throws {
        self.droppedDays = droppedDays
        self.table = table
        self.range = range
        self.next = next
        self.liveFrom = liveFrom
        // The mark first, as readers do: the segment that it names was there before it.
        var mark: DurableMark?
        do {
            mark = try spool.mark(of: table)
        } catch let error as FormatError {
            problems.append("\(DurableMark.fileName): \(error)")
        }
        let names = try spool.standingSegments(of: table)
        // Segments behind the mark are not durable yet; without a mark only sealed ones count.
        for name in names where name.number <= mark?.segmentNumber ?? .max {
            do {
                try add(name, table, spool, mark)
            } catch let failure as IOFailure where failure.isMissing {
                // Given up or pruned since the directory was listed.
                continue
            } catch let error as FormatError {
                problems.append("\(name.fileName): \(error)")
            }
        }
        if let mark { lookForGrowth(mark, names) }
        if times.min <= times.max {
            earliest = rfc3339(times.min)
            latest = rfc3339(times.max)
        }
    }

    private mutating func lookForGrowth(_ mark: DurableMark, _ names: [SegmentName]) {
        let last = names.last { $0.number <= mark.segmentNumber }
        if last?.number != mark.segmentNumber, mark.durableEnd > 1 { isGrowing = true }
        for (one, two) in zip(names, names.dropFirst()) where two.number <= mark.segmentNumber && two.number > one.number + 1 {
            isGrowing = true
        }
    }

    private mutating func add(_ name: SegmentName, _ table: String, _ spool: SpoolDirectory, _ mark: DurableMark?) throws {
        let file = try File.openForReading(spool.path(of: name, table: table))
        guard let trailer = try SegmentReader.trailer(of: file) else { return try addUnsealed(file, name, mark) }
        guard trailer.rows > 0, trailer.endSequence > next, trailer.firstSequence < liveFrom ?? .max else { return }
        let share = range.share(min: trailer.minEventTime, max: trailer.maxEventTime)
        if share == .none { return }
        segments += 1
        if share == .all, trailer.firstSequence >= next, trailer.endSequence <= liveFrom ?? .max,
            !droppedDays.touch(min: trailer.minEventTime, max: trailer.maxEventTime)
        {
            return add(
                rows: trailer.rows, bytes: trailer.fileBytes - UInt64(clamping: trailer.indexBytes), min: trailer.minEventTime,
                max: trailer.maxEventTime, share: .all)
        }
        let reader = try SegmentReader(file: file)
        guard UInt64(clamping: trailer.indexBytes) <= trailer.fileBytes - reader.start,
            case .index(let index, _, _) = try reader.item(at: trailer.fileBytes - UInt64(trailer.indexBytes), limit: trailer.fileBytes)
        else { throw FormatError.malformed("its index cannot be read") }
        for entry in index.entries {
            add(
                entry.firstSequence, entry.rows, UInt64(entry.dataBytes), min: entry.minEventTime, max: entry.maxEventTime,
                isDropped: droppedDays.days.contains(entry.partition))
        }
    }

    /// A segment without an index: the one that is written to, or one whose end is not here yet.
    private mutating func addUnsealed(_ file: File, _ name: SegmentName, _ mark: DurableMark?) throws {
        let size = try file.size()
        var limit = size
        if let mark, mark.segment == name {
            limit = min(size, mark.durableBytes)
            if size < mark.durableBytes { isGrowing = true }
        } else {
            isGrowing = true
            // Without a mark nothing says how far it is durable.
            if mark == nil { return }
        }
        let reader: SegmentReader
        do {
            reader = try SegmentReader(file: file)
        } catch let error as FormatError where error.isTruncation {
            isGrowing = true
            return
        }
        segments += 1
        var offset = reader.start
        while case .chunk(let chunk) = try reader.item(at: offset, limit: limit) {
            let header = chunk.header
            add(
                header.firstSequence, header.rows, chunk.end - chunk.offset, min: header.minEventTime, max: header.maxEventTime,
                isDropped: droppedDays.hold(header))
            offset = chunk.end
        }
    }

    private mutating func add(_ first: UInt64, _ rowCount: Int, _ bytes: UInt64, min: Int64, max: Int64, isDropped: Bool) {
        let share = range.share(min: min, max: max)
        guard first >= next, first < liveFrom ?? .max, share != .none else { return }
        if isDropped {
            dropped += UInt64(rowCount)
            return
        }
        add(rows: UInt64(rowCount), bytes: bytes, min: min, max: max, share: share)
    }

    private mutating func add(rows: UInt64, bytes: UInt64, min: Int64, max: Int64, share: TimeRange.Share) {
        self.rows += rows
        self.bytes += bytes
        if share == .some { isUpperBound = true }
        times = (
            Swift.min(times.min, Swift.max(min, range.from)), Swift.max(times.max, Swift.min(max, range.to == .max ? max : range.to - 1))
        )
    }
}
