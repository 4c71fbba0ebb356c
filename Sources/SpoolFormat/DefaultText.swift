extension Column {
    /// Why the column cannot have its DEFAULT; nil if it can. ClickHouse itself would wrap or cut such a value silently, and the writer refuses it.
    var complaintAboutDefault: String? {
        guard let text = defaultText else { return nil }
        let bytes = Array(text.utf8)
        switch type.scalar {
        case .int(let bits):
            let limit = Int128(1) << Int128(bits - 1)
            return Self.isWhole(bytes, in: -limit...limit - 1) ? nil : "a whole number from \(-limit) to \(limit - 1) is expected"
        case .uint(let bits):
            let limit = Int128(1) << Int128(bits)
            return Self.isWhole(bytes, in: 0...limit - 1) ? nil : "a whole number from 0 to \(limit - 1) is expected"
        case .float32: return Self.isNumber(bytes) && Float(text)?.isFinite ?? false ? nil : "a number in the range of Float32 is expected"
        case .float64: return Self.isNumber(bytes) && Double(text)?.isFinite ?? false ? nil : "a number in the range of Float64 is expected"
        case .bool: return text == "true" || text == "false" ? nil : "true or false is expected"
        case .decimal(let precision, let scale): return Self.complaint(aboutDecimal: bytes, precision, scale)
        case .date:
            let day = bytes.withUnsafeBufferPointer { TimestampText.parseDate($0) }
            return day.map { (0...Int(UInt16.max)).contains($0) } ?? false ? nil : "a date from '1970-01-01' to '2149-06-06' is expected"
        case .dateTime, .dateTime64:
            guard case .success(let time) = bytes.withUnsafeBufferPointer({ TimestampText.parse($0) }),
                time >= EventTime.earliest, time <= EventTime.latest
            else { return "an RFC 3339 text within \(EventTime.rangeText) is expected" }
            return type.scalar == .dateTime && time % 1_000_000_000 != 0 ? "the column holds whole seconds" : nil
        case .enum8(let cases), .enum16(let cases):
            return cases.contains { $0.name == text } ? nil : "one of \(cases.map(\.name).joined(separator: ", ")) is expected"
        case .uuid:
            let isOne =
                bytes.count == 36
                && bytes.enumerated().allSatisfy { index, byte in
                    [8, 13, 18, 23].contains(index) ? byte == UInt8(ascii: "-") : Character(Unicode.Scalar(byte)).isHexDigit && byte < 0x80
                }
            return isOne ? nil : "a UUID is expected"
        case .fixedString(let width): return bytes.count <= width ? nil : "at most \(width) bytes fit"
        case .string: return nil
        }
    }

    private static func isWhole(_ bytes: [UInt8], in range: ClosedRange<Int128>) -> Bool {
        isNumber(bytes) && Int128(String(decoding: bytes, as: UTF8.self)).map(range.contains) ?? false
    }

    /// Whether it begins as a number of JSON does: `Double` also takes `inf`, `0x10` and `+1`, `Int128` `007`.
    private static func isNumber(_ bytes: [UInt8]) -> Bool {
        let digits = bytes.first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...]
        guard let first = digits.first, (0x30...0x39).contains(first), let second = digits.dropFirst().first else {
            return digits.count == 1 && (0x30...0x39).contains(digits[digits.startIndex])
        }
        return first != 0x30 || second == UInt8(ascii: ".")
    }

    private static func complaint(aboutDecimal bytes: [UInt8], _ precision: Int, _ scale: Int) -> String? {
        let digits = bytes.first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...]
        let pieces = digits.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard isNumber(bytes), pieces.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (0x30...0x39).contains($0) } }) else {
            return "digits with or without a decimal point are expected"
        }
        let whole = pieces[0].drop { $0 == 0x30 }.count
        let fraction = pieces.count < 2 ? 0 : pieces[1].count - pieces[1].reversed().prefix { $0 == 0x30 }.count
        return whole <= precision - scale && fraction <= scale
            ? nil : "at most \(precision - scale) digits before and \(scale) after the decimal point fit"
    }
}
