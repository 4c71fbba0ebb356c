import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// Brings one table's rows to ClickHouse: at most one request at a time, one batch after the other.
///
/// It acts; what to do with a batch `BatchMachine` decides, what stands in the spool `SpoolTail`.
final class TableLoader {
    /// The batch in work.
    private struct Work {
        var machine: BatchMachine
        let batch: Batch
        let body: [UInt8]
        let checksum: UInt32
    }

    /// What the loader of this table is doing, for the loop.
    enum Status: Equatable {
        /// ``step(now:)`` would go on at once.
        case ready
        /// Everything durable was dealt with at the last look.
        case drained
        case working
        /// There is more to load, but other tables come first.
        case held
        /// It goes on by itself at that time, nanoseconds of the monotonic clock.
        case waiting(until: Int64)
        /// A person must act first.
        case stopped(String)
    }

    let table: String
    let tableClass: TableClass
    private(set) var status = Status.ready
    /// Failures of requests since the last success.
    private(set) var failures = 0
    private(set) var lastProblem = ""

    private let tail: SpoolTail
    private let planner: BatchPlanner
    private let store: CheckpointStore
    private let server: ClickHouse
    private let log: Logger
    private let linger: Int64
    private var backoff: Backoff
    private var random = SystemRandomNumberGenerator()
    private var position: TailPosition
    private var target: TargetTable?
    private var work: Work?
    /// Until it was asked, ClickHouse may have rows that the checkpoint does not know of: it may be new, or an old copy.
    private var mayHaveMoreThere = true
    /// Since when it has been waiting for tables that come first.
    private var heldSince: Int64?
    private var lastSend: Int64?
    private var lastLogged: (text: String, at: Int64) = ("", 0)
    private static let lookAgainAfter: Int64 = 1_000_000_000
    private static let repeatLogAfter: Int64 = 30_000_000_000

    /// Takes the table's checkpoint.
    ///
    /// - Parameter once: whether the loader ends when everything is loaded, so must not wait for a copy in progress.
    init(
        table: String, spool: SpoolDirectory, configuration: Configuration, server: ClickHouse, log: Logger, once: Bool
    ) throws {
        self.table = table
        tableClass = configuration.tableClass(of: table)
        self.server = server
        var log = log
        log[metadataKey: "table"] = "\(table)"
        self.log = log
        tail = SpoolTail(spool: spool, table: table, mayQuarantineShort: !once)
        planner = BatchPlanner(
            tail: tail,
            limits: BatchLimits(rows: configuration.count("loader.batch_rows"), bytes: configuration.bytes("loader.batch_bytes")))
        store = try CheckpointStore(directory: configuration.required("loader.checkpoints"), writer: spool.writer, table: table)
        linger = configuration.duration("loader.linger")
        backoff = Backoff(first: configuration.duration("loader.backoff"), cap: configuration.duration("loader.backoff_max"))
        let checkpoint = store.checkpoint
        position = TailPosition(segmentNumber: checkpoint.segmentNumber, offset: checkpoint.offset, next: checkpoint.next)
    }

    var checkpoint: Checkpoint { store.checkpoint }
    /// Whether what it waits for is not in the spool yet.
    private(set) var isWaitingForCopy = false

    /// Records a success that came while the loader was stopping.
    func settle() {
        guard status == .ready, let work, case .finish(let loaded, let expired) = work.machine.action() else { return }
        try? finish(work, loaded: loaded, expired: expired)
    }

    /// How this table counts for the order in which tables are drained.
    var drainState: DrainOrder.TableState {
        let end = tail.mark?.durableEnd ?? 0
        return DrainOrder.TableState(
            tableClass: tableClass, outstanding: end > store.checkpoint.next ? end - store.checkpoint.next : 0,
            makesProgress: makesProgress)
    }

    private var makesProgress: Bool {
        switch status {
        case .ready, .working, .waiting: failures == 0 && !isWaitingForCopy
        case .drained, .held, .stopped: false
        }
    }

    /// Looks for something to do and begins it. Cheap when there is nothing.
    ///
    /// - Parameter mayBegin: whether it may begin a new batch; one that was begun is always brought to its end.
    func step(now: Int64, mayBegin: Bool = true) {
        switch status {
        case .working, .stopped: return
        case .waiting(let until) where now < until: return
        case .waiting, .ready, .drained, .held: status = .ready
        }
        isWaitingForCopy = false
        do {
            // One finished batch leads straight to the next.
            while status == .ready {
                if work == nil { try findWork(now: now, mayBegin: mayBegin) }
                guard work != nil, status == .ready else { return }
                if target == nil { return askTarget() }
                if mayHaveMoreThere && store.checkpoint.inflight == nil { return askForMoreRows() }
                try act(now: now)
            }
        } catch let failure as IOFailure {
            retry("\(failure)", now: now)
        } catch {
            stop("\(error)")
        }
    }

    // MARK: Finding work

    private func findWork(now: Int64, mayBegin: Bool) throws {
        do {
            try tail.refresh()
        } catch let error as FormatError {
            if error.needsNewerVersion { return stop("\(table)/\(DurableMark.fileName): \(error)") }
            // Being overwritten again and again, or damaged: nothing may be read past a mark that cannot be read.
            return retry("\(table)/\(DurableMark.fileName): \(error)", now: now)
        }
        if let inflight = store.checkpoint.inflight {
            if try planner.isGone(inflight) { return askForGone(inflight) }
            let (batch, body) = try planner.batch(of: inflight)
            log.notice(
                "rows \(inflight.firstSequence) to \(inflight.endSequence - 1) were in flight when the loader ended; asking for them")
            work = Work(
                machine: BatchMachine(resuming: batch.rows, attempt: inflight.attempt), batch: batch,
                body: body, checksum: inflight.checksum)
            return
        }
        while true {
            switch try planner.plan(from: position) {
            case .batch where !mayBegin && now - (heldSince ?? now) < DrainOrder.longestHold:
                heldSince = heldSince ?? now
                status = .held
                return
            case .batch(let batch):
                if let lastSend, now - lastSend < linger {
                    status = .waiting(until: lastSend + linger)
                    return
                }
                heldSince = nil
                if try begin(batch) { return }
            case .other(.move(let next)):
                position = next
            case .other(.damaged(let damage)):
                try quarantine(damage)
            case .other(.lost(let rows, isShed: true, let then)):
                log.warning(
                    "rows \(rows.lowerBound) to \(rows.upperBound - 1) were given up by the writer for want of room, before they could be loaded; system_events says why"
                )
                try advance(to: then) { $0.rowsShed += UInt64(rows.count) }
            case .other(.lost(let rows, isShed: false, let then)):
                log.error(
                    "rows \(rows.lowerBound) to \(rows.upperBound - 1) were lost before they could be loaded; the writer's recovery says so"
                )
                try store.quarantine(
                    rows, segment: SegmentName(number: then.segmentNumber, firstSequence: then.next), offset: 0, bytes: 0,
                    reason: "lost, as the segment's header declares")
                try advance(to: then) { $0.rowsQuarantined += UInt64(rows.count) }
            case .other(.notHereYet(let why)):
                logOnce(.warning, why)
                lastProblem = why
                isWaitingForCopy = true
                status = .waiting(until: now + Self.lookAgainAfter)
                return
            case .other(.stop(let why)):
                return stop(why)
            case .other(.end), .other(.chunk):
                status = .drained
                return
            }
        }
    }

    /// A batch in flight that cannot be read again: what ClickHouse has of it decides.
    private func askForGone(_ inflight: InflightBatch) {
        status = .working
        let sequence = TableSchema.sequenceColumn
        server.query(
            """
            SELECT count(), uniqExact(\(sequence)) FROM \(quotedIdentifier(table)) \
            WHERE \(TableSchema.writerColumn) = \(quotedString(store.checkpoint.writer)) \
            AND \(sequence) >= \(inflight.firstSequence) AND \(sequence) < \(inflight.endSequence) FORMAT TSV
            """
        ) { [self] answer in
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, now: now) }
            guard let found = numbers(inLine: body), found.count == 2 else {
                return retry("an answer that is no count: \(String(decoding: body.prefix(100), as: UTF8.self))", now: now)
            }
            do {
                try settle(inflight, present: found[0], distinct: found[1])
            } catch {
                retry("\(error)", now: now)
            }
        }
    }

    private func settle(_ inflight: InflightBatch, present: UInt64, distinct: UInt64) throws {
        let before = TailPosition(
            segmentNumber: inflight.segmentNumber, offset: inflight.fromOffset, next: inflight.firstSequence)
        let after = TailPosition(segmentNumber: inflight.segmentNumber, offset: inflight.toOffset, next: inflight.endSequence)
        var isDeclared = false
        if case .lost(let rows, _, _) = try tail.item(at: before) { isDeclared = rows.upperBound >= inflight.endSequence }
        let rows = "rows \(inflight.firstSequence) to \(inflight.endSequence - 1) were in flight and are not in the spool any more"
        switch GoneBatch(inflight, present: present, distinct: distinct, isDeclared: isDeclared) {
        case .loaded:
            log.notice("\(rows): ClickHouse has them")
            try advance(to: after) { $0.rowsLoaded += inflight.rows }
        case .absent:
            log.notice("\(rows): ClickHouse has none of them")
            try advance(to: before) { _ in }
        case .stop(let why): return stop("\(table): \(why)")
        }
        batchFinished()
        succeeded()
    }

    /// Reads and checks a batch and makes it the work.
    ///
    /// - Returns: false if its first chunk was damaged and is quarantined now.
    private func begin(_ batch: Batch) throws -> Bool {
        let (body, sound, error) = try planner.read(batch)
        if let error, sound == 0 {
            try quarantine(tail.damage(of: batch.chunks[0], in: batch.segment, error))
            return false
        }
        let usable = sound == batch.chunks.count ? batch : Batch(segment: batch.segment, chunks: Array(batch.chunks[..<sound]))
        let bytes = Array(body[..<Int(usable.to - usable.from)])
        work = Work(
            machine: BatchMachine(rows: usable.rows), batch: usable, body: bytes,
            checksum: bytes.withUnsafeBytes { crc32c($0) })
        return true
    }

    private func quarantine(_ damage: TailItem.Damage) throws {
        let rows = damage.rows.isEmpty ? "no rows" : "rows \(damage.rows.lowerBound) to \(damage.rows.upperBound - 1)"
        log.error("quarantined \(rows): \(table)/\(damage.segment) at \(damage.offset): \(damage.reason)")
        try store.quarantine(
            damage.rows, segment: damage.segment, offset: damage.offset, bytes: damage.bytes, reason: damage.reason)
        try advance(to: damage.then) { $0.rowsQuarantined += UInt64(damage.rows.count) }
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

    // MARK: The target

    private func askTarget() {
        status = .working
        server.query(TargetTable.query(table)) { [self] answer in
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, now: now) }
            guard let found = TargetTable(answer: body) else {
                return retry("table \(table) is not in ClickHouse; run `spool-loader migrate apply`", now: now)
            }
            if let columns = work?.batch.segment.reader.header.columns, let complaint = found.complaint(about: columns) {
                return retry(complaint, now: now)
            }
            if !found.deduplicates {
                logOnce(
                    .warning, "ClickHouse deduplicates nothing here (non_replicated_deduplication_window is 0); relying on counting alone")
            }
            target = found
            succeeded()
        }
    }

    /// A checkpoint that was lost, or replaced by an old copy, must not double what was loaded since: if ClickHouse has the next
    /// rows without a gap, loading goes on behind them. Asked once after each start.
    private func askForMoreRows() {
        guard let first = work?.batch.firstSequence else { return }
        status = .working
        let sequence = TableSchema.sequenceColumn
        server.query(
            """
            SELECT count(), uniqExact(\(sequence)), min(\(sequence)), max(\(sequence)) FROM \(quotedIdentifier(table)) \
            WHERE \(TableSchema.writerColumn) = \(quotedString(store.checkpoint.writer)) AND \(sequence) >= \(first) FORMAT TSV
            """
        ) { [self] answer in
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, now: now) }
            guard let found = numbers(inLine: body), found.count == 4 else {
                return retry("an answer that is no count: \(String(decoding: body.prefix(100), as: UTF8.self))", now: now)
            }
            mayHaveMoreThere = false
            succeeded()
            if found[0] > 0 { adopt(count: found[0], distinct: found[1], least: found[2], most: found[3], first: first) }
        }
    }

    private func adopt(count: UInt64, distinct: UInt64, least: UInt64, most: UInt64, first: UInt64) {
        do {
            guard count == distinct, least == first, most >= least, most < .max, most - least == count - 1,
                let next = try tail.position(of: most + 1, from: position)
            else {
                return stop(
                    "the checkpoint says that sequence \(first) is next, but ClickHouse has \(count) rows of this writer from there on, sequences "
                        + "\(least) to \(most), and they are not simply the next ones; restore the right checkpoint, or see with "
                        + "`spool-loader audit` what is missing")
            }
            work = nil
            try advance(to: next) { $0.rowsLoaded += count }
            log.warning(
                "ClickHouse has rows \(least) to \(most), of which the checkpoint does not know: it is new, or an old copy; going on behind them"
            )
        } catch {
            stop("\(error)")
        }
    }

    // MARK: The batch

    private func act(now: Int64) throws {
        guard let work else { return }
        switch work.machine.action() {
        case .send(let attempt): try send(work, attempt: attempt, now: now)
        case .count: count(work)
        case .compare: compare(work)
        case .finish(let loaded, let expired): try finish(work, loaded: loaded, expired: expired)
        case .stop(let why): stop(why)
        }
    }

    private func send(_ work: Work, attempt: Int, now: Int64) throws {
        let inflight = work.batch.inflight(checksum: work.checksum, attempt: attempt)
        if store.checkpoint.inflight != inflight {
            // Durable before the first byte leaves: after a crash the same range is asked for, never cut differently.
            var checkpoint = store.checkpoint
            checkpoint.segmentNumber = work.batch.segment.name.number
            checkpoint.offset = work.batch.from
            checkpoint.inflight = inflight
            try store.save(checkpoint)
        }
        self.work?.machine.sendBegins()
        status = .working
        lastSend = now
        server.insert(
            BytesBody(work.body), table: table, columns: work.batch.segment.reader.header.columns,
            token: inflight.token(writer: store.checkpoint.writer, table: table)
        ) { [self] answer in
            switch answer {
            case .ok:
                self.work?.machine.sendSucceeded()
                succeeded()
            case .unreachable:
                self.work?.machine.sendNeverLeft()
                failed(answer, now: Clock.monotonic())
            case .exception, .doubt:
                self.work?.machine.sendDoubtful()
                failed(answer, now: Clock.monotonic())
            }
        }
    }

    /// The rows of the batch in ClickHouse, by who wrote them and their numbers; the event time lets it skip partitions.
    private func range(_ work: Work) -> String {
        let header = work.batch.segment.reader.header
        let time = quotedIdentifier(header.columns[header.eventTimeColumn].name)
        return """
            FROM \(quotedIdentifier(table)) WHERE \(TableSchema.writerColumn) = \(quotedString(header.writer)) \
            AND \(TableSchema.sequenceColumn) >= \(work.batch.firstSequence) AND \(TableSchema.sequenceColumn) < \(work.batch.endSequence) \
            AND \(time) >= fromUnixTimestamp64Nano(\(work.batch.minEventTime), 'UTC') AND \(time) <= fromUnixTimestamp64Nano(\(work.batch.maxEventTime), 'UTC')
            """
    }

    private func count(_ work: Work) {
        status = .working
        server.query("SELECT count(), uniqExact(\(TableSchema.sequenceColumn)) \(range(work)) FORMAT TSV") { [self] answer in
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, now: now) }
            guard let numbers = numbers(inLine: body), numbers.count == 2 else {
                return retry("an answer that is no count: \(String(decoding: body.prefix(100), as: UTF8.self))", now: now)
            }
            log.info(
                "asked for rows \(work.batch.firstSequence) to \(work.batch.endSequence - 1): \(numbers[0]) of \(work.batch.rows) are there"
            )
            self.work?.machine.counted(present: numbers[0], distinct: numbers[1], isWhollyExpired: isWhollyExpired(work))
            succeeded()
        }
    }

    private func isWhollyExpired(_ work: Work) -> Bool {
        target?.engine.retention.map { work.batch.maxEventTime <= $0.expired(at: Clock.now()) } ?? false
    }

    private func compare(_ work: Work) {
        status = .working
        server.query("SELECT \(TableSchema.sequenceColumn) \(range(work)) FORMAT RowBinary") { [self] answer in
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, now: now) }
            let present = Set(sequences(body))
            do {
                let expiry = target?.engine.retention?.expired(at: Clock.now()) ?? .min
                var missing: UInt64 = 0
                var expired: UInt64 = 0
                for chunk in work.batch.chunks {
                    let block = try work.batch.segment.reader.block(of: chunk)
                    let times = block.columns[work.batch.segment.reader.header.eventTimeColumn]
                    for row in 0..<block.rows where !present.contains(chunk.header.firstSequence + UInt64(row)) {
                        missing += 1
                        if times.integer(row) <= Int128(expiry) { expired += 1 }
                    }
                }
                self.work?.machine.compared(missing: missing, expired: expired)
                succeeded()
            } catch {
                stop("\(error)")
            }
        }
    }

    private func finish(_ work: Work, loaded: UInt64, expired: UInt64) throws {
        if expired > 0 {
            log.warning(
                "\(expired) of rows \(work.batch.firstSequence) to \(work.batch.endSequence - 1) are older than the table's TTL: expired")
        }
        try advance(to: work.batch.end) {
            $0.rowsLoaded += loaded
            $0.rowsExpired += expired
        }
        self.work = nil
        batchFinished()
        status = .ready
    }

    // MARK: Outcomes

    /// A request was answered well. Only a finished batch ends the backing off: an insert that is refused for ever would else be tried
    /// for ever at full speed, since the questions between are answered.
    private func succeeded() { status = .ready }

    private func batchFinished() {
        if failures > 0 { log.notice("goes on after \(failures) failures; the last was: \(lastProblem)") }
        failures = 0
        backoff.reset()
    }

    private func failed(_ answer: ServerAnswer, now: Int64) {
        if case .unreachable = answer { server.useNextServer() }
        // What the table is like may have been the cause, and may change while it is mended.
        target = nil
        retry("\(server.url): \(answer.problem)", now: now)
    }

    private func retry(_ problem: String, now: Int64) {
        failures += 1
        lastProblem = problem
        let wait = backoff.next(random: &random)
        status = .waiting(until: now + wait)
        logOnce(.error, "\(problem); tries again, nothing is lost")
    }

    private func stop(_ why: String) {
        status = .stopped(why)
        lastProblem = why
        log.critical("stopped: \(why)")
    }

    private func logOnce(_ level: Logger.Level, _ text: String) {
        let now = Clock.monotonic()
        guard text != lastLogged.text || now - lastLogged.at >= Self.repeatLogAfter else { return }
        lastLogged = (text, now)
        log.log(level: level, "\(text)")
    }
}

/// The numbers of a TSV answer of exactly one line; nil if anything else stands there, such as an error that came late.
func numbers(inLine body: [UInt8]) -> [UInt64]? {
    guard body.last == 0x0A else { return nil }
    let fields = String(decoding: body.dropLast(), as: UTF8.self).split(separator: "\t", omittingEmptySubsequences: false)
    let numbers = fields.compactMap { UInt64($0) }
    return numbers.count == fields.count ? numbers : nil
}

/// The UInt64 values of a RowBinary answer of one such column.
func sequences(_ body: [UInt8]) -> [UInt64] {
    body.withUnsafeBytes { raw in
        (0..<raw.count / 8).map { UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)) }
    }
}
