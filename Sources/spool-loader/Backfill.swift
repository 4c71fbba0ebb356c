import CSystem
import Glibc
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
    /// Directory of the live loader's checkpoints, which are only read, and of the backfill's own.
    private let live: String
    private let checkpoints: String

    /// - Parameters:
    ///   - tables: empty for all.
    ///   - patience: how long to wait for a part of the spool that is promised and does not come, nanoseconds.
    init(configuration: Configuration, tables: [String], range: TimeRange?, rate: RateLimit, patience: Int64) throws {
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
        checkpoints = "\(live)/backfill/\(Self.setName(range: self.range, configuration))"
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
    func surveys() throws -> [BackfillSurvey] { try tables.map(survey) }

    private func survey(_ table: String) throws -> BackfillSurvey {
        let own = try CheckpointStore.peek(directory: checkpoints, writer: spool.writer, table: table)
        return try BackfillSurvey(
            of: table, in: spool, range: range, next: own?.next ?? 1, liveFrom: try liveFrom(table))
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
    /// - Returns: a result for each table that was begun, and whether all were finished.
    func run(progress: Progress, log: Logger) throws -> (results: [BackfillTable.Result], isComplete: Bool) {
        let stopDescriptor = cp_stop_signals()
        guard stopDescriptor >= 0 else { throw IOFailure("signalfd", spool.path, errno) }
        defer { close(stopDescriptor) }
        try Directory.create(checkpoints)
        let lock = try File.openForWriting("\(live)/backfill/\(spool.writer).lock")
        guard try lock.lock() else { throw CommandFailure("\(lock.path): another backfill of this spool is running", code: 74) }
        defer { withExtendedLifetime(lock) {} }
        let server = try BackfillServer(configuration: configuration, rate: rate, stopDescriptor: stopDescriptor, log: log) {
            progress.tick()
        }
        log.notice("spool \(spool.path) of writer \(spool.writer), ClickHouse \(server.url), checkpoints in \(checkpoints)")
        let surveys = try surveys()
        progress.update {
            $0.allRows = surveys.reduce(0) { $0 + $1.rows }
            $0.isGrowing = surveys.contains(where: \.isGrowing)
        }
        var results: [BackfillTable.Result] = []
        let limits = rate.limits(
            BatchLimits(rows: configuration.count("loader.batch_rows"), bytes: configuration.bytes("loader.batch_bytes")))
        var current: BackfillTable?
        do {
            for survey in surveys {
                progress.update { $0.label = survey.table }
                if let from = survey.liveFrom {
                    log.notice("\(survey.table): rows from \(from) on belong to the loader with the checkpoint in \(live)")
                }
                let table = try BackfillTable(
                    table: survey.table, spool: spool, checkpoints: checkpoints, limits: limits, range: range, liveFrom: survey.liveFrom,
                    refused: try refused(survey.table), patience: patience, server: server, progress: progress, log: log)
                current = table
                let result = try table.run()
                current = nil
                if let problem = result.problem { log.error("\(survey.table): not finished: \(problem)") }
                results.append(result)
            }
        } catch is BackfillStopped {
            progress.finish()
            log.notice("stopped")
            if var partial = current?.result {
                partial.problem = "stopped; the same command goes on from here"
                results.append(partial)
            }
            return (results, false)
        } catch {
            progress.finish()
            throw error
        }
        progress.update { $0.label = "" }
        progress.finish()
        return (results, results.allSatisfy { $0.problem == nil && $0.quarantined == 0 })
    }
}
