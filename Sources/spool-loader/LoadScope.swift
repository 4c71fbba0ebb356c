import SpoolConfig
import SpoolFormat

/// What of a table is loaded, and on which terms: everything for the live loader, less for `backfill` and `requeue`.
struct LoadScope {
    var times: TimeRange?
    var sequences: SequenceSet?
    /// Days that are left out.
    var dropped = DroppedDays()
    /// The first sequence that is left to another loader; the checkpoint does not pass it.
    var end: UInt64?
    /// Where the checkpoints are, if not where the live loader's are.
    var checkpoints: String?
    /// Whether rows may be in ClickHouse already, loaded by another: then each batch is asked for first, and only what is missing is sent.
    var asksFirst = false
    /// With which attempt number the tokens of this scope begin. Rows that were loaded once and have been deleted since must not come under a
    /// token that ClickHouse still knows: it would answer with success and drop them.
    var firstAttempt = 0
    /// Shared by all tables.
    var rate: SharedRate?

    static var everything: LoadScope { LoadScope() }
}

/// One rate for several tables.
final class SharedRate {
    var limit: RateLimit

    init(_ limit: RateLimit) { self.limit = limit }
}

/// What became of a table's rows.
struct LoadTally: Equatable {
    var loaded: UInt64 = 0
    /// Were in ClickHouse before.
    var present: UInt64 = 0
    /// Older than the table's TTL.
    var expired: UInt64 = 0
    /// Cannot be read, or are refused.
    var quarantined: UInt64 = 0
    /// Bytes of the spool that the batches took.
    var bytes: UInt64 = 0

    var rows: UInt64 { loaded + present + expired + quarantined }
}

/// Settings of one table's lane.
struct LaneSettings {
    /// Most batches on their way at a time.
    let inflight: Int
    /// For so long after a request without an answer its insert may still be running in ClickHouse. Nanoseconds.
    let quiet: Int64
    /// Most rows that are quarantined one by one because ClickHouse refuses them, between two starts.
    let quarantineRows: Int
    /// Directory of the table definitions, to name the migration that is missing; it need not be there.
    let schemas: String

    init(_ configuration: Configuration) {
        inflight = configuration.count("loader.inflight")
        quiet = configuration.duration("loader.timeout")
        quarantineRows = configuration.count("loader.quarantine_rows")
        schemas = configuration.required("schemas")
    }
}
