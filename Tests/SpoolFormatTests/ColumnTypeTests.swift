import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct ColumnTypeTests {
    @Test(
        "a type's text is read back as the same type, and is written as ClickHouse writes it",
        arguments: [
            "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Bool", "String", "UUID",
            "Date", "DateTime('UTC')", "DateTime64(9, 'UTC')", "Decimal(9, 2)", "Decimal(38, 38)", "Decimal(1, 0)", "FixedString(1)",
            "FixedString(4096)", "Enum8('a' = -128, 'b' = 127)", "Enum16('it\\'s' = -32768, 'a\\\\b' = 32767, '' = 0)",
            // An accent on a quote or a backslash makes it another character to Swift, and none to ClickHouse.
            "Enum8('\\\\\u{36B}' = 1, '\\'\u{301}' = 2)",
            "Nullable(Float64)", "Array(Decimal(38, 10))", "Nullable(Enum8('x' = 1))", "Array(String)", "Nullable(DateTime64(9, 'UTC'))",
        ])
    func roundTrip(text: String) throws {
        let type = try ColumnType(text)
        #expect(type.wireText == text)
        #expect(try ColumnType(type.wireText) == type)
    }

    @Test(
        "spacing does not matter, and LowCardinality is written as what it holds",
        arguments: [
            ("Decimal(38,10)", "Decimal(38, 10)"), ("DateTime64( 9 ,'UTC' )", "DateTime64(9, 'UTC')"),
            ("LowCardinality(String)", "String"), ("LowCardinality(Nullable(String))", "Nullable(String)"),
            ("Array(LowCardinality(String))", "Array(String)"), ("Enum8('a'=1,'b'=-2)", "Enum8('a' = 1, 'b' = -2)"),
        ])
    func spellings(text: String, wire: String) throws {
        #expect(try ColumnType(text).wireText == wire)
    }

    static let supported =
        "supported are Int8..64, UInt8..64, Float32, Float64, Bool, String, FixedString, UUID, Date, "
        + "DateTime('UTC'), DateTime64(9, 'UTC'), Decimal, Enum8, Enum16, LowCardinality, Nullable, Array"

    @Test(
        "what cannot be recorded is refused with what is wrong",
        arguments: [
            ("", "expected a column type, found the end"),
            ("7", "expected a column type, found 7"),
            ("Int128", "type Int128: \(supported)"),
            ("Map(String, String)", "type Map: \(supported)"),
            ("string", "type string: \(supported)"),
            ("String String", "text after the type String"),
            ("DateTime", "DateTime without a time zone: write DateTime('UTC'), so that nobody's server decides"),
            ("DateTime('Asia/Tokyo')", "time zone 'Asia/Tokyo': 'UTC' only"),
            ("DateTime64(9)", "DateTime64 without a time zone: write DateTime64(9, 'UTC')"),
            ("DateTime64(3, 'UTC')", "DateTime64 with other than 9 digits: nanoseconds only"),
            ("DateTime64(9, 'Europe/Berlin')", "time zone 'Europe/Berlin': 'UTC' only"),
            ("Decimal(39, 2)", "Decimal(39, 2): 1 to 38 digits, scale at most that"),
            ("Decimal(0, 0)", "Decimal(0, 0): 1 to 38 digits, scale at most that"),
            ("Decimal(9, 10)", "Decimal(9, 10): 1 to 38 digits, scale at most that"),
            ("Decimal(9)", "expected \",\", found \")\""),
            ("FixedString(0)", "FixedString(0): 1 to 4096 bytes"), ("FixedString(4097)", "FixedString(4097): 1 to 4096 bytes"),
            ("Array(FixedString(1))", "Array of FixedString: use Array(String)"),
            ("FixedString('x')", "expected a whole number, found 'x'"),
            ("Nullable(Array(String))", "Nullable of Array(String): one level only"),
            ("Array(Nullable(String))", "Array of Nullable(String): one level only"),
            ("Array(Array(UInt8))", "Array of Array(UInt8): one level only"),
            ("LowCardinality(Array(String))", "LowCardinality of an Array"),
            ("Nullable(String", "expected \")\", found the end"),
            ("Enum8()", "expected a 'string', found \")\""),
            ("Enum8('a')", "expected =, found \")\""),
            ("Enum8('a' = 128)", "enum value 128 is outside -128...127"),
            ("Enum16('a' = -32769)", "enum value -32769 is outside -32768...32767"),
            ("Enum8('a' = 1, 'a' = 2)", "enum value 'a' = 2 stands twice"),
            ("Enum8('a' = 1, 'b' = 1)", "enum value 'b' = 1 stands twice"),
            ("Enum8('a' = 1", "expected \")\", found the end"),
            ("Enum8('a", "a quoted text is never closed"),
        ])
    func refusals(text: String, reason: String) {
        let error = #expect(throws: SchemaError.self) { try ColumnType(text) }
        #expect(error?.reason == reason.replacing("expected =,", with: "expected \"=\","))
    }

    @Test("a value's width is that of its type")
    func widths() throws {
        for (text, width) in [
            ("Int8", 1), ("UInt16", 2), ("Float32", 4), ("Float64", 8), ("Bool", 1), ("Date", 2), ("DateTime('UTC')", 4),
            ("DateTime64(9, 'UTC')", 8), ("UUID", 16), ("Decimal(9, 0)", 4), ("Decimal(10, 0)", 8), ("Decimal(18, 0)", 8),
            ("Decimal(19, 0)", 16), ("FixedString(7)", 7), ("Enum8('a' = 1)", 1), ("Enum16('a' = 1)", 2),
        ] {
            #expect(try ColumnType(text).width == width, "\(text)")
        }
        #expect(try ColumnType("String").width == nil)
    }
}
