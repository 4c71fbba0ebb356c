import SpoolFormat
import SpoolIO

/// Compares one table of the spool with ClickHouse, and names every row that is not there once.
struct TableAudit {
    struct Part: Encodable {
        let rows: UInt64
        /// The sequences, for people; at most the first twenty ranges.
        let sequences: String
        private let all: SequenceSet
        /// All of them as `[first, end]`. Made when asked for: every second row of a large table would be a gigabyte of small arrays.
        var ranges: [[UInt64]] { all.ranges.map { [$0.lowerBound, $0.upperBound] } }

        private enum Key: CodingKey {
            case rows, sequences, ranges
        }

        init(_ set: SequenceSet) {
            rows = set.count
            sequences = set.text()
            all = set
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(rows, forKey: .rows)
            try container.encode(sequences, forKey: .sequences)
            try container.encode(ranges, forKey: .ranges)
        }
    }

    struct Result: Encodable {
        let table: String
        let writer: String
        /// The first sequence that the spool still has: rows before it were pruned, and are not compared.
        let firstSequence: UInt64
        /// The sequence after the last durable row.
        let durableEnd: UInt64
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
        /// Given up by the writer for want of room, as the spool declares, and not in ClickHouse.
        let shed: Part
        let problems: [String]

        var isClean: Bool { missing.rows == 0 && duplicate.rows == 0 && unknown.rows == 0 && quarantined.rows == 0 && problems.isEmpty }
    }

    let spool: SpoolDirectory
    let table: String
    let checkpoints: String
    let server: ClickHouse
    let times: (from: Int64, to: Int64)

    func run() throws -> Result {
        let inventory = try AuditInventory.take(of: table, in: spool, times: times)
        guard let target = TargetTable(answer: try server.query(TargetTable.query(table)), wire: server.wire) else {
            throw CommandFailure("table \(table) is not in ClickHouse; run `spool-loader migrate apply`", code: 74)
        }
        // Before ClickHouse is asked: what a running loader brings there meanwhile must not be taken for missing.
        let loaded = try loadedEnd()
        let comparison = try SequenceComparison(
            inventory, table: table, writer: spool.writer, server: server, dialect: target.dialect,
            isRestricted: times.from != .min || times.to != .max)
        var absent = inventory.rows.subtracting(comparison.present)
        let quarantined = absent.intersection(
            try QuarantineList(directory: checkpoints, writer: spool.writer, table: table).outstandingRows())
        absent = absent.subtracting(quarantined)
        var pending = SequenceSet()
        if let loaded {
            pending = absent.intersection(min(loaded, inventory.end)..<inventory.end)
            absent = absent.subtracting(pending)
        }
        let expired = try expired(absent, target)
        return Result(
            table: table, writer: spool.writer, firstSequence: inventory.first, durableEnd: inventory.end, rows: inventory.rows.count,
            present: comparison.present.count, missing: Part(absent.subtracting(expired)), duplicate: Part(comparison.duplicate),
            unknown: Part(try unknown(comparison.beyond)), pending: Part(pending), expired: Part(expired), quarantined: Part(quarantined),
            shed: Part(inventory.shed.subtracting(comparison.presentShed)), problems: inventory.problems)
    }

    /// The sequence up to which the loader has dealt with the rows; nil if no loader has ever looked at this spool.
    private func loadedEnd() throws -> UInt64? {
        if let checkpoint = try CheckpointStore.peek(directory: checkpoints, writer: spool.writer, table: table) { return checkpoint.next }
        // A loader that has tables of this spool, but not yet this one, has not come to it.
        return Directory.exists("\(checkpoints)/\(spool.writer)") ? 0 : nil
    }

    /// Those of the rows behind the spool's end that it has not published since it was looked through, either.
    private func unknown(_ beyond: SequenceSet) throws -> SequenceSet {
        guard let last = beyond.ranges.last else { return beyond }
        let end = (try? spool.mark(of: table))?.durableEnd ?? 1
        return beyond.subtracting(SequenceSet([0..<min(end, last.upperBound)]))
    }

    /// Those of the absent rows that are older than the target's TTL, or of a day that `retain` has dropped.
    private func expired(_ absent: SequenceSet, _ target: TargetTable) throws -> SequenceSet {
        if absent.isEmpty { return SequenceSet() }
        let dropped = try DroppedDays(of: table) { try server.query($0) }
        let limit = target.engine.retention?.expired(at: Clock.now()) ?? .min
        guard limit > .min || !dropped.days.isEmpty else { return SequenceSet() }
        var expired: [Range<UInt64>] = []
        // A second walk, since few audits need one and all chunks of a year are many.
        try AuditInventory.eachChunk(spool, table) { chunk, segment in
            let header = chunk.header
            let isDropped = dropped.hold(header)
            guard isDropped || header.minEventTime <= limit else { return }
            let rows = absent.intersection(header.firstSequence..<header.endSequence)
            if rows.isEmpty { return }
            if isDropped || header.maxEventTime <= limit {
                expired += rows.ranges
                return
            }
            let times = try segment.reader.block(of: chunk).columns[segment.reader.header.eventTimeColumn]
            for sequence in rows.ranges.joined() where times.integer(Int(sequence - header.firstSequence)) <= Int128(limit) {
                expired.append(sequence..<sequence + 1)
            }
        }
        return SequenceSet(expired)
    }
}
