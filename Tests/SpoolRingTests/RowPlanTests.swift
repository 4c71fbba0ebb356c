import SpoolFormat
import SpoolTesting
import Testing

@testable import SpoolRing

/// Which declarations fit a schema, and what the others are told.
struct RowPlanTests {
    private static let schema = TableSchema(
        table: "orders",
        columns: [
            Column(name: "ts", type: ColumnType(.dateTime64)),
            Column(name: "symbol", type: ColumnType(.string)),
            Column(name: "size", type: ColumnType(.decimal(precision: 18, scale: 8), shape: .nullable)),
            Column(name: "levels", type: ColumnType(.float64, shape: .array)),
            Column(name: "side", type: try! ColumnType("Enum8('buy' = 1, 'sell' = 2)"), defaultText: "'buy'"),
        ], eventTimeColumn: 0, partitionRule: .day, retention: nil)

    private static let good = [
        DeclaredColumn(name: "ts", type: "DateTime64(9, 'UTC')", storage: .fixed, offset: 0, nullOffset: nil),
        DeclaredColumn(name: "symbol", type: "LowCardinality(String)", storage: .name, offset: 8, nullOffset: nil),
        DeclaredColumn(name: "size", type: "Nullable(Decimal(18,8))", storage: .fixed, offset: 12, nullOffset: 20),
        DeclaredColumn(name: "levels", type: "Array(Float64)", storage: .array, offset: 24, nullOffset: nil),
        DeclaredColumn(name: "side", type: "Enum8('buy' = 1, 'sell' = 2)", storage: .fixed, offset: 32, nullOffset: nil),
    ]

    private static let regenerate = ": regenerate the producer with spool-writer codegen"
    private static let mend = ": mend its declaration (docs/ring.md), or make it with spool-writer codegen"
    private static let newer =
        ": if the producer is newer than the writer's schemas, run spool-loader migrate apply and restart the writer with the new ones; "
        + "else regenerate the producer with spool-writer codegen"

    private func mismatch(rowBytes: Int = 33, _ change: (inout [DeclaredColumn]) -> Void = { _ in }) -> String? {
        var columns = Self.good
        change(&columns)
        let declared = DeclaredTable(name: "orders", fingerprint: 0, rowBytes: rowBytes, columns: columns)
        do {
            _ = try RowPlan(declared, schema: Self.schema)
            return nil
        } catch {
            return error.description
        }
    }

    private func changed(
        _ index: Int, type: String? = nil, storage: DeclaredColumn.Storage? = nil, offset: Int? = nil, null: Int?? = nil
    ) -> String? {
        mismatch { columns in
            let old = columns[index]
            columns[index] = DeclaredColumn(
                name: old.name, type: type ?? old.type, storage: storage ?? old.storage, offset: offset ?? old.offset,
                nullOffset: null ?? old.nullOffset)
        }
    }

    @Test("a declaration that fits, whole, and without what may be left out")
    func fits() {
        #expect(mismatch() == nil)
        #expect(mismatch { $0.removeSubrange(2...4) } == nil)
        #expect(mismatch { $0.reverse() } == nil)
        #expect(changed(1, type: "String") == nil)
        #expect(changed(1, type: "String", storage: .string, offset: 25) == nil)
    }

    @Test("columns that are missing, unknown, or there twice")
    func columns() {
        #expect(mismatch { $0.remove(at: 0) } == "column ts is not declared; it has no default" + Self.regenerate)
        #expect(mismatch { $0.remove(at: 1) } == "column symbol is not declared; it has no default" + Self.regenerate)
        #expect(mismatch { $0.append($0[2]) } == "column size is declared twice" + Self.mend)
        #expect(
            mismatch { $0.append(DeclaredColumn(name: "sise", type: "String", storage: .string, offset: 0, nullOffset: nil)) }
                == "the schema has no column sise" + Self.newer)
        // Were it named as missing something, nobody would think of a producer that is ahead.
        #expect(
            mismatch { $0[1] = DeclaredColumn(name: "ticker", type: "String", storage: .string, offset: 8, nullOffset: nil) }
                == "the schema has no column ticker" + Self.newer)
    }

    @Test("types that differ, or are none")
    func types() {
        #expect(changed(0, type: "DateTime64(6, 'UTC')")?.contains("column ts: DateTime64 with other than 9 digits") == true)
        #expect(
            changed(2, type: "Nullable(Decimal(18, 9))")
                == "column size is declared as Nullable(Decimal(18, 9)), the schema has Nullable(Decimal(18, 8))" + Self.regenerate)
        #expect(
            changed(4, type: "Enum8('buy' = 2, 'sell' = 1)")
                == "column side is declared as Enum8('buy' = 2, 'sell' = 1), the schema has Enum8('buy' = 1, 'sell' = 2)" + Self.regenerate)
        #expect(changed(0, type: "")?.hasPrefix("column ts: ") == true)
        #expect(changed(0, type: "Int64") == "column ts is declared as Int64, the schema has DateTime64(9, 'UTC')" + Self.regenerate)
    }

    @Test("types of any length and depth cost neither the stack nor time, and their complaint is short")
    func endlessTypes() {
        for type in ["Array(", "Nullable(", "LowCardinality(", "Array(Nullable(", "x", "'", "Enum8(", "\n", "\u{1B}[2J"] {
            let text = String(String(repeating: type, count: 65_535 / type.utf8.count))
            let complaint = changed(0, type: text)
            #expect(complaint != nil)
            #expect((complaint ?? "").utf8.count < 300)
            #expect(complaint?.unicodeScalars.allSatisfy { $0.value >= 0x20 } == true)
        }
        let cases = (0..<5_000).map { "'\($0)'=\($0)" }.joined(separator: ",")
        #expect(changed(4, type: "Enum16(\(cases))")?.hasPrefix("column side is declared as Enum16('0'=0,") == true)
        #expect(changed(1, type: "String\nerror: forged")?.contains("\n") == false)
    }

    @Test("storages that do not hold the type")
    func storages() {
        #expect(changed(0, storage: .string) == "column ts: storage string does not hold DateTime64(9, 'UTC')" + Self.mend)
        #expect(changed(0, storage: .name) == "column ts: storage name does not hold DateTime64(9, 'UTC')" + Self.mend)
        #expect(changed(1, storage: .fixed) == "column symbol: storage fixed does not hold LowCardinality(String)" + Self.mend)
        #expect(changed(1, storage: .array) == "column symbol: storage array does not hold LowCardinality(String)" + Self.mend)
        #expect(changed(3, storage: .fixed) == "column levels: storage fixed does not hold Array(Float64)" + Self.mend)
        #expect(changed(3, storage: .string) == "column levels: storage string does not hold Array(Float64)" + Self.mend)
    }

    @Test("null bytes where they do not belong")
    func nullBytes() {
        let complaint = "a null byte belongs to Nullable columns, and to them only" + Self.mend
        #expect(changed(2, null: .some(nil)) == "column size: \(complaint)")
        #expect(changed(0, null: .some(20)) == "column ts: \(complaint)")
        #expect(changed(3, null: .some(20)) == "column levels: \(complaint)")
    }

    @Test("offsets outside of the row")
    func offsets() {
        for (index, last) in [(0, 25), (1, 29), (2, 25), (3, 25), (4, 32)] {
            #expect(changed(index, offset: last) == nil)
            let complaint = "column \(Self.good[index].name) lies outside of the row's 33 bytes" + Self.mend
            for offset in [last + 1, 33, Int(UInt32.max)] { #expect(changed(index, offset: offset) == complaint) }
        }
        #expect(changed(2, null: .some(32)) == nil)
        for null in [33, Int(UInt32.max) - 1] {
            #expect(changed(2, null: .some(null)) == "column size lies outside of the row's 33 bytes" + Self.mend)
        }
        #expect(mismatch(rowBytes: 1)?.contains("lies outside of the row's 1 bytes") == true)
    }
}
