import SpoolFormat

/// What the target table in ClickHouse is like, as far as it decides whether rows can go there safely.
struct TargetTable {
    let engine: TargetEngine
    /// Type text by column.
    let columns: [String: String]

    /// The query whose answer ``init(answer:)`` reads.
    static func query(_ table: String) -> String {
        // Raw: neither types nor engines hold tabs or newlines.
        """
        SELECT kind, label, text FROM (
            SELECT 0 AS place, 'engine' AS kind, '' AS label, engine_full AS text FROM system.tables
            WHERE database = currentDatabase() AND name = \(quotedString(table))
            UNION ALL
            SELECT position AS place, 'column' AS kind, name AS label, type AS text FROM system.columns
            WHERE database = currentDatabase() AND table = \(quotedString(table))
        ) ORDER BY place FORMAT TSVRaw
        """
    }

    /// - Returns: nil if there is no such table.
    init?(answer: [UInt8]) {
        var engine: TargetEngine?
        var columns: [String: String] = [:]
        for line in String(decoding: answer, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: "\t", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            if fields[0] == "engine" { engine = TargetEngine(String(fields[2])) } else { columns[String(fields[1])] = String(fields[2]) }
        }
        guard let engine else { return nil }
        self.engine = engine
        self.columns = columns
    }

    /// Why rows with these columns must not be sent; nil if they can. ClickHouse itself would convert most of it silently.
    func complaint(about wire: [WireColumn]) -> String? {
        for column in wire {
            guard let type = columns[column.name] else {
                return "column \(column.name) is in the spool and not in ClickHouse; run `spool-loader migrate apply`"
            }
            if !Self.matches(type, column.type) {
                return "column \(column.name) is \(column.type) in the spool and \(type) in ClickHouse, which would convert it silently"
            }
        }
        return nil
    }

    /// Whether the token net is there; if not, the loader relies on counting alone.
    var deduplicates: Bool {
        engine.engine.hasPrefix("Replicated") || engine.engine.hasPrefix("Shared")
            || (engine.settings["non_replicated_deduplication_window"].flatMap(Int.init) ?? 0) > 0
    }

    /// Whether the token of an insert and its rows become visible in one transaction, on all replicas: there the token needs no second net, and
    /// a replica that lags must not be believed when it counts nothing.
    var hasCertainTokens: Bool { engine.engine.hasPrefix("Replicated") || engine.engine.hasPrefix("Shared") }

    /// Whether it shows which of two inserts came first: engines that let the last of equal rows win.
    var isOrderOfInsertsSeen: Bool { engine.engine.contains("Replacing") || engine.engine.contains("Collapsing") }

    private static func matches(_ target: String, _ wire: String) -> Bool {
        if target == wire { return true }
        // Another time zone shows the same instant.
        if wire.hasPrefix("DateTime64(9"), target.hasPrefix("DateTime64(9") { return true }
        if wire.hasPrefix("DateTime("), target == "DateTime" || target.hasPrefix("DateTime(") { return true }
        // LowCardinality on either side is a matter of storage.
        guard let type = try? ColumnType(target), let sent = try? ColumnType(wire) else { return false }
        return type == sent
    }
}
