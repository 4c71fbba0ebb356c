/// One decoded Native block: every length checked, every value reachable (`docs/spool-format.md` §7).
public struct NativeBlock {
    public let rows: Int
    public let columns: [NativeColumn]

    /// Decodes a whole block and checks it against the segment's columns.
    ///
    /// - Throws: `.malformed` for names, types, lengths, enum values or null marks that the segment does not allow.
    public init(_ bytes: [UInt8], columns wire: [WireColumn]) throws(FormatError) {
        var types: [ColumnType] = []
        for column in wire {
            do {
                types.append(try ColumnType(column.type))
            } catch {
                throw .malformed("column \(column.name): \(error.reason)")
            }
        }
        do {
            (rows, columns) = try Self.decode(bytes, wire, types)
        } catch .truncated {
            throw .malformed("the block ends within a column")
        }
    }

    private static func decode(
        _ bytes: [UInt8], _ wire: [WireColumn], _ types: [ColumnType]
    ) throws(FormatError) -> (Int, [NativeColumn]) {
        let result = bytes.withUnsafeBytes { raw in
            Result { () throws(FormatError) in
                var reader = ByteReader(raw)
                let columnCount = try reader.takeVarint()
                let rowCount = try reader.takeVarint()
                guard columnCount == UInt64(wire.count) else {
                    throw .malformed("\(columnCount) columns in the block, \(wire.count) in the segment header")
                }
                guard rowCount > 0, rowCount <= UInt64(FormatLimits.chunkRows) else { throw .malformed("\(rowCount) rows") }
                var columns: [NativeColumn] = []
                for (column, type) in zip(wire, types) {
                    let name = try reader.takeText(count: Int(clamping: reader.takeVarint()))
                    let typeText = try reader.takeText(count: Int(clamping: reader.takeVarint()))
                    guard name == column.name, typeText == column.type else {
                        throw .malformed(
                            "column \(name) \(typeText) in the block, \(column.name) \(column.type) in the segment header")
                    }
                    columns.append(
                        try NativeColumn(
                            name: name, type: type, typeText: typeText, rows: Int(rowCount), bytes: bytes, reader: &reader))
                }
                guard reader.remaining == 0 else { throw .malformed("\(reader.remaining) bytes after the last column") }
                return (Int(rowCount), columns)
            }
        }
        return try result.get()
    }

    init(rows: Int, columns: [NativeColumn]) {
        self.rows = rows
        self.columns = columns
    }

    /// The decoded bytes that the columns' places are in.
    public var bytes: [UInt8] { columns.first?.bytes ?? [] }

    /// The column with this name.
    public func column(_ name: String) -> NativeColumn? { columns.first { $0.name == name } }
}

/// One column of a decoded block.
public struct NativeColumn {
    public let name: String
    public let type: ColumnType
    /// The type as the block's header writes it.
    let typeText: String
    /// The whole block.
    private(set) var bytes: [UInt8]
    /// Offset of the null map or of the array ends.
    let marks: Int
    /// Offset after the last value.
    private let end: Int
    /// Offset of the first value.
    let values: Int
    /// For strings: where each value begins behind its length, and how long it is.
    let strings: [Range<Int>]

    init(
        name: String, type: ColumnType, typeText: String, rows: Int, bytes: [UInt8], reader: inout ByteReader
    ) throws(FormatError) {
        self.name = name
        self.type = type
        self.typeText = typeText
        self.bytes = bytes
        marks = reader.offset
        if typeText == ColumnType.dictionaryText {
            values = reader.offset
            strings = try Self.takeDictionary(name: name, rows: rows, reader: &reader)
            end = reader.offset
            return
        }
        var count = rows
        switch type.shape {
        case .plain: break
        case .nullable:
            guard try reader.take(count: rows).allSatisfy({ $0 <= 1 }) else { throw .malformed("column \(name): a null mark above 1") }
        case .array:
            var end: UInt64 = 0
            for _ in 0..<rows {
                let next: UInt64 = try reader.take()
                guard next >= end, next <= UInt64(bytes.count) else { throw .malformed("column \(name): array ends out of order") }
                end = next
            }
            count = Int(end)
        }
        values = reader.offset
        var strings: [Range<Int>] = []
        if let width = type.width {
            let (size, overflow) = count.multipliedReportingOverflow(by: width)
            guard !overflow else { throw .malformed("column \(name): \(count) values") }
            try Self.check(try reader.take(count: size), of: type, name: name)
        } else {
            strings = try Self.takeStrings(count, reader: &reader)
        }
        self.strings = strings
        end = reader.offset
    }

    /// The column as the block carries it, behind its name and type.
    public var data: ArraySlice<UInt8> { bytes[marks..<end] }

    private static func takeStrings(_ count: Int, reader: inout ByteReader) throws(FormatError) -> [Range<Int>] {
        var strings: [Range<Int>] = []
        strings.reserveCapacity(min(count, reader.remaining))
        for _ in 0..<count {
            let length = try reader.takeVarint()
            let start = reader.offset
            _ = try reader.take(count: Int(clamping: length))
            strings.append(start..<reader.offset)
        }
        return strings
    }

    /// Whether the block carries its texts once each, and an index for each row.
    public var isDictionary: Bool { typeText == ColumnType.dictionaryText }

    /// The text of each row of a `LowCardinality(String)` column: its keys, and an index for each row.
    private static func takeDictionary(name: String, rows: Int, reader: inout ByteReader) throws(FormatError) -> [Range<Int>] {
        let version: UInt64 = try reader.take()
        let flags: UInt64 = try reader.take()
        let known = NameDictionary.hasOwnKeys | NameDictionary.replacesKeys
        guard version == NameDictionary.version, flags & ~0xFF & ~known == 0, flags & NameDictionary.hasOwnKeys != 0, flags & 0xFF <= 2
        else { throw .malformed("column \(name): a dictionary of version \(version) with flags \(flags)") }
        let keyCount: UInt64 = try reader.take()
        guard keyCount > 0, keyCount <= UInt64(reader.remaining) else { throw .malformed("column \(name): \(keyCount) keys") }
        let keys = try takeStrings(Int(keyCount), reader: &reader)
        let indexCount: UInt64 = try reader.take()
        guard indexCount == UInt64(rows) else { throw .malformed("column \(name): \(indexCount) indices for \(rows) rows") }
        let width = 1 << Int(flags & 0xFF)
        let indices = try reader.take(count: rows * width)
        var strings: [Range<Int>] = []
        strings.reserveCapacity(rows)
        for row in 0..<rows {
            var index = 0
            for byte in (0..<width).reversed() { index = index << 8 | Int(indices[row * width + byte]) }
            guard index < keys.count else { throw .malformed("column \(name): index \(index) of \(keys.count) keys") }
            strings.append(keys[index])
        }
        return strings
    }

    /// Values that ClickHouse would store and then be unable to read.
    private static func check(_ raw: UnsafeRawBufferPointer, of type: ColumnType, name: String) throws(FormatError) {
        switch type.scalar {
        case .bool:
            guard raw.allSatisfy({ $0 <= 1 }) else { throw .malformed("column \(name): a Bool above 1") }
        case .enum8(let cases):
            var known = [Bool](repeating: false, count: 256)
            if type.shape == .nullable { known[0] = true }
            for item in cases { known[Int(UInt8(bitPattern: Int8(item.value)))] = true }
            guard raw.allSatisfy({ known[Int($0)] }) else { throw .malformed("column \(name): a value that the enum does not name") }
        case .enum16(let cases):
            let known = Set(cases.map(\.value) + (type.shape == .nullable ? [0] : []))
            for offset in stride(from: 0, to: raw.count, by: 2) {
                guard known.contains(Int16(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: Int16.self))) else {
                    throw .malformed("column \(name): a value that the enum does not name")
                }
            }
        default: break
        }
    }

    public func isNull(_ row: Int) -> Bool { type.shape == .nullable && bytes[marks + row] == 1 }

    /// The values of a row, as indices for ``integer(_:)`` and ``text(_:)``: one, or those of its array.
    public func elements(_ row: Int) -> Range<Int> {
        guard type.shape == .array else { return row..<row + 1 }
        return (row == 0 ? 0 : Int(mark(row - 1)))..<Int(mark(row))
    }

    private func mark(_ row: Int) -> UInt64 { load(marks + row * 8) }

    private func load<Value: FixedWidthInteger>(_ offset: Int) -> Value {
        bytes.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Value.self)) }
    }

    /// The same column over other bytes of the same block.
    func over(_ bytes: [UInt8]) -> NativeColumn {
        var column = self
        column.bytes = bytes
        return column
    }

    /// A value of an integer, enum, decimal or time column, as the number that is stored.
    public func integer(_ element: Int) -> Int128 {
        let width = type.width ?? 0
        let offset = values + element * width
        switch type.scalar {
        case .uint(let bits):
            return bits == 8
                ? Int128(load(offset) as UInt8)
                : bits == 16
                    ? Int128(load(offset) as UInt16)
                    : bits == 32 ? Int128(load(offset) as UInt32) : Int128(load(offset) as UInt64)
        case .bool: return Int128(load(offset) as UInt8)
        case .date: return Int128(load(offset) as UInt16)
        case .dateTime: return Int128(load(offset) as UInt32)
        case .int, .decimal, .dateTime64, .enum8, .enum16:
            switch width {
            case 1: return Int128(load(offset) as Int8)
            case 2: return Int128(load(offset) as Int16)
            case 4: return Int128(load(offset) as Int32)
            case 8: return Int128(load(offset) as Int64)
            default: return load(offset)
            }
        case .float32, .float64, .uuid, .fixedString, .string:
            preconditionFailure("\(type.wireText) has no integer value")
        }
    }

    /// A value of a floating-point column.
    public func double(_ element: Int) -> Double {
        if type.scalar == .float32 { return Double(Float(bitPattern: load(values + element * 4))) }
        precondition(type.scalar == .float64, "\(type.wireText) has no floating-point value")
        return Double(bitPattern: load(values + element * 8))
    }

    /// The bytes of a string value.
    public func string(_ element: Int) -> ArraySlice<UInt8> {
        if case .fixedString(let count) = type.scalar { return bytes[values + element * count..<values + (element + 1) * count] }
        precondition(type.scalar == .string, "\(type.wireText) has no string value")
        return bytes[strings[element]]
    }

    /// A value as people write it, which is also what an event may say: decimals and times exact, without quotes.
    public func text(_ element: Int) -> String {
        switch type.scalar {
        case .int, .uint: return String(integer(element))
        case .bool: return integer(element) == 1 ? "true" : "false"
        case .float32: return "\(Float(bitPattern: load(values + element * 4)))"
        case .float64: return "\(double(element))"
        case .decimal(_, let scale): return decimalText(integer(element), scale: scale)
        case .date: return CivilDate(day: Int(integer(element))).text
        case .dateTime: return String(rfc3339(Int64(integer(element)) * 1_000_000_000).prefix(19)) + "Z"
        case .dateTime64: return rfc3339(Int64(integer(element)))
        case .enum8(let cases), .enum16(let cases):
            let value = integer(element)
            return cases.first { Int128($0.value) == value }?.name ?? ""
        case .uuid: return uuidText(values + element * 16)
        case .fixedString, .string: return String(decoding: string(element), as: UTF8.self)
        }
    }

    private func uuidText(_ offset: Int) -> String {
        let high: UInt64 = load(offset)
        let low: UInt64 = load(offset + 8)
        let digits = [high, low].map { String(repeating: "0", count: 16 - String($0, radix: 16).count) + String($0, radix: 16) }
        let all = Array(digits.joined())
        return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(all[$0]) }.joined(separator: "-")
    }
}

/// A scaled integer in plain digits, with all its decimals.
func decimalText(_ value: Int128, scale: Int) -> String {
    let digits = String(value.magnitude)
    guard scale > 0 else { return (value < 0 ? "-" : "") + digits }
    let padded = String(repeating: "0", count: max(0, scale + 1 - digits.count)) + digits
    return (value < 0 ? "-" : "") + padded.dropLast(scale) + "." + padded.suffix(scale)
}
