import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// Brings one table's rows to ClickHouse: a lane of its own, with several batches on their way where their order does not matter.
///
/// It acts; what to do with a batch `BatchMachine` decides, what stands in the spool `SpoolTail`. The checkpoint passes batches in the order of
/// their rows; until then they are noted in it as in flight.
///
/// ```
///              flights                        frontier
/// ───────────┬─────────┬─────────┬┄┄┄┄┄┄┄┬─────────┬┄┄┄┄┄┄┄┄┄► spool
///  dealt with│  done   │ on its  │  gap  │  done   │ not begun
///            │  (next  │  way    │       │         │
///        checkpoint)
/// ```
///
/// A gap comes about where a batch that ClickHouse refuses is cut in two: its second half is planned when there is a place for it.
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
    private(set) var status = Status.ready
    /// Failures of requests since the last batch that came to its end.
    private(set) var failures = 0
    private(set) var lastProblem = ""
    /// Whether what it waits for is not in the spool yet.
    private(set) var isWaitingForCopy = false
    /// Whether only a person can mend what it fails at.
    private(set) var needsPerson = false
    /// What became of rows since the start.
    private(set) var tally = LoadTally()

    private let tail: SpoolTail
    private var planner: BatchPlanner
    private let reader: BatchReader
    private let store: CheckpointStore
    private let server: ClickHouse
    private let log: Logger
    private let scope: LoadScope
    private let settings: LaneSettings
    private var pace: BatchPace
    private var backoff: Backoff
    private var random = SystemRandomNumberGenerator()

    /// What the checkpoint is to say; saved before anything is sent that depends on it.
    private var wanted: Checkpoint
    private var flights: [Flight] = []
    /// Where the planning of new batches goes on behind the last flight.
    private var frontier: TailPosition
    /// Sequences at which batches must end: where ClickHouse's refusals cut them, or where what is there already begins.
    /// Ascending.
    private var cuts: ArraySlice<UInt64> = []
    /// Batches in flight of the checkpoint whose bytes are not in the spool any more.
    private var gone: [InflightBatch] = []
    private var isResumed = false
    /// ClickHouse partitions the table in another way than the spool's batches are cut: a batch may be there partly.
    private var hasOtherPartitions = false
    private var target: TargetTable?
    /// Where it was asked for: servers may differ, also in what they know.
    private var targetURL = ""
    /// What the log says of it, once.
    private var toldDialect: Dialect?
    /// Of inserts of an earlier run that no flight stands for, until it is known that none is under way in a server without tokens.
    private var settlingOfOthers: Settling? = Settling()
    /// Fingerprint of the columns that the target was last compared with.
    private var comparedColumns: UInt64?
    /// Until it was asked, ClickHouse may have rows that the checkpoint does not know of: it may be new, or an old copy.
    private var mayHaveMoreThere = true
    /// A question is under way on which everything else waits.
    private var isAsking = false
    private var pausedUntil: Int64?
    private var refusedRows = 0
    /// Since when it has been waiting for tables that come first.
    private var heldSince: Int64?
    /// When a text was last logged: failures of several kinds may take turns.
    private var lastLogged: [String: Int64] = [:]
    private static let maxLogged = 16
    private static let lookAgainAfter: Int64 = 1_000_000_000
    private static let repeatLogAfter: Int64 = 30_000_000_000

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
        tail = SpoolTail(spool: spool, table: table, mayQuarantineShort: !once)
        settings = LaneSettings(configuration)
        pace = BatchPace(
            limits: BatchLimits(rows: configuration.count("loader.batch_rows"), bytes: configuration.bytes("loader.batch_bytes")),
            linger: configuration.duration("loader.linger"))
        planner = BatchPlanner(tail: tail, limits: pace.limits, times: scope.times, selection: scope.sequences)
        store = try CheckpointStore(
            directory: scope.checkpoints ?? configuration.required("loader.checkpoints"), writer: spool.writer, table: table)
        backoff = Backoff(first: configuration.duration("loader.backoff"), cap: configuration.duration("loader.backoff_max"))
        wanted = store.checkpoint
        wanted.inflight = []
        frontier = wanted.position
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
        for flight in flights where flight.outcome == nil && !flight.isWorking {
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
    private func status(_ rest: Status) -> Status {
        let wakes = flights.compactMap(\.waitsUntil).min()
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
        flights = resumed
        // A batch that is asked for before it is sent needs no answer about rows that cannot be sent any more.
        self.gone = scope.asksFirst ? [] : gone
        if let last = flights.last { frontier = last.batch.end }
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
        for flight in flights where flight.outcome == nil && !flight.isWorking && pausedUntil == nil {
            if let until = flight.waitsUntil, now < until { continue }
            flight.waitsUntil = nil
            switch flight.machine.action() {
            case .send: if columnsFit(flight.batch.segment, now: now) { toSend.append(flight) }
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
        if flight.wasSent { tally.loaded += loaded } else { tally.present += loaded }
        tally.expired += expired
        tally.bytes += flight.batch.to - flight.batch.from
        needsPerson = false
        pace.finished()
        if failures > 0 { log.notice("goes on after \(failures) failures; the last was: \(lastProblem)") }
        failures = 0
        backoff.reset()
    }

    /// The checkpoint passes the batches that have come to their end, as far as all before them have.
    private func passFinished() {
        while let flight = flights.first, let outcome = flight.outcome, flight.follows == wanted.next {
            switch outcome {
            case .loaded(let rows, let expired):
                wanted.rowsLoaded += rows
                wanted.rowsExpired += expired
            case .quarantined: wanted.rowsQuarantined += flight.batch.rows
            }
            wanted.position = flight.batch.end
            flights.removeFirst()
        }
        while let cut = cuts.first, cut <= wanted.next { cuts.removeFirst() }
    }

    private func saveIfChanged() throws {
        wanted.inflight = flights.map(\.inflight)
        var next = wanted
        (next.version, next.epoch) = (store.checkpoint.version, store.checkpoint.epoch)
        if next != store.checkpoint { try store.save(next) }
    }

    // MARK: Planning

    /// Whether no further batch may be begun before one of those under way has ended.
    private var isFull: Bool { flights.count(where: { $0.outcome == nil }) >= depth || flights.count >= Checkpoint.maxInflight }

    /// Most batches on their way. While a batch is being cut one at a time, the first first: halves that wait behind others which are not done would
    /// else fill the list of flights.
    private var depth: Int {
        guard let target, target.dialect.knowsTokens, !target.isOrderOfInsertsSeen, cuts.isEmpty else { return 1 }
        return settings.inflight
    }

    /// Plans batches while there are places for them.
    ///
    /// - Returns: what the lane does when no request ends.
    private func refill(now: Int64, mayBegin: Bool, _ toSend: inout [Flight]) throws -> Status {
        planner.limits = scope.rate?.limit.limits(pace.limits) ?? pace.limits
        while pausedUntil == nil, !isAsking {
            if case .stopped = status { return status }
            if isFull { return .working }
            let rest: Status?
            if let gap = firstGap() {
                rest = try fill(gap: gap, now: now, &toSend)
            } else {
                rest = try planBehindAll(now: now, mayBegin: mayBegin, &toSend)
            }
            if let rest { return rest }
        }
        return .working
    }

    /// The index of the first flight before which rows are not planned.
    private func firstGap() -> Int? {
        var end = wanted.next
        for (index, flight) in flights.enumerated() {
            if flight.follows != end { return index }
            end = flight.batch.endSequence
        }
        return nil
    }

    private func nextCut(after sequence: UInt64) -> UInt64? { cuts.first { $0 > sequence } }

    /// Plans the first batch of the rows before a flight.
    ///
    /// - Returns: nil to go on planning.
    private func fill(gap index: Int, now: Int64, _ toSend: inout [Flight]) throws -> Status? {
        let start = index == 0 ? wanted.position : flights[index - 1].batch.end
        let end = flights[index].batch.firstSequence
        var place = start
        while place.next < end {
            switch try planner.plan(from: place, until: min(end, nextCut(after: place.next) ?? end)) {
            case .batch(let batch, _):
                return try begin(batch, at: index, follows: start.next, now: now, &toSend) ? nil : .working
            case .skip(let to), .other(.move(let to)): place = to
            case .other where index > 0: return .working
            case .other(.damaged(let damage)):
                try quarantine(damage.clipped(to: flights[0].batch.start))
                return nil
            case .other(.lost(let rows, let isShed, _)):
                return try take(.lost(rows.lowerBound..<min(rows.upperBound, end), isShed: isShed, then: flights[0].batch.start), now: now)
            case .other(.notHereYet(let why)): return try take(.notHereYet(why), now: now)
            case .other(let item):
                throw CommandFailure("\(table): rows before \(end) are not loaded and cannot be read any more: \(item.text)", code: 74)
            }
        }
        flights[index].follows = start.next
        return nil
    }

    /// Plans the next batch behind all others.
    ///
    /// - Returns: nil to go on planning.
    private func planBehindAll(now: Int64, mayBegin: Bool, _ toSend: inout [Flight]) throws -> Status? {
        let start = flights.isEmpty ? wanted.position : frontier
        if let end = scope.end, start.next >= end { return .drained }
        switch try planner.plan(from: start, until: min(scope.end ?? .max, nextCut(after: start.next) ?? .max)) {
        case .batch(let batch, let isFull):
            if !mayBegin && now - (heldSince ?? now) < DrainOrder.longestHold {
                heldSince = heldSince ?? now
                return .held
            }
            if let until = pace.earliest(isFull: isFull), now < until { return .waiting(until: until) }
            if let wait = scope.rate?.limit.wait(now: now), wait > 0 { return .waiting(until: now + wait) }
            if target == nil {
                askTarget()
                return .working
            }
            if mayHaveMoreThere {
                if flights.isEmpty { askForMoreRows(from: batch.firstSequence) }
                return .working
            }
            heldSince = nil
            return try begin(batch, at: flights.count, follows: flights.last?.batch.endSequence ?? wanted.next, now: now, &toSend)
                ? nil : .working
        case .skip(let next), .other(.move(let next)):
            let next = try planner.behindUnwanted(from: next)
            if flights.isEmpty { wanted.position = next }
            frontier = next
            return nil
        case .other(.end), .other(.chunk): return .drained
        case .other where !flights.isEmpty: return .working
        case .other(let item): return try take(item, now: now)
        }
    }

    /// What is no chunk, with nothing before it that is still on its way.
    ///
    /// - Returns: nil to go on planning.
    private func take(_ item: TailItem, now: Int64) throws -> Status? {
        switch item {
        case .damaged(let damage): try quarantine(damage)
        case .lost(let rows, isShed: true, let then):
            log.warning(
                "rows \(rows.lowerBound) to \(rows.upperBound - 1) were given up by the writer for want of room, before they could be loaded; system_events says why"
            )
            wanted.position = then
            wanted.rowsShed += UInt64(rows.count)
        case .lost(let rows, isShed: false, let then):
            log.error(
                "rows \(rows.lowerBound) to \(rows.upperBound - 1) were lost before they could be loaded; the writer's recovery says so")
            try store.quarantine.append(
                .damaged(
                    QuarantineList.Place(
                        rows: rows, segment: SegmentName(number: then.segmentNumber, firstSequence: then.next), offset: 0, bytes: 0),
                    reason: "lost, as the segment's header declares"))
            wanted.position = then
            wanted.rowsQuarantined += UInt64(rows.count)
            tally.quarantined += UInt64(rows.count)
        case .notHereYet(let why):
            logOnce(.warning, "waiting for a copy in progress: \(why)")
            lastProblem = why
            isWaitingForCopy = true
            return .waiting(until: now + Self.lookAgainAfter)
        case .stop(let why): stop(why)
        case .move(let next): wanted.position = next
        case .end, .chunk: return .drained
        }
        return nil
    }

    /// Checks a batch's bytes and puts it into its place among the flights.
    ///
    /// - Returns: false if it must wait for those before it, or for a person.
    private func begin(_ batch: Batch, at index: Int, follows: UInt64, now: Int64, _ toSend: inout [Flight]) throws -> Bool {
        guard columnsFit(batch.segment, now: now) else { return false }
        var batch = batch
        let checked = try reader.check(batch)
        if let error = checked.error {
            if checked.sound == 0 {
                // Only behind a checkpoint that has passed all rows before it.
                guard index == 0 else { return false }
                let damage = tail.damage(of: batch.chunks[0], in: batch.segment, error).clipped(from: batch.firstSequence)
                try quarantine(flights.first.map { damage.clipped(to: $0.batch.start) } ?? damage)
                return true
            }
            batch = Batch(segment: batch.segment, chunks: Array(batch.chunks[..<checked.sound]))
        }
        // Of a batch that was cut, parts may be there.
        let asksFirst = scope.asksFirst || mayHaveMoreThere || batch.firstSequence < cuts.last ?? 0
        let flight = Flight(
            batch, checked,
            asksFirst ? BatchMachine(resuming: batch.rows, attempt: scope.firstAttempt) : BatchMachine(rows: batch.rows), follows: follows)
        flights.insert(flight, at: index)
        if index == flights.count - 1 { frontier = batch.end }
        scope.rate?.limit.take(rows: batch.rows, bytes: batch.to - batch.from, now: now)
        if asksFirst { count(flight) } else { toSend.append(flight) }
        return true
    }

    private func quarantine(_ damage: TailItem.Damage) throws {
        let rows = damage.rows.isEmpty ? "no rows" : "rows \(damage.rows.lowerBound) to \(damage.rows.upperBound - 1)"
        log.error("quarantined \(rows): \(table)/\(damage.segment) at \(damage.offset): \(damage.reason)")
        try store.quarantine.append(
            .damaged(
                QuarantineList.Place(rows: damage.rows, segment: damage.segment, offset: damage.offset, bytes: damage.bytes),
                reason: damage.reason))
        wanted.position = damage.then
        wanted.rowsQuarantined += UInt64(damage.rows.count)
        tally.quarantined += UInt64(damage.rows.count)
    }

    // MARK: The target

    /// Whether rows with the columns of a segment can be sent; if not, that is said and tried again.
    private func columnsFit(_ segment: OpenSegment, now: Int64) -> Bool {
        let header = segment.reader.header
        guard let target, comparedColumns != header.fingerprint else { return target != nil }
        if let complaint = target.complaint(about: header.columns) {
            self.target = nil
            pause(for: complaint, reaction: .configuration, now: now)
            return false
        }
        comparedColumns = header.fingerprint
        return true
    }

    private func askTarget() {
        ask(TargetTable.query(table)) { [self] body, now in
            guard let found = TargetTable(answer: body, wire: server.wire) else {
                return pause(
                    for: "table \(table) is not in ClickHouse; run `spool-loader migrate apply`", reaction: .configuration, now: now)
            }
            if let warning = server.sharingWarning(engine: found.engine.engine) { log.warning("\(warning)") }
            if found.dialect.knowsTokens, !found.deduplicates {
                logOnce(
                    .warning, "ClickHouse deduplicates nothing here (non_replicated_deduplication_window is 0); relying on counting alone")
            }
            if !found.dialect.knowsTokens, found.dialect != toldDialect {
                log.warning(
                    "ClickHouse is older than 22.2 and deduplicates nothing: sending rows \(found.dialect.isPlain ? "uncompressed" : "as LZ4"), relying on counting alone (docs/clickhouse.md, Old servers)"
                )
            }
            toldDialect = found.dialect
            target = found
            targetURL = server.url
            comparedColumns = nil
        }
    }

    /// A checkpoint that was lost, or replaced by an old copy, must not double what was loaded since: if ClickHouse has the next
    /// rows without a gap, loading goes on behind them. Asked once after each start.
    private func askForMoreRows(from first: UInt64) {
        if let settlingOfOthers, !knowsTokens { return askWhetherOver(settlingOfOthers) }
        ask(questions.extent(from: first)) { [self] body, now in
            guard let found = numbers(inLine: body), found.count == 4 else { return pause(for: noCount(body), now: now) }
            mayHaveMoreThere = false
            if found[0] > 0 { try adopt(count: found[0], distinct: found[1], least: found[2], most: found[3], first: first) }
        }
    }

    private func adopt(count: UInt64, distinct: UInt64, least: UInt64, most: UInt64, first: UInt64) throws {
        guard count == distinct, least == first, most >= least, most < .max, most - least == count - 1,
            let next = try tail.position(of: most + 1, from: wanted.position)
        else {
            return stop(
                "the checkpoint says that sequence \(first) is next, but ClickHouse has \(count) rows of this writer from there on, sequences "
                    + "\(least) to \(most), and they are not simply the next ones; restore the right checkpoint, or see with "
                    + "`spool-loader audit` what is missing")
        }
        wanted.position = next
        wanted.rowsLoaded += count
        try saveIfChanged()
        log.warning(
            "ClickHouse has rows \(least) to \(most), of which the checkpoint does not know: it is new, or an old copy; going on behind them"
        )
    }

    /// A batch in flight that cannot be read again: what ClickHouse has of it decides.
    private func askForGone(_ inflight: InflightBatch) {
        if let settlingOfOthers, !knowsTokens { return askWhetherOver(settlingOfOthers) }
        ask(questions.count(of: inflight)) { [self] body, now in
            guard let found = numbers(inLine: body), found.count == 2 else { return pause(for: noCount(body), now: now) }
            try settle(inflight, present: found[0], distinct: found[1])
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
        case .loaded where wanted.next < inflight.firstSequence && !isDeclared:
            return stop(
                "\(table): rows \(wanted.next) to \(inflight.firstSequence - 1) are not loaded, and the segment behind them is not in the spool any "
                    + "more; `spool-loader audit` names those that are missing")
        case .loaded:
            log.notice("\(rows): ClickHouse has them")
            wanted.position = after
            wanted.rowsLoaded += inflight.rows
        case .absent: log.notice("\(rows): ClickHouse has none of them")
        case .stop(let why): return stop("\(table): \(why)")
        }
        gone.removeFirst()
    }

    // MARK: Servers without tokens

    private var knowsTokens: Bool { target?.dialect.knowsTokens ?? true }

    /// Whether an insert of the batch may be under way in a server where nothing holds off a second one.
    private func mayBeOpen(_ flight: Flight) -> Bool { flight.settling != nil && !knowsTokens }

    /// Asks whether the last insert of a batch has ended in the server; only then its rows can be counted.
    private func askWhetherOver(_ flight: Flight) {
        flight.isWorking = true
        server.askWhetherRunning(flight.inflight.token(writer: wanted.writer, table: table)) { [self] answer in
            flight.isWorking = false
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, answer.reactionToQuestion, now: now) }
            guard let found = numbers(inLine: body), found.count == 1 else { return pause(for: noCount(body), now: now) }
            if found[0] > 0 { logOnce(.notice, "ClickHouse still works on the insert of \(flight.rowsText); waiting for its end") }
            if flight.settling?.isOver(isRunning: found[0] > 0, now: now) ?? true {
                flight.settling = nil
                flight.lastUnanswered = nil
            } else {
                flight.waitsUntil = now + Settling.askAgainAfter
            }
            wake()
        }
    }

    /// The same for all inserts of the table, at a start.
    private func askWhetherOver(_ settling: Settling) {
        ask(ClickHouse.questionWhetherRunning(prefix: "\(wanted.writer)/\(table)/")) { [self] body, now in
            guard let found = numbers(inLine: body), found.count == 1 else { return pause(for: noCount(body), now: now) }
            if found[0] > 0 { logOnce(.notice, "ClickHouse still works on an insert of an earlier run; waiting for its end") }
            var settling = settling
            let isOver = settling.isOver(isRunning: found[0] > 0, now: now)
            settlingOfOthers = isOver ? nil : settling
            if !isOver { pausedUntil = now + Settling.askAgainAfter }
        }
    }

    /// Makes what is sent to a server that does not take the bytes as they lie in the spool.
    ///
    /// - Returns: false if the batch is too large for one insert so, and was cut.
    private func prepare(_ flight: Flight, now: Int64) throws -> Bool {
        flight.plainBody = nil
        guard let target, target.dialect.isPlain else { return true }
        let batch = flight.batch
        let reader = batch.segment.reader
        do {
            flight.plainBody = try PlainBody(
                chunks: batch.chunks, reader: reader, types: target.sentTypes(reader.header.columns), rows: batch.slice?.rows)
            return true
        } catch let problem as OversizedBatch {
            guard let middle = batch.middle else { throw CommandFailure("\(table): \(flight.rowsText): \(problem)", code: 74) }
            if waitsForQuiet(flight, problem.description, now: now) { return false }
            log.notice("\(flight.rowsText): \(problem); sent in two parts, from \(middle) on apart")
            try again(flight, cutAt: [middle])
            return false
        } catch let error as FormatError {
            throw CommandFailure("\(table)/\(batch.segment.name): \(flight.rowsText) cannot be decoded: \(error)", code: 74)
        }
    }

    // MARK: Requests

    private var questions: TableQuestions { TableQuestions(table: table, writer: wanted.writer, target: target) }

    /// Asks a question on whose answer the whole lane waits.
    private func ask(_ sql: String, then take: @escaping ([UInt8], Int64) throws -> Void) {
        isAsking = true
        server.query(sql) { [self] answer in
            isAsking = false
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, answer.reactionToQuestion, now: now) }
            wake()
            do {
                try take(body, now)
            } catch {
                stop("\(error)")
            }
        }
    }

    private func send(_ flight: Flight, now: Int64) {
        guard let target else { return }
        flight.machine.sendBegins()
        flight.isWorking = true
        flight.wasSent = true
        pace.sent(at: now)
        server.insert(
            flight.plainBody ?? flight.body, table: table, columns: flight.batch.segment.reader.header.columns,
            token: flight.inflight.token(writer: wanted.writer, table: table), dialect: target.dialect
        ) { [self] answer in
            flight.isWorking = false
            flight.plainBody = nil
            flight.settling = answer.leavesInsertOpen ? Settling() : nil
            let now = Clock.monotonic()
            switch answer {
            case .ok:
                flight.machine.sendSucceeded(isTokenCertain: target.hasCertainTokens)
                wake()
            case .unreachable:
                flight.machine.sendNeverLeft()
                failed(answer, answer.reaction, now: now)
            case .exception where answer.reaction.concernsRows:
                flight.refusal = answer
                flight.machine.sendRefused()
                logOnce(.warning, "\(flight.rowsText) are refused: \(answer.problem)")
                wake()
            case .exception, .doubt:
                if case .doubt = answer { flight.lastUnanswered = now }
                flight.machine.sendDoubtful()
                failed(answer, answer.reaction, now: now)
            }
        }
    }

    private func count(_ flight: Flight) {
        flight.isWorking = true
        server.query(questions.count(of: flight.batch)) { [self] answer in
            flight.isWorking = false
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, answer.reactionToQuestion, now: now) }
            guard let numbers = numbers(inLine: body), numbers.count == 2 else { return pause(for: noCount(body), now: now) }
            log.info("asked for \(flight.rowsText): \(numbers[0]) of \(flight.batch.rows) are there")
            let isWhollyExpired = target?.engine.retention.map { flight.batch.maxEventTime <= $0.expired(at: Clock.now()) } ?? false
            flight.machine.counted(present: numbers[0], distinct: numbers[1], isWhollyExpired: isWhollyExpired)
            wake()
        }
    }

    private func compare(_ flight: Flight) {
        flight.isWorking = true
        server.query(questions.sequences(of: flight.batch)) { [self] answer in
            flight.isWorking = false
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, answer.reactionToQuestion, now: now) }
            do {
                let found = try PartlyThere(
                    flight.batch, present: sequences(body), expiry: target?.engine.retention?.expired(at: Clock.now()) ?? .min)
                if found.missing > found.expired, mayBePartly(flight.batch) {
                    // It may still be bringing its rows, partition by partition: those that are sent apart now would come twice.
                    if waitsForQuiet(flight, "ClickHouse has some of \(flight.rowsText), whose insert may still be running", now: now) {
                        return
                    }
                    // Where nothing is cut it would be asked for again as it is, for ever.
                    guard !found.cuts.isEmpty else {
                        return pause(for: "ClickHouse counts some of \(flight.rowsText), and lists none of them", now: now)
                    }
                    try again(flight, cutAt: found.cuts)
                } else {
                    flight.machine.compared(missing: found.missing, expired: found.expired)
                }
                wake()
            } catch {
                stop("\(error)")
            }
        }
    }

    /// Whether a part of a batch can be there without anything being wrong: where rows may have been loaded in other batches than these, or
    /// where ClickHouse cuts a batch by partitions that are not ours.
    private func mayBePartly(_ batch: Batch) -> Bool {
        let header = batch.segment.reader.header
        let time = header.columns[header.eventTimeColumn].name
        return scope.asksFirst || hasOtherPartitions || target?.engine.splits(header.partitionRule, of: time) ?? false
    }

    // MARK: Refused batches

    /// Whether an earlier send that had no answer may still be running in ClickHouse.
    private func isUnsettled(_ flight: Flight, now: Int64) -> Bool {
        flight.lastUnanswered.map { now - $0 < settings.quiet } ?? false
    }

    /// Whether an earlier send of the whole may still be running, and would double what its parts bring. Then the lane pauses.
    private func waitsForQuiet(_ flight: Flight, _ problem: String, now: Int64) -> Bool {
        guard isUnsettled(flight, now: now), let lastUnanswered = flight.lastUnanswered else { return false }
        pause(for: problem, atLeast: settings.quiet - (now - lastUnanswered), now: now)
        return true
    }

    /// - Returns: whether it is to be sent once more as it is.
    private func divide(_ flight: Flight, now: Int64) throws -> Bool {
        if waitsForQuiet(flight, flight.refusal?.problem ?? "", now: now) {
            flight.machine.sendsAgain()
            return false
        }
        guard let refusal = flight.refusal else { preconditionFailure("a refused batch without a refusal") }
        if refusal.reaction == .splitPartitions { hasOtherPartitions = true }
        if refusal.reaction == .payloadSuspect, flight.suspicions == 0 {
            flight.suspicions += 1
            // Read once more from the disk; if it is damaged now, the planner finds out.
            if try reader.check(flight.batch).checksum == flight.checksum {
                flight.machine.sendsAgain()
                return true
            }
            try again(flight, cutAt: [])
            return false
        }
        if let middle = flight.batch.middle {
            log.notice("\(flight.rowsText): sent in two parts, from \(middle) on apart")
            try again(flight, cutAt: [middle])
            return false
        }
        guard refusedRows < settings.quarantineRows else {
            flight.machine.sendsAgain()
            pause(
                for: "ClickHouse refuses row \(flight.batch.firstSequence) too, after \(refusedRows) others that are quarantined "
                    + "(loader.quarantine_rows): \(refusal.problem); mend the cause, then run `spool-loader requeue`",
                reaction: .configuration, now: now)
            return false
        }
        try quarantineRow(of: flight, refusal)
        return false
    }

    /// Plans the rows of a flight anew.
    private func again(_ flight: Flight, cutAt sequences: [UInt64]) throws {
        guard let index = flights.firstIndex(where: { $0 === flight }) else { return }
        cuts = ArraySlice(Set(cuts).union(sequences).union([flight.batch.endSequence]).sorted())
        flights.remove(at: index)
        if index == flights.count { frontier = flights.last?.batch.end ?? wanted.position }
    }

    private func quarantineRow(of flight: Flight, _ refusal: ServerAnswer) throws {
        let batch = flight.batch
        refusedRows += 1
        let values = try values(of: batch)
        log.critical(
            "RecorderFailure: quarantined row \(batch.firstSequence): ClickHouse refuses it: \(refusal.problem); \(refusal.advice), then run `spool-loader requeue`"
        )
        try store.quarantine.append(
            .refused(
                QuarantineList.Place(
                    rows: batch.firstSequence..<batch.endSequence, segment: batch.segment.name, offset: batch.from,
                    bytes: batch.to - batch.from),
                QuarantineList.Refusal(refusal, values: values)))
        flight.outcome = .quarantined
        tally.quarantined += batch.rows
    }

    /// A row's values as one line of JSON.
    private func values(of batch: Batch) throws -> String {
        let chunk = batch.chunks[0]
        let block = try batch.segment.reader.block(of: chunk)
        let row = Int(batch.firstSequence - chunk.header.firstSequence)
        return RowText.json(block, row: row, table: table)
    }

    // MARK: Outcomes

    private func noCount(_ body: [UInt8]) -> String {
        "an answer that is no count: \(body.isEmpty ? "nothing" : plainLine(bytes: body, limit: 100))"
    }

    private func wake() {
        if case .stopped = status { return }
        if pausedUntil == nil { status = .ready }
    }

    private func failed(_ answer: ServerAnswer, _ reaction: Reaction, now: Int64) {
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
    private func pause(
        for problem: String, reaction: Reaction = .backOff, alarms: Bool = false, advice: String = "", atLeast: Int64 = 0, now: Int64
    ) {
        if case .stopped = status { return }
        failures += 1
        needsPerson = reaction == .configuration
        lastProblem = problem
        let isFirst = failures == 1 && (reaction == .retryNow || reaction == .refreshSchema)
        let until = now + max(atLeast, isFirst ? 0 : backoff.next(random: &random))
        pausedUntil = max(pausedUntil ?? until, until)
        status = .waiting(until: pausedUntil ?? until)
        // What was asked for again and is still refused needs a person too.
        if alarms || reaction == .configuration || (reaction == .refreshSchema && failures > 1) {
            logOnce(
                .critical,
                "RecorderFailure: \(problem); \(advice.isEmpty || problem.contains(advice) ? "a person must act" : advice); tries again, nothing is lost"
            )
        } else {
            logOnce(.error, "\(problem); tries again, nothing is lost")
        }
    }

    private func stop(_ why: String) {
        status = .stopped(why)
        lastProblem = why
        log.critical("RecorderFailure: stopped: \(why)")
    }

    private func logOnce(_ level: Logger.Level, _ text: String) {
        let now = Clock.monotonic()
        if let last = lastLogged[text], now - last < Self.repeatLogAfter { return }
        if lastLogged.count >= Self.maxLogged { lastLogged.removeAll() }
        lastLogged[text] = now
        log.log(level: level, "\(text)")
    }
}
