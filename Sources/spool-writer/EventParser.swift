import Glibc
import SpoolFormat

/// Parses one event line into the row of a table's builder.
struct EventParser {
    private let usual = UsualValues()
    private var fields = FieldParser()
    private var keyScratch = RawBuffer(capacity: 256)
    /// Whether the last line gave a field that was dropped, and which did: by ``FieldTable/dropped``.
    private(set) var hasDropped = false
    private(set) var droppedFields: [Int] = []

    func free() {
        usual.free()
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
    /// - Parameters:
    ///   - readAhead: how many bytes behind the line may be read, whatever they are.
    ///   - start: where to begin: 0, or behind `{"table":"NAME"` where the caller has seen that.
    /// - Throws: `Refusal`; the caller then undoes the row.
    @inline(never)
    mutating func parse(
        _ line: UnsafeRawBufferPointer, readAhead: Int = 0, from start: Int, into builder: BlockBuilder, names: FieldTable
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
        let row = builder.unfinishedRow
        let isWide = readAhead >= LineBuffer.readAhead
        var place = LinePlace(bytes: scanner.position, column: -1, stage: .key)
        // What is not as usual goes through the scanner, and the usual goes on behind it.
        while true {
            if isWide, place.stage == .key || place.stage == .value {
                place = usual.takeFields(from: place, to: scanner.end, into: lanes, row: row, names: names)
            }
            scanner.advance(to: place.bytes)
            switch place.stage {
            case .end: return
            case .repeated: throw repeated(builder.schema.columns[place.column].name, builder.schema)
            case .key:
                place = try takeKey(&scanner, names, after: place.column, &sawTable, builder.schema)
                if place.stage == .value, !(lanes + place.column).pointee.give(inRow: row) { place.stage = .repeated }
            case .value:
                place.bytes = try takeField(&scanner, into: lanes + place.column, builder.schema.columns[place.column].name)
                place.stage = .comma
            case .comma:
                guard scanner.taken(0x2C) else {
                    try scanner.expect(0x7D, "\",\" or \"}\"")
                    return try end(of: scanner)
                }
                place.bytes = scanner.position
                place.stage = .key
            }
        }
    }

    private func end(of scanner: JSONScanner) throws(Refusal) {
        var scanner = scanner
        scanner.skipSpace()
        guard scanner.next == nil else { throw scanner.syntax("expected the end of the line") }
    }

    /// Takes any key and its colon.
    ///
    /// - Returns: the column's value, or the comma behind `"table"` and its value, which is passed over.
    private mutating func takeKey(
        _ scanner: inout JSONScanner, _ names: FieldTable, after previous: Int, _ sawTable: inout Bool, _ schema: TableSchema
    ) throws(Refusal) -> LinePlace {
        var key = try scanner.takeString()
        if key.hasEscapes { key = try decoded(key, scanner) }
        try scanner.expect(0x3A, "\":\"")
        if let column = names.find(key.bytes, key.count, after: previous) {
            return LinePlace(bytes: scanner.position, column: column, stage: .value)
        }
        guard key.count == 5, memcmp(key.bytes, "table", 5) == 0 else {
            return try takeOlder(key, &scanner, names, after: previous, schema)
        }
        guard !sawTable else { throw Refusal("given twice", field: "table") }
        sawTable = true
        try scanner.skipValue()
        return LinePlace(bytes: scanner.position, column: previous, stage: .comma)
    }

    /// Takes a key that is no column's today, as producers send it that do not know yet.
    ///
    /// - Returns: the value of the column that was renamed, or the comma behind the value of one that was dropped.
    @inline(never)
    private mutating func takeOlder(
        _ key: JSONScanner.RawString, _ scanner: inout JSONScanner, _ names: FieldTable, after previous: Int, _ schema: TableSchema
    ) throws(Refusal) -> LinePlace {
        switch names.older(key.bytes, key.count) {
        case nil: throw unknown(key, schema)
        case .column(let column): return LinePlace(bytes: scanner.position, column: column, stage: .value)
        case .dropped(let index):
            try scanner.skipValue()
            droppedFields.append(index)
            hasDropped = true
            return LinePlace(bytes: scanner.position, column: previous, stage: .comma)
        }
    }

    /// Forgets which dropped fields the last line gave.
    mutating func forgetDropped() {
        hasDropped = false
        droppedFields.removeAll(keepingCapacity: true)
    }

    private func repeated(_ column: String, _ schema: TableSchema) -> Refusal {
        let older = schema.olderNames(of: column)
        return Refusal("given twice\(older.isEmpty ? "" : "; \(older.joined(separator: ", ")) is an older name of it")", field: column)
    }

    /// Takes any value of a field.
    ///
    /// - Returns: the place behind it.
    private mutating func takeField(
        _ scanner: inout JSONScanner, into lane: UnsafeMutablePointer<ColumnLane>, _ name: @autoclosure () -> String
    ) throws(Refusal) -> UnsafePointer<UInt8> {
        do {
            try fields.takeField(&scanner, into: lane)
        } catch {
            var refusal = error
            refusal.field = name()
            throw refusal
        }
        return scanner.position
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
