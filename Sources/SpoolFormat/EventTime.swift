/// The event times that can be recorded, in nanoseconds since the Unix epoch.
///
/// From 1973-03-03, since a smaller number is seconds, milliseconds or microseconds; to 2090-01-01, since ClickHouse computes a TTL
/// in `DateTime`, which ends in 2106 and wraps, and the longest retention that schemas may have (``Retention/maxYears``) comes on top.
public enum EventTime {
    public static let earliest: Int64 = 100_000_000_000_000_000
    public static let latest: Int64 = 3_786_912_000_000_000_000
    public static let rangeText = "1973-03-03 to 2090-01-01"
}
