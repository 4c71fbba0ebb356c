import SpoolFormat

/// What the target table in ClickHouse is like, as far as it decides whether rows can go there safely.
struct TargetTable {
    let engine: TargetEngine
    /// Type text by column.
    let columns: [String: String]
    let dialect: Dialect
    /// Whether ClickHouse knows which migrations it has had (``AppliedSchemas``).
    let hasHistory: Bool

    /// The query whose answer ``init(answer:)`` reads.
    static func query(_ table: String) -> String {
        // Raw: neither types nor engines hold tabs or newlines. The version comes along, so that it is that of the server which was asked for the table.
        """
        SELECT kind, label, text FROM (
            SELECT 'version' AS kind, '' AS label, version() AS text
            UNION ALL
            SELECT 'engine' AS kind, '' AS label, engine_full AS text FROM system.tables
            WHERE database = currentDatabase() AND name = \(quotedString(table))
            UNION ALL
            SELECT 'column' AS kind, name AS label, type AS text FROM system.columns
            WHERE database = currentDatabase() AND table = \(quotedString(table))
            UNION ALL
            SELECT 'history' AS kind, '' AS label, name AS text FROM system.tables
            WHERE database = currentDatabase() AND name = \(quotedString(AppliedSchemas.table))
        ) ORDER BY kind DESC, label FORMAT TSVRaw
        """
    }

    /// - Parameter wire: the setting `loader.wire`.
    /// - Returns: nil if there is no such table.
    init?(answer: [UInt8], wire: Dialect.Wire = .auto) {
        var engine: TargetEngine?
        var dialect = Dialect(wire: wire)
        var columns: [String: String] = [:]
        var hasHistory = false
        for line in String(decoding: answer, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: "\t", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            switch fields[0] {
            case "engine": engine = TargetEngine(String(fields[2]))
            case "version": if let version = ServerVersion(fields[2]) { dialect = Dialect(version: version, wire: wire) }
            case "history": hasHistory = true
            default: columns[String(fields[1])] = String(fields[2])
            }
        }
        guard let engine else { return nil }
        self.engine = engine
        self.columns = columns
        self.dialect = dialect
        self.hasHistory = hasHistory
    }

    /// How the table differs from these columns, wider types included; nil if it does not. ClickHouse itself would convert most of it silently.
    func complaint(about wire: [WireColumn]) -> String? {
        for column in wire {
            guard let type = columns[column.name], takes(type, column.type) else { return complaint(about: column).text(broughtBy: nil) }
        }
        return nil
    }

    /// Why values of this column must not be sent; nil if they can, as they are or by a conversion that changes none of them.
    func misfit(_ column: WireColumn) -> ColumnComplaint? {
        guard let type = columns[column.name] else { return complaint(about: column) }
        return takes(type, column.type) || widens(type, column.type) ? nil : complaint(about: column)
    }

    private func complaint(about column: WireColumn) -> ColumnComplaint {
        guard let type = columns[column.name] else {
            return ColumnComplaint(
                column: column, isMissing: true, text: "column \(column.name) is in the spool and not in ClickHouse")
        }
        let differs = "column \(column.name) is \(column.type) in the spool and \(type) in ClickHouse, which"
        if let plain = Self.plainType(column.type), dialect.isPlain, !dialect.knowsTokens {
            return ColumnComplaint(column: column, isMissing: false, text: "\(differs) must have it as \(plain)")
        }
        return ColumnComplaint(column: column, isMissing: false, text: "\(differs) would convert it silently")
    }

    /// The type of each column in the header of a block that is sent plain: the table's own, since old servers compare them to the letter.
    func sentTypes(_ wire: [WireColumn]) -> [String] {
        wire.map { column in
            let type = columns[column.name] ?? column.type
            // A dictionary is only sent into a column that stores one.
            if type.hasPrefix("LowCardinality(") || column.type == ColumnType.dictionaryText {
                return type == column.type ? type : column.type == ColumnType.dictionaryText ? "String" : column.type
            }
            return takes(type, column.type) ? type : column.type
        }
    }

    /// Event times in a condition: as the column has them.
    func timeText(_ column: String, _ nanoseconds: Int64) -> String {
        columns[column]?.hasPrefix("DateTime64") ?? true ? Self.timeText(nanoseconds) : "\(nanoseconds)"
    }

    /// The same for a column of the spool's own type.
    static func timeText(_ nanoseconds: Int64) -> String { "fromUnixTimestamp64Nano(\(nanoseconds), 'UTC')" }

    /// Whether the token net is there; if not, the loader relies on counting alone.
    var deduplicates: Bool {
        guard dialect.knowsTokens else { return false }
        return engine.engine.hasPrefix("Replicated") || engine.engine.hasPrefix("Shared")
            || (engine.settings["non_replicated_deduplication_window"].flatMap(Int.init) ?? 0) > 0
    }

    /// Whether the token of an insert and its rows become visible in one transaction, on all replicas: there the token needs no second net, and
    /// a replica that lags must not be believed when it counts nothing.
    var hasCertainTokens: Bool { engine.engine.hasPrefix("Replicated") || engine.engine.hasPrefix("Shared") }

    /// Whether it shows which of two inserts came first: engines that let the last of equal rows win.
    var isOrderOfInsertsSeen: Bool { engine.engine.contains("Replacing") || engine.engine.contains("Collapsing") }

    /// Whether a column of the type takes the values as they are sent.
    private func takes(_ target: String, _ wire: String) -> Bool {
        if Self.matches(target, wire) { return true }
        return dialect.isPlain && Self.plainType(wire) == target
    }

    /// Whether ClickHouse makes of every value the same one of its own type. Servers that are sent plain blocks compare the types to the letter.
    private func widens(_ target: String, _ wire: String) -> Bool {
        guard !dialect.isPlain, let type = try? ColumnType(target), let sent = try? ColumnType(wire) else { return false }
        return type.holdsAll(of: sent)
    }

    /// The type with the same bytes that stands in where ClickHouse does not know this one yet; nil if it needs none.
    private static func plainType(_ wire: String) -> String? {
        guard let type = try? ColumnType(wire) else { return nil }
        switch type.scalar {
        case .dateTime64: return ColumnType(.int(bits: 64), shape: type.shape).wireText
        case .bool: return ColumnType(.uint(bits: 8), shape: type.shape).wireText
        default: return nil
        }
    }

    /// ClickHouse names the cases of an enum in the order of their values, however they were declared.
    private static func sorted(_ type: ColumnType) -> ColumnType {
        switch type.scalar {
        case .enum8(let cases): ColumnType(.enum8(cases.sorted { $0.value < $1.value }), shape: type.shape)
        case .enum16(let cases): ColumnType(.enum16(cases.sorted { $0.value < $1.value }), shape: type.shape)
        default: type
        }
    }

    private static func matches(_ target: String, _ wire: String) -> Bool {
        if target == wire { return true }
        // Another time zone shows the same instant.
        if wire.hasPrefix("DateTime64(9"), target.hasPrefix("DateTime64(9") { return true }
        if wire.hasPrefix("DateTime("), target == "DateTime" || target.hasPrefix("DateTime(") { return true }
        // LowCardinality on either side is a matter of storage.
        guard let type = try? ColumnType(target), let sent = try? ColumnType(wire) else { return false }
        return Self.sorted(type) == Self.sorted(sent)
    }
}
