import SpoolFormat
import SpoolTesting
import Testing

@testable import spool_writer

/// Values that are JSON of the right kind and do not fit their column: ClickHouse would wrap, saturate or cut them silently.
@Suite struct MalformedValueTests {
    /// Refuses each value of a field, and takes a good line after each.
    private func check(_ cases: [(field: String, value: String, reason: String)]) throws {
        let spool = try TestSpool(schemas: [MalformedLineTests.schema])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        for (index, item) in cases.enumerated() {
            let line =
                item.field == "ts"
                ? "{\"table\":\"every\",\"ts\":\(item.value),\"n\":7}"
                : "{\"table\":\"every\",\"ts\":1767323045000000000,\"n\":7,\"\(item.field)\":\(item.value)}"
            #expect(recorder.refusal(of: Array(line.utf8), from: source) == "\(item.field): \(item.reason)", "\(line.prefix(300))")
            try recorder.take(TestSpool.line(UInt64(index), table: "every"), from: source)
        }
        try recorder.finish()
        #expect(try spool.numbers("every") == (0..<UInt64(cases.count)).map { $0 })
    }

    @Test("integers outside of their width are refused")
    func integers() throws {
        try check([
            ("i8", "128", "128 is outside -128 to 127"),
            ("i8", "-129", "-129 is outside -128 to 127"),
            ("i16", "32768", "32768 is outside -32768 to 32767"),
            ("i16", "-32769", "-32769 is outside -32768 to 32767"),
            ("i32", "2147483648", "2147483648 is outside -2147483648 to 2147483647"),
            ("i64", "9223372036854775808", "9223372036854775808 is outside -9223372036854775808 to 9223372036854775807"),
            ("i64", "-9223372036854775809", "-9223372036854775809 is outside -9223372036854775808 to 9223372036854775807"),
            ("u8", "256", "256 is outside 0 to 255"),
            ("u8", "-1", "-1 is outside 0 to 255"),
            ("u16", "65536", "65536 is outside 0 to 65535"),
            ("u32", "4294967296", "4294967296 is outside 0 to 4294967295"),
            ("i64", "18446744073709551616", "18446744073709551616 is outside -9223372036854775808 to 9223372036854775807"),
            (
                "i64", String(repeating: "9", count: 61),
                "\(String(repeating: "9", count: 60))... is outside -9223372036854775808 to 9223372036854775807"
            ),
        ])
    }

    @Test("decimals that would be rounded or do not fit are refused")
    func decimals() throws {
        let d9 = "does not fit exactly: at most 7 digits before and 2 after the decimal point"
        let d38 = "does not fit exactly: at most 28 digits before and 10 after the decimal point"
        try check([
            ("d9", "1.234", "1.234 \(d9)"),
            ("d9", "10000000", "10000000 \(d9)"),
            ("d9", "-10000000.00", "-10000000.00 \(d9)"),
            ("d9", "1e7", "1e7 \(d9)"),
            ("d9", "1e-3", "1e-3 \(d9)"),
            ("d9", "\"0.001\"", "0.001 \(d9)"),
            ("d18", "100000000000000", "100000000000000 does not fit exactly: at most 14 digits before and 4 after the decimal point"),
            ("d38", "1e28", "1e28 \(d38)"),
            ("d38", "1e-11", "1e-11 \(d38)"),
            ("d38", "1e400", "1e400 \(d38)"),
            ("d38", "1e-400", "1e-400 \(d38)"),
            ("d38", "1e999999999999", "1e999999999999 \(d38)"),
            ("d38", "10000000000000000000000000000", "10000000000000000000000000000 \(d38)"),
            ("d38", "\"\"", "\"\" is not a decimal number"),
            ("d38", "\" 1\"", "\" 1\" is not a decimal number"),
            ("d38", "\"1 \"", "\"1 \" is not a decimal number"),
            ("d38", "\"+1\"", "\"+1\" is not a decimal number"),
            ("d38", "\"1,5\"", "\"1,5\" is not a decimal number"),
            ("d38", "\"0x10\"", "\"0x10\" is not a decimal number"),
            ("d38", "\"NaN\"", "\"NaN\" is not a decimal number"),
            ("d38", "\"1.\"", "\"1.\" is not a decimal number"),
        ])
    }

    @Test("an exponent that makes up for very many zeros counts in full")
    func hugeExponent() throws {
        // 10^500: capping the exponent at what seems absurd would make it 1.
        let zeros = String(repeating: "0", count: 99_999)
        let shown = "0.\(String(repeating: "0", count: 58))..."
        try check([
            ("d38", "0.\(zeros)1e100500", "\(shown) does not fit exactly: at most 28 digits before and 10 after the decimal point")
        ])
    }

    @Test("times of another unit, out of range or not in RFC 3339 are refused")
    func times() throws {
        func rfc(_ text: String, _ why: String) -> (String, String, String) {
            ("ts", "\"\(text)\"", "\"\(text)\" is not an RFC 3339 timestamp: \(why)")
        }
        let form = "expected YYYY-MM-DDThh:mm:ss[.fraction]Z"
        let range = "1973-03-03 to 2090-01-01"
        try check([
            ("ts", "1767323045", "1767323045 is too small for nanoseconds since 1970; is it seconds?"),
            ("ts", "1767323045000", "1767323045000 is too small for nanoseconds since 1970; is it milliseconds?"),
            ("ts", "1767323045000000", "1767323045000000 is too small for nanoseconds since 1970; is it microseconds?"),
            ("ts", "0", "0 is too small for nanoseconds since 1970; is it seconds?"),
            ("ts", "-1", "-1 ns is outside \(range)"),
            ("ts", "3786912000000000001", "3786912000000000001 ns is outside \(range)"),
            ("ts", "1767323045.5", "expected integer nanoseconds, found 1767323045.5"),
            ("ts", "1.767323045e18", "expected integer nanoseconds, found 1.767323045e18"),
            ("ts", "null", "null, but the column is not Nullable"),
            rfc("yesterday", form), rfc("2026-01-02", form), rfc("2026-01-02 03:04:05Z", form),
            rfc("2026-02-30T00:00:00Z", "no such date"), rfc("2025-02-29T00:00:00Z", "no such date"),
            rfc("1900-02-29T00:00:00Z", "no such date"), rfc("2026-13-01T00:00:00Z", "no such date"),
            rfc("2026-00-10T00:00:00Z", "no such date"), rfc("2026-01-00T00:00:00Z", "no such date"),
            rfc("2026-1-02T03:04:05.0Z", form),
            rfc("2026-01-02T24:00:00Z", "no such time of day (ClickHouse has no leap seconds)"),
            rfc("2026-01-02T23:60:00Z", "no such time of day (ClickHouse has no leap seconds)"),
            rfc("2016-12-31T23:59:60Z", "no such time of day (ClickHouse has no leap seconds)"),
            rfc("2026-01-02T3:04:05.00Z", "expected hh:mm:ss"), rfc("2026-01-02T03.04.05Z", "expected hh:mm:ss"),
            rfc("2026-01-02T03:04:05.1234567890Z", "more than nine digits after the second"),
            rfc("2026-01-02T03:04:05.Z", "no digits after the decimal point"),
            rfc("2026-01-02T03:04:05.123", "no time zone"),
            rfc("2026-01-02T03:04:05+0900", "the time zone must be Z or +hh:mm"),
            rfc("2026-01-02T03:04:05+24:00", "the time zone must be Z or +hh:mm"),
            rfc("2026-01-02T03:04:05+09:60", "the time zone must be Z or +hh:mm"),
            rfc("2026-01-02T03:04:05 Europe", "the time zone must be Z or +hh:mm"),
            rfc("2026-01-02T03:04:05Zulu", "text after the time zone"),
            ("ts", "\"0000-01-01T00:00:00Z\"", "\"0000-01-01T00:00:00Z\" is outside \(range)"),
            ("ts", "\"9999-12-31T23:59:59Z\"", "\"9999-12-31T23:59:59Z\" is outside \(range)"),
            ("ts", "\"1970-01-01T00:00:00Z\"", "1970-01-01T00:00:00.000000000Z is outside \(range)"),
            ("ts", "\"2090-01-01T00:00:00.000000001Z\"", "2090-01-01T00:00:00.000000001Z is outside \(range)"),
            ("at", "1767323045500000000", "the column holds whole seconds"),
        ])
    }

    @Test("words outside of an enum, and texts that are no date, UUID or too long are refused")
    func texts() throws {
        try check([
            ("side", "\"hold\"", "\"hold\" is not one of buy, sell"),
            ("side", "\"BUY\"", "\"BUY\" is not one of buy, sell"),
            ("side", "\"\"", "\"\" is not one of buy, sell"),
            ("side", "\"buy \"", "\"buy \" is not one of buy, sell"),
            ("mode", "\"mild\"", "\"mild\" is not one of calm, wild"),
            ("day", "\"2026-02-29\"", "\"2026-02-29\" is not a date from 1970-01-01 to 2149-06-06"),
            ("day", "\"1969-12-31\"", "\"1969-12-31\" is not a date from 1970-01-01 to 2149-06-06"),
            ("day", "\"2149-06-07\"", "\"2149-06-07\" is not a date from 1970-01-01 to 2149-06-06"),
            ("day", "\"2026/01/02\"", "\"2026/01/02\" is not a date from 1970-01-01 to 2149-06-06"),
            ("day", "\"2026-01-02T00:00:00Z\"", "\"2026-01-02T00:00:00Z\" is not a date from 1970-01-01 to 2149-06-06"),
            ("id", "\"123e4567-e89b-12d3-a456-42661417400\"", "\"123e4567-e89b-12d3-a456-42661417400\" is not a UUID"),
            ("id", "\"123e4567-e89b-12d3-a456-4266141740000\"", "\"123e4567-e89b-12d3-a456-4266141740000\" is not a UUID"),
            ("id", "\"123e4567e89b12d3a456426614174000\"", "\"123e4567e89b12d3a456426614174000\" is not a UUID"),
            ("id", "\"123e4567-e89b-12d3-a456-42661417400g\"", "\"123e4567-e89b-12d3-a456-42661417400g\" is not a UUID"),
            ("id", "\"\"", "\"\" is not a UUID"),
            ("code", "\"abcde\"", "5 bytes, the column holds 4"),
            ("code", "\"\u{E9}\u{E9}\u{E9}\"", "6 bytes, the column holds 4"),
        ])
    }
}
