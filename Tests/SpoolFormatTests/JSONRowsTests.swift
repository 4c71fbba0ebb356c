import Foundation
import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct JSONRowsTests {
    private let schema = BlockRoundTripTests.schema

    private func randomBlock(rows: Int, _ random: inout SeededRandom) throws -> NativeBlock {
        let builder = try BlockBuilder(schema: schema, writer: "w \"1\"") { _ in [] }
        for number in 0..<rows {
            let row = BlockRoundTripTests().row(schema, time: Samples.time + Int64(number), &random)
            try #require(builder.append(row: row) == .finished)
        }
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: 100, into: &buffer)
        return try NativeBlock(Array(buffer.bytes), columns: schema.wireColumns)
    }

    /// What a value looks like, of the text that people read.
    private func expected(_ column: NativeColumn, _ row: Int) -> String {
        if column.isNull(row) { return "null" }
        let values = column.elements(row).map { element in
            switch column.type.scalar {
            case .int, .uint, .bool: return column.text(element)
            case .float32, .float64: return column.double(element).isFinite ? column.text(element) : "null"
            default: return RowText.quoted(column.text(element))
            }
        }
        return column.type.shape == .array ? "[" + values.joined(separator: ",") + "]" : values[0]
    }

    @Test("random rows of every type are the texts of their values, and JSON to Foundation too", arguments: Seeds.take(40))
    func randomRows(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let block = try randomBlock(rows: 20, &random)
        var rows = JSONRows(block, table: "every")
        var bare = JSONRows(block)
        for row in 0..<block.rows {
            var line: [UInt8] = []
            rows.append(row, to: &line)
            let text = String(decoding: line, as: UTF8.self)
            let values = block.columns.map { "\(RowText.quoted($0.name)):\(expected($0, row))" }.joined(separator: ",")
            try #require(text == "{\"table\":\"every\",\(values)}", "row \(row)")
            let parsed = try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any]
            #expect(parsed?.count == block.columns.count + 1)
            line.removeAll()
            bare.append(row, to: &line)
            #expect(String(decoding: line, as: UTF8.self) == "{\(values)}")
        }
    }

    @Test("numbers and times at the ends of their types")
    func extremes() throws {
        let types = [
            "Int8", "Int64", "UInt64", "Decimal(9, 9)", "Decimal(18, 18)", "Decimal(38, 0)", "Decimal(38, 38)", "Date", "DateTime('UTC')",
            "DateTime64(9, 'UTC')", "Float64",
        ]
        let columns =
            try [Column(name: "ts", type: ColumnType(.dateTime64))]
            + types.enumerated().map { Column(name: "c\($0.offset)", type: try ColumnType($0.element)) }
        let schema = TableSchema(table: "t", columns: columns, eventTimeColumn: 0, partitionRule: .day, retention: nil)
        let builder = try BlockBuilder(schema: schema, writer: "w") { _ in [] }
        func row(_ cells: [Cell]) throws {
            try #require(builder.append(row: [.integer(Int128(Samples.time))] + cells) == .finished)
        }
        let nines = Int128(99_999_999_999_999_999) * 1_000_000_000_000_000_000_000 + 999_999_999_999_999_999_999
        try row([
            .integer(-128), .integer(Int128(Int64.min)), .integer(Int128(UInt64.max)), .integer(-999_999_999), .integer(-1),
            .integer(-nines),
            .integer(nines), .integer(65_535), .integer(Int128(UInt32.max)), .integer(Int128(Int64.min)), .double(.leastNonzeroMagnitude),
        ])
        try row([
            .integer(127), .integer(Int128(Int64.max)), .integer(0), .integer(0), .integer(999_999_999_999_999_999), .integer(0),
            .integer(-1),
            .integer(0), .integer(0), .integer(Int128(Int64.max)), .double(-.greatestFiniteMagnitude),
        ])
        try row([
            .integer(0), .integer(0), .integer(0), .integer(1), .integer(0), .integer(5), .integer(0), .integer(59), .integer(68_256_000),
            .integer(-1), .double(-0.0),
        ])
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: 1, into: &buffer)
        let block = try NativeBlock(Array(buffer.bytes), columns: schema.wireColumns)
        let texts = (0..<3).map { RowText.values(block, row: $0) }
        let start = #"{"ts":"2026-01-02T03:04:05.000000000Z","#
        let digits = String(repeating: "9", count: 38)
        #expect(
            texts[0] == start
                + #""c0":-128,"c1":-9223372036854775808,"c2":18446744073709551615,"c3":"-0.999999999","c4":"-0.000000000000000001","#
                + #""c5":"-\#(digits)","c6":"0.\#(digits)","c7":"2149-06-06","c8":"2106-02-07T06:28:15Z","#
                + #""c9":"1677-09-21T00:12:43.145224192Z","c10":5e-324,"spool_writer":"w","spool_seq":1}"#)
        #expect(
            texts[1] == start
                + #""c0":127,"c1":9223372036854775807,"c2":0,"c3":"0.000000000","c4":"0.999999999999999999","c5":"0","#
                + #""c6":"-0.00000000000000000000000000000000000001","c7":"1970-01-01","c8":"1970-01-01T00:00:00Z","#
                + #""c9":"2262-04-11T23:47:16.854775807Z","c10":-1.7976931348623157e+308,"spool_writer":"w","spool_seq":2}"#)
        #expect(
            texts[2] == start
                + #""c0":0,"c1":0,"c2":0,"c3":"0.000000001","c4":"0.000000000000000000","c5":"5","#
                + #""c6":"0.\#(String(repeating: "0", count: 38))","c7":"1970-03-01","c8":"1972-03-01T00:00:00Z","#
                + #""c9":"1969-12-31T23:59:59.999999999Z","c10":-0.0,"spool_writer":"w","spool_seq":3}"#)
    }
}
