import CSystem
import Glibc
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolStatus

/// The loop of `spool-loader run`: all tables of one spool on one thread.
final class Loader {
    /// With `--once`, how many failures in a row end the attempt.
    private static let maxFailuresOnce = 10
    private static let reportEvery: Int64 = 10_000_000_000

    private let spool: SpoolDirectory
    private let configuration: Configuration
    private let only: Set<String>
    private let once: Bool
    private let log: Logger
    private let server: ClickHouse
    private let http = HTTPClient()
    private let poll: Int64
    private let batchRows: Int
    private let stopSignal: StopSignal
    private let watcher: Int32
    private var loaders: [TableLoader] = []
    private var watched: Set<String> = []
    private let reader = BatchReader()
    private let parts: PartsLookout
    private let status: LoaderStatus
    private var lastListing = ""
    private var lastReport: (at: Int64, rows: UInt64)

    init(configuration: Configuration, tables: [String], once: Bool, alarms: Alarms, log: Logger) throws {
        self.configuration = configuration
        self.once = once
        self.log = log
        only = Set(tables)
        spool = try Self.openSpool(configuration.required("spool"), waiting: !once, log)
        server = try ClickHouse(configuration: configuration, http: http, log: log)
        parts = PartsLookout(server: server, log: log)
        status = try LoaderStatus(configuration: configuration, spool: spool, alarms: alarms, log: log)
        poll = configuration.duration("loader.poll")
        batchRows = configuration.count("loader.batch_rows")
        stopSignal = try StopSignal()
        // Without inotify (a network file system, no descriptors left) polling alone does.
        watcher = cp_watch_open()
        lastReport = (Clock.monotonic(), 0)
        let known = try spool.tables()
        for table in tables where !known.contains(table) {
            throw CommandFailure("the spool \(spool.path) has no table \(table); it has \(known.joined(separator: ", "))", code: 64)
        }
    }

    deinit {
        if watcher >= 0 { close(watcher) }
    }

    /// Loads until a stop is asked for or, with `--once`, until everything durable is loaded.
    ///
    /// - Returns: the exit status.
    func run() throws -> Int32 {
        try adoptTables()
        log.notice("ready: spool \(spool.path) of writer \(spool.writer), ClickHouse \(server.url)")
        notifySupervisor("READY=1")
        var lastLook = Clock.monotonic()
        var looks = true
        while true {
            let now = Clock.monotonic()
            if now - lastLook >= poll {
                lastLook = now
                looks = true
                if !once { try lookForTables() }
            }
            server.tend(now: now)
            step(now, looks: looks)
            parts.tend(loaders, now: now)
            if once, let status = finalStatus() { return status }
            status.tend(loaders, server, parts, now: now)
            report(now)
            http.wait(milliseconds: waitMilliseconds(), descriptors: stopSignal.descriptors + (watcher >= 0 ? [watcher] : []))
            looks = drainWatcher()
            if stopSignal.isAsked { return stop() }
        }
    }

    /// Audit tables first, so that the others know how far behind those are.
    ///
    /// - Parameter looks: whether tables that wait for rows look for them. While bytes of requests move, the loop comes round for every buffer of them,
    ///   and each look is a list of the table's segments.
    private func step(_ now: Int64, looks: Bool) {
        let hasNews = loaders.contains { $0.status == .ready }
        for loader in loaders where looks || loader.hasToAct(now: now, hasNews: hasNews) {
            let isHeld = DrainOrder.isHeld(loader.tableClass, by: loaders.map(\.drainState), batchRows: batchRows)
            loader.step(now: now, mayBegin: !isHeld)
        }
    }

    /// Opens the spool; a loader that was started before its writer waits for it.
    private static func openSpool(_ path: String, waiting: Bool, _ log: Logger) throws -> SpoolDirectory {
        var hasSaidSo = false
        while true {
            do throws(SpoolFailure) {
                return try SpoolDirectory.open(path)
            } catch {
                guard waiting, case .notASpool = error else { throw error }
                if !hasSaidSo { log.notice("waiting: \(error)") }
                hasSaidSo = true
                usleep(200_000)
            }
        }
    }

    /// A spool that cannot be listed for a while, as on a network file system, is no reason to end.
    private func lookForTables() throws {
        do {
            try adoptTables()
            lastListing = ""
        } catch let failure as IOFailure {
            if lastListing != "\(failure)" { log.critical("RecorderFailure: \(failure); tries again, nothing is lost") }
            lastListing = "\(failure)"
        }
    }

    private func adoptTables() throws {
        for table in try spool.tables() where only.isEmpty || only.contains(table) {
            if watcher >= 0, !watched.contains(table), cp_watch_add(watcher, spool.directory(of: table)) >= 0 { watched.insert(table) }
            if loaders.contains(where: { $0.table == table }) { continue }
            loaders.append(
                try TableLoader(
                    table: table, spool: spool, configuration: configuration, server: server, log: log, once: once, reader: reader))
        }
        loaders.sort { ($0.tableClass == .audit ? 0 : 1, $0.table) < ($1.tableClass == .audit ? 0 : 1, $1.table) }
    }

    private func waitMilliseconds() -> Int32 {
        let now = Clock.monotonic()
        return TableLoader.milliseconds(
            of: loaders.map(\.status),
            atMost: min(poll, server.nextTending.map { $0 - now } ?? poll, status.nextDeadline - now),
            now: now)
    }

    /// - Returns: whether something changed.
    private func drainWatcher() -> Bool {
        guard watcher >= 0 else { return false }
        // Which file it was does not matter: every table looks for itself.
        return withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 8) { buffer in
            var hasChanged = false
            while read(watcher, buffer.baseAddress, buffer.count) > 0 { hasChanged = true }
            return hasChanged
        }
    }

    /// Lets requests in flight end, so that they need not be asked for at the next start.
    private func stop() -> Int32 {
        notifySupervisor("STOPPING=1")
        log.notice("stopping")
        http.finish(within: StopSignal.grace)
        for loader in loaders { loader.settle() }
        return 0
    }

    private func finalStatus() -> Int32? {
        var status: Int32 = 0
        for loader in loaders {
            switch loader.status {
            case .drained: break
            case .stopped: status = max(status, 1)
            case .waiting where loader.isWaitingForCopy: status = max(status, 1)
            case .waiting where loader.failures >= Self.maxFailuresOnce: status = 74
            default: return nil
            }
        }
        for loader in loaders {
            let checkpoint = loader.checkpoint
            var text = "\(loader.table): loaded \(checkpoint.rowsLoaded) rows in all, next is \(checkpoint.next)"
            if checkpoint.rowsExpired > 0 { text += ", \(checkpoint.rowsExpired) expired" }
            // The writer's decision, which it has told: nothing that this loader could not do.
            if checkpoint.rowsShed > 0 { text += ", \(checkpoint.rowsShed) shed" }
            // What was requeued in the meantime is no longer set aside.
            let quarantined = loader.quarantinedRows
            if quarantined > 0 {
                text += ", \(quarantined) quarantined"
                status = max(status, 1)
            }
            if loader.status != .drained { text += "; not finished: \(loader.lastProblem)" }
            print(text)
        }
        return status
    }

    private func report(_ now: Int64) {
        guard !once, now - lastReport.at >= Self.reportEvery else { return }
        let rows = loaders.reduce(0) { $0 + $1.checkpoint.rowsLoaded }
        if rows != lastReport.rows, lastReport.rows > 0 {
            log.info("loaded \(rows - lastReport.rows) rows in \((now - lastReport.at) / 1_000_000_000) s")
        }
        lastReport = (now, rows)
    }
}
