import SpoolFormat
import SpoolIO

/// What `ls` says of a segment.
struct SegmentSummary: Encodable {
    let segment: String
    /// `sealed`, `active`, `shed` (the rows were given up, and the sequences are theirs), or `unreadable` with the reason after a colon.
    let state: String
    let firstSequence: UInt64
    let endSequence: UInt64
    let rows: UInt64
    /// RFC 3339; absent if there are no rows.
    let earliest: String?
    let latest: String?
    let bytes: UInt64
    let durableBytes: UInt64
}

/// What `ls` says of a table.
struct TableSummary: Encodable {
    let table: String
    let writer: String
    let segments: Int
    let rows: UInt64
    let firstSequence: UInt64
    let earliest: String?
    let latest: String?
    let bytes: UInt64
    /// The sequence after the last durable row.
    let durableEnd: UInt64
    /// The sequence after the last row that the loader has dealt with; absent without a checkpoint.
    let loadedEnd: UInt64?
    let lagRows: UInt64?
    /// Age of the oldest row that is not loaded, in seconds; 0 if all are.
    let lagSeconds: Double?
    let problems: [String]
}

/// Reads what little it takes to list a spool: one mark a table, 80 bytes a segment.
struct SpoolSurvey {
    let spool: SpoolDirectory
    let checkpoints: String

    func segments(of table: String) throws -> [SegmentSummary] {
        let mark = try? spool.mark(of: table)
        return try spool.standingSegments(of: table).compactMap { name in
            do {
                return try summary(of: name, table, mark)
            } catch let failure as IOFailure where failure.isMissing {
                // Given up or pruned since the directory was listed.
                return nil
            } catch {
                return SegmentSummary(
                    segment: name.fileName, state: "unreadable: \(error)", firstSequence: name.firstSequence,
                    endSequence: name.firstSequence, rows: 0, earliest: nil, latest: nil, bytes: 0, durableBytes: 0)
            }
        }
    }

    func table(_ table: String, now: Int64) throws -> TableSummary {
        let segments = try segments(of: table)
        var problems = segments.filter { $0.state.hasPrefix("unreadable") }.map { "\($0.segment): \($0.state)" }
        do {
            if try spool.mark(of: table) == nil { problems.append("no durable mark") }
        } catch {
            problems.append("\(DurableMark.fileName): \(error)")
        }
        let end = segments.map(\.endSequence).max() ?? 1
        var checkpoint: Checkpoint?
        do {
            checkpoint = try CheckpointStore.peek(directory: checkpoints, writer: spool.writer, table: table)
        } catch {
            problems.append("checkpoint: \(error)")
        }
        return TableSummary(
            table: table, writer: spool.writer, segments: segments.count, rows: segments.reduce(0) { $0 + $1.rows },
            firstSequence: segments.first?.firstSequence ?? 1, earliest: segments.compactMap(\.earliest).min(),
            latest: segments.compactMap(\.latest).max(), bytes: segments.reduce(0) { $0 + $1.bytes }, durableEnd: end,
            loadedEnd: checkpoint?.next, lagRows: checkpoint.map { rows(from: $0.next, in: segments) },
            lagSeconds: try checkpoint.map { try lag($0, table, end, now) }, problems: problems)
    }

    /// Rows that are there from a sequence on.
    private func rows(from next: UInt64, in segments: [SegmentSummary]) -> UInt64 {
        segments.reduce(0) { sum, segment in
            guard segment.rows > 0, segment.endSequence > next else { return sum }
            return sum + segment.endSequence - max(segment.firstSequence, next)
        }
    }

    private func summary(of name: SegmentName, _ table: String, _ mark: DurableMark?) throws -> SegmentSummary {
        let file = try File.openForReading(spool.path(of: name, table: table))
        let size = try file.size()
        if let trailer = try SegmentReader.trailer(of: file) {
            let hasRows = trailer.rows > 0
            if !hasRows, let header = try? SegmentReader(file: file).header, header.isShed {
                return SegmentSummary(
                    segment: name.fileName, state: "shed", firstSequence: header.lostFrom, endSequence: header.firstSequence, rows: 0,
                    earliest: nil, latest: nil, bytes: size, durableBytes: size)
            }
            return SegmentSummary(
                segment: name.fileName, state: "sealed", firstSequence: trailer.firstSequence, endSequence: trailer.endSequence,
                rows: trailer.rows, earliest: hasRows ? rfc3339(trailer.minEventTime) : nil,
                latest: hasRows ? rfc3339(trailer.maxEventTime) : nil, bytes: size, durableBytes: size)
        }
        guard let mark, mark.segment == name, mark.durableEnd >= name.firstSequence else {
            throw FormatError.malformed("not sealed, and the durable mark does not name it")
        }
        let hasRows = mark.minEventTime <= mark.maxEventTime
        return SegmentSummary(
            segment: name.fileName, state: "active", firstSequence: name.firstSequence, endSequence: mark.durableEnd,
            rows: mark.durableEnd - name.firstSequence, earliest: hasRows ? rfc3339(mark.minEventTime) : nil,
            latest: hasRows ? rfc3339(mark.maxEventTime) : nil, bytes: size, durableBytes: mark.durableBytes)
    }

    /// Seconds since the first row that is not loaded reached the writer.
    private func lag(_ checkpoint: Checkpoint, _ table: String, _ end: UInt64, _ now: Int64) throws -> Double {
        guard end > checkpoint.next, let ingest = try firstIngest(behind: checkpoint.position, of: table) else { return 0 }
        // The time is the writer's, from the file: it may be any number.
        return Double(now.subtractingReportingOverflow(ingest).partialValue) / 1_000_000_000
    }

    /// When the first row from a place on reached the writer, nanoseconds since the Unix epoch; nil if there is none that can be read.
    func firstIngest(behind position: TailPosition, of table: String) throws -> Int64? {
        let tail = SpoolTail(spool: spool, table: table, mayQuarantineShort: false)
        try tail.refresh()
        var position = position
        // From one segment to the next at most once for each segment.
        while true {
            switch try tail.item(at: position) {
            case .chunk(let chunk, _): return chunk.header.firstIngest
            case .move(let next), .lost(_, _, let next): position = next
            default: return nil
            }
        }
    }
}
