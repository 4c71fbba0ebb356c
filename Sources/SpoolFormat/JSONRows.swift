/// The rows of a block as JSON, in the form that `spool-writer` reads, but for floats that are infinite or no number, which are null.
///
/// Made once for a block: a million rows a second are not to look up the same names and cases each time.
public struct JSONRows {
    private enum Form {
        case signed, unsigned, bool, float32, float64, date, dateTime, dateTime64, uuid, text
        case decimal(scale: Int)
        /// Index in ``cases``.
        case member(Int)
    }

    private struct Field {
        let place: BlockPlaces.Column
        let form: Form
        /// Of `,"name":` in ``names``.
        let name: Range<Int>
    }

    /// What stands before the first value's comma.
    private let opening: [UInt8]
    private let bytes: [UInt8]
    private let places: BlockPlaces
    private let hasTable: Bool
    private var fields: [Field] = []
    private var names: [UInt8] = []
    /// The quoted names of each enum column's members.
    private var cases: [[Int16: [UInt8]]] = []
    /// The day of the last time that was written, and its text: most have the same.
    private var day = (number: Int.min, text: [UInt8]())

    /// - Parameter table: stands first in each row, under `table`; nil for the values alone.
    public init(_ block: NativeBlock, table: String? = nil) {
        opening = Array((table.map { "{\"table\":\(RowText.quoted($0))" } ?? "{").utf8)
        hasTable = table != nil
        bytes = block.bytes
        places = BlockPlaces(block)
        for (column, place) in zip(block.columns, places.columns) {
            let start = names.count
            names.append(contentsOf: ",\(RowText.quoted(column.name)):".utf8)
            fields.append(Field(place: place, form: form(of: column.type.scalar), name: start..<names.count))
        }
    }

    private mutating func form(of scalar: ColumnType.Scalar) -> Form {
        switch scalar {
        case .int: return .signed
        case .uint: return .unsigned
        case .float32: return .float32
        case .float64: return .float64
        case .bool: return .bool
        case .decimal(_, let scale): return .decimal(scale: scale)
        case .date: return .date
        case .dateTime: return .dateTime
        case .dateTime64: return .dateTime64
        case .uuid: return .uuid
        case .fixedString, .string: return .text
        case .enum8(let members), .enum16(let members):
            cases.append(Dictionary(members.map { ($0.value, Array(RowText.quoted($0.name).utf8)) }) { first, _ in first })
            return .member(cases.count - 1)
        }
    }

    /// Appends the row's values as an object.
    ///
    /// - Parameter textLimit: characters that a text may have; of a longer one that many stay, and dots.
    public mutating func append(_ row: Int, textLimit: Int = .max, to out: inout [UInt8]) {
        out.append(contentsOf: opening)
        for index in fields.indices {
            let name = fields[index].name
            out.append(contentsOf: names[(!hasTable && index == 0 ? name.lowerBound + 1 : name.lowerBound)..<name.upperBound])
            append(row, column: index, textLimit, to: &out)
        }
        out.append(UInt8(ascii: "}"))
    }

    /// Appends one value of the row.
    mutating func append(_ row: Int, column index: Int, _ textLimit: Int = .max, to out: inout [UInt8]) {
        let place = fields[index].place
        let (isNull, elements) = bytes.withUnsafeBytes { (place.isNull(row, $0), place.elements(row, $0)) }
        if isNull { return out.append(contentsOf: "null".utf8) }
        guard place.shape == .array else { return append(element: elements.lowerBound, fields[index], textLimit, to: &out) }
        out.append(UInt8(ascii: "["))
        for element in elements {
            if element > elements.lowerBound { out.append(UInt8(ascii: ",")) }
            append(element: element, fields[index], textLimit, to: &out)
        }
        out.append(UInt8(ascii: "]"))
    }

    private mutating func append(element: Int, _ field: Field, _ textLimit: Int, to out: inout [UInt8]) {
        switch field.form {
        case .signed:
            let value = integer(element, field)
            if value < 0 { out.append(UInt8(ascii: "-")) }
            out.append(digits: value.magnitude)
        case .unsigned: out.append(digits: UInt64(bitPattern: unsigned(element, field)))
        case .bool: out.append(contentsOf: (unsigned(element, field) == 1 ? "true" : "false").utf8)
        case .float32: append(Float(bitPattern: load(element, field)), to: &out)
        case .float64: append(Double(bitPattern: load(element, field)), to: &out)
        case .decimal(let scale): append(decimal: element, field, scale, to: &out)
        case .date:
            out.append(UInt8(ascii: "\""))
            appendDay(Int(load(element, field) as UInt16), to: &out)
            out.append(UInt8(ascii: "\""))
        case .dateTime: append(second: Int64(load(element, field) as UInt32), fraction: nil, to: &out)
        case .dateTime64:
            let time: Int64 = load(element, field)
            let (quotient, remainder) = time.quotientAndRemainder(dividingBy: 1_000_000_000)
            append(
                second: remainder < 0 ? quotient - 1 : quotient, fraction: remainder < 0 ? remainder + 1_000_000_000 : remainder, to: &out)
        case .member(let list):
            let value = Int16(truncatingIfNeeded: integer(element, field))
            out.append(contentsOf: cases[list][value] ?? [0x22, 0x22])
        case .uuid:
            out.append(UInt8(ascii: "\""))
            appendUUID(field.place.place(of: element..<element + 1).lowerBound, to: &out)
            out.append(UInt8(ascii: "\""))
        case .text:
            let place =
                field.place.width > 0 ? field.place.place(of: element..<element + 1) : places.string(element, of: field.place)
            append(text: place, textLimit, to: &out)
        }
    }

    // MARK: Numbers

    private func load<Value: FixedWidthInteger>(_ element: Int, _ field: Field) -> Value {
        let offset = field.place.place(of: element..<element + 1).lowerBound
        return bytes.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Value.self)) }
    }

    private func integer(_ element: Int, _ field: Field) -> Int64 {
        switch field.place.width {
        case 1: Int64(load(element, field) as Int8)
        case 2: Int64(load(element, field) as Int16)
        case 4: Int64(load(element, field) as Int32)
        default: load(element, field)
        }
    }

    /// The bits of an unsigned value, widened with zeros.
    private func unsigned(_ element: Int, _ field: Field) -> Int64 {
        switch field.place.width {
        case 1: Int64(load(element, field) as UInt8)
        case 2: Int64(load(element, field) as UInt16)
        case 4: Int64(load(element, field) as UInt32)
        default: load(element, field)
        }
    }

    /// JSON has no word for what is not a number: null, as ClickHouse itself writes it.
    private func append<Value: BinaryFloatingPoint & CustomStringConvertible>(_ value: Value, to out: inout [UInt8]) {
        out.append(contentsOf: (value.isFinite ? value.description : "null").utf8)
    }

    private func append(decimal element: Int, _ field: Field, _ scale: Int, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        defer { out.append(UInt8(ascii: "\"")) }
        let wide: Int128 = field.place.width == 16 ? load(element, field) : Int128(integer(element, field))
        guard let value = Int64(exactly: wide), scale < 19 else {
            return out.append(contentsOf: decimalText(wide, scale: scale).utf8)
        }
        if value < 0 { out.append(UInt8(ascii: "-")) }
        guard scale > 0 else { return out.append(digits: value.magnitude) }
        let (whole, rest) = value.magnitude.quotientAndRemainder(dividingBy: Self.powers[scale])
        out.append(digits: whole)
        out.append(UInt8(ascii: "."))
        out.append(digits: rest, width: scale)
    }

    private static let powers: [UInt64] = (0..<19).map { (0..<$0).reduce(1) { power, _ in power * 10 } }

    // MARK: Times

    private mutating func append(second: Int64, fraction: Int64?, to out: inout [UInt8]) {
        let (day, rest) = second.quotientAndRemainder(dividingBy: 86_400)
        let ofDay = UInt64(rest < 0 ? rest + 86_400 : rest)
        out.append(UInt8(ascii: "\""))
        appendDay(Int(rest < 0 ? day - 1 : day), to: &out)
        out.append(UInt8(ascii: "T"))
        out.append(digits: ofDay / 3_600, width: 2)
        out.append(UInt8(ascii: ":"))
        out.append(digits: ofDay / 60 % 60, width: 2)
        out.append(UInt8(ascii: ":"))
        out.append(digits: ofDay % 60, width: 2)
        if let fraction {
            out.append(UInt8(ascii: "."))
            out.append(digits: UInt64(fraction), width: 9)
        }
        out.append(contentsOf: "Z\"".utf8)
    }

    private mutating func appendDay(_ number: Int, to out: inout [UInt8]) {
        if day.number != number { day = (number, Array(CivilDate(day: number).text.utf8)) }
        out.append(contentsOf: day.text)
    }

    // MARK: Texts

    private func appendUUID(_ offset: Int, to out: inout [UInt8]) {
        // Two halves, each little endian.
        for (index, byte) in ((0..<8).reversed() + (8..<16).reversed()).enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 { out.append(UInt8(ascii: "-")) }
            let value = bytes[offset + byte]
            out.append(Self.hex[Int(value >> 4)])
            out.append(Self.hex[Int(value & 15)])
        }
    }

    private static let hex = Array("0123456789abcdef".utf8)

    private func append(text place: Range<Int>, _ limit: Int, to out: inout [UInt8]) {
        let text = bytes[place]
        // Plain ASCII is what nearly all are.
        if place.count <= limit, text.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }) {
            out.append(0x22)
            out.append(contentsOf: text)
            return out.append(0x22)
        }
        let decoded = String(decoding: text, as: UTF8.self)
        out.append(contentsOf: RowText.quoted(decoded.utf8.count <= limit ? decoded : decoded.prefix(limit) + "...").utf8)
    }
}

extension [UInt8] {
    /// A number in plain digits.
    ///
    /// - Parameter width: digits at least, with zeros before them; at most 20.
    fileprivate mutating func append(digits number: UInt64, width: Int = 1) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { text in
            var (rest, start) = (number, 20)
            repeat {
                start -= 1
                text[start] = UInt8(truncatingIfNeeded: rest % 10) &+ 0x30
                rest /= 10
            } while rest > 0 || 20 - start < width
            append(contentsOf: UnsafeBufferPointer(rebasing: text[start...]))
        }
    }
}
