import SpoolConfig

/// Which tables wait for which: after an outage audit rows reach ClickHouse before market rows do.
enum DrainOrder {
    /// Rows that are not loaded, from which on a table is behind: live traffic has some thousands on their way at any moment, and no table
    /// waits for those.
    static let backlogRows: UInt64 = 50_000

    /// How long a table waits between two batches, at most: audit tables that are always somewhat behind must not starve it. Nanoseconds.
    static let longestHold: Int64 = 5_000_000_000

    /// What counts of a table.
    struct TableState: Equatable {
        let tableClass: TableClass
        /// Durable rows that are not loaded, as far as the last look saw.
        let outstanding: UInt64
        /// It has work and nothing stands in its way: not stopped, not backing off, not waiting for a copy.
        let makesProgress: Bool
    }

    /// Whether a table of the class must not begin a new batch now.
    ///
    /// - Parameter batchRows: most rows of one batch; a table that is behind by less needs no help.
    static func isHeld(_ tableClass: TableClass, by tables: [TableState], batchRows: Int) -> Bool {
        guard tableClass == .market else { return false }
        let limit = min(backlogRows, UInt64(batchRows))
        return tables.contains { $0.tableClass == .audit && $0.makesProgress && $0.outstanding > limit }
    }
}
