/// What may become of a table's rows when there is too much of everything (`docs/pressure.md`).
public enum TableClass: String, Sendable, CaseIterable {
    /// Orders, fills, decisions, accounts: never thinned, never dropped.
    case audit
    /// Dense and repeating: thinned under pressure, dropped in the end, each loss recorded in `system_events`.
    case market

    /// Tables of class market unless the configuration says otherwise.
    static let marketTables: Set<String> = ["market_data", "metrics_timeseries"]
}

extension Configuration {
    public func tableClass(of table: String) -> TableClass {
        TableClass(rawValue: text("writer.class", table: table)) ?? (TableClass.marketTables.contains(table) ? .market : .audit)
    }
}
