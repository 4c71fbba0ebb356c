import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct MovedBlockTests {
    private static let second: Int64 = 1_000_000_000

    private func block(_ rows: [[Cell]]) throws -> NativeBlock {
        let texts = [
            "Nullable(DateTime64(9, 'UTC'))", "Array(DateTime64(9, 'UTC'))", "DateTime('UTC')", "Nullable(DateTime('UTC'))", "Date",
            "Int64", "String",
        ]
        let columns =
            try [Column(name: "ts", type: ColumnType(.dateTime64))]
            + texts.enumerated().map { Column(name: "c\($0.offset)", type: try ColumnType($0.element)) }
        let schema = TableSchema(table: "t", columns: columns, eventTimeColumn: 0, partitionRule: .day, retention: nil)
        let builder = try BlockBuilder(schema: schema, writer: "w") { _ in [] }
        for row in rows { try #require(builder.append(row: row) == .finished) }
        var buffer = RawBuffer(capacity: 16)
        defer { buffer.free() }
        builder.assemble(firstSequence: 1, into: &buffer)
        return try NativeBlock(Array(buffer.bytes), columns: schema.wireColumns)
    }

    private func time(_ offset: Int64) -> Cell { .integer(Int128(Samples.time + offset)) }
    private func stamp(_ offset: Int64) -> Cell { .integer(Int128((Samples.time + offset) / Self.second)) }

    @Test(
        "moments move, of every shape; days, numbers, texts and what names the row do not",
        arguments: [1, -1, 1_500_000_000, -1_500_000_000, 86_400_000_000_000])
    func moments(by shift: Int64) throws {
        let second = Self.second
        let rows: [[Cell]] = [
            [
                time(0), time(5), .array([time(1), time(2)]), stamp(0), stamp(7 * second), .integer(20_000), .integer(Int128(Samples.time)),
                .text("2026-01-02"),
            ],
            [time(9), .null, .array([]), stamp(3 * second), .null, .integer(0), .integer(-1), .text("")],
            [time(3), time(0), .array([time(-4)]), stamp(0), stamp(0), .integer(1), .integer(0), .text("x")],
        ]
        let block = try block(rows)
        let moved = block.moved(by: shift)
        func later(_ cell: Cell, _ unit: Int64) -> Cell {
            switch cell {
            case .integer(let value):
                let sum = value * Int128(unit) + Int128(shift)
                return .integer(sum / Int128(unit))
            case .array(let cells): return .array(cells.map { later($0, unit) })
            default: return cell
            }
        }
        for (row, cells) in rows.enumerated() {
            let expected = cells.enumerated().map {
                $0.offset < 3 ? later($0.element, 1) : $0.offset < 5 ? later($0.element, second) : $0.element
            }
            #expect(Array(moved.row(row).prefix(cells.count)) == expected, "row \(row)")
            #expect(moved.row(row).suffix(2) == block.row(row).suffix(2))
        }
        #expect(block.row(0)[0] == time(0), "the block itself is as it was")
        #expect(moved.moved(by: -shift).allRows.map { $0[0] } == block.allRows.map { $0[0] })
    }

    @Test("what would leave the range that can be recorded stops at its end; what never was in it stays")
    func ends() throws {
        let (earliest, latest) = (EventTime.earliest, EventTime.latest)
        func row(_ value: Int64) -> [Cell] {
            let stamp = Cell.integer(Int128(min(max(value / Self.second, 0), Int64(UInt32.max))))
            return [time(0), .integer(Int128(value)), .array([.integer(Int128(value))]), stamp, stamp, .integer(0), .integer(0), .text("")]
        }
        let block = try block([row(earliest), row(latest), row(0), row(.max), row(.min)])
        for (shift, expected) in [(Int64.max, [latest, latest, 0, .max, .min]), (.min, [earliest, earliest, 0, .max, .min])] {
            let moved = block.moved(by: shift)
            for (index, value) in expected.enumerated() {
                #expect(moved.row(index)[1] == .integer(Int128(value)))
                #expect(moved.row(index)[2] == .array([.integer(Int128(value))]))
                let second = Int128(min(max(value / Self.second, 0), Int64(UInt32.max)))
                #expect(moved.row(index)[3] == .integer(second), "row \(index) by \(shift)")
            }
        }
    }

    @Test("a block without some of its columns has the others")
    func leavingOut() throws {
        let block = try block([[time(0), .null, .array([]), stamp(0), .null, .integer(0), .integer(7), .text("x")]])
        let rest = block.leavingOut(["c0", "spool_seq", "nothing"])
        #expect(rest.columns.map(\.name) == ["ts", "c1", "c2", "c3", "c4", "c5", "c6", "spool_writer"])
        #expect(rest.row(0) == [time(0), .array([]), stamp(0), .null, .integer(0), .integer(7), .text("x"), .text("w")])
        #expect(rest.moved(by: 5).row(0)[0] == time(5))
    }
}
