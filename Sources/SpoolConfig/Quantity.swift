/// Durations and sizes as configuration and flags write them: a number with its unit.
public enum Quantity {
    /// `200ms`, `2s`, `10m`, `1h`, `7d`.
    ///
    /// - Returns: nanoseconds; nil if it is no duration.
    public static func duration(_ text: String) -> Int64? {
        let units: [(String, Int64)] = [
            ("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000),
            ("h", 3_600_000_000_000), ("d", 86_400_000_000_000),
        ]
        return scaled(text, units)
    }

    /// `4096`, `64KiB`, `64MiB`, `2GiB`, `1MB`.
    ///
    /// - Returns: bytes; nil if it is no size.
    public static func bytes(_ text: String) -> Int64? {
        let units: [(String, Int64)] = [
            ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("kB", 1_000), ("MB", 1_000_000),
            ("GB", 1_000_000_000), ("B", 1), ("", 1),
        ]
        return scaled(text, units)
    }

    private static func scaled(_ text: String, _ units: [(String, Int64)]) -> Int64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        guard let count = Int64(digits), let factor = units.first(where: { $0.0 == unit })?.1 else { return nil }
        let (value, overflow) = count.multipliedReportingOverflow(by: factor)
        return overflow ? nil : value
    }
}
