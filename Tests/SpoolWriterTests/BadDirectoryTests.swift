import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// Files of the spool and of the schemas that are wrong as a whole.
@Suite struct BadDirectoryTests {
    @Test(
        "a spool.id that is not ours is refused, and left as it is",
        arguments: [
            ("", "the first line must be \"coldpath-spool 1\"; a newer version may have written it"),
            ("coldpath-spool 2\nwriter w1\n", "the first line must be \"coldpath-spool 1\"; a newer version may have written it"),
            ("coldpath-spool 1\n", "expected a second and last line \"writer ID\""),
            ("coldpath-spool 1\nwriter \n", "expected a second and last line \"writer ID\""),
            ("coldpath-spool 1\nwriter a b\n", "expected a second and last line \"writer ID\""),
            ("coldpath-spool 1\nwriter w1", "expected a second and last line \"writer ID\""),
            ("coldpath-spool 1\nwriter w1\nmore\n", "expected a second and last line \"writer ID\""),
        ])
    func spoolID(text: String, reason: String) throws {
        let spool = try TestSpool()
        try Directory.create(spool.spoolPath)
        try Bytes.write(Array(text.utf8), to: "\(spool.spoolPath)/spool.id")
        let error = #expect(throws: SpoolFailure.self) { try spool.recorder() }
        #expect(error?.description == "\(spool.spoolPath)/spool.id: \(reason)")
        #expect(try Bytes.text("\(spool.spoolPath)/spool.id") == text)
    }

    @Test("schemas that are missing, numbered twice or have an impossible default are refused")
    func schemas() throws {
        let spool = try TestSpool(schemas: [])
        func message() -> String { "\(#expect(throws: SchemaError.self) { try spool.recorder() }.map { "\($0)" } ?? "")" }
        #expect(message() == "\(spool.schemaPath): no file named NNNN_name.sql; give the directory with --schemas")
        try Bytes.write(Array(TestSpool.ticks.utf8), to: "\(spool.schemaPath)/0001_a.sql")
        try Bytes.write(Array(TestSpool.ticks.utf8), to: "\(spool.schemaPath)/0001_b.sql")
        #expect(message() == "\(spool.schemaPath)/0001_b.sql: has the same number as 0001_a.sql")
        try Directory.remove("\(spool.schemaPath)/0001_b.sql")
        for (type, literal, reason) in [
            ("UInt8", "256", "256: a whole number from 0 to 255 is expected"),
            ("Decimal(4, 2)", "'x'", "x: digits with or without a decimal point are expected"),
            ("Enum8('a' = 1)", "'b'", "b: one of a is expected"), ("Bool", "1", "1: true or false is expected"),
        ] {
            let text = TestSpool.ticks.replacing("note String DEFAULT ''", with: "note \(type) DEFAULT \(literal)")
            try Bytes.write(Array(text.utf8), to: "\(spool.schemaPath)/0001_a.sql")
            #expect(message() == "\(spool.schemaPath)/0001_a.sql:1: table ticks: column note: DEFAULT \(reason)")
        }
        try Bytes.write(Array(TestSpool.ticks.utf8), to: "\(spool.schemaPath)/0001_a.sql")
        for name in ["12_b.sql", "0012-b.sql", "0012_.sql", "0012_b.SQL"] {
            try Bytes.write(Array(TestSpool.ticks.utf8), to: "\(spool.schemaPath)/\(name)")
            #expect(message().hasPrefix("\(spool.schemaPath)/\(name): is not named NNNN_name.sql"))
            try Directory.remove("\(spool.schemaPath)/\(name)")
        }
        // Neither is one of the files.
        for name in ["README.md", ".0012_b.sql.swp", "0012_b.sql~"] { try Bytes.write(Array("x".utf8), to: "\(spool.schemaPath)/\(name)") }
        _ = try spool.recorder()
    }

    /// The migrator must pass no default that the writer does not take, and refuse none that it takes.
    @Test(
        "a default is refused with its file if, and only if, the writer's own parser would not take it",
        arguments: [
            ("Int8", "-128"), ("Int8", "127"), ("Int8", "128"), ("Int8", "-129"), ("Int8", "300"), ("Int8", "1.5"), ("Int8", "'1'"),
            ("Int16", "-32768"), ("Int32", "2147483648"), ("Int64", "-9223372036854775808"), ("Int64", "9223372036854775808"),
            ("UInt8", "-1"),
            ("UInt8", "255"), ("UInt16", "65536"), ("UInt32", "4294967295"), ("UInt64", "18446744073709551615"),
            ("UInt64", "18446744073709551616"),
            ("Float32", "1" + String(repeating: "0", count: 38)), ("Float32", "1" + String(repeating: "0", count: 39)),
            ("Float64", "1" + String(repeating: "0", count: 308)), ("Float64", "1" + String(repeating: "0", count: 309)),
            ("Float64", "-0.5"), ("Float64", "'x'"), ("Bool", "true"), ("Bool", "'true'"), ("Bool", "0"), ("Decimal(4, 2)", "99.99"),
            ("Decimal(4, 2)", "100"), ("Decimal(4, 2)", "-0.010"), ("Decimal(4, 2)", "0.001"), ("Decimal(4, 2)", "''"),
            ("Decimal(38, 0)", "99999999999999999999999999999999999999"), ("Decimal(38, 0)", "100000000000000000000000000000000000000"),
            ("Date", "'1970-01-01'"), ("Date", "'2149-06-06'"), ("Date", "'2149-06-07'"), ("Date", "'2026-02-29'"), ("Date", "0"),
            ("DateTime('UTC')", "'2026-01-02T03:04:05Z'"), ("DateTime('UTC')", "'2026-01-02T03:04:05.5Z'"), ("DateTime('UTC')", "0"),
            ("DateTime64(9, 'UTC')", "'2026-01-02T03:04:05.5Z'"), ("DateTime64(9, 'UTC')", "'1969-12-31T23:59:59Z'"),
            ("DateTime64(9, 'UTC')", "'2026-01-02'"), ("Enum8('a' = 1, 'b' = 2)", "'b'"), ("Enum8('a' = 1)", "'B'"),
            ("Enum16('a' = 1)", "1"),
            ("UUID", "'01234567-89ab-cdef-0123-456789ABCDEF'"), ("UUID", "'01234567-89ab-cdef-0123-456789abcdeg'"), ("UUID", "''"),
            ("FixedString(3)", "'abc'"), ("FixedString(3)", "'ab'"), ("FixedString(3)", "'abcd'"), ("FixedString(3)", "'aé'"),
            ("String", "'it\\'s'"), ("Nullable(Int8)", "300"), ("Nullable(Int8)", "3"), ("LowCardinality(String)", "''"),
        ])
    func defaults(type: String, literal: String) throws {
        let text = TestSpool.ticks.replacing("note String DEFAULT ''", with: "note \(type) DEFAULT \(literal)")
        let model = try SchemaModel([("0001_a.sql", text)])
        let column = try #require(model["ticks"]?.columns.first { $0.name == "note" }?.column)
        let isTaken = (try? defaultBytes(of: column)) != nil
        #expect(((try? model.recorded()) != nil) == isTaken)
    }

    @Test("defaults are stored by the rules of fields")
    func storedDefaults() throws {
        let schema = """
            CREATE TABLE t (ts DateTime64(9, 'UTC'), a UInt8 DEFAULT 7, b Decimal(9, 2) DEFAULT -1.5, c Enum8('x' = 1, 'y' = 2) DEFAULT 'y',
            d Nullable(String) DEFAULT 'it', e Date DEFAULT '2026-01-02', f Float64 DEFAULT -0.5, g Bool DEFAULT true,
            spool_writer String, spool_seq UInt64) PARTITION BY toDate(ts)
            """
        let spool = try TestSpool(schemas: [schema])
        let recorder = try spool.recorder()
        try recorder.take("{\"table\":\"t\",\"ts\":\(TestSpool.time)}", from: Source(name: nil))
        try recorder.finish()
        #expect(
            try spool.rows("t").map { Array($0[1...7]) } == [
                [.integer(7), .integer(-150), .integer(2), .text("it"), .integer(20_455), .double(-0.5), .integer(1)]
            ])
    }

    @Test("every flipped bit of a segment file is seen by the reader that all programs share")
    func readerSeesFlips() throws {
        let directory = TemporaryDirectory()
        let path = directory.file("segment")
        let whole = try Samples.workedExample().bytes
        func look(_ bytes: [UInt8]) throws -> String {
            try Bytes.write(bytes, to: path)
            let reader: SegmentReader
            do { reader = try SegmentReader(path: path) } catch { return "header: \(error)" }
            var offset = reader.start
            var sequence = reader.header.firstSequence
            var seen = "\(reader.header)"
            while true {
                switch try reader.item(at: offset, limit: UInt64(bytes.count)) {
                case .chunk(let chunk):
                    do {
                        try chunk.header.check(against: reader.header, expecting: sequence)
                        seen += " \(chunk.header) \(try reader.block(of: chunk).allRows)"
                    } catch { return "chunk: \(error)" }
                    offset = chunk.end
                    sequence = chunk.header.endSequence
                case .index(let index, _, let end): return end == UInt64(bytes.count) ? "sealed \(seen) \(index)" : "more"
                case let other: return "not sealed: \(other)"
                }
            }
        }
        let expected = try look(whole)
        #expect(expected.hasPrefix("sealed"))
        for bit in 0..<whole.count * 8 {
            var flipped = whole
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            let seen = try look(flipped)
            #expect(!seen.hasPrefix("sealed"), "bit \(bit): \(seen)")
        }
        for count in 0..<whole.count { #expect(try !look(Array(whole[..<count])).hasPrefix("sealed"), "prefix of \(count)") }
    }
}
