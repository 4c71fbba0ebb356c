import Glibc
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// Loads of one table of a spool what ClickHouse does not have: one batch after the other, each asked for before it is sent.
final class BackfillTable {
    /// What became of the rows, in this run.
    struct Result: Encodable {
        let table: String
        var loaded: UInt64 = 0
        /// Were in ClickHouse before.
        var present: UInt64 = 0
        /// Older than the table's TTL.
        var expired: UInt64 = 0
        /// Cannot be read, or refused by ClickHouse when the loader sent them.
        var quarantined: UInt64 = 0
        /// Why the table was not finished; absent if it was.
        var problem: String?
    }

    private static let lookAgainAfter: Int64 = 1_000_000_000

    private let tail: SpoolTail
    private let planner: BatchPlanner
    private let store: CheckpointStore
    private let server: BackfillServer
    private let range: TimeRange
    private let liveFrom: UInt64?
    private let refused: SequenceSet
    private let patience: Int64
    private let progress: Progress
    private let log: Logger
    private let sender: BatchSender
    private var position: TailPosition
    private(set) var result: Result

    /// Takes the table's checkpoint of this backfill.
    ///
    /// - Parameters:
    ///   - liveFrom: the first sequence that belongs to the loader that runs on this spool; nil if there is none.
    ///   - refused: rows that ClickHouse is known to refuse, which are not sent.
    ///   - patience: how long to wait for a part of the spool that is promised and does not come, nanoseconds.
    init(
        table: String, spool: SpoolDirectory, checkpoints: String, limits: BatchLimits, range: TimeRange, liveFrom: UInt64?,
        refused: SequenceSet, patience: Int64, server: BackfillServer, progress: Progress, log: Logger
    ) throws {
        tail = SpoolTail(spool: spool, table: table, mayQuarantineShort: true)
        planner = BatchPlanner(tail: tail, limits: limits)
        store = try CheckpointStore(directory: checkpoints, writer: spool.writer, table: table)
        self.server = server
        self.range = range
        self.liveFrom = liveFrom
        self.refused = refused
        self.patience = patience
        self.progress = progress
        var log = log
        log[metadataKey: "table"] = "\(table)"
        self.log = log
        result = Result(table: table)
        sender = BatchSender(table: table, server: server)
        let checkpoint = store.checkpoint
        position = TailPosition(segmentNumber: checkpoint.segmentNumber, offset: checkpoint.offset, next: checkpoint.next)
    }

    /// Loads until the end of what is durable, or of what is this backfill's to load.
    ///
    /// - Throws: `BackfillStopped`, and failures of the server that lasted. All else is the result's problem.
    func run() throws -> Result {
        do {
            try sender.askTarget()
            try tail.refresh()
            try resume()
            try load()
        } catch let problem as ProblemOfTable {
            result.problem = problem.description
        } catch let error as FormatError {
            result.problem = "\(error)"
        }
        return result
    }

    // MARK: The spool

    private func load() throws {
        var waitingSince: Int64?
        while true {
            try server.checkStop()
            if let liveFrom, position.next >= liveFrom { return }
            switch try planner.plan(from: position) {
            case .batch(let batch):
                waitingSince = nil
                guard let liveFrom, batch.endSequence > liveFrom else {
                    try load(batch)
                    continue
                }
                let ours = batch.chunks.prefix { $0.header.endSequence <= liveFrom }
                if ours.isEmpty { return }
                try load(Batch(segment: batch.segment, chunks: Array(ours)))
            case .other(.move(let next)): position = try skipped(next) ?? next
            case .other(.damaged(let damage)): try quarantine(damage)
            case .other(.lost(let rows, let isShed, let then)):
                let why = isShed ? "the writer gave them up for want of room" : "they were lost, as a segment's header declares"
                log.warning("rows \(rows.lowerBound) to \(rows.upperBound - 1) are not in the spool any more: \(why)")
                try advance(to: then) { _ in }
            case .other(.notHereYet(let why)):
                let now = Clock.monotonic()
                let since = waitingSince ?? now
                if waitingSince == nil { log.notice("waiting for a copy in progress: \(why)") }
                guard now - since < patience else {
                    throw ProblemOfTable("\(why); waited \(durationText(Double(patience) / 1e9)) for them")
                }
                waitingSince = since
                try server.pause(Self.lookAgainAfter)
                try tail.refresh()
            case .other(.stop(let why)): throw ProblemOfTable(why)
            case .other(.end), .other(.chunk): return
            }
        }
    }

    /// Behind a sealed segment that has no row in the range, without a look at its chunks.
    private func skipped(_ start: TailPosition) throws -> TailPosition? {
        guard range != .everything, start.offset == 0, let segment = try? tail.segment(number: start.segmentNumber),
            let trailer = try? SegmentReader.trailer(of: segment.reader.file), trailer.firstSequence == start.next,
            range.share(min: trailer.minEventTime, max: trailer.maxEventTime) == .none,
            UInt64(clamping: trailer.indexBytes) <= trailer.fileBytes - segment.reader.start
        else { return nil }
        return TailPosition(
            segmentNumber: start.segmentNumber, offset: trailer.fileBytes - UInt64(trailer.indexBytes), next: trailer.endSequence)
    }

    private func quarantine(_ damage: TailItem.Damage) throws {
        let rows = UInt64(damage.rows.count)
        log.error("cannot read \(rows) rows from \(damage.rows.lowerBound) on: \(damage.segment) at \(damage.offset): \(damage.reason)")
        try store.quarantine(
            damage.rows, segment: damage.segment, offset: damage.offset, bytes: damage.bytes, reason: damage.reason)
        try advance(to: damage.then) { $0.rowsQuarantined += rows }
        result.quarantined += rows
        progress.update { $0.rows += rows }
    }

    private func advance(to next: TailPosition, _ change: (inout Checkpoint) -> Void) throws(IOFailure) {
        var checkpoint = store.checkpoint
        checkpoint.segmentNumber = next.segmentNumber
        checkpoint.offset = next.offset
        checkpoint.next = next.next
        checkpoint.inflight = nil
        change(&checkpoint)
        try store.save(checkpoint)
        position = next
    }

    // MARK: A batch

    /// A batch that was in flight when an earlier run ended.
    private func resume() throws {
        guard let inflight = store.checkpoint.inflight else { return }
        if try planner.isGone(inflight) {
            log.warning(
                "rows \(inflight.firstSequence) to \(inflight.endSequence - 1) were in flight when the last run ended, and are not in the spool any more"
            )
            return try advance(to: position) { _ in }
        }
        let (batch, _) = try planner.batch(of: inflight)
        log.notice("rows \(inflight.firstSequence) to \(inflight.endSequence - 1) were in flight when the last run ended; asking for them")
        try load(batch, attempt: inflight.attempt)
    }

    /// Brings what is missing of a batch to ClickHouse, and the checkpoint behind it.
    ///
    /// - Parameter attempt: of an earlier run that may have sent it; nil if it was never sent.
    private func load(_ batch: Batch, attempt: Int? = nil) throws {
        try sender.check(batch)
        let inRange = batch.chunks.filter { range.share(of: $0.header) != .none }
        guard !inRange.isEmpty else { return try advance(to: batch.end) { _ in } }
        let before = try sender.count(batch)
        if before.rows != before.distinct {
            log.warning(
                "of rows \(batch.firstSequence) to \(batch.endSequence - 1) ClickHouse has \(before.rows - before.distinct) doubled; `spool-loader audit` names them"
            )
        }
        if before.distinct == batch.rows, inRange.allSatisfy({ range.share(of: $0.header) == .all }) {
            result.present += rows(of: inRange)
            return try finish(batch, inRange) { _ in }
        }
        let present = before.distinct == 0 ? SequenceSet() : try sender.sequences(batch)
        let (body, sound, error) = try planner.read(batch)
        if let error, sound == 0 { return try quarantine(tail.damage(of: batch.chunks[0], in: batch.segment, error)) }
        guard sound == batch.chunks.count else {
            // What is before the damage now; the damage is then the first of the next batch.
            return try load(Batch(segment: batch.segment, chunks: Array(batch.chunks[..<sound])), attempt: attempt)
        }
        let missing = try missing(of: batch, body, present)
        result.present += missing.present
        result.quarantined += missing.refused
        var (loaded, expired) = (UInt64(0), missing.expired)
        if !missing.sequences.isEmpty {
            let raw = body.withUnsafeBytes { crc32c($0) }
            let sent = try sender.send(missing, of: batch, attempt: attempt, before: before) { try note(batch, checksum: raw, attempt: $0) }
            loaded = sent.loaded
            expired += sent.expired
        }
        result.loaded += loaded
        result.expired += expired
        try finish(batch, inRange) {
            $0.rowsLoaded += loaded
            $0.rowsExpired += expired
        }
    }

    /// Durable before the first byte leaves: after a crash the same bytes go under the same token.
    private func note(_ batch: Batch, checksum: UInt32, attempt: Int) throws {
        let inflight = batch.inflight(checksum: checksum, attempt: attempt)
        if store.checkpoint.inflight == inflight { return }
        var checkpoint = store.checkpoint
        checkpoint.segmentNumber = batch.segment.name.number
        checkpoint.offset = batch.from
        checkpoint.inflight = inflight
        try store.save(checkpoint)
    }

    private func rows(of chunks: [LocatedChunk]) -> UInt64 { chunks.reduce(0) { $0 + UInt64($1.header.rows) } }

    private func finish(_ batch: Batch, _ inRange: [LocatedChunk], _ change: (inout Checkpoint) -> Void) throws {
        try advance(to: batch.end, change)
        server.succeeded()
        progress.update {
            $0.rows += rows(of: inRange)
            $0.bytes += inRange.reduce(0) { $0 + $1.end - $1.offset }
        }
    }

    /// The rows of the batch that are in the range, not expired, and not in ClickHouse: whole chunks as they lie in the segment, of others a slice.
    private func missing(of batch: Batch, _ body: [UInt8], _ present: SequenceSet) throws -> MissingRows {
        let expiry = sender.expiry
        let segment = batch.segment.reader.header
        var missing = MissingRows()
        if present.isEmpty, batch.minEventTime > expiry, refused.intersection(batch.firstSequence..<batch.endSequence).isEmpty,
            batch.chunks.allSatisfy({ range.share(of: $0.header) == .all })
        {
            missing.body = body
            missing.sequences.insert(batch.firstSequence..<batch.endSequence)
            missing.latest = batch.maxEventTime
            return missing
        }
        for chunk in batch.chunks {
            let header = chunk.header
            let share = range.share(of: header)
            if share == .none { continue }
            let sequences = header.firstSequence..<header.endSequence
            let there = present.intersection(sequences)
            let bad = refused.intersection(sequences)
            let start = Int(chunk.offset - batch.from)
            if share == .all, there.isEmpty, bad.isEmpty, header.minEventTime > expiry {
                missing.body += body[start..<Int(chunk.end - batch.from)]
                missing.sequences.insert(sequences)
                missing.latest = max(missing.latest, header.maxEventTime)
                continue
            }
            let block = try body[Int(chunk.dataOffset - batch.from)..<Int(chunk.end - batch.from)].withUnsafeBytes {
                try ChunkCheck.decode($0, header: header, segment: segment)
            }
            let times = block.columns[segment.eventTimeColumn]
            let known = Set(there.ranges.joined())
            let unwanted = Set(bad.ranges.joined())
            var rows: [Int] = []
            for row in range.rows(of: block, eventTimeColumn: segment.eventTimeColumn) {
                let sequence = header.firstSequence + UInt64(row)
                let time = Int64(truncatingIfNeeded: times.integer(row))
                if known.contains(sequence) {
                    missing.present += 1
                } else if unwanted.contains(sequence) {
                    missing.refused += 1
                } else if time <= expiry {
                    missing.expired += 1
                } else {
                    rows.append(row)
                    missing.sequences.insert(sequence..<sequence + 1)
                    missing.latest = max(missing.latest, time)
                }
            }
            if !rows.isEmpty { missing.body += try BlockSlice.frame(of: block, rows: rows) }
        }
        return missing
    }
}
