import SpoolFormat
import SpoolTesting
import Testing

@testable import spool_writer

/// Lines that must be refused, each with its exact field and reason; the good lines between them all arrive.
@Suite struct MalformedLineTests {
    static let schema = """
        CREATE TABLE every (
            ts DateTime64(9, 'UTC'), n UInt64, i8 Int8 DEFAULT 0, i16 Int16 DEFAULT 0, i32 Int32 DEFAULT 0, i64 Int64 DEFAULT 0,
            u8 UInt8 DEFAULT 0, u16 UInt16 DEFAULT 0, u32 UInt32 DEFAULT 0, f32 Nullable(Float32), f64 Nullable(Float64),
            flag Bool DEFAULT false, d9 Nullable(Decimal(9, 2)), d18 Nullable(Decimal(18, 4)), d38 Nullable(Decimal(38, 10)),
            day Nullable(Date), at Nullable(DateTime('UTC')), side Enum8('buy' = 1, 'sell' = 2) DEFAULT 'buy',
            mode Nullable(Enum16('calm' = -300, 'wild' = 300)), id Nullable(UUID), code Nullable(FixedString(4)),
            text LowCardinality(String) DEFAULT '', nums Array(Int32), names Array(String),
            spool_writer LowCardinality(String), spool_seq UInt64
        ) ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY ts
        """

    struct Case: CustomTestStringConvertible {
        let line: [UInt8]
        let refusal: String

        /// A line of bytes as they are.
        init(raw line: String, _ refusal: String) {
            self.line = Array(line.utf8)
            self.refusal = refusal
        }

        /// A line with what every event needs, and these fields.
        init(_ fields: String, _ refusal: String) {
            self.init(raw: "{\"table\":\"every\",\"ts\":1767323045000000000,\"n\":7,\(fields)}", refusal)
        }

        /// A line with these bytes as the value of `text`.
        init(text: [UInt8], _ refusal: String) {
            line = Array("{\"table\":\"every\",\"ts\":1767323045000000000,\"n\":7,\"text\":\"".utf8) + text + Array("\"}".utf8)
            self.refusal = refusal
        }

        var testDescription: String { refusal }
    }

    /// Feeds every case with a good line after it, and reads back what arrived.
    private func check(_ cases: [Case]) throws {
        let spool = try TestSpool(schemas: [Self.schema, TestSpool.ticks])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        for (index, item) in cases.enumerated() {
            #expect(
                recorder.refusal(of: item.line, from: source) == item.refusal, "\(String(decoding: item.line.prefix(300), as: UTF8.self))")
            try recorder.take(TestSpool.line(UInt64(index), table: "every"), from: source)
        }
        #expect(source.refused == UInt64(cases.count))
        try recorder.finish()
        #expect(try spool.numbers("every") == (0..<UInt64(cases.count)).map { $0 })
        #expect(try spool.sequences("every") == (1...UInt64(cases.count)).map { $0 })
    }

    @Test("what is not JSON is refused with the column where it stops being so")
    func notJSON() throws {
        try check([
            Case(raw: "", "not JSON: expected an object {...} at column 1, found the end of the line"),
            Case(raw: "   ", "not JSON: expected an object {...} at column 4, found the end of the line"),
            Case(raw: "hello", "not JSON: expected an object {...} at column 1, found \"h\""),
            Case(raw: "[]", "not JSON: expected an object {...} at column 1, found \"[\""),
            Case(raw: "\u{FEFF}{}", "not JSON: expected an object {...} at column 1, found byte 0xef"),
            Case(raw: "{", "not JSON: expected a string at column 2, found the end of the line"),
            Case(raw: "{\"table\"", "not JSON: expected \":\" at column 9, found the end of the line"),
            Case(raw: "{\"table\":\"every", "not JSON: expected the end of a string at column 16, found the end of the line"),
            Case(raw: "{\"table\":\"every\"", "not JSON: expected \",\" or \"}\" at column 17, found the end of the line"),
            Case(raw: "{\"table\":\"every\",}", "not JSON: expected a string at column 18, found \"}\""),
            Case(raw: "{\"table\":\"every\" \"n\":1}", "not JSON: expected \",\" or \"}\" at column 18, found \"\"\""),
            Case(raw: "{'table':'every'}", "not JSON: expected a string at column 2, found \"'\""),
            Case(raw: "{table:\"every\"}", "not JSON: expected a string at column 2, found \"t\""),
            Case(raw: "{\"table\":\"every\",\"n\" 1}", "not JSON: expected \":\" at column 22, found \"1\""),
            Case(
                raw: "{\"table\":\"every\",\"ts\":1767323045000000000,\"n\":7}}",
                "not JSON: expected the end of the line at column 49, found \"}\""),
            Case(
                raw: "{\"table\":\"every\",\"ts\":1767323045000000000,\"n\":7} {}",
                "not JSON: expected the end of the line at column 50, found \"{\""),
            Case(raw: "{\"table\":\"every\",\"ts\":1767323045000000000,\"n\":7,}", "not JSON: expected a string at column 49, found \"}\""),
            Case("\"nums\":[1,]", "nums: expected a whole number, found something that is not JSON"),
            Case("\"nums\":[1 2]", "nums: not JSON: expected \",\" or \"]\" at column 59, found \"2\""),
            Case("\"nums\":[1", "nums: not JSON: expected \",\" or \"]\" at column 58, found \"}\""),
            Case("\"flag\":True", "flag: expected true or false, found something that is not JSON"),
            Case("\"flag\":truely", "not JSON: expected \",\" or \"}\" at column 60, found \"l\""),
            Case("\"f64\":nul", "f64: expected a number, found null"),
            Case("\"f64\":nullx", "not JSON: expected \",\" or \"}\" at column 59, found \"x\""),
            Case("\"f64\":,\"i8\":1", "f64: expected a number, found something that is not JSON"),
            Case("\"f64\":", "f64: expected a number, found something that is not JSON"),
        ])
    }

    @Test("numbers that JSON does not have are refused")
    func badNumbers() throws {
        try check([
            Case("\"f64\":NaN", "f64: expected a number, found something that is not JSON"),
            Case("\"f64\":Infinity", "f64: expected a number, found something that is not JSON"),
            Case("\"f64\":-Infinity", "f64: not JSON: expected a value at column 56, found \"I\""),
            Case("\"f64\":\"NaN\"", "f64: expected a number, found a string"),
            Case("\"f64\":+1", "f64: expected a number, found something that is not JSON"),
            Case("\"f64\":.5", "f64: expected a number, found something that is not JSON"),
            Case("\"f64\":-.5", "f64: not JSON: expected a value at column 56, found \".\""),
            Case("\"f64\":1.", "f64: not JSON: expected digits after the decimal point at column 57, found \"}\""),
            Case("\"f64\":1.e5", "f64: not JSON: expected digits after the decimal point at column 57, found \"e\""),
            Case("\"f64\":1e", "f64: not JSON: expected digits after the exponent at column 57, found \"}\""),
            Case("\"f64\":1e+", "f64: not JSON: expected digits after the exponent at column 58, found \"}\""),
            Case("\"f64\":-", "f64: not JSON: expected a value at column 56, found \"}\""),
            Case("\"f64\":--1", "f64: not JSON: expected a value at column 56, found \"-\""),
            Case("\"f64\":01", "f64: not JSON: expected a number without leading zeros at column 55, found \"0\""),
            Case("\"f64\":-012.5", "f64: not JSON: expected a number without leading zeros at column 56, found \"0\""),
            Case("\"i32\":00", "i32: not JSON: expected a number without leading zeros at column 55, found \"0\""),
            Case("\"i32\":0x1F", "not JSON: expected \",\" or \"}\" at column 56, found \"x\""),
            Case("\"i32\":1_000", "not JSON: expected \",\" or \"}\" at column 56, found \"_\""),
            Case("\"f64\":1e400", "f64: 1e400 is beyond the range of Float64"),
            Case("\"f64\":-1.8e308", "f64: -1.8e308 is beyond the range of Float64"),
            Case("\"f32\":1e39", "f32: 1e39 is beyond the range of Float32"),
            Case("\"f32\":-3.5e38", "f32: -3.5e38 is beyond the range of Float32"),
        ])
    }

    @Test("strings with raw control characters, wrong escapes or wrong UTF-8 are refused")
    func badStrings() throws {
        let utf8 = "text: not JSON: invalid UTF-8 at column"
        let surrogate = "text: not JSON: half of a surrogate pair in a string"
        try check([
            Case(text: [0x09], "text: not JSON: expected a string without raw control characters at column 57, found byte 0x09"),
            Case(text: [0x61, 0x00], "text: not JSON: expected a string without raw control characters at column 58, found byte 0x00"),
            Case(text: [0x1F], "text: not JSON: expected a string without raw control characters at column 57, found byte 0x1f"),
            Case("\"text\":\"\\x41\"", "text: not JSON: unknown escape in a string"),
            Case("\"text\":\"\\'\"", "text: not JSON: unknown escape in a string"),
            Case("\"text\":\"\\U0041\"", "text: not JSON: unknown escape in a string"),
            Case("\"text\":\"\\", "text: not JSON: expected the end of a string at column 59, found the end of the line"),
            Case("\"text\":\"\\u12\"", "text: not JSON: \\u wants four hex digits"),
            Case("\"text\":\"\\u12G4\"", "text: not JSON: \\u wants four hex digits"),
            Case("\"text\":\"\\ud800\"", surrogate),
            Case("\"text\":\"\\ud83dx\"", surrogate),
            Case("\"text\":\"\\ud83d\\n\"", surrogate),
            Case("\"text\":\"\\ud83d\\ud83d\"", surrogate),
            Case("\"text\":\"\\ude00\"", surrogate),
            Case("\"text\":\"\\ude00\\ud83d\"", surrogate),
            Case("\"text\":\"\\ud83d\\u\"", "text: not JSON: \\u wants four hex digits"),
            Case(text: [0x80], "\(utf8) 57"),
            Case(text: [0x61, 0xC3], "\(utf8) 58"),
            Case(text: [0xC0, 0x80], "\(utf8) 57"),
            Case(text: [0xC1, 0xBF], "\(utf8) 57"),
            Case(text: [0xE0, 0x9F, 0xBF], "\(utf8) 57"),
            Case(text: [0xF0, 0x8F, 0xBF, 0xBF], "\(utf8) 57"),
            Case(text: [0xED, 0xA0, 0x80], "\(utf8) 57"),
            Case(text: [0xED, 0xBF, 0xBF], "\(utf8) 57"),
            Case(text: [0xF4, 0x90, 0x80, 0x80], "\(utf8) 57"),
            Case(text: [0xF5, 0x80, 0x80, 0x80], "\(utf8) 57"),
            Case(text: [0xFF], "\(utf8) 57"),
            Case(text: [0xE2, 0x82], "\(utf8) 57"),
            Case(text: [0xF0, 0x9F, 0x98], "\(utf8) 57"),
            Case(text: [0xC3, 0xA9, 0x5C, 0x6E, 0xC3], "\(utf8) 61"),
        ])
    }

    @Test("wrong fields are refused by name")
    func badFields() throws {
        let nested = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
        try check([
            Case(raw: "{}", "table: no \"table\": every event must name its table"),
            Case(raw: "{\"ts\":1767323045000000000,\"n\":7}", "table: no \"table\": every event must name its table"),
            Case(raw: "{\"table\":7}", "table: \"table\" must be a string"),
            Case(raw: "{\"table\":null}", "table: \"table\" must be a string"),
            Case(raw: "{\"table\":[\"every\"]}", "table: \"table\" must be a string"),
            Case(raw: "{\"table\":\"Every\"}", "table: unknown table \"Every\"; schemas define every, ticks"),
            Case(raw: "{\"table\":\"\"}", "table: unknown table \"\"; schemas define every, ticks"),
            Case(raw: "{\"x\":\(nested),\"table\":\"every\"}", "not JSON: nested deeper than 32"),
            Case("\"table\":\"every\"", "table: given twice"),
            Case("\"\\u0074able\":\"ticks\"", "table: given twice"),
            Case("\"price\":1", "price: unknown field; table every has no such column"),
            Case("\"N\":1", "N: unknown field; table every has no such column"),
            Case("\"\":1", ": unknown field; table every has no such column"),
            Case("\"n\":8", "n: given twice"),
            Case("\"\\u006e\":8", "n: given twice"),
            Case("\"nums\":[1],\"nums\":[2]", "nums: given twice"),
            Case("\"spool_seq\":1", "spool_seq: the writer itself gives this field"),
            Case("\"spool_writer\":\"w2\"", "spool_writer: the writer itself gives this field"),
            Case(raw: "{\"table\":\"every\",\"ts\":1767323045000000000}", "n: missing; the column has no default"),
            Case(raw: "{\"table\":\"every\",\"n\":7}", "ts: missing; the column has no default"),
            Case(raw: "{\"table\":\"every\",\"ts\":1767323045000000000,\"n\":null}", "n: null, but the column is not Nullable"),
            Case("\"text\":null", "text: null, but the column is not Nullable"),
            Case("\"side\":null", "side: null, but the column is not Nullable"),
            Case("\"nums\":[null]", "nums: expected a whole number, found null"),
        ])
    }

    @Test("values of the wrong type are refused, whichever way round")
    func wrongTypes() throws {
        try check([
            Case("\"i32\":\"1\"", "i32: expected a whole number, found a string"),
            Case("\"i32\":true", "i32: expected a whole number, found true or false"),
            Case("\"i32\":{}", "i32: expected a whole number, found an object"),
            Case("\"i32\":[1]", "i32: expected a whole number, found an array"),
            Case("\"i32\":1.0", "i32: expected a whole number, found 1.0"),
            Case("\"i32\":1e2", "i32: expected a whole number, found 1e2"),
            Case("\"f64\":\"1.5\"", "f64: expected a number, found a string"),
            Case("\"f64\":false", "f64: expected a number, found true or false"),
            Case("\"f64\":[]", "f64: expected a number, found an array"),
            Case("\"text\":1", "text: expected a string, found a number"),
            Case("\"text\":true", "text: expected a string, found true or false"),
            Case("\"text\":[\"a\"]", "text: expected a string, found an array"),
            Case("\"text\":{\"a\":1}", "text: expected a string, found an object"),
            Case("\"flag\":1", "flag: expected true or false, found a number"),
            Case("\"flag\":\"true\"", "flag: expected true or false, found a string"),
            Case("\"nums\":1", "nums: expected an array, found a number"),
            Case("\"nums\":\"1\"", "nums: expected an array, found a string"),
            Case("\"nums\":[1,\"2\"]", "nums: expected a whole number, found a string"),
            Case("\"nums\":[[1]]", "nums: expected a whole number, found an array"),
            Case("\"nums\":[1,2147483648]", "nums: 2147483648 is outside -2147483648 to 2147483647"),
            Case("\"names\":[\"a\",1]", "names: expected a string, found a number"),
            Case("\"d9\":true", "d9: expected a decimal, found true or false"),
            Case("\"side\":1", "side: expected one of buy, sell, found a number"),
            Case("\"day\":20000", "day: expected a date YYYY-MM-DD, found a number"),
            Case("\"id\":1", "id: expected a UUID, found a number"),
            Case("\"at\":true", "at: expected a timestamp: integer nanoseconds or an RFC 3339 string, found true or false"),
        ])
    }
}
