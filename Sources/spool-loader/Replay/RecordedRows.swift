import SpoolFormat
import SpoolIO

/// The columns of a table in one state of its schema, without those that the writer adds.
struct RecordedTable: Equatable {
    let name: String
    let columns: [WireColumn]
    /// Index of the event time.
    let eventTimeColumn: Int

    init(_ header: SegmentHeader) {
        name = header.table
        // The writer's two columns stand last.
        columns = header.columns.filter { !Self.added.contains($0.name) }
        eventTimeColumn = header.eventTimeColumn
    }

    static let added: Set = [TableSchema.writerColumn, TableSchema.sequenceColumn]
}

/// A block of recorded rows, and what publishing them needs again and again.
final class RecordedBlock {
    /// Without the columns that the writer adds; its times may have been moved.
    let block: NativeBlock
    let bytes: [UInt8]
    let places: BlockPlaces
    private let table: String
    /// Its rows as a socket takes them.
    lazy var json = JSONRows(block, table: table)

    init(_ block: NativeBlock, table: String) {
        self.block = block
        self.table = table
        bytes = block.bytes
        places = BlockPlaces(block)
    }
}

/// A row of a spool, still in its block.
struct RecordedRow {
    /// Index in ``RecordedRows/tables``.
    let table: Int
    /// When it came, by the order that was chosen; nanoseconds since the Unix epoch.
    let time: Int64
    let sequence: UInt64
    let block: RecordedBlock
    /// In the block.
    let row: Int
}

/// In which order rows come, and what says how far they are apart.
enum ReplayOrder: String, CaseIterable {
    /// As the writer took them: a table's rows by their sequences, each at the moment at which its chunk was begun or, within the chunk, at its event
    /// time. For rows that were recorded as they happened.
    case recorded
    /// By event time, whatever order they were written in. For rows that were imported, whose moments of recording say nothing.
    case time
}

/// The durable rows of a spool one after the other, those of one moment in the order of tables and sequences.
///
/// Chunks are opened when their first row is due and closed behind their last, so what is in memory are the chunks whose times overlap, up to
/// a limit. Beyond it those are closed whose next row is furthest away, and opened again for it.
struct RecordedRows {
    /// A chunk that is not open, and the first of its rows that is still to come. Also the order of rows.
    struct Place {
        var time: Int64
        let table: Int
        var sequence: UInt64
        let segment: Int
        let offset: UInt64
        /// Between which moments its rows came.
        let came: ClosedRange<Int64>
        /// In the order of recording: how long after its event time a row came, nanoseconds.
        let lag: Int64

        func isBefore(_ other: Place) -> Bool {
            (time, table, sequence) < (other.time, other.table, other.sequence)
        }
    }

    private struct OpenChunk {
        /// Of the next row.
        var place: Place
        let block: RecordedBlock
        /// Sequence of its first row.
        let first: UInt64
        /// When each of its rows came.
        let times: [Int64]
        /// Rows of the range, in the order in which they came.
        let order: [Int32]
        var next = 0

        var row: Int { Int(order[next]) }
        /// In memory.
        var bytes: Int { block.bytes.count + times.count * 8 + order.count * 4 }
    }

    /// What the recorder says of itself in `system_events`: of another writer's rows it would be untrue.
    private static let recorder = (table: "system_events", column: "component", value: Array("spool-writer".utf8))

    /// Of event times.
    let range: TimeRange
    let order: ReplayOrder
    /// Bytes of open chunks, decoded.
    private let memory: Int
    /// Later than recorded by so many nanoseconds.
    var shift: Int64 = 0
    /// A table more than once if its schema moved.
    private(set) var tables: [RecordedTable] = []
    /// At most so many rows are in the range.
    private(set) var rows: UInt64 = 0
    /// Between which moments all of them came; nil if there are none.
    private(set) var span: ClosedRange<Int64>?
    /// The recorder's own rows, which were passed over.
    private(set) var ownRows: UInt64 = 0
    /// What could not be read.
    private(set) var problems: [String] = []
    /// How often a chunk was opened.
    private(set) var openings = 0
    private var segments: [Segment] = []
    /// The last is the next.
    private var places: [Place] = []
    private var open: [OpenChunk] = []
    private var openBytes = 0

    /// Looks through the spool as it is now.
    ///
    /// - Parameters:
    ///   - only: the tables to take; all of them if it is empty.
    ///   - range: of event times.
    ///   - order: nil to take the order of recording if most rows were recorded as they happened.
    ///   - memory: bytes of decoded chunks that may be open.
    init(
        of spool: SpoolDirectory, only: [String], range: TimeRange, order: ReplayOrder? = nil, memory: Int = 256 << 20
    ) throws {
        var survey = Survey(range: range)
        try survey.run(spool, only)
        self.range = range
        self.memory = memory
        self.order = order ?? (survey.freshRows * 2 >= survey.rows ? .recorded : .time)
        tables = survey.tables
        segments = survey.segments
        problems = survey.problems
        rows = survey.rows
        places = self.order == .time ? survey.placesByTime() : survey.placesAsRecorded()
        span = places.reduce(nil) { span, place in
            min(span?.lowerBound ?? .max, place.came.lowerBound)...max(span?.upperBound ?? .min, place.came.upperBound)
        }
        places.sort { $1.isBefore($0) }
    }

    // MARK: Going on

    /// The next row; nil behind the last.
    mutating func next() throws -> RecordedRow? {
        while true {
            let first = open.indices.min { open[$0].place.isBefore(open[$1].place) }
            if let waiting = places.last, first.map({ waiting.isBefore(open[$0].place) }) ?? true {
                places.removeLast()
                try begin(waiting)
                continue
            }
            guard let first else { return nil }
            let chunk = open[first]
            let row = RecordedRow(
                table: chunk.place.table, time: chunk.place.time, sequence: chunk.place.sequence, block: chunk.block, row: chunk.row)
            advance(first)
            if isOwn(row) {
                ownRows += 1
                continue
            }
            return row
        }
    }

    private mutating func advance(_ index: Int) {
        open[index].next += 1
        guard open[index].next < open[index].order.count else {
            openBytes -= open[index].bytes
            open.swapAt(index, open.count - 1)
            open.removeLast()
            return
        }
        let row = open[index].row
        open[index].place.time = open[index].times[row]
        open[index].place.sequence = open[index].first + UInt64(row)
    }

    /// Opens a chunk at the first row that is to come.
    private mutating func begin(_ place: Place) throws {
        let segment = segments[place.segment]
        do {
            let reader = try SegmentReader(path: segment.path)
            guard case .chunk(let chunk) = try reader.item(at: place.offset, limit: segment.limit),
                RecordedTable(reader.header) == tables[place.table]
            else { throw FormatError.malformed("no chunk stands there any more") }
            openings += 1
            let recorded = try reader.block(of: chunk)
            let column = recorded.columns[reader.header.eventTimeColumn]
            let times = (0..<recorded.rows).map { Int64(truncatingIfNeeded: column.integer($0)) }
            let block = RecordedBlock(
                recorded.leavingOut(RecordedTable.added).moved(by: shift), table: tables[place.table].name)
            guard let opened = opened(place, block, times, first: chunk.header.firstSequence) else { return }
            open.append(opened)
            openBytes += opened.bytes
            closeFarthest()
        } catch let error as FormatError {
            problems.append("\(segment.path) at \(place.offset): \(error)")
        } catch let failure as IOFailure where failure.isMissing {
            problems.append("\(segment.path): was pruned before its rows were due")
        }
    }

    /// - Parameter times: event times.
    private func opened(_ place: Place, _ block: RecordedBlock, _ times: [Int64], first: UInt64) -> OpenChunk? {
        let came = order == .time ? times : Self.moments(times, lag: place.lag, within: place.came)
        var rows: [Int32] = []
        for (row, time) in came.enumerated()
        where range.contains(times[row]) && (time, first + UInt64(row)) >= (place.time, place.sequence) { rows.append(Int32(row)) }
        guard !rows.isEmpty else { return nil }
        rows.sort { (came[Int($0)], $0) < (came[Int($1)], $1) }
        var next = place
        next.time = came[Int(rows[0])]
        next.sequence = first + UInt64(rows[0])
        return OpenChunk(place: next, block: block, first: first, times: came, order: rows)
    }

    /// When rows came that were recorded between two moments: not before the row before them, and else as long after their event times as the
    /// first.
    private static func moments(_ times: [Int64], lag: Int64, within bounds: ClosedRange<Int64>) -> [Int64] {
        var last = bounds.lowerBound
        return times.map { time in
            let (came, overflow) = time.addingReportingOverflow(lag)
            // Elsewhere lies what happened earlier, and what a wrong clock says: neither tells when its row came.
            if !overflow, bounds.contains(came) { last = max(last, came) }
            return last
        }
    }

    private mutating func closeFarthest() {
        while openBytes > memory, open.count > 1 {
            var last = 0
            for index in open.indices where open[last].place.isBefore(open[index].place) { last = index }
            let place = open[last].place
            openBytes -= open[last].bytes
            open.remove(at: last)
            // Behind all that come later: the last is the next.
            var (low, high) = (0, places.count)
            while low < high {
                let middle = (low + high) / 2
                if place.isBefore(places[middle]) { low = middle + 1 } else { high = middle }
            }
            places.insert(place, at: low)
        }
    }

    private func isOwn(_ row: RecordedRow) -> Bool {
        guard tables[row.table].name == Self.recorder.table, let column = row.block.block.column(Self.recorder.column),
            column.type.scalar == .string
        else { return false }
        return !column.isNull(row.row) && column.string(row.row).elementsEqual(Self.recorder.value)
    }
}
