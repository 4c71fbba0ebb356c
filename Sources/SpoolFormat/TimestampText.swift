/// RFC 3339 timestamps, to the nanosecond.
public enum TimestampText {
    /// What is wrong with a timestamp.
    public enum Complaint: Error, Equatable {
        case syntax(String)
        /// A proper timestamp that 64-bit nanoseconds cannot hold.
        case outOfRange
    }

    /// `2026-11-22T23:47:00[.123456789]Z`, or with an offset such as `+09:00`; `T` and `Z` in either case.
    ///
    /// - Returns: nanoseconds since the Unix epoch.
    public static func parse(_ text: UnsafeBufferPointer<UInt8>) -> Result<Int64, Complaint> {
        func refuse(_ why: String) -> Result<Int64, Complaint> { .failure(.syntax(why)) }
        guard text.count >= 20, text[10] | 0x20 == UInt8(ascii: "t") else {
            return refuse("expected YYYY-MM-DDThh:mm:ss[.fraction]Z")
        }
        guard let day = parseDate(UnsafeBufferPointer(rebasing: text[0..<10])) else { return refuse("no such date") }
        guard let hour = number(text, 11, 2), let minute = number(text, 14, 2), let second = number(text, 17, 2),
            text[13] == UInt8(ascii: ":"), text[16] == UInt8(ascii: ":")
        else { return refuse("expected hh:mm:ss") }
        guard hour < 24, minute < 60, second < 60 else { return refuse("no such time of day (ClickHouse has no leap seconds)") }
        var index = 19
        var fraction = 0
        if text[index] == UInt8(ascii: ".") {
            index += 1
            let first = index
            while index < text.count, text[index] &- 0x30 <= 9 {
                guard index - first < 9 else { return refuse("more than nine digits after the second") }
                fraction = fraction * 10 + Int(text[index] &- 0x30)
                index += 1
            }
            guard index > first else { return refuse("no digits after the decimal point") }
            for _ in (index - first)..<9 { fraction *= 10 }
        }
        guard index < text.count else { return refuse("no time zone") }
        var offset = 0
        if text[index] | 0x20 == UInt8(ascii: "z") {
            index += 1
        } else {
            guard text[index] == UInt8(ascii: "+") || text[index] == UInt8(ascii: "-"), text.count == index + 6,
                text[index + 3] == UInt8(ascii: ":"), let hours = number(text, index + 1, 2), let minutes = number(text, index + 4, 2),
                hours < 24, minutes < 60
            else { return refuse("the time zone must be Z or +hh:mm") }
            offset = (hours * 60 + minutes) * (text[index] == UInt8(ascii: "-") ? -60 : 60)
            index += 6
        }
        guard index == text.count else { return refuse("text after the time zone") }
        let seconds = day * 86_400 + hour * 3_600 + minute * 60 + second - offset
        // Years 0 to 9999 in nanoseconds do not fit in 64 bits.
        let time = Int128(seconds) * 1_000_000_000 + Int128(fraction)
        guard let time = Int64(exactly: time) else { return .failure(.outOfRange) }
        return .success(time)
    }

    /// Days since 1970-01-01 of `YYYY-MM-DD`; nil if it is no date.
    public static func parseDate(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
        guard text.count == 10, text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"),
            let year = number(text, 0, 4), let month = number(text, 5, 2), let day = number(text, 8, 2)
        else { return nil }
        let date = CivilDate(year: year, month: month, day: day)
        return date.exists ? date.daysSinceEpoch : nil
    }

    /// The same of a `String`; nil if it is none.
    public static func parse(_ text: String) -> Int64? {
        Array(text.utf8).withUnsafeBufferPointer { try? parse($0).get() }
    }

    private static func number(_ text: UnsafeBufferPointer<UInt8>, _ offset: Int, _ digits: Int) -> Int? {
        var value = 0
        for index in offset..<offset + digits {
            guard index < text.count, text[index] &- 0x30 <= 9 else { return nil }
            value = value * 10 + Int(text[index] &- 0x30)
        }
        return value
    }
}
