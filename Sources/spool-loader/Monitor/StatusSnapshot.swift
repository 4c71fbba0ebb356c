import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolStatus

/// All that is known of a recorder at one moment: what stands in its files, and what its processes say of themselves.
struct StatusSnapshot: Encodable {
    struct Table: Encodable, Equatable {
        let table: String
        let tableClass: String
        /// Sequences of the last row that is durable, and of the last that the loader has dealt with; absent without a checkpoint.
        var durable: UInt64
        var loaded: UInt64?
        var lagRows: UInt64?
        /// Age of the oldest row that is not loaded; 0 if all are.
        var lagSeconds: Double?
        /// Of its segments.
        var bytes: UInt64
        /// Rows since the writer started.
        var refused: UInt64?
        var dropped: UInt64?
        var quarantined: UInt64?
        /// What the loader does with it, or what is in the way; what the files say if it was not asked.
        var state: String
    }

    struct Process: Encodable {
        /// `ok`, `not ready`, `unhealthy`, or why it cannot be asked.
        let state: String
        let reasons: [String]
        let alarms: UInt64?
        let lastAlarm: StatusReport.LastAlarm?
        /// ClickHouse's address.
        let server: String?
        let queue: [String: Double]?
    }

    struct Disk: Encodable {
        /// From 0 to 1.
        let used: Double
        let available: UInt64
    }

    let spool: String
    let writerID: String
    /// Nanoseconds since the Unix epoch.
    let at: Int64
    let writer: Process
    let loader: Process
    let disk: Disk?
    let tables: [Table]

    /// Whether something is wrong that a person should look at.
    var isWell: Bool {
        [writer, loader].allSatisfy { $0.reasons.isEmpty } && tables.allSatisfy { ($0.quarantined ?? 0) == 0 && !$0.state.hasPrefix("!") }
    }
}

/// Takes snapshots, one after the other.
final class StatusCollector {
    /// For an answer of a process on the same host or network.
    private static let patience: Int64 = 1_000_000_000
    /// Segments are only counted again after so long: there may be thousands.
    private static let bytesEvery: Int64 = 5_000_000_000

    private let spool: SpoolDirectory
    private let checkpoints: String
    private let configuration: Configuration
    private let http = HTTPClient()
    private var bytes: (at: Int64, byTable: [String: UInt64]) = (.min / 2, [:])

    init(configuration: Configuration) throws {
        self.configuration = configuration
        spool = try SpoolDirectory.open(configuration.required("spool"))
        checkpoints = configuration.required("loader.checkpoints")
    }

    func take(now: Int64 = Clock.now(), monotonic: Int64 = Clock.monotonic()) throws -> StatusSnapshot {
        var answers: [String: Result<StatusReport, CommandFailure>] = [:]
        var waiting = 0
        for setting in ["writer.metrics", "loader.metrics"] {
            guard let address = configuration.text(setting) else { continue }
            waiting += 1
            ask(address) { answer in
                answers[setting] = answer
                waiting -= 1
            }
        }
        while waiting > 0 { http.wait(milliseconds: 100) }
        if monotonic - bytes.at >= Self.bytesEvery {
            bytes = (monotonic, Dictionary(SpoolBytes.byTable(spool.path).map { ($0.table, $0.bytes) }) { $1 })
        }
        let (writer, loader) = (answers["writer.metrics"], answers["loader.metrics"])
        let survey = SpoolSurvey(spool: spool, checkpoints: checkpoints)
        let tables = try spool.tables().map { table in
            row(
                of: table, survey, try? writer?.get().tables.first { $0.table == table },
                try? loader?.get().tables.first { $0.table == table },
                now)
        }
        return StatusSnapshot(
            spool: spool.path, writerID: spool.writer, at: now, writer: Self.process(writer, "writer.metrics"),
            loader: Self.process(loader, "loader.metrics"),
            disk: (try? DiskUsage(path: spool.path)).map { StatusSnapshot.Disk(used: $0.ratio, available: $0.available) }, tables: tables)
    }

    /// From the files first: they are right whoever answers.
    private func row(
        of table: String, _ survey: SpoolSurvey, _ writer: StatusReport.Table?, _ loader: StatusReport.Table?, _ now: Int64
    ) -> StatusSnapshot.Table {
        var state = loader?.state ?? writer?.state ?? ""
        var durable: UInt64 = 1
        do {
            if let mark = try spool.mark(of: table) { durable = mark.durableEnd } else { state = "! no durable mark" }
        } catch {
            state = "! \(DurableMark.fileName): \(error)"
        }
        var checkpoint: Checkpoint?
        do {
            checkpoint = try CheckpointStore.peek(directory: checkpoints, writer: spool.writer, table: table)
        } catch {
            state = "! checkpoint: \(error)"
        }
        let next = checkpoint?.next
        let lagRows = next.map { durable > $0 ? durable - $0 : 0 }
        var lagSeconds = lagRows.map { _ in 0.0 }
        if let checkpoint, lagRows ?? 0 > 0, let ingest = try? survey.firstIngest(behind: checkpoint.position, of: table) {
            lagSeconds = max(0, Double(now.subtractingReportingOverflow(ingest).partialValue) / 1e9)
        }
        if state.isEmpty { state = next == nil ? "not loaded yet" : lagRows == 0 ? "all loaded" : "rows wait" }
        return StatusSnapshot.Table(
            table: table, tableClass: configuration.tableClass(of: table).rawValue, durable: durable - 1, loaded: next.map { $0 - 1 },
            lagRows: lagRows, lagSeconds: lagSeconds, bytes: bytes.byTable[table] ?? 0, refused: writer?.refused, dropped: writer?.dropped,
            quarantined: loader?.quarantined, state: plainLine(state))
    }

    private static func process(_ answer: Result<StatusReport, CommandFailure>?, _ setting: String) -> StatusSnapshot.Process {
        switch answer {
        case nil:
            StatusSnapshot.Process(state: "not asked: set \(setting)", reasons: [], alarms: nil, lastAlarm: nil, server: nil, queue: nil)
        case .failure(let failure)?:
            StatusSnapshot.Process(
                state: "does not answer", reasons: [failure.description], alarms: nil, lastAlarm: nil, server: nil, queue: nil)
        case .success(let report)?:
            StatusSnapshot.Process(
                state: report.healthy ? report.ready ? "ok" : "not ready" : "unhealthy", reasons: report.reasons.map { plainLine($0) },
                alarms: report.alarms, lastAlarm: report.lastAlarm, server: report.server, queue: report.queue)
        }
    }

    private func ask(_ address: String, _ done: @escaping (Result<StatusReport, CommandFailure>) -> Void) {
        let request = HTTPRequest(
            url: "http://\(address)/status", headers: [], body: nil, timeout: Self.patience, maxAnswerBytes: 1 << 20)
        http.start(request) { result in
            switch result {
            case .answered(200, _, let body):
                do {
                    done(.success(try StatusReport(decoding: body)))
                } catch {
                    done(.failure(CommandFailure("\(address)/status is no status of this version", code: 74)))
                }
            case .answered(let status, _, let body):
                done(.failure(CommandFailure("\(address): status \(status): \(plainLine(bytes: body, limit: 100))", code: 74)))
            case .unreachable(let why, _), .broken(let why, _), .abandoned(let why):
                done(.failure(CommandFailure("\(address): \(plainLine(why))", code: 74)))
            }
        }
    }
}
