import Glibc
import SpoolFormat

/// Reads one line of JSON strictly (RFC 8259), byte by byte, without making objects of it.
///
/// The line is raw memory that the caller keeps alive; every look at it is bounded by `end`.
struct JSONScanner {
    private(set) var position: UnsafePointer<UInt8>
    let start: UnsafePointer<UInt8>
    let end: UnsafePointer<UInt8>

    /// Nesting that a value may have where values are passed over.
    private static let maxDepth = 32

    init(_ line: UnsafeRawBufferPointer) {
        start = line.baseAddress.map { $0.assumingMemoryBound(to: UInt8.self) } ?? UnsafePointer(bitPattern: 1).unsafelyUnwrapped
        position = start
        end = start + line.count
    }

    /// Column in the line, from 1, for messages.
    var column: Int { position - start + 1 }

    @inline(__always)
    var next: UInt8? { position < end ? position.pointee : nil }

    @inline(__always)
    mutating func advance(_ count: Int = 1) { position += count }

    @inline(__always)
    mutating func advance(to place: UnsafePointer<UInt8>) { position = place }

    @inline(__always)
    mutating func skipSpace() {
        while position < end, position.pointee <= 0x20 {
            let byte = position.pointee
            guard byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A else { return }
            position += 1
        }
    }

    /// Takes the byte if it is next, after white space.
    @inline(__always)
    mutating func taken(_ byte: UInt8) -> Bool {
        skipSpace()
        guard position < end, position.pointee == byte else { return false }
        position += 1
        return true
    }

    @inline(__always)
    mutating func expect(_ byte: UInt8, _ what: StaticString) throws(Refusal) {
        guard taken(byte) else { throw syntax("expected \(what)") }
    }

    func syntax(_ what: String) -> Refusal {
        Refusal("not JSON: \(what) at column \(column), found \(found)")
    }

    private var found: String {
        guard let byte = next else { return "the end of the line" }
        if byte > 0x20 && byte < 0x7F { return "\"\(Character(Unicode.Scalar(byte)))\"" }
        return "byte 0x\(byte < 16 ? "0" : "")\(String(byte, radix: 16))"
    }

    // MARK: Strings

    /// A string's bytes between its quotes.
    struct RawString {
        let bytes: UnsafePointer<UInt8>
        let count: Int
        let hasEscapes: Bool
        let isASCII: Bool
    }

    /// Takes a string without decoding it. UTF-8 is checked here, escapes by ``unescape(_:into:)``.
    mutating func takeString() throws(Refusal) -> RawString {
        skipSpace()
        guard next == 0x22 else { throw syntax("expected a string") }
        position += 1
        let first = position
        if let plain = takePlainRest(from: first) { return plain }
        var hasEscapes = false
        var high: UInt8 = 0
        while position < end {
            let byte = position.pointee
            if byte == 0x22 {
                let text = RawString(bytes: first, count: position - first, hasEscapes: hasEscapes, isASCII: high < 0x80)
                if !text.isASCII, let bad = invalidUTF8(text.bytes, text.count) {
                    position = first + bad
                    throw Refusal("not JSON: invalid UTF-8 at column \(column)")
                }
                position += 1
                return text
            }
            if byte == 0x5C {
                hasEscapes = true
                position += 1
                guard position < end else { break }
            } else if byte < 0x20 {
                throw syntax("expected a string without raw control characters")
            }
            high |= position.pointee
            position += 1
        }
        throw syntax("expected the end of a string")
    }

    /// The usual string, ASCII without escapes, eight bytes at a time.
    ///
    /// - Returns: nil, with `position` at the first byte, for any other string, or one that ends too near the end of the line.
    @inline(__always)
    private mutating func takePlainRest(from first: UnsafePointer<UInt8>) -> RawString? {
        var place = first
        while end - place >= 8 {
            let word = UnsafeRawPointer(place).loadUnaligned(as: UInt64.self).littleEndian
            let found = Self.unusualBytes(word)
            if found == 0 {
                place += 8
                continue
            }
            place += found.trailingZeroBitCount / 8
            guard place.pointee == 0x22 else { return nil }
            position = place + 1
            return RawString(bytes: first, count: place - first, hasEscapes: false, isASCII: true)
        }
        return nil
    }

    /// Decodes the escapes of a string, appending the result to `output`.
    func unescape(_ text: RawString, into output: inout RawBuffer) throws(Refusal) {
        var index = 0
        while index < text.count {
            let byte = text.bytes[index]
            index += 1
            guard byte == 0x5C else {
                output.append(byte)
                continue
            }
            // takeString() has seen a byte after each backslash.
            let kind = text.bytes[index]
            index += 1
            switch kind {
            case 0x22, 0x5C, 0x2F: output.append(kind)
            case UInt8(ascii: "b"): output.append(UInt8(0x08))
            case UInt8(ascii: "f"): output.append(UInt8(0x0C))
            case UInt8(ascii: "n"): output.append(UInt8(0x0A))
            case UInt8(ascii: "r"): output.append(UInt8(0x0D))
            case UInt8(ascii: "t"): output.append(UInt8(0x09))
            case UInt8(ascii: "u"):
                let scalar = try unicodeEscape(text, &index)
                output.append(contentsOf: UTF8.encode(scalar).unsafelyUnwrapped)
            default: throw Refusal("not JSON: unknown escape in a string")
            }
        }
    }

    private func unicodeEscape(_ text: RawString, _ index: inout Int) throws(Refusal) -> Unicode.Scalar {
        let high = try hexQuad(text, &index)
        if let scalar = Unicode.Scalar(high) { return scalar }
        guard high < 0xDC00, index + 1 < text.count, text.bytes[index] == 0x5C, text.bytes[index + 1] == UInt8(ascii: "u") else {
            throw Refusal("not JSON: half of a surrogate pair in a string")
        }
        index += 2
        let low = try hexQuad(text, &index)
        guard (0xDC00...0xDFFF).contains(low), let scalar = Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00)) else {
            throw Refusal("not JSON: half of a surrogate pair in a string")
        }
        return scalar
    }

    private func hexQuad(_ text: RawString, _ index: inout Int) throws(Refusal) -> UInt32 {
        guard index + 4 <= text.count else { throw Refusal("not JSON: \\u wants four hex digits") }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(text.bytes[index])).hexDigitValue, text.bytes[index] < 0x80 else {
                throw Refusal("not JSON: \\u wants four hex digits")
            }
            value = value << 4 | UInt32(digit)
            index += 1
        }
        return value
    }

    /// Marks, by its top bit, each byte of a string's word that is a quote, a backslash, a control character, or not ASCII. A byte above the
    /// first one marked may be marked wrongly by a borrow; the first never is.
    @inline(__always)
    static func unusualBytes(_ word: UInt64) -> UInt64 {
        let quotes = word ^ 0x2222_2222_2222_2222
        let slashes = word ^ 0x5C5C_5C5C_5C5C_5C5C
        return
            ((quotes &- 0x0101_0101_0101_0101) & ~quotes | (slashes &- 0x0101_0101_0101_0101) & ~slashes
            | (word &- 0x2020_2020_2020_2020) & ~word | word) & 0x8080_8080_8080_8080
    }

    // MARK: Other values

    /// Takes the literal if it is next.
    @inline(__always)
    mutating func takenLiteral(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard end - position >= count, memcmp(position, word.utf8Start, count) == 0 else { return false }
        position += count
        return true
    }

    /// Passes over any value.
    mutating func skipValue(depth: Int = 0) throws(Refusal) {
        guard depth < Self.maxDepth else { throw Refusal("not JSON: nested deeper than \(Self.maxDepth)") }
        skipSpace()
        switch next {
        case 0x22: _ = try takeString()
        case 0x7B:
            advance()
            if taken(0x7D) { return }
            repeat {
                _ = try takeString()
                try expect(0x3A, "\":\"")
                try skipValue(depth: depth + 1)
            } while taken(0x2C)
            try expect(0x7D, "\",\" or \"}\"")
        case 0x5B:
            advance()
            if taken(0x5D) { return }
            repeat { try skipValue(depth: depth + 1) } while taken(0x2C)
            try expect(0x5D, "\",\" or \"]\"")
        case UInt8(ascii: "t") where takenLiteral("true"), UInt8(ascii: "f") where takenLiteral("false"),
            UInt8(ascii: "n") where takenLiteral("null"):
            return
        default: _ = try DecimalNumber(from: &self)
        }
    }
}
