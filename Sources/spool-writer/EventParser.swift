import Glibc
import SpoolFormat

/// The columns of one table as a parser looks them up: names in raw memory, and which field tends to follow which.
final class FieldTable {
    /// All columns as `"name":`, one behind the other.
    private let names: UnsafeMutablePointer<UInt8>
    private let ends: UnsafeMutablePointer<Int>
    /// After column i came column `followers[i + 1]` last time. Producers write their fields in one order, so this guess is
    /// nearly always right and a key costs one comparison.
    private let followers: UnsafeMutablePointer<Int>
    /// Open addressing by FNV-1a of the name: the column, or -1. A power of two, at most a quarter full.
    private let slots: UnsafeMutableBufferPointer<Int>
    /// The table's name with the quote that ends it in an event.
    private let quotedName: UnsafeMutableBufferPointer<UInt8>

    init(table: String, _ columns: [Column]) {
        quotedName = .allocate(capacity: table.utf8.count + 1)
        _ = quotedName.initialize(from: Array(table.utf8) + [0x22])
        let keys = columns.map { Array("\"\($0.name)\":".utf8) }
        names = .allocate(capacity: max(keys.reduce(0) { $0 + $1.count }, 1))
        ends = .allocate(capacity: columns.count + 1)
        followers = .allocate(capacity: columns.count + 1)
        var size = 16
        while size < columns.count * 4 { size *= 2 }
        slots = .allocate(capacity: size)
        slots.initialize(repeating: -1)
        ends[0] = 0
        for (index, key) in keys.enumerated() {
            (names + ends[index]).initialize(from: key, count: key.count)
            ends[index + 1] = ends[index] + key.count
            followers[index] = index
            var slot = Self.hash(names + ends[index] + 1, key.count - 3) & (size - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = index
        }
        followers[columns.count] = 0
    }

    deinit {
        names.deallocate()
        ends.deallocate()
        followers.deallocate()
        slots.deallocate()
        quotedName.deallocate()
    }

    /// Bytes of `NAME"` where an event names its table.
    var quotedNameBytes: Int { quotedName.count }

    /// Whether the table's name, and a quote after it, stand at `offset` of the line.
    @inline(__always)
    func isTable(_ line: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        line.count - offset >= quotedName.count
            && memcmp(line.baseAddress.unsafelyUnwrapped + offset, quotedName.baseAddress.unsafelyUnwrapped, quotedName.count) == 0
    }

    /// Takes the key and colon of the column that is likely to follow.
    ///
    /// - Parameter previous: the column before it in this line, -1 for none.
    /// - Returns: the column; nil, with nothing taken, if something else comes.
    @inline(__always)
    func takeLikely(_ scanner: inout JSONScanner, after previous: Int) -> Int? {
        let guess = followers[previous + 1]
        let start = ends[guess]
        return scanner.taken(names + start, count: ends[guess + 1] - start) ? guess : nil
    }

    /// The column with this name, which from now on is likely to follow the previous one.
    func find(_ name: UnsafePointer<UInt8>, _ count: Int, after previous: Int) -> Int? {
        var slot = Self.hash(name, count) & (slots.count - 1)
        while slots[slot] >= 0 {
            let column = slots[slot]
            if ends[column + 1] - ends[column] - 3 == count, memcmp(names + ends[column] + 1, name, count) == 0 {
                followers[previous + 1] = column
                return column
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private static func hash(_ name: UnsafePointer<UInt8>, _ count: Int) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for index in 0..<count { hash = (hash ^ UInt64(name[index])) &* 0x100_0000_01b3 }
        return Int(truncatingIfNeeded: hash ^ hash >> 32)
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
    mutating func tableName(_ line: UnsafeRawBufferPointer) throws(Refusal) -> String {
        var scanner = JSONScanner(line)
        guard scanner.taken(0x7B) else { throw scanner.syntax("expected an object {...}") }
        if !scanner.taken(0x7D) {
            repeat {
                var key = try scanner.takeString()
                if key.hasEscapes { key = try decoded(key, scanner) }
                try scanner.expect(0x3A, "\":\"")
                if key.count == 5, memcmp(key.bytes, "table", 5) == 0 {
                    scanner.skipSpace()
                    guard scanner.next == 0x22 else { throw Refusal("\"table\" must be a string", field: "table") }
                    var value = try scanner.takeString()
                    if value.hasEscapes { value = try decoded(value, scanner) }
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
    /// - Parameter start: where to begin: 0, or behind `{"table":"NAME"` where the caller has seen that.
    /// - Throws: `Refusal`; the caller then undoes the row.
    @inline(__always)
    mutating func parse(
        _ line: UnsafeRawBufferPointer, from start: Int, into builder: BlockBuilder, names: FieldTable
    ) throws(Refusal) {
        var scanner = JSONScanner(line)
        var sawTable = start > 0
        if sawTable {
            scanner.advance(start)
            if scanner.taken(0x7D) { return try end(of: scanner) }
            try scanner.expect(0x2C, "\",\" or \"}\"")
        } else {
            guard scanner.taken(0x7B) else { throw scanner.syntax("expected an object {...}") }
            if scanner.taken(0x7D) { return try end(of: scanner) }
        }
        let lanes = builder.lanes.baseAddress.unsafelyUnwrapped
        var previous = -1
        repeat {
            scanner.skipSpace()
            var given = names.takeLikely(&scanner, after: previous)
            if _slowPath(given == nil) { given = try takeKey(&scanner, names, after: previous, &sawTable, builder.schema) }
            guard let column = given else { continue }
            guard builder.give(column) else { throw Refusal("given twice", field: builder.schema.columns[column].name) }
            do {
                try fields.takeField(&scanner, into: lanes + column)
            } catch {
                var refusal = error
                refusal.field = builder.schema.columns[column].name
                throw refusal
            }
            previous = column
        } while scanner.taken(0x2C)
        try scanner.expect(0x7D, "\",\" or \"}\"")
        try end(of: scanner)
    }

    private func end(of scanner: JSONScanner) throws(Refusal) {
        var scanner = scanner
        scanner.skipSpace()
        guard scanner.next == nil else { throw scanner.syntax("expected the end of the line") }
    }

    /// Takes any key and its colon.
    ///
    /// - Returns: the column; nil if it was `"table"`, whose value is passed over.
    @inline(never)
    private mutating func takeKey(
        _ scanner: inout JSONScanner, _ names: FieldTable, after previous: Int, _ sawTable: inout Bool, _ schema: TableSchema
    ) throws(Refusal) -> Int? {
        var key = try scanner.takeString()
        if key.hasEscapes { key = try decoded(key, scanner) }
        try scanner.expect(0x3A, "\":\"")
        if let column = names.find(key.bytes, key.count, after: previous) { return column }
        guard key.count == 5, memcmp(key.bytes, "table", 5) == 0 else { throw unknown(key, schema) }
        guard !sawTable else { throw Refusal("given twice", field: "table") }
        sawTable = true
        try scanner.skipValue()
        return nil
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
        table: "defaults",
        columns: [Column(name: "ts", type: ColumnType(.dateTime64)), Column(name: "value", type: ColumnType(column.type.scalar))],
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
