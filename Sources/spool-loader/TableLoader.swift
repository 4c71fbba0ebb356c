import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolStatus

/// Brings one table's rows to ClickHouse: a lane of its own, with several batches on their way where their order does not matter.
///
/// It acts; what to do with a batch `BatchMachine` decides, what stands in the spool `SpoolTail`. The checkpoint passes batches in the order of
/// their rows; until then they are noted in it as in flight (`FlightList`).
final class TableLoader {
    /// What the loader of this table is doing, for the loop.
    enum Status: Equatable {
        /// ``step(now:mayBegin:)`` would go on at once.
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
    var status = Status.ready
    /// Failures of requests since the last batch that came to its end.
    private(set) var failures = 0
    var lastProblem = ""
    /// Whether what it waits for is not in the spool yet.
    var isWaitingForCopy = false
    /// Whether only a person can mend what it fails at.
    private(set) var needsPerson = false
    var meters = LoadMeters()
    /// What became of rows since the start.
    var tally = LoadTally()

    // What follows is for the lane alone, which is in several files: planning, requests, refusals.
    let tail: SpoolTail
    var planner: BatchPlanner
    let reader: BatchReader
    let store: CheckpointStore
    let server: ClickHouse
    let log: Logger
    let scope: LoadScope
    let settings: LaneSettings
    var pace: BatchPace
    private var backoff: Backoff
    private var random = SystemRandomNumberGenerator()

    /// What the checkpoint is to say; saved before anything is sent that depends on it.
    var wanted: Checkpoint
    var flights = FlightList()
    /// Batches in flight of the checkpoint whose bytes are not in the spool any more.
    var gone: [InflightBatch] = []
    private var isResumed = false
    /// ClickHouse partitions the table in another way than the spool's batches are cut: a batch may be there partly.
    var hasOtherPartitions = false
    var target: TargetTable? {
        didSet { (applied, fits) = (nil, [:]) }
    }
    /// ClickHouse's history of migrations; nil if it has none, or was not asked for it since it was asked for the table.
    var applied: AppliedSchemas?
    /// How rows go into the table, by the fingerprint of their columns.
    var fits: [UInt64: SentColumns] = [:]
    /// Where it was asked for: servers may differ, also in what they know.
    var targetURL = ""
    /// What the log says of it, once.
    var toldDialect: Dialect?
    /// Of inserts of an earlier run that no flight stands for, until it is known that none is under way in a server without tokens.
    var settlingOfOthers: Settling? = Settling()
    /// Until it was asked, ClickHouse may have rows that the checkpoint does not know of: it may be new, or an old copy.
    var mayHaveMoreThere = true
    /// A question is under way on which everything else waits.
    var isAsking = false
    var pausedUntil: Int64?
    var refusedRows = 0
    /// Since when it has been waiting for tables that come first.
    var heldSince: Int64?
    var repeated: RepeatedLog
    static let lookAgainAfter: Int64 = 1_000_000_000

    /// Takes the table's checkpoint.
    ///
    /// - Parameters:
    ///   - reader: may be shared by all tables of a thread.
    ///   - once: whether the loader ends when everything is loaded, so must not wait for a copy in progress.
    init(
        table: String, spool: SpoolDirectory, configuration: Configuration, server: ClickHouse, log: Logger, once: Bool,
        reader: BatchReader = BatchReader(), scope: LoadScope = .everything
    ) throws {
        self.table = table
        tableClass = configuration.tableClass(of: table)
        self.server = server
        self.reader = reader
        self.scope = scope
        var log = log
        log[metadataKey: "table"] = "\(table)"
        self.log = log
        repeated = RepeatedLog(log)
        tail = SpoolTail(spool: spool, table: table, mayQuarantineShort: !once)
        settings = LaneSettings(configuration)
        pace = BatchPace(
            limits: BatchLimits(rows: configuration.count("loader.batch_rows"), bytes: configuration.bytes("loader.batch_bytes")),
            linger: configuration.duration("loader.linger"))
        planner = BatchPlanner(tail: tail, limits: pace.limits, times: scope.times, selection: scope.sequences, dropped: scope.dropped)
        store = try CheckpointStore(
            directory: scope.checkpoints ?? configuration.required("loader.checkpoints"), writer: spool.writer, table: table)
        backoff = Backoff(first: configuration.duration("loader.backoff"), cap: configuration.duration("loader.backoff_max"))
        wanted = store.checkpoint
        wanted.inflight = []
        mayHaveMoreThere = !scope.asksFirst
    }

    var checkpoint: Checkpoint { store.checkpoint }

    /// Rows that were passed over and are not in ClickHouse yet.
    var quarantinedRows: UInt64 {
        guard store.checkpoint.rowsQuarantined > 0 else { return 0 }
        return (try? store.quarantine.outstandingRows().count) ?? store.checkpoint.rowsQuarantined
    }

    /// Rows that are durable and not loaded, as far as the last look saw.
    var outstanding: UInt64 {
        let end = tail.mark?.durableEnd ?? 0
        return end > store.checkpoint.next ? end - store.checkpoint.next : 0
    }

    /// How this table counts for the order in which tables are drained.
    var drainState: DrainOrder.TableState {
        DrainOrder.TableState(tableClass: tableClass, outstanding: outstanding, makesProgress: makesProgress)
    }

    private var makesProgress: Bool {
        switch status {
        case .ready, .working, .waiting: failures == 0 && !isWaitingForCopy
        case .drained, .held, .stopped: false
        }
    }

    /// Records successes that came while the loader was stopping.
    func settle() {
        if case .stopped = status { return }
        for flight in flights.flights where flight.outcome == nil && !flight.isWorking {
            if case .finish(let loaded, let expired) = flight.machine.action() { flight.outcome = .loaded(loaded, expired: expired) }
        }
        passFinished()
        try? saveIfChanged()
    }

    /// Whether ``step(now:mayBegin:)`` would do something though no new rows are there.
    ///
    /// - Parameter hasNews: whether a request of any table has ended.
    func hasToAct(now: Int64, hasNews: Bool) -> Bool {
        switch status {
        case .ready: true
        case .held: hasNews
        case .waiting(let until): now >= until
        case .drained, .working, .stopped: false
        }
    }

    /// How long a loop may wait before one of its tables goes on by itself.
    ///
    /// - Parameter atMost: nanoseconds.
    static func milliseconds(of statuses: [Status], atMost: Int64, now: Int64) -> Int32 {
        var wait = atMost
        for status in statuses {
            switch status {
            case .waiting(let until): wait = min(wait, until - now)
            case .ready: wait = 0
            // What it waits for ends with a request, of this table or another one, or at the next look.
            case .working, .held, .drained, .stopped: break
            }
        }
        return Int32(max(0, (wait + 999_999) / 1_000_000))
    }

    /// Looks for something to do and begins it. Cheap when there is nothing.
    ///
    /// - Parameter mayBegin: whether it may begin new batches; those that were begun are always brought to their end.
    func step(now: Int64, mayBegin: Bool = true) {
        if case .stopped = status { return }
        if let pausedUntil, now < pausedUntil {
            status = .waiting(until: pausedUntil)
            return
        }
        pausedUntil = nil
        if isAsking {
            status = .working
            return
        }
        isWaitingForCopy = false
        do {
            let rest = try work(now: now, mayBegin: mayBegin)
            if case .stopped = status { return }
            status = pausedUntil.map { .waiting(until: $0) } ?? (isAsking ? .working : rest)
        } catch let failure as IOFailure {
            pause(for: "\(failure)", now: now)
        } catch let fence as FencedOff {
            stop("\(fence)")
        } catch {
            stop("\(error)")
        }
    }

    /// - Returns: what the lane does until something happens.
    private func work(now: Int64, mayBegin: Bool) throws -> Status {
        // Where nothing can be begun, nothing new need be known.
        guard try isResumed && isFull || refreshed(now: now) else { return .working }
        if !isResumed { try resume(now: now) }
        if targetURL != server.url { target = nil }
        if target == nil, !flights.isEmpty || !gone.isEmpty {
            askTarget()
            return .working
        }
        // In the order of their rows: the checkpoint passes one after the other.
        if let batch = gone.first, flights.first.map({ $0.batch.firstSequence > batch.firstSequence }) ?? true {
            askForGone(batch)
            return .working
        }
        var toSend = try actOnFlights(now: now)
        passFinished()
        let rest = try refill(now: now, mayBegin: mayBegin, &toSend)
        // Before the intent is saved: what is too large for this server is cut differently.
        let count = toSend.count
        if pausedUntil == nil { toSend = try toSend.filter { try prepare($0, now: now) } }
        try saveIfChanged()
        if case .stopped = status { return status }
        if pausedUntil == nil { for flight in toSend { send(flight, now: now) } }
        return toSend.count < count ? .ready : status(rest)
    }

    /// What the lane does until something happens, if it has nothing to begin.
    func status(_ rest: Status) -> Status {
        let wakes = flights.flights.compactMap(\.waitsUntil).min()
        switch rest {
        case .working, .held: return wakes.map { .waiting(until: $0) } ?? rest
        case .drained: return flights.isEmpty ? .drained : wakes.map { .waiting(until: $0) } ?? .working
        case .waiting(let until): return .waiting(until: min(until, wakes ?? until))
        case .ready, .stopped: return rest
        }
    }

    /// Looks anew at what is durable.
    private func refreshed(now: Int64) throws -> Bool {
        do {
            try tail.refresh()
            return true
        } catch let error as FormatError {
            if error.needsNewerVersion {
                stop("\(table)/\(DurableMark.fileName): \(error)")
            } else {
                // Being overwritten again and again, or damaged: nothing may be read past a mark that cannot be read.
                pause(for: "\(table)/\(DurableMark.fileName): \(error)", now: now)
            }
            return false
        }
    }

    // MARK: Flights

    /// Batches that the checkpoint notes as in flight are asked for first.
    private func resume(now: Int64) throws {
        var resumed: [Flight] = []
        var gone: [InflightBatch] = []
        for inflight in store.checkpoint.inflight {
            if try planner.isGone(inflight) {
                gone.append(inflight)
            } else if let (batch, checked) = try batchInFlight(inflight) {
                log.notice(
                    "rows \(inflight.firstSequence) to \(inflight.endSequence - 1) were in flight when the loader ended; asking for them")
                // A spool that begins later than with its first row: nothing is between the checkpoint and the batch.
                let isNext = wanted.segmentNumber == inflight.segmentNumber && wanted.offset == inflight.fromOffset && resumed.isEmpty
                let flight = Flight(
                    batch, checked, BatchMachine(resuming: batch.rows, attempt: inflight.attempt),
                    follows: isNext ? wanted.next : batch.firstSequence)
                // What the dead loader sent may still be running.
                flight.lastUnanswered = now
                flight.settling = Settling()
                resumed.append(flight)
            }
        }
        // Only now: what cannot be read this time is read anew from the first one on.
        flights.resume(resumed)
        // A batch that is asked for before it is sent needs no answer about rows that cannot be sent any more.
        self.gone = scope.asksFirst ? [] : gone
        isResumed = true
    }

    /// Reads a batch in flight again.
    ///
    /// - Returns: nil if it has changed and need not be the same: then its rows are planned anew, and asked for like any others.
    private func batchInFlight(_ inflight: InflightBatch) throws -> (Batch, CheckedBatch)? {
        do {
            let batch = try planner.batch(of: inflight)
            let checked = try reader.check(batch)
            guard checked.sound == batch.chunks.count, checked.checksum == inflight.checksum else {
                throw planner.cannotRead(inflight, "its bytes have changed")
            }
            return (batch, checked)
        } catch let failure as CommandFailure where scope.asksFirst {
            log.warning("\(failure)")
            return nil
        }
    }

    /// Does with each batch what can be done now.
    ///
    /// - Returns: those to be sent, once the checkpoint says so.
    private func actOnFlights(now: Int64) throws -> [Flight] {
        var toSend: [Flight] = []
        for flight in flights.flights where flight.outcome == nil && !flight.isWorking && pausedUntil == nil {
            if let until = flight.waitsUntil, now < until { continue }
            flight.waitsUntil = nil
            switch flight.machine.action() {
            case .send: if sentColumns(of: flight.batch.segment, now: now) != nil { toSend.append(flight) }
            case .count: if mayBeOpen(flight) { askWhetherOver(flight) } else { count(flight) }
            case .compare: compare(flight)
            case .finish(let loaded, let expired): finish(flight, loaded: loaded, expired: expired)
            case .divide: if try divide(flight, now: now) { toSend.append(flight) }
            case .stop(let why): stop("\(flight.rowsText): \(why)")
            }
        }
        return toSend
    }

    private func finish(_ flight: Flight, loaded: UInt64, expired: UInt64) {
        if expired > 0 { log.warning("\(expired) of \(flight.rowsText) are older than the table's TTL: expired") }
        flight.outcome = .loaded(loaded, expired: expired)
        if flight.wasSent {
            tally.loaded += loaded
            // What is expired has not come to be seen by a query.
            if loaded > 0 { meters.loaded(flight.batch) }
            warnOfExpired(flight.batch)
        } else {
            tally.present += loaded
        }
        tally.expired += expired
        tally.bytes += flight.batch.to - flight.batch.from
        needsPerson = false
        pace.finished()
        if failures > 0 { log.notice("goes on after \(failures) failures; the last was: \(lastProblem)") }
        failures = 0
        backoff.reset()
    }

    /// ClickHouse takes rows that are older than its TTL, and drops them at its next merge: whoever waits for them should know why they do not stay.
    private func warnOfExpired(_ batch: Batch) {
        guard let limit = target?.engine.retention?.expired(at: Clock.now()), batch.minEventTime <= limit else { return }
        repeated.say(
            .warning,
            "rows came that are older than the table's TTL, such as one of \(rfc3339(batch.minEventTime).prefix(10)): they are loaded, and ClickHouse drops them; "
                + "is it an old spool, or a producer whose clock is wrong?")
    }

    /// The checkpoint passes the batches that have come to their end, as far as all before them have.
    private func passFinished() {
        while let flight = flights.popFinished(next: wanted.next), let outcome = flight.outcome {
            switch outcome {
            case .loaded(let rows, let expired):
                wanted.rowsLoaded += rows
                wanted.rowsExpired += expired
            case .quarantined: wanted.rowsQuarantined += flight.batch.rows
            }
            wanted.position = flight.batch.end
        }
        flights.passed(wanted.next)
    }

    func saveIfChanged() throws {
        wanted.inflight = flights.flights.map(\.inflight)
        var next = wanted
        (next.version, next.epoch) = (store.checkpoint.version, store.checkpoint.epoch)
        if next != store.checkpoint { try store.save(next) }
    }

    // MARK: Outcomes

    func wake() {
        if case .stopped = status { return }
        if pausedUntil == nil { status = .ready }
    }

    func failed(_ answer: ServerAnswer, _ reaction: Reaction, now: Int64) {
        // What the table is like may have been the cause, and may change while it is mended.
        target = nil
        if reaction == .tooManyParts { pace.tooManyParts() }
        pause(
            for: "\(server.url): \(answer.problem)", reaction: reaction, alarms: answer.alarms, advice: answer.advice,
            atLeast: answer.retryAfter ?? 0, now: now)
    }

    /// Only a finished batch ends the backing off: an insert that is refused for ever would else be tried for ever at full speed, since the
    /// questions between are answered.
    ///
    /// - Parameters:
    ///   - alarms: whether a person is to be called at once.
    ///   - advice: what a person can do about it; empty if nothing.
    ///   - atLeast: nanoseconds that it waits in any case.
    ///   - atMost: nanoseconds that it waits, however often it has failed.
    func pause(
        for problem: String, reaction: Reaction = .backOff, alarms: Bool = false, advice: String = "", atLeast: Int64 = 0,
        atMost: Int64 = .max, now: Int64
    ) {
        if case .stopped = status { return }
        failures += 1
        needsPerson = reaction == .configuration
        lastProblem = problem
        let isFirst = failures == 1 && (reaction == .retryNow || reaction == .refreshSchema)
        let until = now + max(atLeast, isFirst ? 0 : min(atMost, backoff.next(random: &random)))
        pausedUntil = max(pausedUntil ?? until, until)
        status = .waiting(until: pausedUntil ?? until)
        // What was asked for again and is still refused needs a person too.
        if alarms || reaction == .configuration || (reaction == .refreshSchema && failures > 1) {
            repeated.say(
                .critical,
                "RecorderFailure: \(problem); \(advice.isEmpty || problem.contains(advice) ? "a person must act" : advice); tries again, nothing is lost"
            )
        } else {
            repeated.say(.error, "\(problem); tries again, nothing is lost")
        }
    }

    func stop(_ why: String) {
        status = .stopped(why)
        lastProblem = why
        log.critical("RecorderFailure: stopped: \(why)")
    }
}
