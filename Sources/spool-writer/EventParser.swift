import Glibc
import SpoolFormat

/// The columns of one table as a parser looks them up: names in raw memory, and which field tends to follow which.
final class FieldTable {
    let columnCount: Int
    private let names: UnsafeMutablePointer<UInt8>
    private let ends: UnsafeMutablePointer<Int>
    /// After column i came column `followers[i + 1]` last time. Producers write their fields in one order, so this guess is
    /// nearly always right and a key costs one comparison.
    private let followers: UnsafeMutablePointer<Int>
    private let byName: [[UInt8]: Int]
    /// The table's name with the quote that ends it in an event.
    private let quotedName: UnsafeMutableBufferPointer<UInt8>

    init(table: String, _ columns: [Column]) {
        columnCount = columns.count
        quotedName = .allocate(capacity: table.utf8.count + 1)
        _ = quotedName.initialize(from: Array(table.utf8) + [0x22])
        let texts = columns.map { Array($0.name.utf8) }
        names = .allocate(capacity: max(texts.reduce(0) { $0 + $1.count }, 1))
        ends = .allocate(capacity: columns.count + 1)
        followers = .allocate(capacity: columns.count + 1)
        ends[0] = 0
        for (index, text) in texts.enumerated() {
            (names + ends[index]).initialize(from: text, count: text.count)
            ends[index + 1] = ends[index] + text.count
            followers[index] = index
        }
        followers[columns.count] = 0
        byName = Dictionary(uniqueKeysWithValues: texts.enumerated().map { ($1, $0) })
    }

    deinit {
        names.deallocate()
        ends.deallocate()
        followers.deallocate()
        quotedName.deallocate()
    }

    /// Whether the table's name, and a quote after it, stand at `offset` of the line.
    @inline(__always)
    func isTable(_ line: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        line.count - offset >= quotedName.count
            && memcmp(line.baseAddress.unsafelyUnwrapped + offset, quotedName.baseAddress.unsafelyUnwrapped, quotedName.count) == 0
    }

    /// The column with this name.
    ///
    /// - Parameter previous: the column before it in this line, -1 for none.
    @inline(__always)
    func column(_ name: UnsafeRawPointer, _ count: Int, after previous: Int) -> Int? {
        let guess = followers[previous + 1]
        let start = ends[guess]
        if count == ends[guess + 1] - start, memcmp(names + start, name, count) == 0 { return guess }
        return lookUp(name, count, after: previous)
    }

    @inline(never)
    private func lookUp(_ name: UnsafeRawPointer, _ count: Int, after previous: Int) -> Int? {
        guard let column = byName[Array(UnsafeRawBufferPointer(start: name, count: count))] else { return nil }
        followers[previous + 1] = column
        return column
    }
}

/// Parses one event line into the row of a table's builder.
struct EventParser {
    private var fields = FieldParser()
    private var keyScratch = RawBuffer(capacity: 256)

    func free() {
        fields.free()
        keyScratch.free()
    }

    /// The value of the line's `"table"`, wherever it stands; the line is not changed.
    ///
    /// - Throws: `Refusal` if it is no JSON object, or names no table.
    func tableName(_ line: UnsafeRawBufferPointer) throws(Refusal) -> String {
        var scanner = JSONScanner(line)
        guard scanner.taken(0x7B) else { throw scanner.syntax("expected an object {...}") }
        if !scanner.taken(0x7D) {
            repeat {
                let key = try scanner.takeString()
                try scanner.expect(0x3A, "\":\"")
                if key.count == 5, memcmp(key.bytes, "table", 5) == 0 {
                    scanner.skipSpace()
                    guard scanner.next == 0x22 else { throw Refusal("\"table\" must be a string", field: "table") }
                    let value = try scanner.takeString()
                    return String(decoding: UnsafeBufferPointer(start: value.bytes, count: value.count), as: UTF8.self)
                }
                try scanner.skipValue()
            } while scanner.taken(0x2C)
            try scanner.expect(0x7D, "\",\" or \"}\"")
        }
        throw Refusal("no \"table\": every event must name its table", field: "table")
    }

    /// Appends the line's fields to the builder's unfinished row.
    ///
    /// - Throws: `Refusal`; the caller then undoes the row.
    @inline(__always)
    mutating func parse(
        _ line: UnsafeRawBufferPointer, into builder: BlockBuilder, names: FieldTable
    ) throws(Refusal) {
        var scanner = JSONScanner(line)
        guard scanner.taken(0x7B) else { throw scanner.syntax("expected an object {...}") }
        let lanes = builder.lanes.baseAddress.unsafelyUnwrapped
        var previous = -1
        var sawTable = false
        if !scanner.taken(0x7D) {
            repeat {
                var key = try scanner.takeString()
                if _slowPath(key.hasEscapes) { key = try decoded(key, scanner) }
                try scanner.expect(0x3A, "\":\"")
                if let column = names.column(key.bytes, key.count, after: previous) {
                    guard builder.give(column) else {
                        throw Refusal("given twice", field: builder.schema.columns[column].name)
                    }
                    do {
                        try fields.takeField(&scanner, into: lanes + column)
                    } catch {
                        throw named(error, builder.schema.columns[column].name)
                    }
                    previous = column
                } else if key.count == 5, memcmp(key.bytes, "table", 5) == 0 {
                    guard !sawTable else { throw Refusal("given twice", field: "table") }
                    sawTable = true
                    try scanner.skipValue()
                } else {
                    throw unknown(key, builder.schema)
                }
            } while scanner.taken(0x2C)
            try scanner.expect(0x7D, "\",\" or \"}\"")
        }
        scanner.skipSpace()
        guard scanner.next == nil else { throw scanner.syntax("expected the end of the line") }
    }

    private mutating func decoded(
        _ key: JSONScanner.RawString, _ scanner: JSONScanner
    ) throws(Refusal) -> JSONScanner.RawString {
        keyScratch.truncate(to: 0)
        try scanner.unescape(key, into: &keyScratch)
        return JSONScanner.RawString(
            bytes: UnsafePointer(keyScratch.base.assumingMemoryBound(to: UInt8.self)), count: keyScratch.count,
            hasEscapes: false, isASCII: false)
    }

    /// Syntax errors concern the line, all others the field.
    private func named(_ refusal: Refusal, _ field: String) -> Refusal {
        var refusal = refusal
        refusal.field = field
        return refusal
    }

    private func unknown(_ key: JSONScanner.RawString, _ schema: TableSchema) -> Refusal {
        let name = FieldParser.shown(UnsafeBufferPointer(start: key.bytes, count: key.count))
        if name == TableSchema.writerColumn || name == TableSchema.sequenceColumn {
            return Refusal("the writer itself gives this field", field: name)
        }
        return Refusal("unknown field; table \(schema.table) has no such column", field: name)
    }
}

/// Turns a column's DEFAULT literal into the bytes of one value, by the same rules as a field of an event.
func defaultBytes(of column: Column) throws(SchemaError) -> [UInt8] {
    guard let text = column.defaultText else { return [] }
    let quoted: Bool
    switch column.type.scalar {
    case .int, .uint, .float32, .float64, .bool: quoted = false
    default: quoted = true
    }
    let json = quoted ? RowText.quoted(text) : text
    let schema = TableSchema(
        table: "defaults", columns: [Column(name: "ts", type: ColumnType(.dateTime64)), Column(name: "value", type: ColumnType(column.type.scalar))],
        eventTimeColumn: 0, partitionRule: .day, retention: nil)
    let builder = try BlockBuilder(schema: schema, writer: "", parseDefault: { _ in [] })
    var parser = FieldParser()
    defer { parser.free() }
    let bytes = Array(json.utf8)
    let refusal: Refusal? = bytes.withUnsafeBytes { raw -> Refusal? in
        var scanner = JSONScanner(raw)
        do throws(Refusal) {
            try parser.takeField(&scanner, into: builder.lanes.baseAddress.unsafelyUnwrapped + 1)
            return scanner.next == nil ? nil : Refusal("text after the literal")
        } catch {
            return error
        }
    }
    if let refusal {
        throw SchemaError(file: "schemas", line: 0, reason: "column \(column.name): DEFAULT \(text): \(refusal.reason)")
    }
    return Array(builder.lanes[1].values.bytes)
}
