/// Metrics in the Prometheus text format, version 0.0.4.
struct MetricsText {
    private(set) var text = ""
    private var described: Set<String> = []

    enum Kind: String { case counter, gauge }

    /// Adds a sample. All samples of one name must be added one behind the other.
    ///
    /// - Parameter labels: names and values, in their order.
    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ labels: [(String, String)] = [], _ value: Double) {
        if described.insert(name).inserted { text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n" }
        let pairs = labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        text += "\(name)\(pairs.isEmpty ? "" : "{\(pairs)}") \(Self.number(value))\n"
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 9e15 ? String(Int64(value)) : "\(value)"
    }

    private static func escaped(_ label: String) -> String {
        var text = ""
        for character in label.unicodeScalars {
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(character)
            }
        }
        return text
    }
}

extension Recorder {
    /// What the writer says of itself.
    func metrics() -> String {
        var text = MetricsText()
        for tableClass in [
            ("audit", commits.queueUsage(.audit), guardian?.auditRingUsage),
            ("market", commits.queueUsage(.market), guardian?.marketRingUsage),
        ] {
            text.add(
                "recorder_queue_usage", .gauge,
                "Share of the fullest queue of a class: undurable bytes in memory, or rows in a ring that nobody has taken.",
                [("class", tableClass.0)], max(tableClass.1, tableClass.2 ?? 0))
        }
        for table in commits.tables {
            text.add(
                "recorder_rows_total", .counter, "Rows since the spool began, by stage.",
                [("table", table.schema.table), ("stage", "durable")], Double(table.segments.durableEnd - 1))
        }
        for (key, count) in (guardian?.ledger.totals ?? [:]).sorted(by: { $0.key < $1.key }) {
            let parts = key.split(separator: "\t").map(String.init)
            text.add(
                "recorder_dropped_rows_total", .counter, "Rows of class market that were not recorded, since the writer started.",
                [("table", parts.first ?? ""), ("reason", parts.last ?? "")], Double(count))
        }
        for table in commits.tables {
            text.add(
                "recorder_durable_seq", .gauge, "The sequence before which all rows of a table are durable.",
                [("table", table.schema.table)],
                Double(table.segments.durableEnd))
        }
        for table in commits.tables {
            text.add(
                "recorder_undurable_bytes", .gauge, "Bytes of chunks in memory because they are not durable.",
                [("table", table.schema.table)],
                Double(table.segments.undurableBytes))
        }
        for table in commits.tables {
            text.add(
                "recorder_write_failing", .gauge, "1 while the disk does not take a table's rows.", [("table", table.schema.table)],
                table.failure == nil ? 0 : 1)
        }
        if let guardian {
            text.add("recorder_disk_used_ratio", .gauge, "Use of the spool's file system, as df counts it.", [], guardian.usage?.ratio ?? 0)
            text.add(
                "recorder_disk_level", .gauge, "0 ok, 1 warn, 2 shed, 3 emergency.", [], Double(guardian.thresholds.level.rawValue))
            text.add(
                "recorder_pressure_step", .gauge, "Steps of the ladder of pressure; 0: recorded is all that is configured.", [],
                Double(guardian.pressure.rung))
            text.add(
                "recorder_reserve_bytes", .gauge, "Bytes of the disk that are kept for audit tables.", [],
                Double(commits.reserve?.bytes ?? 0))
        }
        return text.text
    }
}
