import SpoolTesting
import Testing

@testable import SpoolFormat

/// Rows through `BlockBuilder` and back through `NativeBlock`.
@Suite struct BlockRoundTripTests {
    static let scalars = [
        "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Bool", "Decimal(9, 2)",
        "Decimal(18, 4)", "Decimal(38, 10)", "Date", "DateTime('UTC')", "DateTime64(9, 'UTC')", "Enum8('a' = -7, 'b' = 100)",
        "Enum16('c' = -700, 'd' = 1000)", "UUID", "FixedString(5)", "String",
    ]

    /// A table with every type in every shape.
    static let schema: TableSchema = {
        var columns = [Column(name: "ts", type: ColumnType(.dateTime64))]
        for text in scalars {
            let type = try! ColumnType(text)
            columns.append(Column(name: "c\(columns.count)", type: type))
            columns.append(Column(name: "c\(columns.count)", type: ColumnType(type.scalar, shape: .nullable)))
            if case .fixedString = type.scalar { continue }
            columns.append(Column(name: "c\(columns.count)", type: ColumnType(type.scalar, shape: .array)))
        }
        columns.append(Column(name: "name", type: ColumnType(.string), isLowCardinality: true))
        columns.append(Column(name: "names", type: ColumnType(.string, shape: .array), isLowCardinality: true))
        return TableSchema(
            table: "every", columns: columns, eventTimeColumn: 0, partitionRule: .day, retention: nil, isWriterLowCardinality: true)
    }()

    private func value(_ scalar: ColumnType.Scalar, _ random: inout SeededRandom) -> Cell {
        func bits(_ width: Int) -> Int128 { Int128(random.next() >> UInt64(64 - width)) }
        switch scalar {
        case .int(let width): return .integer(bits(width) - (1 << Int128(width - 1)))
        case .uint(let width): return .integer(bits(width))
        case .float32: return .double(Double(Float.random(in: -1e30...1e30, using: &random)))
        case .float64: return .double(random.oneIn(5) ? -0.0 : Double.random(in: -1e300...1e300, using: &random))
        case .bool: return .integer(bits(1))
        case .decimal(let precision, _):
            let value = precision <= 9 ? bits(29) : precision <= 18 ? bits(59) : bits(64) * bits(60)
            return .integer(random.oneIn(2) ? -value : value)
        case .date: return .integer(bits(16))
        case .dateTime: return .integer(bits(32))
        case .dateTime64: return .integer(Int128(Int64(bitPattern: random.next())))
        case .enum8(let cases), .enum16(let cases): return .integer(Int128(random.pick(cases).value))
        case .uuid: return .uuid(high: random.next(), low: random.next())
        case .fixedString(let count): return .bytes((0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        case .string:
            let count = random.pick([0, 1, 5, 127, 128, 300])
            return .bytes((0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        }
    }

    /// A row of random values.
    func row(_ schema: TableSchema, time: Int64, _ random: inout SeededRandom) -> [Cell] {
        [.integer(Int128(time))]
            + schema.columns.dropFirst().map { column in
                switch column.type.shape {
                case .plain: return value(column.type.scalar, &random)
                case .nullable: return random.oneIn(3) ? .null : value(column.type.scalar, &random)
                case .array: return .array((0..<Int.random(in: 0...4, using: &random)).map { _ in value(column.type.scalar, &random) })
                }
            }
    }

    private func block(_ builder: BlockBuilder, first: UInt64) throws -> NativeBlock {
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: first, into: &buffer)
        return try NativeBlock(Array(buffer.bytes), columns: builder.schema.wireColumns)
    }

    @Test("random rows of every type come back as they went in, and rows that were undone never show", arguments: Seeds.take(30))
    func randomRows(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let schema = Self.schema
        let builder = try BlockBuilder(schema: schema, writer: "w1") { _ in [] }
        var expected: [[Cell]] = []
        var sequence: UInt64 = 1
        var day: Int64 = 20_000
        func checkAndDrop() throws {
            guard !expected.isEmpty else { return }
            #expect(builder.rows == expected.count)
            let block = try block(builder, first: sequence)
            let numbered = expected.enumerated().map { $1 + [.text("w1"), .integer(Int128(sequence) + Int128($0))] }
            #expect(block.allRows == numbered, "seed \(seed)")
            #expect(builder.partition == Int32(day))
            sequence += UInt64(expected.count)
            expected = []
            builder.dropFinished()
            #expect(builder.rows == 0)
            #expect(builder.byteCount == 0)
        }
        for _ in 0..<60 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0:
                // Undone after any part of it was given.
                let row = row(schema, time: day * 86_400_000_000_000, &random)
                for column in 0..<Int.random(in: 0...row.count, using: &random) { builder.append(row[column], to: column) }
                builder.undoRow()
            case 1: try checkAndDrop()
            case 2:
                // Another partition, while the row is pending.
                let next = day + 1
                let row = row(schema, time: next * 86_400_000_000_000 + 5, &random)
                let finish = builder.append(row: row)
                if expected.isEmpty {
                    #expect(finish == .finished)
                } else {
                    #expect(finish == .otherPartition)
                    try checkAndDrop()
                    #expect(builder.finishRow() == .finished)
                }
                day = next
                expected = [row]
            default:
                let row = row(schema, time: day * 86_400_000_000_000 + Int64.random(in: 0..<86_400_000_000_000, using: &random), &random)
                #expect(builder.append(row: row) == .finished)
                expected.append(row)
            }
        }
        try checkAndDrop()
    }

    static let named = TableSchema(
        table: "named",
        columns: [
            Column(name: "ts", type: ColumnType(.dateTime64)),
            Column(name: "name", type: ColumnType(.string), defaultText: "none", isLowCardinality: true),
        ], eventTimeColumn: 0, partitionRule: .day, retention: nil, isWriterLowCardinality: true)

    @Test(
        "a dictionary of any size names every row's text, and holds no text of a row that was undone",
        arguments: [1, 255, 256, 65_535, 65_536, 70_000])
    func dictionaries(different: Int) throws {
        let builder = try BlockBuilder(schema: Self.named, writer: "w") { _ in [4] + Array("none".utf8) }
        let row = { (text: String) in [Cell.integer(Int128(Samples.time)), .text(text)] }
        for number in 0..<different { #expect(builder.append(row: row("name \(number)")) == .finished) }
        let before = builder.byteCount
        for number in 0..<1_000 {
            for (column, cell) in row("undone \(number)").enumerated() { builder.append(cell, to: column) }
            builder.undoRow()
        }
        #expect(builder.append(row: row("name 0")) == .finished)
        #expect(builder.byteCount - before < 100, "what was undone left its texts")
        builder.append(.integer(Int128(Samples.time)), to: 0)
        #expect(builder.finishRow() == .finished)
        let block = try block(builder, first: 1)
        let names = try #require(block.column("name"))
        for number in 0..<different { #expect(names.text(number) == "name \(number)") }
        #expect(names.text(different) == "name 0")
        #expect(names.text(different + 1) == "none")
        #expect(block.column(TableSchema.writerColumn)?.text(different + 1) == "w")
    }

    @Test("an unfinished row keeps its text when the rows before it are dropped, and when it moves to another builder")
    func unfinishedNames() throws {
        let first = try BlockBuilder(schema: Self.named, writer: "w") { _ in [0] }
        let second = try BlockBuilder(schema: Self.named, writer: "w") { _ in [0] }
        let day: Int128 = 86_400_000_000_000
        #expect(first.append(row: [.integer(Int128(Samples.time)), .text("a")]) == .finished)
        #expect(first.append(row: [.integer(Int128(Samples.time) + day), .text("b")]) == .otherPartition)
        first.dropFinished()
        #expect(first.finishRow() == .finished)
        #expect(try block(first, first: 1).column("name")?.text(0) == "b")
        #expect(second.append(row: [.integer(Int128(Samples.time)), .text("c")]) == .finished)
        #expect(first.append(row: [.integer(Int128(Samples.time)), .text("d")]) == .otherPartition)
        first.moveUnfinishedRow(to: second)
        #expect(second.finishRow() == .finished)
        let block = try block(second, first: 1)
        #expect((0..<2).map { block.column("name")?.text($0) } == ["c", "d"])
    }

    @Test(
        "a dictionary that contradicts itself is malformed",
        arguments: [
            ("version", 0, 2, "column v: a dictionary of version 2 with flags 1536"),
            ("flags", 8, 3, "column v: a dictionary of version 1 with flags 1539"),
            ("flags", 10, 1, "column v: a dictionary of version 1 with flags 67072"),
            ("keys", 16, 0, "column v: 0 keys"), ("keys", 23, 1, "column v: 72057594037927938 keys"),
            ("rows", 27, 2, "column v: 2 indices for 1 rows"), ("index", 35, 2, "column v: index 2 of 2 keys"),
        ] as [(String, Int, UInt8, String)])
    func badDictionaries(_: String, offset: Int, byte: UInt8, reason: String) {
        let type = "LowCardinality(String)"
        var value: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x61]
        value += [1, 0, 0, 0, 0, 0, 0, 0, 1]
        let head = [1, 1, 1, UInt8(ascii: "v"), UInt8(type.utf8.count)] + Array(type.utf8)
        #expect(throws: Never.self) { try NativeBlock(head + value, columns: [WireColumn(name: "v", type: type)]) }
        value[offset] = byte
        #expect(throws: FormatError.malformed(reason)) { try NativeBlock(head + value, columns: [WireColumn(name: "v", type: type)]) }
    }

    @Test("what is not given becomes the default, null or an empty array; a required column is missed by name")
    func defaults() throws {
        let schema = TableSchema(
            table: "t",
            columns: [
                Column(name: "ts", type: ColumnType(.dateTime64)), Column(name: "a", type: ColumnType(.uint(bits: 16)), defaultText: "7"),
                Column(name: "b", type: ColumnType(.string, shape: .nullable)),
                Column(name: "c", type: ColumnType(.float64, shape: .array)),
                Column(name: "d", type: ColumnType(.int(bits: 8))),
            ], eventTimeColumn: 0, partitionRule: .month, retention: nil)
        let builder = try BlockBuilder(schema: schema, writer: "w") { _ in [7, 0] }
        builder.append(.integer(Int128(Samples.time)), to: 0)
        #expect(builder.finishRow() == .missing(column: 4))
        builder.undoRow()
        builder.append(.integer(Int128(Samples.time)), to: 0)
        builder.append(.integer(-1), to: 4)
        #expect(!builder.give(4), "given twice")
        #expect(builder.finishRow() == .finished)
        #expect(
            try block(builder, first: 9).allRows == [
                [.integer(Int128(Samples.time)), .integer(7), .null, .array([]), .integer(-1), .text("w"), .integer(9)]
            ])
        #expect(builder.partition == 202_601)
    }

    @Test(
        "a block that contradicts itself or its segment is malformed",
        arguments: [
            ("columns", "4 columns in the block, 3 in the segment header"),
            ("name", "column px Float64 in the block, py Float64 in the segment header"),
            ("type", "column px Float64 in the block, px Float32 in the segment header"),
            ("short", "the block ends within a column"), ("long", "1 bytes after the last column"), ("rows", "0 rows"),
            ("many", "1000001 rows"), ("varint", "a varint is longer than 64 bits"),
        ])
    func contradictions(what: String, reason: String) throws {
        let builder = try BlockBuilder(schema: Samples.demo, writer: "w1") { _ in [] }
        #expect(builder.append(row: [.integer(Int128(Samples.time)), .double(1)]) == .finished)
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: 1, into: &buffer)
        var bytes = Array(buffer.bytes)
        var columns = Samples.demo.wireColumns
        switch what {
        case "columns": columns.removeLast()
        case "name": columns[1] = WireColumn(name: "py", type: "Float64")
        case "type": columns[1] = WireColumn(name: "px", type: "Float32")
        case "short": bytes.removeLast()
        case "long": bytes.append(0)
        case "rows": bytes[1] = 0
        case "many": bytes.replaceSubrange(1...1, with: [0xC1, 0x84, 0x3D])
        default: bytes.replaceSubrange(0...0, with: [UInt8](repeating: 0xFF, count: 10))
        }
        #expect(throws: FormatError.malformed(reason)) { try NativeBlock(bytes, columns: columns) }
    }

    @Test(
        "values that no writer stores are malformed: a null mark, a Bool or an enum out of range, array ends out of order",
        arguments: [
            ("Nullable(UInt8)", [2, 0], "column v: a null mark above 1"), ("Bool", [2], "column v: a Bool above 1"),
            ("Enum8('a' = 1)", [2], "column v: a value that the enum does not name"),
            ("Enum16('a' = 1)", [0, 1], "column v: a value that the enum does not name"),
            ("Array(UInt8)", [255, 255, 0, 0, 0, 0, 0, 0], "column v: array ends out of order"),
            ("String", [200, 1], "the block ends within a column"),
        ] as [(String, [UInt8], String)])
    func badValues(type: String, value: [UInt8], reason: String) {
        let block = [1, 1, 1, UInt8(ascii: "v"), UInt8(type.utf8.count)] + Array(type.utf8) + value
        #expect(throws: FormatError.malformed(reason)) { try NativeBlock(block, columns: [WireColumn(name: "v", type: type)]) }
    }
}
