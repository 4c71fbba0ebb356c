import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct NameAndTextTests {
    @Test("a segment's name is read back, and sorts as its number does")
    func segmentName() throws {
        let name = SegmentName(number: 7, firstSequence: 301_441)
        #expect(name.fileName == "0000000007-00000000000000301441.lz4")
        #expect(SegmentName(fileName: name.fileName) == name)
        let last = SegmentName(number: 9_999_999_999, firstSequence: .max)
        #expect(last.fileName == "9999999999-18446744073709551615.lz4")
        #expect(SegmentName(fileName: last.fileName) == last)
        #expect(name < last && name.fileName < last.fileName)
    }

    @Test(
        "every other file name is none",
        arguments: [
            "", "durable", "0000000000-00000000000000000001.lz4", "000000007-00000000000000301441.lz4",
            "00000000007-0000000000000301441.lz4", "0000000007_00000000000000301441.lz4", "0000000007-00000000000000301441.LZ4",
            "0000000007-00000000000000301441.lz4.tmp", "0000000007-00000000000000301441.lz4.torn-159", "0000000007-00000000000000301441",
            "000000000a-00000000000000301441.lz4", "0000000007-0000000000000030144x.lz4", "0000000007-99999999999999999999.lz4",
            "0000000007-18446744073709551616.lz4", "+000000007-00000000000000301441.lz4", " 000000007-00000000000000301441.lz4",
            "0000000007-+0000000000000301441.lz4", "00000007-00000000000000301441.lz4xx", "٠٠٠٠٠-00000000000000301441.lz4",
        ])
    func noSegmentName(name: String) {
        #expect(SegmentName(fileName: name) == nil)
    }

    @Test("tables, writers and sources have names that are safe in paths, SQL and logs")
    func nameRules() {
        let long = String(repeating: "a", count: 64)
        for (name, isTable) in [
            ("orders", true), ("_x9", true), (long, true), (long + "a", false), ("", false), ("9x", false), ("Orders", false),
            ("a-b", false), ("a.b", false), ("../a", false), ("a b", false), ("ä", false),
        ] { #expect(NameRule.isTable(name) == isTable, "\(name)") }
        for (name, isWriter) in [
            ("tokyo-1-5f0c9a3e", true), ("A.b_c", true), (String(repeating: "w", count: 47), true),
            (String(repeating: "w", count: 48), false),
            ("", false), ("a/b", false), ("a b", false), ("a@b", false), ("a[b", false), ("a`b", false), ("é", false),
        ] { #expect(NameRule.isWriterID(name) == isWriter, "\(name)") }
        for (name, isSource) in [
            ("socket:engine-1", true), ("import:/a/b~{}", true), (String(repeating: "s", count: 128), true),
            (String(repeating: "s", count: 129), false),
            ("", false), ("a b", false), ("a\"b", false), ("a\\b", false), ("a\nb", false), ("a\u{7F}", false), ("é", false),
        ] { #expect(NameRule.isSource(name) == isSource, "\(name)") }
    }

    @Test(
        "decimals have all their digits",
        arguments: [
            (0, 0, "0"), (0, 2, "0.00"), (5, 2, "0.05"), (-5, 2, "-0.05"), (123, 2, "1.23"), (-100, 2, "-1.00"), (7, 0, "7"),
            (-12_345, 4, "-1.2345"), (1, 38, "0.00000000000000000000000000000000000001"),
        ] as [(Int128, Int, String)])
    func decimals(value: Int128, scale: Int, text: String) {
        #expect(decimalText(value, scale: scale) == text)
    }

    @Test("the largest decimals have all their digits too")
    func largestDecimals() {
        let nines = Int128(String(repeating: "9", count: 38))!
        #expect(decimalText(nines, scale: 10) == "9999999999999999999999999999.9999999999")
        #expect(decimalText(-nines, scale: 38) == "-0." + String(repeating: "9", count: 38))
    }

    private func block(_ name: String, levels: [Double] = [0.5, -2]) throws -> NativeBlock {
        let builder = try BlockBuilder(schema: Samples.mixed, writer: "w1") { _ in [] }
        let time = Cell.integer(Int128(Samples.time) + 7)
        #expect(
            builder.append(row: [
                time, .text(name), .integer(-15_000_000_000), .array(levels.map { .double($0) }), .integer(2), .text("a\"c"),
            ]) == .finished)
        #expect(builder.append(row: [time, .text(""), .null, .array([]), .integer(1), .null]) == .finished)
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: 3, into: &buffer)
        return try NativeBlock(Array(buffer.bytes), columns: Samples.mixed.wireColumns)
    }

    @Test("a row as JSON is what an event would say, with escapes only where JSON wants them")
    func json() throws {
        let block = try block("a\"b\\c\n\r\t\u{1}\u{7F}é😀/")
        #expect(
            RowText.json(block, row: 0, table: "mixed")
                == #"{"table":"mixed","ts":"2026-01-02T03:04:05.000000007Z","name":"a\"b\\c\n\r\t\u0001\u007fé😀/","#
                + #""size":"-1.5000000000","levels":[0.5,-2.0],"side":"sell","tag":"a\"c","spool_writer":"w1","spool_seq":3}"#)
        #expect(
            RowText.json(block, row: 1, table: "mixed")
                == #"{"table":"mixed","ts":"2026-01-02T03:04:05.000000007Z","name":"","size":null,"levels":[],"side":"buy","tag":null,"spool_writer":"w1","spool_seq":4}"#
        )
    }

    @Test("floats that rings may carry and JSON cannot say are null")
    func notFinite() throws {
        let json = RowText.json(try block("", levels: [.nan, -.infinity, 1]), row: 0, table: "mixed")
        #expect(json.contains(#""levels":[null,null,1.0],"#), "\(json)")
    }

    @Test("a row as CSV quotes commas, quotes and line ends, and nothing else")
    func csv() throws {
        let block = try block("a,\"b\"\n\rc")
        #expect(RowText.csvHeader(Samples.mixed.wireColumns) == "ts,name,size,levels,side,tag,spool_writer,spool_seq")
        #expect(
            RowText.csv(block, row: 0)
                == "2026-01-02T03:04:05.000000007Z,\"a,\"\"b\"\"\n\rc\",-1.5000000000,\"[0.5,-2.0]\",sell,\"a\"\"c\",w1,3")
        #expect(RowText.csv(block, row: 1) == "2026-01-02T03:04:05.000000007Z,,,[],buy,,w1,4")
    }
}
