import Glibc
import SpoolFormat

/// Turns JSON values into column values, each checked against its type: ClickHouse saturates, wraps or cuts silently, so
/// the range checks happen here.
struct FieldParser {
    /// Where strings with escapes are decoded.
    private(set) var scratch = RawBuffer(capacity: 4_096)

    func free() { scratch.free() }

    /// Takes the value of a field and appends it to the column.
    @inline(__always)
    mutating func takeField(_ scanner: inout JSONScanner, into lane: UnsafeMutablePointer<ColumnLane>) throws(Refusal) {
        scanner.skipSpace()
        if scanner.next == UInt8(ascii: "n"), scanner.takenLiteral("null") {
            switch lane.pointee.shape {
            case .nullable: lane.pointee.appendNull()
            case .array: lane.pointee.finishArray()
            case .plain: throw Refusal("null, but the column is not Nullable")
            }
            return
        }
        guard lane.pointee.shape == .array else {
            try takeValue(&scanner, into: lane)
            lane.pointee.finishValue()
            return
        }
        guard scanner.taken(0x5B) else { throw Refusal("expected an array, found \(Self.kind(of: scanner))") }
        if !scanner.taken(0x5D) {
            repeat {
                scanner.skipSpace()
                try takeValue(&scanner, into: lane)
                lane.pointee.finishValue()
            } while scanner.taken(0x2C)
            try scanner.expect(0x5D, "\",\" or \"]\"")
        }
        lane.pointee.finishArray()
    }

    @inline(__always)
    private mutating func takeValue(_ scanner: inout JSONScanner, into lane: UnsafeMutablePointer<ColumnLane>) throws(Refusal) {
        switch lane.pointee.kind {
        case .float64: lane.pointee.values.append(try takeDouble(&scanner))
        case .float32:
            try Self.expectNumber(scanner, "a number")
            let number = try DecimalNumber(from: &scanner)
            guard let value = number.float else { throw Refusal("\(Self.shown(number.text)) is beyond the range of Float32") }
            lane.pointee.values.append(value)
        case .dateTime64: lane.pointee.values.append(try takeTime(&scanner))
        case .string: try takeString(&scanner, into: lane)
        case .name: try takeName(&scanner, into: lane)
        case .decimal32: lane.pointee.values.append(Int32(truncatingIfNeeded: try takeDecimal(&scanner, lane)))
        case .decimal64: lane.pointee.values.append(Int64(truncatingIfNeeded: try takeDecimal(&scanner, lane)))
        case .decimal128: lane.pointee.values.append(try takeDecimal(&scanner, lane))
        case .enum8: lane.pointee.values.append(Int8(truncatingIfNeeded: try takeEnum(&scanner, lane)))
        case .enum16: lane.pointee.values.append(try takeEnum(&scanner, lane))
        case .int8: lane.pointee.values.append(try takeInteger(&scanner) as Int8)
        case .int16: lane.pointee.values.append(try takeInteger(&scanner) as Int16)
        case .int32: lane.pointee.values.append(try takeInteger(&scanner) as Int32)
        case .int64: lane.pointee.values.append(try takeInteger(&scanner) as Int64)
        case .uint8: lane.pointee.values.append(try takeInteger(&scanner) as UInt8)
        case .uint16: lane.pointee.values.append(try takeInteger(&scanner) as UInt16)
        case .uint32: lane.pointee.values.append(try takeInteger(&scanner) as UInt32)
        case .uint64: lane.pointee.values.append(try takeInteger(&scanner) as UInt64)
        case .bool:
            if scanner.takenLiteral("true") {
                lane.pointee.values.append(UInt8(1))
            } else if scanner.takenLiteral("false") {
                lane.pointee.values.append(UInt8(0))
            } else {
                throw Refusal("expected true or false, found \(Self.kind(of: scanner))")
            }
        case .date: lane.pointee.values.append(try takeDate(&scanner))
        case .dateTime:
            let time = try takeTime(&scanner)
            guard time % 1_000_000_000 == 0 else { throw Refusal("the column holds whole seconds") }
            lane.pointee.values.append(UInt32(time / 1_000_000_000))
        case .uuid: try takeUUID(&scanner, into: lane)
        case .fixedString: try takeFixedString(&scanner, into: lane)
        }
    }

    // MARK: Numbers

    private func takeInteger<Value: FixedWidthInteger>(_ scanner: inout JSONScanner) throws(Refusal) -> Value {
        try Self.expectNumber(scanner, "a whole number")
        let number = try DecimalNumber(from: &scanner)
        guard number.isWhole else { throw Refusal("expected a whole number, found \(Self.shown(number.text))") }
        guard let digits = number.digits, digits <= UInt128(UInt64.max),
            let value = Value(exactly: number.isNegative ? -Int128(digits) : Int128(digits))
        else { throw Refusal("\(Self.shown(number.text)) is outside \(Value.min) to \(Value.max)") }
        return value
    }

    @inline(__always)
    private func takeDouble(_ scanner: inout JSONScanner) throws(Refusal) -> Double {
        try Self.expectNumber(scanner, "a number")
        let number = try DecimalNumber(from: &scanner)
        guard let value = number.double else { throw Refusal("\(Self.shown(number.text)) is beyond the range of Float64") }
        return value
    }

    private mutating func takeDecimal(
        _ scanner: inout JSONScanner, _ lane: UnsafeMutablePointer<ColumnLane>
    ) throws(Refusal) -> Int128 {
        let number: DecimalNumber
        if scanner.next == 0x22 {
            // Floating-point parsers between here and the producer cannot round what is quoted.
            let text = try takePlainText(&scanner, "a decimal")
            var inner = JSONScanner(UnsafeRawBufferPointer(text))
            guard let first = text.first, first == UInt8(ascii: "-") || (0x30...0x39).contains(first),
                let parsed = try? DecimalNumber(from: &inner), inner.position == inner.end
            else { throw Refusal("\"\(Self.shown(text))\" is not a decimal number") }
            number = parsed
        } else {
            try Self.expectNumber(scanner, "a decimal")
            number = try DecimalNumber(from: &scanner)
        }
        let precision = lane.pointee.precision
        let scale = lane.pointee.scale
        guard let value = number.scaled(by: scale, limit: Self.powerOfTen(precision) - 1) else {
            throw Refusal(
                "\(Self.shown(number.text)) does not fit exactly: at most \(precision - scale) digits before "
                    + "and \(scale) after the decimal point")
        }
        return value
    }

    private static let powersOfTen: [UInt128] = (0...38).map { (0..<$0).reduce(UInt128(1)) { power, _ in power * 10 } }
    private static func powerOfTen(_ exponent: Int) -> UInt128 { powersOfTen[exponent] }

    // MARK: Times

    /// Nanoseconds since the Unix epoch, from an integer or from RFC 3339.
    @inline(__always)
    private mutating func takeTime(_ scanner: inout JSONScanner) throws(Refusal) -> Int64 {
        let time: Int64
        if scanner.next == 0x22 {
            let text = try takePlainText(&scanner, "a timestamp")
            switch TimestampText.parse(text) {
            case .success(let value): time = value
            case .failure(.syntax(let why)): throw Refusal("\"\(Self.shown(text))\" is not an RFC 3339 timestamp: \(why)")
            case .failure(.outOfRange): throw Refusal("\"\(Self.shown(text))\" is outside \(EventTime.rangeText)")
            }
        } else {
            try Self.expectNumber(scanner, "a timestamp: integer nanoseconds or an RFC 3339 string")
            let number = try DecimalNumber(from: &scanner)
            guard number.isWhole else {
                throw Refusal("expected integer nanoseconds, found \(Self.shown(number.text))")
            }
            guard let digits = number.whole(upTo: UInt64(EventTime.latest)) else {
                throw Refusal("\(Self.shown(number.text)) ns is outside \(EventTime.rangeText)")
            }
            time = Int64(digits)
            guard time >= EventTime.earliest else {
                throw Refusal("\(time) is too small for nanoseconds since 1970; is it \(Self.guess(time))?")
            }
        }
        guard time >= EventTime.earliest, time <= EventTime.latest else {
            throw Refusal("\(rfc3339(time)) is outside \(EventTime.rangeText)")
        }
        return time
    }

    private static func guess(_ time: Int64) -> String {
        time < 100_000_000_000 ? "seconds" : time < 100_000_000_000_000 ? "milliseconds" : "microseconds"
    }

    private mutating func takeDate(_ scanner: inout JSONScanner) throws(Refusal) -> UInt16 {
        let text = try takePlainText(&scanner, "a date YYYY-MM-DD")
        guard let day = TimestampText.parseDate(text), day >= 0, day <= Int(UInt16.max) else {
            throw Refusal("\"\(Self.shown(text))\" is not a date from 1970-01-01 to 2149-06-06")
        }
        return UInt16(day)
    }

    // MARK: Texts

    private mutating func takeString(
        _ scanner: inout JSONScanner, into lane: UnsafeMutablePointer<ColumnLane>
    ) throws(Refusal) {
        try Self.expectString(scanner, "a string")
        let text = try scanner.takeString()
        if _fastPath(!text.hasEscapes) {
            lane.pointee.values.appendVarint(UInt64(text.count))
            lane.pointee.values.append(text.bytes, count: text.count)
        } else {
            scratch.truncate(to: 0)
            try scanner.unescape(text, into: &scratch)
            lane.pointee.values.appendVarint(UInt64(scratch.count))
            lane.pointee.values.append(scratch.base, count: scratch.count)
        }
    }

    private mutating func takeName(
        _ scanner: inout JSONScanner, into lane: UnsafeMutablePointer<ColumnLane>
    ) throws(Refusal) {
        try Self.expectString(scanner, "a string")
        let text = try scanner.takeString()
        if _fastPath(!text.hasEscapes) {
            lane.pointee.appendName(text.bytes, count: text.count)
        } else {
            scratch.truncate(to: 0)
            try scanner.unescape(text, into: &scratch)
            lane.pointee.appendName(scratch.base, count: scratch.count)
        }
    }

    private mutating func takeFixedString(
        _ scanner: inout JSONScanner, into lane: UnsafeMutablePointer<ColumnLane>
    ) throws(Refusal) {
        let text = try takePlainText(&scanner, "a string")
        guard text.count <= lane.pointee.width else {
            throw Refusal("\(text.count) bytes, the column holds \(lane.pointee.width)")
        }
        lane.pointee.values.append(contentsOf: text)
        lane.pointee.values.appendZeros(lane.pointee.width - text.count)
    }

    private mutating func takeEnum(
        _ scanner: inout JSONScanner, _ lane: UnsafeMutablePointer<ColumnLane>
    ) throws(Refusal) -> Int16 {
        let names = lane.pointee.enumNames
        let text = try takePlainText(&scanner, "one of \(Self.list(names))")
        for name in names where name.count == text.count {
            if text.count == 0 || memcmp(name.bytes, text.baseAddress.unsafelyUnwrapped, text.count) == 0 { return name.value }
        }
        throw Refusal("\"\(Self.shown(text))\" is not one of \(Self.list(names))")
    }

    private mutating func takeUUID(
        _ scanner: inout JSONScanner, into lane: UnsafeMutablePointer<ColumnLane>
    ) throws(Refusal) {
        let text = try takePlainText(&scanner, "a UUID")
        var halves: (UInt64, UInt64) = (0, 0)
        var digits = 0
        for (index, byte) in text.enumerated() {
            if index == 8 || index == 13 || index == 18 || index == 23 {
                guard byte == UInt8(ascii: "-") else { throw Refusal("\"\(Self.shown(text))\" is not a UUID") }
                continue
            }
            guard digits < 32, byte < 0x80, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw Refusal("\"\(Self.shown(text))\" is not a UUID")
            }
            if digits < 16 { halves.0 = halves.0 << 4 | UInt64(digit) } else { halves.1 = halves.1 << 4 | UInt64(digit) }
            digits += 1
        }
        guard digits == 32 else { throw Refusal("\"\(Self.shown(text))\" is not a UUID") }
        lane.pointee.values.append(halves.0)
        lane.pointee.values.append(halves.1)
    }

    /// Takes a string and gives its bytes with escapes decoded; valid until the next call.
    private mutating func takePlainText(
        _ scanner: inout JSONScanner, _ what: @autoclosure () -> String
    ) throws(Refusal) -> UnsafeBufferPointer<UInt8> {
        try Self.expectString(scanner, what())
        let text = try scanner.takeString()
        if !text.hasEscapes { return UnsafeBufferPointer(start: text.bytes, count: text.count) }
        scratch.truncate(to: 0)
        try scanner.unescape(text, into: &scratch)
        return scratch.bytes.assumingMemoryBound(to: UInt8.self)
    }

    // MARK: Messages

    @inline(__always)
    private static func expectNumber(_ scanner: JSONScanner, _ what: StaticString) throws(Refusal) {
        guard let byte = scanner.next, byte == UInt8(ascii: "-") || byte &- 0x30 <= 9 else {
            throw Refusal("expected \(what), found \(kind(of: scanner))")
        }
    }

    @inline(__always)
    private static func expectString(_ scanner: JSONScanner, _ what: @autoclosure () -> String) throws(Refusal) {
        guard scanner.next == 0x22 else { throw Refusal("expected \(what()), found \(kind(of: scanner))") }
    }

    private static func kind(of scanner: JSONScanner) -> String {
        switch scanner.next {
        case nil: "the end of the line"
        case 0x22: "a string"
        case 0x7B: "an object"
        case 0x5B: "an array"
        case UInt8(ascii: "t"), UInt8(ascii: "f"): "true or false"
        case UInt8(ascii: "n"): "null"
        case .some(0x30...0x39), UInt8(ascii: "-"): "a number"
        default: "something that is not JSON"
        }
    }

    private static func list(_ names: UnsafeBufferPointer<ColumnLane.EnumName>) -> String {
        names.map { String(decoding: UnsafeBufferPointer(start: $0.bytes, count: $0.count), as: UTF8.self) }.joined(separator: ", ")
    }

    /// At most 60 bytes of the input, for a message.
    static func shown(_ text: UnsafeBufferPointer<UInt8>) -> String {
        let limit = 60
        let head = String(decoding: UnsafeBufferPointer(rebasing: text.prefix(limit)), as: UTF8.self)
        return text.count > limit ? head + "..." : head
    }
}
