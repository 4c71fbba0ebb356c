import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolStatus

/// What the writer says of itself at one moment. Copied by its loop in some microseconds; texts are made of it by the thread that serves them.
struct WriterFigures: StatusPage {
    struct Table: Sendable {
        let name: String
        let tableClass: TableClass
        /// Rows of all times.
        let accepted: UInt64
        let durableEnd: UInt64
        let refused: UInt64
        let ringFull: UInt64
        let undurableBytes: Int
        /// What the disk said the last time, and for how long it has been saying so, nanoseconds; nil if it takes rows.
        let failure: (text: String, lasting: Int64)?
        let syncTimes: Histogram
        let durableTimes: Histogram
    }

    /// Rows of a table that were given up, by reason.
    struct Dropped: Sendable {
        let table: String
        let reason: String
        let rows: UInt64
    }

    struct Disk: Sendable {
        let usage: DiskUsage
        let level: DiskLevel
        let reserve: UInt64
        let pressure: Int
    }

    var at: Int64 = 0
    var spool = ""
    var writer = ""
    var tables: [Table] = []
    var queueAudit = 0.0
    var queueMarket = 0.0
    var isAuditFull = false
    /// Lines that named no table that is recorded.
    var refusedUnnamed: UInt64 = 0
    var dropped: [Dropped] = []
    var disk: Disk?
    var connections = 0
    var rings = 0
    let process: ProcessFigures

    /// From then on a disk that takes nothing is a reason to call the writer unhealthy; shorter troubles it gets over by itself. Nanoseconds.
    private static let failingFor: Int64 = 10_000_000_000

    var health: Health {
        var reasons: [String] = []
        for table in tables {
            guard let failure = table.failure, failure.lasting >= Self.failingFor else { continue }
            reasons.append("\(table.name): the disk has taken no rows for \(failure.lasting / 1_000_000_000) s: \(failure.text)")
        }
        return Health(reasons)
    }

    var readiness: Health {
        var reasons = health.reasons
        if isAuditFull { reasons.append("audit rows are refused: as many as may wait for the disk are in memory") }
        if let disk, disk.level == .emergency { reasons.append("the disk is nearly full: no market row is taken") }
        return Health(reasons)
    }

    func metrics() -> String {
        var text = MetricsText()
        for (name, usage) in [("audit", queueAudit), ("market", queueMarket)] {
            text.add(
                "recorder_queue_usage", .gauge,
                "Share of the fullest queue of a class: undurable bytes in memory, or rows in a ring that nobody has taken.",
                [("class", name)], usage)
        }
        for table in tables {
            for (stage, rows) in [("accepted", table.accepted), ("durable", table.durableEnd - 1)] {
                text.add(
                    "recorder_rows_total", .counter, "Rows since the spool began, by stage.", [("table", table.name), ("stage", stage)],
                    Double(rows))
            }
        }
        for table in tables {
            text.add(
                "recorder_refused_rows_total", .counter,
                "Rows that were wrong or could not be kept, of which their producers were told, since the writer started.",
                [("table", table.name)], Double(table.refused))
        }
        text.add("recorder_refused_rows_total", [("table", "")], Double(refusedUnnamed))
        for entry in dropped {
            text.add(
                "recorder_dropped_rows_total", .counter, "Rows of class market that were not recorded, since the writer started.",
                [("table", entry.table), ("reason", entry.reason)], Double(entry.rows))
        }
        for table in tables {
            text.add(
                "recorder_ring_full_rows_total", .counter, "Rows that a producer could not publish since its ring was full.",
                [("table", table.name)], Double(table.ringFull))
        }
        for (table, bytes) in SpoolBytes.byTable(spool) {
            text.add("recorder_wal_bytes", .gauge, "Bytes of the spool's segments.", [("table", table)], Double(bytes))
        }
        for table in tables {
            text.add(
                "recorder_durable_seq", .gauge, "The sequence before which all rows of a table are durable.", [("table", table.name)],
                Double(table.durableEnd))
        }
        for table in tables {
            text.add(
                "recorder_undurable_bytes", .gauge, "Bytes of chunks in memory because they are not durable.", [("table", table.name)],
                Double(table.undurableBytes))
        }
        for table in tables {
            text.add(
                "recorder_write_failing", .gauge, "1 while the disk does not take a table's rows.", [("table", table.name)],
                table.failure == nil ? 0 : 1)
        }
        for tableClass in TableClass.allCases {
            text.add(
                "recorder_sync_seconds", "Time that a sync of a segment took.", [("class", tableClass.rawValue)],
                sum(tableClass, \.syncTimes))
        }
        for tableClass in TableClass.allCases {
            text.add(
                "recorder_durable_seconds", "Time from taking a row to its durability: of the oldest row of each sync.",
                [("class", tableClass.rawValue)], sum(tableClass, \.durableTimes))
        }
        if let disk {
            text.add("recorder_disk_used_ratio", .gauge, "Use of the spool's file system, as df counts it.", [], disk.usage.ratio)
            text.add("recorder_disk_available_bytes", .gauge, "Bytes that are free on it.", [], Double(disk.usage.available))
            text.add("recorder_disk_level", .gauge, "0 ok, 1 warn, 2 shed, 3 emergency.", [], Double(disk.level.rawValue))
            text.add(
                "recorder_pressure_step", .gauge, "Steps of the ladder of pressure; 0: recorded is all that is configured.", [],
                Double(disk.pressure))
            text.add("recorder_reserve_bytes", .gauge, "Bytes of the disk that are kept for audit tables.", [], Double(disk.reserve))
        }
        text.add("recorder_producers", .gauge, "Producers at present, by how they send.", [("by", "socket")], Double(connections))
        text.add("recorder_producers", [("by", "ring")], Double(rings))
        process.add(to: &text)
        return text.text
    }

    private func sum(_ tableClass: TableClass, _ times: KeyPath<Table, Histogram>) -> Histogram {
        tables.reduce(Histogram()) { $1.tableClass == tableClass ? $0 + $1[keyPath: times] : $0 }
    }

    func status() -> [UInt8] {
        var report = StatusReport(
            process: "spool-writer", writer: writer, at: at, health: health, readiness: readiness, figures: process,
            tables: tables.map { table in
                var entry = StatusReport.Table(table.name, class: table.tableClass.rawValue)
                entry.accepted = table.accepted
                entry.durable = table.durableEnd - 1
                entry.refused = table.refused
                entry.dropped = dropped.reduce(0) { $1.table == table.name ? $0 + $1.rows : $0 }
                entry.undurableBytes = UInt64(table.undurableBytes)
                entry.state = table.failure.map { "cannot write: \($0.text)" } ?? "recording"
                return entry
            })
        report.queue = ["audit": queueAudit, "market": queueMarket]
        report.disk = disk.map { StatusReport.Disk(used: $0.usage.ratio, available: $0.usage.available, level: "\($0.level)") }
        return report.encoded()
    }
}

extension Recorder {
    func figures(connections: Int, rings: Int, process: ProcessFigures, monotonic: Int64) -> WriterFigures {
        var figures = WriterFigures(process: process)
        figures.at = Clock.now()
        figures.spool = spool.path
        figures.writer = spool.writer
        figures.tables = commits.tables.map { table in
            WriterFigures.Table(
                name: table.schema.table, tableClass: table.tableClass,
                accepted: table.segments.nextSequence - 1 + UInt64(table.gatheredRows), durableEnd: table.segments.durableEnd,
                refused: table.refused, ringFull: table.ringFull, undurableBytes: table.segments.undurableBytes,
                failure: table.failure.map { ("\($0.error)", monotonic - $0.since) }, syncTimes: table.segments.syncTimes,
                durableTimes: table.durableTimes)
        }
        figures.queueAudit = max(commits.queueUsage(.audit), guardian?.auditRingUsage ?? 0)
        figures.queueMarket = max(commits.queueUsage(.market), guardian?.marketRingUsage ?? 0)
        figures.isAuditFull = commits.isAuditFull
        figures.refusedUnnamed = refusedUnnamed
        figures.connections = connections
        figures.rings = rings
        guard let guardian else { return figures }
        // Zeros too: whoever watches for a first loss must have seen that there was none.
        var dropped = guardian.ledger.totals
        for table in commits.tables where table.market != nil {
            for reason in LossReason.allCases where dropped["\(table.schema.table)\t\(reason.text)"] == nil {
                dropped["\(table.schema.table)\t\(reason.text)"] = 0
            }
        }
        figures.dropped = dropped.sorted { $0.key < $1.key }.map { key, rows in
            let parts = key.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            return WriterFigures.Dropped(table: parts.first ?? "", reason: parts.last ?? "", rows: rows)
        }
        if let usage = guardian.usage {
            figures.disk = WriterFigures.Disk(
                usage: usage, level: guardian.thresholds.level, reserve: UInt64(commits.reserve?.bytes ?? 0),
                pressure: guardian.pressure.rung)
        }
        return figures
    }
}
