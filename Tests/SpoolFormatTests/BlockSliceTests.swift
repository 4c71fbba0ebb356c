import Foundation
import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct BlockSliceTests {
    private let schema = BlockRoundTripTests.schema

    /// A block of random rows of every type, as bytes.
    private func randomBlock(rows: Int, _ random: inout SeededRandom) throws -> [UInt8] {
        let builder = try BlockBuilder(schema: schema, writer: "w1") { _ in [] }
        for number in 0..<rows {
            let row = BlockRoundTripTests().row(schema, time: Samples.time + Int64(number), &random)
            try #require(builder.append(row: row) == .finished)
        }
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: 100, into: &buffer)
        return Array(buffer.bytes)
    }

    /// The content of a slice's frame, as any reader of frames has it.
    private func content(of frame: [UInt8], _ count: Int) throws -> [UInt8] {
        try frame.withUnsafeBytes { try LZ4Frame.decompress($0, contentBytes: count) }
    }

    @Test("a slice of random rows of every type has these rows, value by value, and no others", arguments: Seeds.take(30))
    func randomRows(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let whole = try NativeBlock(
            randomBlock(rows: random.pick([1, 2, 10, 100]), &random), columns: schema.wireColumns)
        for _ in 0..<10 {
            let dense = random.pick([1, 2, 10])
            var rows = (0..<whole.rows).filter { _ in random.oneIn(dense) }
            if rows.isEmpty { rows = [random.pick(0..<whole.rows)] }
            let block = try BlockSlice.block(of: whole, rows: rows)
            let slice = try NativeBlock(block, columns: schema.wireColumns)
            #expect(slice.allRows == rows.map(whole.row), "rows \(rows) of seed \(seed)")
            let frame = try BlockSlice.frame(of: whole, rows: rows)
            #expect(try content(of: frame, block.count) == block)
            #expect(try BlockSlice.frame(of: whole, rows: rows) == frame)
        }
    }

    @Test("a slice of all rows is the block itself, and a slice of a slice that of its rows", arguments: Seeds.take(10))
    func everything(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let bytes = try randomBlock(rows: 50, &random)
        let whole = try NativeBlock(bytes, columns: schema.wireColumns)
        #expect(try BlockSlice.block(of: whole, rows: 0..<50) == bytes)
        let middle = try NativeBlock(BlockSlice.block(of: whole, rows: 10..<40), columns: schema.wireColumns)
        #expect(try BlockSlice.frame(of: middle, rows: [0, 7, 29]) == BlockSlice.frame(of: whole, rows: [10, 17, 39]))
    }

    @Test("a dictionary has only the texts of the slice, in the order of their first use, and indices no wider than they need")
    func dictionaries() throws {
        let schema = BlockRoundTripTests.named
        let builder = try BlockBuilder(schema: schema, writer: "w") { _ in [0] }
        for number in 0..<70_000 {
            try #require(builder.append(row: [.integer(Int128(Samples.time)), .text("name \(number / 2)")]) == .finished)
        }
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: 1, into: &buffer)
        let whole = try NativeBlock(Array(buffer.bytes), columns: schema.wireColumns)
        let few = try BlockSlice.block(of: whole, rows: [60_000, 60_001, 69_999])
        // Two texts and the empty one; then an index of one byte for each of three rows.
        let dictionary: [UInt8] =
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 10] + Array("name 30000".utf8) + [10]
            + Array("name 34999".utf8) + [3, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2]
        #expect(Array(few.dropFirst(2 + 3 + 21 + 24 + 5 + 23).prefix(dictionary.count)) == dictionary)
        for rows in [0..<510, 0..<512, 5_000..<69_000] {
            let slice = try NativeBlock(BlockSlice.block(of: whole, rows: rows), columns: schema.wireColumns)
            #expect((0..<slice.rows).allSatisfy { slice.row($0) == whole.row(rows.lowerBound + $0) }, "rows \(rows)")
        }
    }

    @Test("keys that a foreign writer left unused, doubled or in another order make no difference")
    func foreignDictionary() throws {
        let type = ColumnType.dictionaryText
        func block(_ keys: [String], _ indices: [UInt8]) throws -> NativeBlock {
            var bytes: [UInt8] = [1, UInt8(indices.count), 1, UInt8(ascii: "v"), UInt8(type.utf8.count)] + Array(type.utf8)
            bytes += [1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, UInt8(keys.count), 0, 0, 0, 0, 0, 0, 0]
            for key in keys { bytes += [UInt8(key.utf8.count)] + Array(key.utf8) }
            bytes += [UInt8(indices.count), 0, 0, 0, 0, 0, 0, 0] + indices
            return try NativeBlock(bytes, columns: [WireColumn(name: "v", type: type)])
        }
        let ours = try BlockSlice.frame(of: block(["", "a", "b"], [1, 2, 0, 1]), rows: 0..<4)
        #expect(try BlockSlice.frame(of: block(["unused", "b", "a", "", "a"], [4, 1, 3, 2]), rows: 0..<4) == ours)
    }

    @Test("the frame's blocks are stored, 64 KiB each, so that its bytes are the same everywhere")
    func stored() throws {
        let whole = try NativeBlock(
            [1, 2, 1, UInt8(ascii: "v"), 6] + Array("String".utf8) + [0xC0, 0xA9, 0x07] + [UInt8](repeating: 0x61, count: 120_000) + [
                1, 0x62,
            ],
            columns: [WireColumn(name: "v", type: "String")])
        // The two checksums, 0xCE and the last four bytes, by another XXH32.
        #expect(
            try BlockSlice.frame(of: whole, rows: [1])
                == [0x04, 0x22, 0x4D, 0x18, 0x6C, 0x40, 13, 0, 0, 0, 0, 0, 0, 0, 0xCE, 13, 0, 0, 0x80]
                + [1, 1, 1, 0x76, 6] + Array("String".utf8) + [1, 0x62] + [0, 0, 0, 0, 0xE9, 0x3B, 0xC5, 0x78])
        let long = try BlockSlice.frame(of: whole, rows: [0])
        #expect(long.count == 15 + 4 + 65_536 + 4 + 120_014 - 65_536 + 8)
        #expect(long[15..<19] == [0, 0, 1, 0x80])
        #expect(long[15 + 4 + 65_536..<15 + 8 + 65_536] == [0xCE, 0xD4, 0, 0x80])
        #expect(try content(of: long, 120_014) == BlockSlice.block(of: whole, rows: [0]))
    }

    @Test("no rows, rows out of order and rows that are not there are refused")
    func refused() throws {
        var random = SeededRandom(seed: 1)
        let whole = try NativeBlock(randomBlock(rows: 3, &random), columns: schema.wireColumns)
        #expect(throws: FormatError.malformed("a slice without rows")) { try BlockSlice.frame(of: whole, rows: 1..<1) }
        #expect(throws: FormatError.malformed("a slice with row 1 behind row 1")) { try BlockSlice.frame(of: whole, rows: [0, 1, 1]) }
        #expect(throws: FormatError.malformed("a slice with row 0 behind row 2")) { try BlockSlice.frame(of: whole, rows: [2, 0]) }
        #expect(throws: FormatError.malformed("a slice with row -1 behind row -1")) { try BlockSlice.frame(of: whole, rows: [-1]) }
        #expect(throws: FormatError.malformed("a slice with row 3 of a block of 3 rows")) { try BlockSlice.frame(of: whole, rows: 2..<4) }
    }

    @Test("a block with any byte changed is refused as it is decoded, or its slices decode", arguments: Seeds.take(4))
    func damagedBlocks(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let bytes = try randomBlock(rows: 6, &random)
        for _ in 0..<2_000 {
            var changed = bytes
            changed[random.pick(changed.indices)] ^= UInt8(truncatingIfNeeded: random.next())
            guard let block = try? NativeBlock(changed, columns: schema.wireColumns) else { continue }
            let slice = try NativeBlock(BlockSlice.block(of: block, rows: [0, block.rows - 1]), columns: schema.wireColumns)
            #expect(slice.rows == 2)
        }
    }

    private static let python = "\(Repository.path)/.venv/bin/python"

    /// Loads a frame into a table with the columns' own types, and prints the table as one Native block.
    private static let throughClickHouse = """
        import sys
        from chdb import session
        clickhouse = session.Session()
        clickhouse.query("CREATE TABLE t (" + sys.argv[3] + ") ENGINE = MergeTree ORDER BY spool_seq")
        clickhouse.query("INSERT INTO t SELECT * FROM file('" + sys.argv[1] + "', 'Native')")
        open(sys.argv[2], "wb").write(clickhouse.query("SELECT " + sys.argv[4] + " FROM t ORDER BY spool_seq", "Native").bytes())
        """

    @Test(
        "ClickHouse takes a slice of a block with every type, and gives its values back",
        .enabled(if: FileManager.default.isExecutableFile(atPath: python), "the embedded ClickHouse is not installed"))
    func clickHouse() throws {
        var random = SeededRandom(seed: 7)
        let whole = try NativeBlock(randomBlock(rows: 500, &random), columns: schema.wireColumns)
        let rows = (0..<500).filter { $0 % 3 != 1 }
        let home = TemporaryDirectory()
        let frame = try BlockSlice.frame(of: whole, rows: rows)
        #expect(frame.count > 2 * 65_536, "several blocks")
        try Bytes.write(frame, to: home.file("slice.lz4"))
        let clickHouse = Process()
        clickHouse.executableURL = URL(fileURLWithPath: Self.python)
        let types = schema.wireColumns.map { "\($0.name) \($0.type)" }.joined(separator: ", ")
        // A Native block for nobody in particular has DateTime without its time zone, which is not ours: asked for as the number it is.
        let asked = schema.wireColumns.map {
            $0.type == "DateTime('UTC')" ? WireColumn(name: "toUInt32(\($0.name))", type: "UInt32") : $0
        }
        clickHouse.arguments = [
            "-c", Self.throughClickHouse, home.file("slice.lz4"), home.file("back.native"), types,
            asked.map(\.name).joined(separator: ", "),
        ]
        try clickHouse.run()
        clickHouse.waitUntilExit()
        try #require(clickHouse.terminationStatus == 0)
        let back = try NativeBlock(Bytes.read(home.file("back.native")), columns: asked)
        #expect(back.allRows == rows.map(whole.row))
    }
}
