import SpoolFormat
import SpoolIO

/// Compares one table of the spool with ClickHouse, row by row where they differ.
///
/// First it counts in buckets of sequences, so that the usual case, all there, costs one query; buckets that do not match are
/// fetched whole.
struct TableAudit {
    struct Part: Encodable {
        let rows: UInt64
        /// The sequences, for people; at most the first twenty ranges.
        let sequences: String
        let ranges: [[UInt64]]

        init(_ set: SequenceSet) {
            rows = set.count
            sequences = set.text()
            ranges = set.ranges.map { [$0.lowerBound, $0.upperBound] }
        }
    }

    struct Result: Encodable {
        let table: String
        let writer: String
        let rows: UInt64
        /// Distinct rows of the spool that ClickHouse has.
        let present: UInt64
        let missing: Part
        let duplicate: Part
        /// In ClickHouse under this writer's id, with sequences that the spool never published.
        let unknown: Part
        let pending: Part
        let expired: Part
        let quarantined: Part
        let problems: [String]

        var isClean: Bool { missing.rows == 0 && duplicate.rows == 0 && unknown.rows == 0 && quarantined.rows == 0 && problems.isEmpty }
    }

    let spool: SpoolDirectory
    let table: String
    let checkpoints: String
    let server: ClickHouse
    let times: (from: Int64, to: Int64)
    private static let bucketRows: UInt64 = 65_536

    /// What the spool says it has.
    private struct Inventory {
        var rows = SequenceSet()
        /// All chunks that may hold expired rows.
        var chunks: [(path: String, chunk: LocatedChunk)] = []
        var end: UInt64 = 1
        var problems: [String] = []
    }

    func run() throws -> Result {
        let inventory = try takeInventory()
        let isRestricted = times.from != .min || times.to != .max
        guard let target = TargetTable(answer: try server.query(TargetTable.query(table))) else {
            throw CommandFailure("table \(table) is not in ClickHouse; run `spool-loader migrate apply`", code: 74)
        }
        var present = SequenceSet()
        var duplicate = SequenceSet()
        var unknown = SequenceSet()
        for bucket in try buckets() {
            let (start, overflow) = bucket.index.multipliedReportingOverflow(by: Self.bucketRows)
            guard !overflow else { throw CommandFailure("ClickHouse at \(server.url): bucket \(bucket.index) is none", code: 74) }
            // The very last sequence has no range of its own; no writer comes near it.
            let range = start..<(start > .max - Self.bucketRows ? .max : start + Self.bucketRows)
            let expected = inventory.rows.intersection(range)
            if bucket.count == bucket.distinct, bucket.count == expected.count, let first = expected.ranges.first,
                let last = expected.ranges.last, expected.ranges.count == 1, bucket.least == first.lowerBound,
                bucket.most == last.upperBound - 1
            {
                present.insert(first)
                continue
            }
            let (found, doubled) = try fetch(range)
            present = SequenceSet(present.ranges + found.intersection(expected).ranges)
            duplicate = SequenceSet(duplicate.ranges + doubled.ranges)
            if !isRestricted {
                // What was pruned from the spool is not unknown: only what it never published is.
                let beyond = found.intersection(max(inventory.end, range.lowerBound)..<max(inventory.end, range.upperBound))
                unknown = SequenceSet(unknown.ranges + beyond.ranges)
            }
        }
        if isRestricted { duplicate = duplicate.intersection(inventory.rows) }
        var absent = inventory.rows.subtracting(present)
        let quarantined = absent.intersection(
            SequenceSet(try CheckpointStore.quarantined(directory: checkpoints, writer: spool.writer, table: table)))
        absent = absent.subtracting(quarantined)
        var pending = SequenceSet()
        // A loader that has tables of this spool, but not yet this one, has not come to it.
        let checkpoint = try CheckpointStore.peek(directory: checkpoints, writer: spool.writer, table: table)
        if let next = checkpoint?.next ?? (Directory.exists("\(checkpoints)/\(spool.writer)") ? 0 : nil) {
            pending = absent.intersection(min(next, inventory.end)..<inventory.end)
            absent = absent.subtracting(pending)
        }
        let expired = try expired(absent, inventory, target)
        return Result(
            table: table, writer: spool.writer, rows: inventory.rows.count, present: present.count,
            missing: Part(absent.subtracting(expired)), duplicate: Part(duplicate), unknown: Part(unknown), pending: Part(pending),
            expired: Part(expired), quarantined: Part(quarantined), problems: inventory.problems)
    }

    /// Every durable row, by the chunk headers: an index could hide what is between.
    private func takeInventory() throws -> Inventory {
        var inventory = Inventory()
        let tail = SpoolTail(spool: spool, table: table, mayQuarantineShort: false)
        try tail.refresh()
        var position = TailPosition(segmentNumber: 0, offset: 0, next: 0)
        while true {
            switch try tail.item(at: position) {
            case .chunk(let chunk, let segment):
                let header = chunk.header
                if header.maxEventTime >= times.from, header.minEventTime < times.to {
                    inventory.rows.insert(header.firstSequence..<header.endSequence)
                    inventory.chunks.append((spool.path(of: segment.name, table: table), chunk))
                }
                position = TailPosition(segmentNumber: segment.name.number, offset: chunk.end, next: header.endSequence)
            case .move(let next): position = next
            case .lost(let rows, let then):
                inventory.rows.insert(rows)
                inventory.problems.append(
                    "rows \(rows.lowerBound) to \(rows.upperBound - 1) were lost in the spool, as a segment's header declares")
                position = then
            case .damaged(let damage):
                // Published once, so they count; whether ClickHouse has them shows.
                inventory.rows.insert(damage.rows)
                position = damage.then
            case .end:
                inventory.end = max(position.next, 1)
                return inventory
            case .notHereYet(let why), .stop(let why):
                inventory.end = max(position.next, 1)
                inventory.problems.append(why)
                return inventory
            }
        }
    }

    private struct Bucket {
        let index: UInt64
        let count: UInt64
        let distinct: UInt64
        let least: UInt64
        let most: UInt64
    }

    private func buckets() throws(CommandFailure) -> [Bucket] {
        let sequence = TableSchema.sequenceColumn
        let answer = try server.query(
            """
            SELECT intDiv(\(sequence), \(Self.bucketRows)) AS bucket, count(), uniqExact(\(sequence)), min(\(sequence)), max(\(sequence)) \
            FROM \(quotedIdentifier(table)) WHERE \(TableSchema.writerColumn) = \(quotedString(spool.writer)) \
            GROUP BY bucket ORDER BY bucket FORMAT TSV
            """)
        return String(decoding: answer, as: UTF8.self).split(separator: "\n").compactMap { line in
            let numbers = line.split(separator: "\t").compactMap { UInt64($0) }
            guard numbers.count == 5 else { return nil }
            return Bucket(index: numbers[0], count: numbers[1], distinct: numbers[2], least: numbers[3], most: numbers[4])
        }
    }

    /// The sequences that are there, and those of them that are there more than once.
    private func fetch(_ range: Range<UInt64>) throws(CommandFailure) -> (found: SequenceSet, doubled: SequenceSet) {
        let sequence = TableSchema.sequenceColumn
        let body = try server.query(
            """
            SELECT \(sequence) FROM \(quotedIdentifier(table)) WHERE \(TableSchema.writerColumn) = \(quotedString(spool.writer)) \
            AND \(sequence) >= \(range.lowerBound) AND \(sequence) < \(range.upperBound) ORDER BY \(sequence) FORMAT RowBinary
            """)
        var found: [Range<UInt64>] = []
        var doubled: [Range<UInt64>] = []
        var previous: UInt64?
        for value in sequences(body) where value < .max {
            if value == previous {
                if doubled.last?.lowerBound != value { doubled.append(value..<value + 1) }
            } else if let last = found.last, last.upperBound == value {
                found[found.count - 1] = last.lowerBound..<value + 1
            } else {
                found.append(value..<value + 1)
            }
            previous = value
        }
        return (SequenceSet(found), SequenceSet(doubled))
    }

    /// Those of the absent rows that are older than the target's TTL.
    private func expired(_ absent: SequenceSet, _ inventory: Inventory, _ target: TargetTable) throws -> SequenceSet {
        guard let limit = target.engine.retention?.expired(at: Clock.now()), !absent.isEmpty else { return SequenceSet() }
        var expired: [Range<UInt64>] = []
        for (path, chunk) in inventory.chunks where chunk.header.minEventTime <= limit {
            let header = chunk.header
            let rows = absent.intersection(header.firstSequence..<header.endSequence)
            if rows.isEmpty { continue }
            if header.maxEventTime <= limit {
                expired += rows.ranges
                continue
            }
            let reader = try SegmentReader(path: path)
            let times = try reader.block(of: chunk).columns[reader.header.eventTimeColumn]
            for sequence in rows.ranges.joined() where times.integer(Int(sequence - header.firstSequence)) <= Int128(limit) {
                expired.append(sequence..<sequence + 1)
            }
        }
        return SequenceSet(expired)
    }
}
