import SpoolFormat
import SpoolIO

extension RecordedRows {
    struct Segment {
        let path: String
        /// Index of its table.
        let table: Int
        let limit: UInt64
    }

    /// A chunk that has rows of the range, as its header says.
    struct Chunk {
        let segment: Int
        let table: Int
        let offset: UInt64
        let firstSequence: UInt64
        let rows: Int
        /// Event times.
        let times: ClosedRange<Int64>
        /// When its first row was taken.
        let taken: Int64
    }

    /// What of a spool lies in a range of event times.
    struct Survey {
        /// What is recorded within such a time of its event time was recorded as it happened. Nanoseconds.
        private static let fresh: Int64 = 60_000_000_000
        /// At most so long a chunk is open, whatever its table's `chunk_age`. Nanoseconds.
        private static let longestChunk: Int64 = 60_000_000_000
        /// A first row that is older was late, and says nothing of those behind it. Nanoseconds.
        private static let longestLag: Int64 = 1_000_000_000

        let range: TimeRange
        private(set) var tables: [RecordedTable] = []
        private(set) var segments: [Segment] = []
        private(set) var chunks: [Chunk] = []
        /// At most so many rows are in the range, and so many of them in chunks that were recorded as they happened.
        private(set) var rows: UInt64 = 0
        private(set) var freshRows: UInt64 = 0
        private(set) var problems: [String] = []

        init(range: TimeRange) { self.range = range }

        /// Looks through a spool as it is now.
        mutating func run(_ spool: SpoolDirectory, _ only: [String]) throws {
            for table in try spool.tables() where only.isEmpty || only.contains(table) {
                let mark = try spool.mark(of: table)
                for name in try spool.standingSegments(of: table) {
                    // Behind the mark nothing is durable.
                    if let mark, name.number > mark.segmentNumber { continue }
                    let path = spool.path(of: name, table: table)
                    do {
                        try look(at: path, limit: mark?.segmentNumber == name.number ? mark?.durableBytes : nil)
                    } catch let failure as IOFailure where failure.isMissing {
                        // Pruned, or given up, since the directory was listed.
                        continue
                    } catch let error as FormatError {
                        problems.append("\(path): \(error)")
                    }
                }
            }
        }

        private mutating func look(at path: String, limit: UInt64?) throws {
            let file = try File.openForReading(path)
            if limit == nil, let trailer = try SegmentReader.trailer(of: file),
                range.share(min: trailer.minEventTime, max: trailer.maxEventTime) == .none
            {
                return
            }
            let reader = try SegmentReader(file: file)
            let size = try file.size()
            let segment = Segment(path: path, table: index(of: RecordedTable(reader.header)), limit: min(limit ?? size, size))
            segments.append(segment)
            try reader.walk(limit: segment.limit) { step in
                switch step {
                case .chunk(let chunk): add(chunk, segment.table)
                case .damage(let offset, let why): problems.append("\(path) at \(offset): \(why)")
                }
            }
        }

        private mutating func index(of table: RecordedTable) -> Int {
            if let index = tables.firstIndex(of: table) { return index }
            tables.append(table)
            return tables.count - 1
        }

        private mutating func add(_ chunk: LocatedChunk, _ table: Int) {
            let header = chunk.header
            guard range.share(of: header) != .none else { return }
            chunks.append(
                Chunk(
                    segment: segments.count - 1, table: table, offset: chunk.offset, firstSequence: header.firstSequence, rows: header.rows,
                    times: header.minEventTime...header.maxEventTime, taken: header.firstIngest))
            rows += UInt64(header.rows)
            let (lag, overflow) = header.firstIngest.subtractingReportingOverflow(header.maxEventTime)
            if !overflow, lag > -Self.fresh, lag < Self.fresh { freshRows += UInt64(header.rows) }
        }

        /// When its rows came, if event times say so.
        func placesByTime() -> [Place] {
            chunks.map { chunk in
                let earliest = max(chunk.times.lowerBound, range.from)
                let latest = range.to == .max ? chunk.times.upperBound : min(chunk.times.upperBound, range.to - 1)
                return place(chunk, earliest...max(earliest, latest))
            }
        }

        /// When its rows came, if the chunks' own times say so: between the taking of its first row and that of the next chunk's.
        func placesAsRecorded() -> [Place] {
            var places: [Place] = []
            for (index, chunk) in chunks.enumerated() {
                // Not before the chunk before it: a clock may have been set back.
                let before = places.last.flatMap { tables[$0.table].name == tables[chunk.table].name ? $0.came.lowerBound : nil } ?? .min
                let taken = max(chunk.taken, before)
                let next = index + 1 < chunks.count ? chunks[index + 1] : nil
                let hasNext = next.map { tables[$0.table].name == tables[chunk.table].name } ?? false
                let longest = taken.addingReportingOverflow(Self.longestChunk)
                let limit = min(hasNext ? next?.taken ?? .max : .max, longest.overflow ? .max : longest.partialValue)
                let late = chunk.taken.subtractingReportingOverflow(chunk.times.lowerBound)
                let lag = !late.overflow && (0..<Self.longestLag).contains(late.partialValue) ? late.partialValue : 0
                let latest = chunk.times.upperBound.addingReportingOverflow(lag)
                places.append(place(chunk, taken...max(taken, min(limit, latest.overflow ? .max : latest.partialValue)), lag: lag))
            }
            return places
        }

        private func place(_ chunk: Chunk, _ came: ClosedRange<Int64>, lag: Int64 = 0) -> Place {
            Place(
                time: came.lowerBound, table: chunk.table, sequence: chunk.firstSequence, segment: chunk.segment, offset: chunk.offset,
                came: came, lag: lag)
        }
    }
}
