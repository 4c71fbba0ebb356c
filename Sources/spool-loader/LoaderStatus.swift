import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolStatus

/// What the loader says of itself to those who watch, and whether its checkpoints move.
final class LoaderStatus {
    /// How often the list of quarantined rows is read again though no row came to it: requeue writes it too.
    private static let recountEvery: Int64 = 10_000_000_000
    /// A checkpoint that stands still for that long for no reason that is known is a fault of the loader's own: then it is started anew.
    private static let hangsAfter: Int64 = 300_000_000_000

    private let publisher: StatusPublisher
    private let log: Logger
    private let spool: SpoolDirectory
    private var standstills: [String: Standstill] = [:]
    private var quarantined: [String: (rows: UInt64, at: Int64, count: QuarantineCount)] = [:]
    private var lastLags: [String: (next: UInt64, ingest: Int64)] = [:]

    init(
        configuration: Configuration, spool: SpoolDirectory, alarms: Alarms, log: Logger,
        environment: [String: String] = processEnvironment()
    ) throws {
        publisher = try StatusPublisher(
            configuration: configuration, setting: "loader.metrics", version: coldpathVersion, alarms: alarms, log: log,
            environment: environment)
        self.spool = spool
        self.log = log
    }

    /// When ``tend(_:_:_:now:)`` is to be called at the latest, on the clock that never jumps.
    var nextDeadline: Int64 { publisher.nextDeadline }

    func tend(_ loaders: [TableLoader], _ clickhouse: ClickHouse, _ parts: PartsLookout, now: Int64) {
        watchForStandstill(loaders, now)
        publisher.tend(now: now, progresses: !loaders.contains { hangs($0, now) }) { process in
            var figures = LoaderFigures(process: process)
            figures.at = Clock.now()
            figures.writer = spool.writer
            figures.server = clickhouse.url
            figures.serverClockOffset = parts.clockOffset
            figures.tables = loaders.map { self.figures(of: $0, parts, now) }
            return figures
        }
    }

    private func figures(of loader: TableLoader, _ parts: PartsLookout, _ now: Int64) -> LoaderFigures.Table {
        let checkpoint = loader.checkpoint
        return LoaderFigures.Table(
            name: loader.table, tableClass: loader.tableClass, status: loader.status, durableEnd: loader.tail.mark?.durableEnd ?? 1,
            next: checkpoint.next, rowsLoaded: checkpoint.rowsLoaded, rowsExpired: checkpoint.rowsExpired,
            rowsQuarantined: checkpoint.rowsQuarantined, outstanding: outstanding(loader, now), lagRows: loader.outstanding,
            lagSeconds: lagSeconds(loader), standingSeconds: Double(standstills[loader.table]?.standing(at: now) ?? 0) / 1e9,
            failures: loader.failures, lastProblem: loader.lastProblem, meters: loader.meters, inFlight: loader.flights.underWay,
            deduplicates: loader.target?.deduplicates, parts: parts.crowding[loader.table])
    }

    private func outstanding(_ loader: TableLoader, _ now: Int64) -> QuarantineCount {
        let rows = loader.checkpoint.rowsQuarantined
        guard rows > 0 else { return QuarantineCount() }
        if let known = quarantined[loader.table], known.rows == rows, now - known.at < Self.recountEvery { return known.count }
        guard let count = try? QuarantineCount(loader.store.quarantine) else {
            return quarantined[loader.table]?.count ?? QuarantineCount()
        }
        quarantined[loader.table] = (rows, now, count)
        return count
    }

    /// Age of the oldest row that is durable and not loaded.
    private func lagSeconds(_ loader: TableLoader) -> Double {
        guard loader.outstanding > 0 else { return 0 }
        let next = loader.checkpoint.next
        let ingest: Int64
        if let known = lastLags[loader.table], known.next == next {
            ingest = known.ingest
        } else if let flight = loader.flights.flights.first, flight.batch.firstSequence <= next {
            ingest = flight.batch.chunks.first?.header.firstIngest ?? Clock.now()
        } else {
            // Nothing is on its way: the spool has it.
            let survey = SpoolSurvey(spool: spool, checkpoints: "")
            ingest = (try? survey.firstIngest(behind: loader.checkpoint.position, of: loader.table)) ?? Clock.now()
        }
        lastLags[loader.table] = (next, ingest)
        return max(0, Double(Clock.now().subtractingReportingOverflow(ingest).partialValue) / 1e9)
    }

    /// Whether a table gets on no more, and nothing is known to be in its way.
    private func hangs(_ loader: TableLoader, _ now: Int64) -> Bool {
        guard loader.failures == 0, !loader.isWaitingForCopy, loader.status != .held else { return false }
        if case .stopped = loader.status { return false }
        return (standstills[loader.table]?.standing(at: now) ?? 0) >= Self.hangsAfter
    }

    /// A process that lives and answers proves nothing: what counts is that checkpoints move while there is something to load.
    private func watchForStandstill(_ loaders: [TableLoader], _ now: Int64) {
        for loader in loaders {
            let state = standstills[loader.table, default: Standstill(next: loader.checkpoint.next, at: now)]
            let (next, alarm) = state.seen(next: loader.checkpoint.next, outstanding: loader.outstanding, at: now)
            standstills[loader.table] = next
            guard let seconds = alarm else { continue }
            log.critical(
                "RecorderFailure: \(loader.table) stands still at row \(loader.checkpoint.next) for \(seconds) s, with \(loader.outstanding) rows to load; \(loader.lastProblem.isEmpty ? "no answer yet" : "the last problem: \(loader.lastProblem)")"
            )
        }
    }
}
