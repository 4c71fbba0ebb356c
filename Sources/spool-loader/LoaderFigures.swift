import SpoolConfig
import SpoolIO
import SpoolStatus

/// What the loader says of itself at one moment.
struct LoaderFigures: StatusPage {
    struct Table: Sendable {
        let name: String
        let tableClass: TableClass
        let status: TableLoader.Status
        let durableEnd: UInt64
        let next: UInt64
        let rowsLoaded: UInt64
        let rowsExpired: UInt64
        let rowsQuarantined: UInt64
        /// Rows that are passed over and not in ClickHouse, by why.
        let outstanding: QuarantineCount
        let lagRows: UInt64
        let lagSeconds: Double
        /// For how long its checkpoint has not moved though there were rows to load, seconds.
        let standingSeconds: Double
        let failures: Int
        let lastProblem: String
        let meters: LoadMeters
        let inFlight: Int
        /// Nil until ClickHouse was asked for the table.
        let deduplicates: Bool?
        let parts: PartsCrowding?
    }

    var at: Int64 = 0
    var writer = ""
    var server = ""
    var tables: [Table] = []
    /// Of ClickHouse's clock, ahead of this machine's; nil if it was not seen lately.
    var serverClockOffset: Double?
    let process: ProcessFigures

    /// Until then a checkpoint may stand still.
    private static let mayStand = Double(Standstill.alarmAfter) / 1e9

    /// Healthy is that checkpoints move while there is something to load.
    var health: Health {
        Health(
            tables.compactMap { table in
                if case .stopped(let why) = table.status { return "\(table.name): stopped: \(why)" }
                guard table.standingSeconds >= Self.mayStand else { return nil }
                return "\(table.name): stands still for \(Int(table.standingSeconds)) s with \(table.lagRows) rows to load: "
                    + (table.lastProblem.isEmpty ? "no answer yet" : table.lastProblem)
            })
    }

    var readiness: Health {
        Health(
            health.reasons
                + tables.compactMap { table in
                    guard table.failures > 0 else { return nil }
                    return "\(table.name): \(table.lastProblem)"
                })
    }

    func metrics() -> String {
        var text = MetricsText()
        func each(
            _ name: String, _ kind: MetricsText.Kind, _ help: String, _ more: [(String, String)] = [], _ value: (Table) -> Double?
        ) {
            for table in tables { if let value = value(table) { text.add(name, kind, help, [("table", table.name)] + more, value) } }
        }
        each("recorder_rows_total", .counter, "Rows since the spool began, by stage.", [("stage", "loaded")]) { Double($0.rowsLoaded) }
        each("recorder_rows_total", .counter, "", [("stage", "expired")]) { Double($0.rowsExpired) }
        each(
            "recorder_quarantined_rows_total", .counter,
            "Rows that were passed over, since the checkpoint began: unreadable, or refused by ClickHouse."
        ) { Double($0.rowsQuarantined) }
        for table in tables {
            for (reason, rows) in [("damaged", table.outstanding.damaged), ("refused", table.outstanding.refused)] {
                text.add(
                    "recorder_quarantined_rows", .gauge, "Rows that are passed over and not in ClickHouse at present.",
                    [("table", table.name), ("reason", reason)], Double(rows))
            }
        }
        each("recorder_loaded_seq", .gauge, "The sequence before which the loader has dealt with all rows of a table.") { Double($0.next) }
        each("recorder_lag_rows", .gauge, "Rows that are durable and not loaded.") { Double($0.lagRows) }
        each("recorder_lag_seconds", .gauge, "Age of the oldest row that is durable and not loaded; 0 if there is none.") { $0.lagSeconds }
        each(
            "recorder_standing_seconds", .gauge, "For how long a checkpoint has not moved while there were rows to load."
        ) { $0.standingSeconds }
        each("recorder_table_stopped", .gauge, "1 if a table is not loaded any more until a person has acted.") {
            if case .stopped = $0.status { 1 } else { 0 }
        }
        each("recorder_table_failures", .gauge, "Failures of requests in a row.") { Double($0.failures) }
        each("recorder_inserts_in_flight", .gauge, "Batches on their way.") { Double($0.inFlight) }
        each("recorder_inserts_total", .counter, "Inserts that were sent, since the loader started.") { Double($0.meters.inserts) }
        for table in tables {
            text.add(
                "recorder_insert_seconds", "Time from sending an insert to its success.", [("table", table.name)], table.meters.insertTimes)
        }
        for table in tables {
            text.add(
                "recorder_event_to_query_seconds",
                "Time from an event, by the row's own clock, until ClickHouse has confirmed it; of the rows that were loaded.",
                [("table", table.name)], table.meters.eventToQuery)
        }
        for (code, count) in tables.reduce(into: [String: UInt64](), { $0.merge($1.meters.errors, uniquingKeysWith: +) }).sorted(by: {
            $0.key < $1.key
        }) {
            text.add(
                "recorder_insert_errors_total", .counter,
                "Failed inserts by ClickHouse's error number, or by what came instead of an answer.",
                [("code", code)], Double(count))
        }
        each(
            "recorder_dedup_unsafe", .gauge,
            "1 if ClickHouse keeps no tokens of the table's inserts: set non_replicated_deduplication_window."
        ) {
            $0.deduplicates.map { $0 ? 0 : 1 }
        }
        each("recorder_parts", .gauge, "Active parts: of the fullest partition or of the table, whichever is nearer to its limit.") {
            $0.parts.map { Double($0.parts) }
        }
        each("recorder_parts_limit", .gauge, "The limit that goes with recorder_parts.") { $0.parts.map { Double($0.limit) } }
        if let serverClockOffset {
            text.add("recorder_server_clock_offset_seconds", .gauge, "ClickHouse's clock, ahead of this machine's.", [], serverClockOffset)
        }
        process.add(to: &text)
        return text.text
    }

    func status() -> [UInt8] {
        var report = StatusReport(
            process: "spool-loader", writer: writer, at: at, health: health, readiness: readiness, figures: process,
            tables: tables.map { table in
                var entry = StatusReport.Table(table.name, class: table.tableClass.rawValue)
                entry.durable = table.durableEnd - 1
                entry.loaded = table.next - 1
                entry.lagRows = table.lagRows
                entry.lagSeconds = table.lagSeconds
                entry.quarantined = table.outstanding.damaged + table.outstanding.refused
                entry.state = table.failures > 0 ? "tries again: \(table.lastProblem)" : table.status.text
                return entry
            })
        report.server = server
        return report.encoded()
    }
}

/// Rows that are passed over and not in ClickHouse, by why.
struct QuarantineCount: Equatable, Sendable {
    /// Unreadable, or gone.
    var damaged: UInt64 = 0
    /// ClickHouse does not take them.
    var refused: UInt64 = 0

    init() {}

    init(_ list: QuarantineList) throws(IOFailure) {
        for (entry, rows) in try list.outstanding() {
            switch entry {
            case .damaged: damaged += UInt64(rows.count)
            case .refused: refused += UInt64(rows.count)
            case .requeued: break
            }
        }
    }
}

extension TableLoader.Status {
    /// One word for people, or what must be done.
    var text: String {
        switch self {
        case .ready, .working: "loading"
        case .drained: "up to date"
        case .held: "waits for audit tables"
        case .waiting: "waits"
        case .stopped(let why): "stopped: \(why)"
        }
    }
}
