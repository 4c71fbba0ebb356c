/// The text of one of ClickHouse's errors: `Code: 60. DB::Exception: Table ... does not exist. (UNKNOWN_TABLE) (version 26.9.2.1)`.
///
/// Servers before 2021 write `Code: 60, e.displayText() = DB::Exception: ...` and no name.
struct ErrorText {
    let code: Int
    let text: String

    /// Reads an error that stands at the beginning.
    ///
    /// - Returns: nil if something else stands there.
    init?(beginningOf text: String) {
        var rest = text[...].drop(while: \.isWhitespace)
        for mark in ["__exception__", "Poco::Exception. ", "std::exception. "] where rest.hasPrefix(mark) {
            rest = rest.dropFirst(mark.count).drop(while: \.isWhitespace)
        }
        guard rest.hasPrefix("Code: ") else { return nil }
        let digits = rest.dropFirst(6).prefix { $0.isASCII && $0.isNumber }
        guard let code = Int(digits) else { return nil }
        self.code = code
        self.text = String(rest)
    }

    /// Reads an error that stands behind something else: a row may say `Code: 60` too, so it must look wholly like one.
    init?(endOf text: String) {
        let bytes = Array(text.utf8)
        guard let start = bytes.lastRange(of: Array("Code: ".utf8))?.lowerBound,
            let error = ErrorText(beginningOf: String(decoding: bytes[start...], as: UTF8.self)), error.isCertain,
            error.text.contains(" (version "), error.text.last(where: { !$0.isWhitespace }) == ")"
        else { return nil }
        self = error
    }

    /// Whether it is an error even where data could stand.
    var isCertain: Bool {
        let said = text.dropFirst(6).drop { $0.isNumber }.prefix(48)
        return ["Exception:", "e.displayText()", "e.what()", "e.code()"].contains { said.contains($0) }
    }

    /// The name in brackets at the end of the message.
    static func name(in text: String) -> String? {
        let bytes = Array(withoutStackAndVersion(text).utf8)
        return nameRange(atEndOf: bytes).map { String(decoding: bytes[$0], as: UTF8.self) }
    }

    /// The message without what follows its name.
    static func withoutStackAndVersion(_ text: String) -> String {
        var bytes = Array(text.utf8)
        // The last ones: the message itself may quote another server's error, or a row.
        if let version = bytes.lastRange(of: Array(" (version ".utf8)) { bytes.removeSubrange(version.lowerBound...) }
        trim(&bytes)
        if nameRange(atEndOf: bytes) == nil, let stack = bytes.lastRange(of: Array(", Stack trace (when".utf8)) {
            bytes.removeSubrange(stack.lowerBound...)
            trim(&bytes)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func nameRange(atEndOf bytes: [UInt8]) -> Range<Int>? {
        func isNamePart(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || byte == UInt8(ascii: "_")
        }
        guard bytes.last == UInt8(ascii: ")"), let open = bytes.lastIndex(of: UInt8(ascii: "(")) else { return nil }
        let range = (open + 1)..<(bytes.count - 1)
        // ClickHouse's longest has some seventy.
        return range.count > 2 && range.count <= 100 && bytes[range].allSatisfy(isNamePart) ? range : nil
    }

    /// Takes away white space, and a full stop behind a bracket.
    private static func trim(_ bytes: inout [UInt8]) {
        while let last = bytes.last, last <= 0x20 || last == UInt8(ascii: ".") && bytes.dropLast().last == UInt8(ascii: ")") {
            bytes.removeLast()
        }
    }
}

extension [UInt8] {
    /// Where these bytes stand the last time.
    func lastRange(of part: [UInt8]) -> Range<Int>? {
        guard let first = part.first, count >= part.count else { return nil }
        for start in stride(from: count - part.count, through: 0, by: -1)
        where self[start] == first && self[start..<start + part.count].elementsEqual(part) { return start..<start + part.count }
        return nil
    }
}

extension String {
    /// What stands between `<tag...>` and `</tag>`, whatever the case.
    func text(inTag tag: String) -> String? {
        let lower = Array(utf8).map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }
        guard let open = lower.firstRange(of: Array("<\(tag)".utf8)),
            let start = lower[open.upperBound...].firstIndex(of: UInt8(ascii: ">")),
            let end = lower[start...].firstRange(of: Array("</\(tag)".utf8))?.lowerBound
        else { return nil }
        let text = String(decoding: Array(utf8)[(start + 1)..<end], as: UTF8.self)
        return text.allSatisfy(\.isWhitespace) ? nil : text
    }

    /// What a page says.
    var withoutTags: String {
        var isInTag = false
        return String(
            String.UnicodeScalarView(
                unicodeScalars.compactMap { scalar in
                    if scalar == "<" { isInTag = true }
                    defer { if scalar == ">" { isInTag = false } }
                    return isInTag ? (scalar == "<" ? " " : nil) : scalar
                }))
    }
}
