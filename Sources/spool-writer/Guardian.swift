import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// Sees to it that audit rows find room and time: thins market rows under pressure, makes room on a disk that fills up, and lets no loss pass
/// in silence.
final class Guardian: Losses {
    private static let lookEvery: Int64 = 500_000_000
    /// The same while it fills up, and while there is something to be done about it.
    private static let warnEvery: Int64 = 100_000_000
    private static let busyEvery: Int64 = 50_000_000
    private static let flushRetry: Int64 = 200_000_000
    private static let retainEvery: Int64 = 60_000_000_000

    let ledger: LossLedger
    /// Where losses are recorded; nil if the schemas have no such table.
    let lossTable: TableRecorder?
    private(set) var usage: DiskUsage?
    private(set) var thresholds: DiskThresholds
    private(set) var pressure = Pressure()
    /// Of the fullest ring with market rows, as of the last time that they were drained: the share that nobody had taken yet.
    var marketRingUsage = 0.0
    /// The same of rings with audit rows.
    var auditRingUsage = 0.0

    private unowned let recorder: Recorder
    private let commits: GroupCommit
    private let markets: [MarketTable]
    private let shedder: Shedder
    private let log: Logger
    private let own = Source(name: nil)
    private var ledgerSources: [String: Source] = [:]
    /// The sequence before which each table's losses are written down, durable or about to be.
    private var writtenDown: [String: UInt64] = [:]
    private var flushTriedAt: Int64 = .min / 2
    private var lookAt: Int64 = 0
    private var retainAt: Int64 = 0
    private var isExhausted = false
    private var isSpoolMissing = false
    private var toldStage = Pressure.Stage.none

    init(configuration: Configuration, recorder: Recorder, log: Logger) throws {
        self.recorder = recorder
        self.log = log
        commits = recorder.commits
        thresholds = try DiskThresholds(configuration: configuration)
        ledger = LossLedger(log: log)
        lossTable = recorder.recordable(LossLedger.table)
        if lossTable != nil { try LossLedger.checkClass(configuration) }
        markets = commits.tables.compactMap(\.market)
        shedder = Shedder(configuration: configuration, spool: recorder.spool, commits: commits, ledger: ledger, log: log)
        if lossTable == nil, !markets.isEmpty {
            log.warning(
                "the schemas have no table \(LossLedger.table): rows that are not recorded under pressure are named in this log only")
        }
        if let lossTable { checkLossTable(lossTable) }
        usage = try? DiskUsage(path: recorder.spool.path)
        if let usage {
            commits.reserve = DiskReserve(spool: recorder.spool, wanted: configuration.bytes("writer.reserve"), total: usage.total)
        }
        commits.losses = self
        takeUpLosses()
    }

    /// A table for losses that does not take them is better known now than when the first one is noticed.
    private func checkLossTable(_ table: TableRecorder) {
        for line in LossLedger.samples(now: Clock.now()) {
            guard let refusal = recorder.refusal(of: line, into: table) else { continue }
            log.error(
                """
                losses cannot be recorded in \(LossLedger.table) as the schemas define it: \(refusal.field.map { "\($0): " } ?? "")\(refusal.reason). \
                They are named in this log only; add what is missing to the table, or run with the schemas that this version comes with
                """)
            return
        }
    }

    // MARK: Time

    func tick(monotonic: Int64) {
        if monotonic >= lookAt { look(monotonic) }
        updatePressure(monotonic)
        if let deadline = lossDeadline, monotonic >= deadline { flushLosses(monotonic: monotonic) }
    }

    private var lossDeadline: Int64? {
        // While they cannot be written down, not sooner than after a while.
        lossesWantedAt.map { max($0, flushTriedAt + Self.flushRetry) }
    }

    private var lossesWantedAt: Int64? {
        var deadline = ledger.deadline
        // Where rows are recorded as well, their chunks carry the losses.
        for table in commits.tables where table.hasOnlyLosses && table.failure == nil {
            if let since = table.market?.lossSince { deadline = min(deadline ?? .max, since + LossLedger.flushAfter) }
        }
        return deadline
    }

    /// When ``tick(monotonic:)`` has something to do, on the clock that never jumps; nil if it can wait for others.
    var nextDeadline: Int64? {
        var deadline = lossDeadline
        if thresholds.level >= .warn || pressure.rung > 0 { deadline = min(deadline ?? .max, lookAt) }
        return deadline
    }

    // MARK: Pressure

    private func updatePressure(_ monotonic: Int64) {
        guard !markets.isEmpty else { return }
        let floor: Pressure.Floor =
            thresholds.level == .emergency ? .nothing : thresholds.level == .shed && isExhausted ? .tradesOnly : .none
        pressure.update(usage: max(commits.queueUsage(.market), marketRingUsage), floor: floor, now: monotonic)
        let stage = pressure.stage
        guard stage != toldStage else { return }
        toldStage = stage
        for market in markets { market.stage = stage }
        let reason = floor != .none ? "disk" : "queue"
        log.log(level: stage == .none ? .notice : .warning, "market tables: recorded is \(stage.text) (\(reason))")
        ledger.note(
            LossLedger.Incident(
                event: "recording_changed", severity: stage == .none ? "info" : "warning", reason: reason,
                detail: "recorded is \(stage.text)"), monotonic: monotonic)
    }

    // MARK: The disk

    private func look(_ monotonic: Int64) {
        lookAt = monotonic + Self.lookEvery
        noteMissing()
        guard !isSpoolMissing, let usage = try? DiskUsage(path: recorder.spool.path) else { return }
        self.usage = usage
        let before = thresholds.level
        thresholds.update(usage.ratio)
        if thresholds.level != before { announce(usage, monotonic) }
        let now = Clock.now()
        if thresholds.level < .shed {
            isExhausted = false
            if thresholds.level == .warn { lookAt = monotonic + Self.warnEvery }
            // Not if that alone would make the disk too full.
            if usage.excess(over: thresholds.shed - DiskThresholds.hysteresis) == 0 { refillReserve(usage) }
        } else {
            lookAt = monotonic + Self.busyEvery
            let wanted = usage.excess(over: thresholds.shed - 2 * DiskThresholds.hysteresis)
            switch shedder.step(wanted: wanted, now: now, monotonic: monotonic, settle: { self.settle(monotonic) }) {
            case .freed, .working: isExhausted = false
            case .nothingLeft: isExhausted = true
            }
        }
        if monotonic >= retainAt {
            retainAt = monotonic + Self.retainEvery
            shedder.retain(now: now)
        }
    }

    private func refillReserve(_ usage: DiskUsage) {
        guard let reserve = commits.reserve, !reserve.isWhole else { return }
        reserve.refill()
        // What it takes counts as used from now on.
        self.usage = (try? DiskUsage(path: recorder.spool.path)) ?? usage
    }

    private func announce(_ usage: DiskUsage, _ monotonic: Int64) {
        let percent = Int(usage.ratio * 100)
        let (event, severity, level): (String, String, Logger.Level) =
            switch thresholds.level {
            case .ok: ("disk_ok", "info", .notice)
            case .warn: ("disk_warn", "warning", .warning)
            case .shed: ("disk_shed", "error", .error)
            case .emergency: ("disk_emergency", "critical", .critical)
            }
        let what =
            switch thresholds.level {
            case .ok: "is no longer short of room"
            case .warn: "fills up"
            case .shed: "is short of room: loaded segments go, then market segments, then market rows"
            case .emergency: "is nearly full: no market row is taken, and audit rows may soon be refused; make room"
            }
        log.log(level: level, "RecorderFailure: the disk of the spool \(what); \(percent) % used, \(usage.available) bytes free")
        ledger.note(
            LossLedger.Incident(event: event, severity: severity, reason: "disk", detail: "\(percent) % used"), monotonic: monotonic)
    }

    private func noteMissing() {
        do {
            try recorder.spool.checkID()
            if isSpoolMissing { log.notice("the spool \(recorder.spool.path) is back") }
            isSpoolMissing = false
        } catch {
            if !isSpoolMissing {
                log.critical("RecorderFailure: \(error): moved away, removed or unmounted; rows are kept in memory until it is back")
            }
            isSpoolMissing = true
        }
    }

    // MARK: Losses

    func note(_ chunks: [DroppedChunk], of table: TableRecorder) {
        guard let market = table.market else { return }
        var counts = LossCount()
        let monotonic = Clock.monotonic()
        for chunk in chunks {
            // Cut by this process, so of today's columns; what lies in segments has its own.
            let block = try? chunk.data.withUnsafeBytes { raw in
                try NativeBlock(LZ4Frame.decompress(raw, contentBytes: chunk.header.blockBytes), columns: table.schema.wireColumns)
            }
            counts.add(
                block, chunk.header, eventTimeColumn: table.schema.eventTimeColumn, symbolNames: market.columns.symbolNames)
            for loss in chunk.header.losses { market.note(loss, monotonic: monotonic) }
        }
        for (symbol, loss) in counts.losses { market.note(.queueFull, symbol: symbol, loss, monotonic: monotonic) }
    }

    func noteDurable(_ losses: [ChunkLoss], of table: TableRecorder, before end: UInt64) {
        let monotonic = Clock.monotonic()
        for loss in losses { ledger.note(loss, of: table.schema.table, monotonic: monotonic) }
        let source = ledgerSource(table)
        source.position = max(source.position, end)
    }

    /// How far the losses of a table's chunks are written down, as a source of the ledger's own chunks.
    private func ledgerSource(_ table: TableRecorder) -> Source {
        if let source = ledgerSources[table.schema.table] { return source }
        let source = Source(name: UnledgeredLosses.source(of: table.schema.table))
        ledgerSources[table.schema.table] = source
        return source
    }

    /// Writes down what a writer left undone that was killed.
    private func takeUpLosses() {
        guard let lossTable else { return }
        for table in commits.tables where table.market != nil {
            let source = ledgerSource(table)
            let known = lossTable.segments.positions.end(source.name ?? "")
            (source.position, writtenDown[table.schema.table]) = (known, known)
            let losses = UnledgeredLosses.find(in: recorder.spool, table: table.schema.table, from: known)
            guard !losses.isEmpty else { continue }
            noteDurable(losses, of: table, before: table.segments.nextSequence)
        }
    }

    /// Makes rows of all losses, as far as that can be now.
    func flushLosses(monotonic: Int64) {
        flushTriedAt = monotonic
        guard !commits.isFull(.audit) else { return }
        if commits.tables.contains(where: \.hasOnlyLosses) { flushRowless(monotonic) }
        writeDown(monotonic)
    }

    /// The same, if rows of this source wait for it.
    func flushLosses(of source: Source, monotonic: Int64) {
        if commits.tables.contains(where: { $0.hasOnlyLosses && source.hasUndurable(in: $0) }) { flushLosses(monotonic: monotonic) }
    }

    /// Losses of tables of which no row is recorded, so that no chunk can carry them: the ledger itself says how far their sources have come. Behind
    /// every row that was recorded: what is sent again below the ledger's position and above the table's must be lost, not merely undurable.
    private func flushRowless(_ monotonic: Int64) {
        guard commits.commit(where: { $0.tableClass == .market }, cutting: true, mayRetry: false) else { return }
        for table in commits.tables where table.hasOnlyLosses && table.market != nil {
            let losses = lossTable.map { table.handOverLosses(to: $0, monotonic: monotonic) } ?? table.releaseLosses()
            for loss in losses {
                ledger.note(loss, of: table.schema.table, monotonic: monotonic)
            }
        }
    }

    private func writeDown(_ monotonic: Int64) {
        guard !ledger.isEmpty else { return }
        let now = Clock.now()
        // First, so that even the first of several chunks holds the sources until all of them are durable.
        for (table, source) in ledgerSources where source.position > writtenDown[table] ?? 0 {
            lossTable?.contribute(source, from: writtenDown[table] ?? 0, to: source.position, monotonic: monotonic)
            writtenDown[table] = source.position
        }
        ledger.flush(
            component: "spool-writer", now: now, monotonic: monotonic,
            record: { line throws(Refusal) in try recorder.append(text: line, from: own, now: now, monotonic: monotonic) })
        // It took not one of them, so nobody must wait for its next chunk.
        if let lossTable, lossTable.hasOnlyLosses { _ = lossTable.releaseLosses() }
    }

    /// Makes the losses durable that are noted of what lies in the spool; others may wait for rows that the disk does not take.
    ///
    /// - Returns: false if they are not.
    private func settle(_ monotonic: Int64) -> Bool {
        guard let lossTable else { return true }
        writeDown(monotonic)
        return commits.commit(where: { $0 === lossTable }, cutting: true)
    }
}
