import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct RowTextTests {
    @Test("a row's values alone are one line of JSON, and long texts keep their beginning")
    func values() throws {
        let builder = try BlockBuilder(schema: Samples.mixed, writer: "w") { _ in [] }
        let name = "a\n" + String(repeating: "é", count: 10)
        let row: [Cell] = [
            .integer(Int128(Samples.time)), .text(name), .null, .array([.double(.infinity), .double(2.5)]), .integer(1), .text("abc"),
        ]
        #expect(builder.append(row: row) == .finished)
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: 7, into: &buffer)
        let block = try NativeBlock(Array(buffer.bytes), columns: Samples.mixed.wireColumns)
        let rest = #","size":null,"levels":[null,2.5],"side":"buy","tag":"abc","spool_writer":"w","spool_seq":7}"#
        #expect(RowText.values(block, row: 0) == ##"{"ts":"2026-01-02T03:04:05.000000000Z","name":"a\néééééééééé""## + rest)
        #expect(RowText.values(block, row: 0, textLimit: 5) == ##"{"ts":"2026-01-02T03:04:05.000000000Z","name":"a\nééé...""## + rest)
        #expect(RowText.json(block, row: 0, table: "mixed") == #"{"table":"mixed","# + RowText.values(block, row: 0).dropFirst())
    }
}
