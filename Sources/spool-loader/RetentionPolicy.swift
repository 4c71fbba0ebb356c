import SpoolConfig
import SpoolFormat

/// How long rows are kept, for every table, in one place: what the schemas say, unless the configuration says otherwise. Pure.
///
/// `retain` drops partitions by it. The server's own TTL is the net below: for tables that are rolled up it comes a week later, so that no row goes
/// before its roll-up was proved.
struct RetentionPolicy {
    /// Days by which the server's TTL is behind `retain` for tables that are rolled up.
    static let margin = 7
    static let rolledUp: Set<String> = ["market_data"]
    /// The specification keeps audit rows for years, "minimum 1-3 years if storage constrained": less than a year is refused.
    static let minimumDays = 365
    static let auditTables: Set<String> = [
        "orders", "fills", "risk_decisions", "guardrail_transitions", "positions_intraday", "account_state",
    ]

    private var keeps: [String: Retention] = [:]
    private var configured: Set<String> = []
    private var columns: [String: String] = [:]
    private var fileTTLs: [String: SQLPhrase] = [:]

    /// - Parameter retentions: the setting `retention` by table; `auto` for what the schema says.
    /// - Throws: `ConfigFailure` naming the table and the minimum.
    init(model: SchemaModel, retentions: (String) -> String) throws(ConfigFailure) {
        for table in model.tables {
            guard let time = Self.timeColumn(table) else { continue }
            columns[table.name] = time
            fileTTLs[table.name] = table.ttl
            let text = retentions(table.name)
            if text == "auto" {
                guard let ttl = table.retention else { continue }
                keeps[table.name] = Self.rolledUp.contains(table.name) ? Self.less(ttl, days: Self.margin) : ttl
            } else {
                guard let keep = Self.parse(text) else {
                    throw ConfigFailure(
                        description: "tables.\(table.name).retention is \"\(text)\"; expected auto, or a time such as 30d, 18mo or 7y")
                }
                keeps[table.name] = keep
                configured.insert(table.name)
            }
            try check(table.name)
        }
    }

    /// - Throws: also for a section of a table that the schemas do not have: who wrote it believes its rows to be kept so long.
    init(model: SchemaModel, configuration: Configuration) throws(ConfigFailure) {
        try configuration.checkSections(tables: model.tables.map(\.name))
        try self.init(model: model) { configuration.text("loader.retention", table: $0) }
    }

    /// For how long `retain` keeps rows; nil for ever.
    func keep(of table: String) -> Retention? { keeps[table] }

    /// What the table's TTL is to be, if the configuration says something else than the schema; nil if it does not.
    func ttl(of table: String) -> (time: Retention, phrase: SQLPhrase)? {
        guard configured.contains(table), let keep = keeps[table], let column = columns[table] else { return nil }
        let whole = Self.rolledUp.contains(table) ? Retention(count: Self.mostDays(keep) + Self.margin, unit: .day) : keep
        let unit = whole.unit.rawValue
        let deletion = SQLPhrase(ttlOf: column, function: "toInterval\(unit.prefix(1).uppercased())\(unit.dropFirst())", count: whole.count)
        return (whole, fileTTLs[table]?.deleting(by: deletion) ?? deletion)
    }

    private static func timeColumn(_ table: TableDefinition) -> String? { table.partition?.column }

    private func check(_ table: String) throws(ConfigFailure) {
        guard let keep = keeps[table] else { return }
        if Self.auditTables.contains(table), Self.days(keep) < Self.minimumDays {
            throw ConfigFailure(
                description:
                    "table \(table) would be kept for \(keep.count) \(keep.unit), and audit rows are kept for at least a year (5 to 7 are usual); "
                    + "set tables.\(table).retention to 1y or more")
        }
        if Self.days(keep) > Retention.maxYears * 365 {
            throw ConfigFailure(
                description:
                    "table \(table) would be kept for \(keep.count) \(keep.unit); ClickHouse counts up to 2106, so at most \(Retention.maxYears) years"
            )
        }
    }

    /// `30d`, `2w`, `18mo`, `7y`.
    static func parse(_ text: String) -> Retention? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let count = Int(digits), count > 0, count < 10_000 else { return nil }
        switch text.dropFirst(digits.count) {
        case "d": return Retention(count: count, unit: .day)
        case "w": return Retention(count: count, unit: .week)
        case "mo": return Retention(count: count, unit: .month)
        case "y": return Retention(count: count, unit: .year)
        default: return nil
        }
    }

    /// Days of so many months in a row, the shortest ones.
    private static let fewestDays = [0, 28, 59, 89, 120, 150, 181, 212, 242, 273, 303, 334]

    /// At least so many days.
    static func days(_ retention: Retention) -> Int {
        switch retention.unit {
        case .second: retention.count / 86_400
        case .minute: retention.count / 1_440
        case .hour: retention.count / 24
        case .day: retention.count
        case .week: retention.count * 7
        case .month: retention.count / 12 * 365 + fewestDays[retention.count % 12]
        case .year: retention.count * 365
        }
    }

    /// At most so many days: months of 31, years of 366, and the three by which ``Retention/expired(at:)`` is late at a month's end.
    static func mostDays(_ retention: Retention) -> Int {
        switch retention.unit {
        case .month: retention.count * 31 + 3
        case .year: retention.count * 366 + 3
        case .second, .minute, .hour: days(retention) + 1
        case .day, .week: days(retention)
        }
    }

    private static func less(_ ttl: Retention, days: Int) -> Retention {
        Retention(count: max(1, Self.days(ttl) - days), unit: .day)
    }
}
