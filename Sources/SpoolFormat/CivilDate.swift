/// A date of the proleptic Gregorian calendar in UTC, to and from days since 1970-01-01.
///
/// The conversion counts in years that begin in March, so that the leap day ends a year (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", sections days_from_civil and civil_from_days).
public struct CivilDate: Equatable, Sendable {
    public let year: Int
    /// 1 to 12.
    public let month: Int
    /// 1 to 31.
    public let day: Int

    public init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// `2026-11-25`; nil for a text that is no day from 1970 on.
    public init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard text.utf8.count == 10, parts.map(\.utf8.count) == [4, 2, 2],
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2D }),
            let year = Int(parts[0]), let month = Int(parts[1]), let day = Int(parts[2]), year >= 1970, (1...12).contains(month),
            (1...31).contains(day)
        else { return nil }
        let date = CivilDate(year: year, month: month, day: day)
        guard date.exists else { return nil }
        self = date
    }

    public init(day daysSinceEpoch: Int) {
        let shifted = daysSinceEpoch + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    public var daysSinceEpoch: Int {
        let marchYear = month <= 2 ? year - 1 : year
        let era = (marchYear >= 0 ? marchYear : marchYear - 399) / 400
        let yearOfEra = marchYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// Whether such a day exists: no 30th of February.
    public var exists: Bool {
        (1...12).contains(month) && day >= 1 && CivilDate(day: daysSinceEpoch) == self
    }

    static let nanosecondsPerDay: Int64 = 86_400_000_000_000

    /// Days since 1970-01-01 of nanoseconds since the Unix epoch, rounded down.
    public static func day(of time: Int64) -> Int {
        let (quotient, remainder) = time.quotientAndRemainder(dividingBy: nanosecondsPerDay)
        return Int(remainder < 0 ? quotient - 1 : quotient)
    }

    /// Nanoseconds since the Unix epoch at which the day begins; the nearest that fits where it does not.
    public static func nanoseconds(ofDay day: Int) -> Int64 {
        let (time, overflow) = Int64(day).multipliedReportingOverflow(by: nanosecondsPerDay)
        return overflow ? (day < 0 ? .min : .max) : time
    }

    /// `2026-01-02`.
    public var text: String { "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))" }
}

/// RFC 3339 with nine digits and `Z`, of nanoseconds since the Unix epoch.
public func rfc3339(_ time: Int64) -> String {
    let day = CivilDate.day(of: time)
    // Wrapping: at the very ends of Int64 the day begins outside of it, but the rest of the day does not.
    let rest = time &- Int64(day) &* CivilDate.nanosecondsPerDay
    let second = Int(rest / 1_000_000_000)
    return CivilDate(day: day).text
        + "T\(padded(second / 3_600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
        + ".\(padded(Int(rest % 1_000_000_000), 9))Z"
}

private func padded(_ value: Int, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
