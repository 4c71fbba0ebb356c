import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// `spool-loader backfill`: what a spool has and ClickHouse does not, table by table.
final class Backfill {
    private let spool: SpoolDirectory
    private let configuration: Configuration
    private let tables: [String]
    private let range: TimeRange
    private let rate: RateLimit
    private let patience: Int64
    private let loadsDropped: Bool
    /// Directory of the live loader's checkpoints, which are only read, and of the backfill's own.
    private let live: String
    private let checkpoints: String

    /// - Parameters:
    ///   - tables: empty for all.
    ///   - patience: how long to wait for a part of the spool that is promised and does not come, nanoseconds.
    ///   - loadsDropped: whether days that `retain` has dropped are brought back.
    init(
        configuration: Configuration, tables: [String], range: TimeRange?, rate: RateLimit, patience: Int64, loadsDropped: Bool = false
    ) throws {
        self.loadsDropped = loadsDropped
        self.configuration = configuration
        self.range = range ?? .everything
        self.rate = rate
        self.patience = patience
        spool = try SpoolDirectory.open(configuration.required("spool"))
        let known = try spool.tables()
        for table in tables where !known.contains(table) {
            throw CommandFailure("the spool \(spool.path) has no table \(table); it has \(known.joined(separator: ", "))", code: 64)
        }
        self.tables = known.filter { tables.isEmpty || tables.contains($0) }
            .sorted { (Self.rank($0, configuration), $0) < (Self.rank($1, configuration), $1) }
        live = configuration.required("loader.checkpoints")
        checkpoints = "\(live)/backfill/\(Self.setName(range: self.range, configuration))\(loadsDropped ? "-dropped" : "")"
    }

    /// Audit tables first, as in `run`.
    private static func rank(_ table: String, _ configuration: Configuration) -> Int {
        configuration.tableClass(of: table) == .audit ? 0 : 1
    }

    /// Each range and each target has checkpoints of its own: what was brought to one says nothing about another.
    static func setName(range: TimeRange, _ configuration: Configuration) -> String {
        let target = "\(configuration.list("loader.url").joined(separator: " ")) \(configuration.required("loader.database"))"
        return "\(range.name)-\(hex(Array(target.utf8).withUnsafeBytes { crc32c($0) }))"
    }

    /// What there is to load, by table.
    func surveys(_ dropped: [String: DroppedDays] = [:]) throws -> [BackfillSurvey] {
        try tables.map { try survey($0, dropped[$0] ?? DroppedDays()) }
    }

    private func survey(_ table: String, _ dropped: DroppedDays) throws -> BackfillSurvey {
        let own = try CheckpointStore.peek(directory: checkpoints, writer: spool.writer, table: table)
        return try BackfillSurvey(
            of: table, in: spool, range: range, next: own?.next ?? 1, liveFrom: try liveFrom(table), droppedDays: dropped)
    }

    /// The sequence from which on the rows belong to the loader whose checkpoint is at hand.
    private func liveFrom(_ table: String) throws -> UInt64? {
        try CheckpointStore.peek(directory: live, writer: spool.writer, table: table)?.next
    }

    /// Rows of which the loader found out that ClickHouse refuses them: one of them would hold up its whole batch.
    private func refused(_ table: String) throws -> SequenceSet {
        let list = QuarantineList(directory: live, writer: spool.writer, table: table)
        var refused: [Range<UInt64>] = []
        for (entry, rows) in try list.outstanding() {
            if case .refused = entry { refused += rows.ranges }
        }
        return SequenceSet(refused)
    }

    /// Loads, and tells what became of the rows.
    ///
    /// - Returns: a result for each table, and whether all were finished.
    /// - Throws: `CommandFailure` if ClickHouse failed for so long that it is better to come back later.
    func run(progress: Progress, log: Logger) throws -> (results: [BackfillResult], isComplete: Bool) {
        let stopSignal = try StopSignal()
        try Directory.create(checkpoints)
        let lock = try File.openForWriting("\(live)/backfill/\(spool.writer).lock")
        guard try lock.lock() else { throw CommandFailure("\(lock.path): another backfill of this spool is running", code: 74) }
        defer { withExtendedLifetime(lock) {} }
        let http = HTTPClient()
        let server = try ClickHouse(configuration: configuration, http: http, log: log)
        log.notice("spool \(spool.path) of writer \(spool.writer), ClickHouse \(server.url), checkpoints in \(checkpoints)")
        let questions = try StatementServer(configuration: configuration, purpose: "backfill", log: log)
        let dropped = try tables.reduce(into: [:]) { $0[$1] = loadsDropped ? nil : try DroppedDays(of: $1) { try questions.ask($0) } }
        let surveys = try surveys(dropped)
        for survey in surveys where survey.dropped > 0 {
            log.notice(
                "\(survey.table): \(survey.dropped) rows are of days that retain has dropped, and are left out; --dropped-days loads them too"
            )
        }
        var isGrowing = false
        func setTotals(_ surveys: [BackfillSurvey], done: UInt64) {
            isGrowing = surveys.contains(where: \.isGrowing)
            progress.update {
                $0.allRows = done + surveys.reduce(0) { $0 + $1.rows }
                $0.isGrowing = isGrowing
            }
        }
        setTotals(surveys, done: 0)
        var surveyed = Clock.monotonic()
        let lanes = try lanes(surveys, dropped, server, log)
        let parts = PartsLookout(server: server, log: log)
        defer { progress.finish() }
        while true {
            let now = Clock.monotonic()
            server.tend(now: now)
            for lane in lanes where lane.problem == nil { lane.step(now: now, patience: patience) }
            parts.tend(lanes.filter { !$0.isOver }.map(\.loader), now: now)
            progress.update {
                $0.rows = lanes.reduce(0) { $0 + $1.loader.tally.rows }
                $0.bytes = lanes.reduce(0) { $0 + $1.loader.tally.bytes }
                $0.label = lanes.first { !$0.isOver }?.loader.table ?? ""
            }
            if lanes.allSatisfy(\.isOver) { break }
            if isGrowing, now - surveyed >= Self.surveyEvery {
                surveyed = now
                setTotals(try self.surveys(dropped), done: lanes.reduce(0) { $0 + $1.loader.tally.rows })
            }
            if let lane = lanes.first(where: { $0.hasFailedTooOften }) {
                throw CommandFailure("\(lane.loader.lastProblem); the same command goes on where it stopped", code: 74)
            }
            let statuses = lanes.filter { !$0.isOver }.map(\.loader.status)
            http.wait(
                milliseconds: TableLoader.milliseconds(of: statuses, atMost: Self.longestWait, now: now),
                descriptors: stopSignal.descriptors)
            if stopSignal.isAsked {
                log.notice("stopping")
                http.finish(within: StopSignal.grace)
                for lane in lanes { lane.stop() }
                break
            }
        }
        for lane in lanes { if let problem = lane.problem { log.error("\(lane.loader.table): not finished: \(problem)") } }
        let results = lanes.map(\.result)
        return (results, results.allSatisfy { $0.problem == nil && $0.quarantined == 0 })
    }

    private static let longestWait: Int64 = 100_000_000
    /// How often to look how much there is while the spool is still being copied.
    private static let surveyEvery: Int64 = 2_000_000_000

    private func lanes(
        _ surveys: [BackfillSurvey], _ dropped: [String: DroppedDays], _ server: ClickHouse, _ log: Logger
    ) throws -> [BackfillLane] {
        let (rate, reader) = (SharedRate(rate), BatchReader())
        return try surveys.map { survey in
            if let from = survey.liveFrom {
                log.notice("\(survey.table): rows from \(from) on belong to the loader with the checkpoint in \(live)")
            }
            let refused = try refused(survey.table)
            let scope = LoadScope(
                times: range == .everything ? nil : range,
                sequences: refused.isEmpty ? nil : SequenceSet([0..<(.max)]).subtracting(refused),
                dropped: dropped[survey.table] ?? DroppedDays(), end: survey.liveFrom, checkpoints: checkpoints, asksFirst: true,
                firstAttempt: Int(Clock.now() / 1_000_000_000), rate: rate)
            let loader = try TableLoader(
                table: survey.table, spool: spool, configuration: configuration, server: server, log: log, once: false, reader: reader,
                scope: scope)
            return BackfillLane(loader: loader, refusedBefore: refused.count, dropped: survey.dropped)
        }
    }
}
