import SpoolFormat
import Testing

@testable import spool_loader

/// Rows of an old spool, or of a new one, and the table as it is now.
@Suite struct ColumnFitTests {
    private func table(_ columns: [String: String], version: String = "26.9.1.1", history: Bool = true) throws -> TargetTable {
        let text =
            "version\t\t\(version)\n" + (history ? "history\t\tcoldpath_migrations\n" : "") + "engine\t\tMergeTree ORDER BY ts\n"
            + columns.map { "column\t\($0)\t\($1)\n" }.joined()
        return try #require(TargetTable(answer: Array(text.utf8)))
    }

    private func wire(_ columns: (String, String)...) -> [WireColumn] { columns.map { WireColumn(name: $0.0, type: $0.1) } }

    private func sent(_ fit: ColumnFit) -> SentColumns? { if case .sent(let columns) = fit { columns } else { nil } }

    private func text(_ fit: ColumnFit) -> String? { if case .unfit(let complaint) = fit { complaint.text(broughtBy: nil) } else { nil } }

    @Test func rowsGoAsTheyLieWhereEveryColumnIsThere() throws {
        let columns = wire(("ts", "DateTime64(9, 'UTC')"), ("px", "Float64"))
        let fit = ColumnFit(columns, in: try table(["ts": "DateTime64(9, 'UTC')", "px": "Float64", "more": "Int8"]), retired: nil)
        #expect(sent(fit)?.isRewritten == false && sent(fit)?.columns == columns)
    }

    @Test(arguments: [
        ("Int8", "Int16"), ("Int32", "Int64"), ("UInt8", "UInt64"), ("UInt32", "Int64"), ("Float32", "Float64"),
        ("Decimal(9, 2)", "Decimal(18, 4)"), ("Decimal(18, 8)", "Decimal(38, 10)"), ("Enum8('a' = 1)", "Enum8('b' = 0, 'a' = 1)"),
        ("Enum8('a' = 1)", "Enum16('a' = 1, 'b' = 300)"), ("Enum8('a' = 1)", "LowCardinality(String)"), ("Int8", "Nullable(Int8)"),
        ("Int8", "Nullable(Int32)"), ("Array(UInt8)", "Array(UInt16)"), ("String", "LowCardinality(String)"),
        ("LowCardinality(String)", "String"), ("LowCardinality(String)", "LowCardinality(Nullable(String))"),
        ("DateTime64(9, 'UTC')", "Nullable(DateTime64(9, 'UTC'))"),
    ])
    func aWiderTypeTakesTheBytesAsTheyLie(from: String, to: String) throws {
        let columns = wire(("x", from))
        let fit = ColumnFit(columns, in: try table(["x": to]), retired: nil)
        #expect(sent(fit)?.isRewritten == false && sent(fit)?.columns == columns)
        // Servers that compare the types to the letter take only what is the same to them.
        let old = ColumnFit(columns, in: try table(["x": to], version: "18.16.1", history: false), retired: nil)
        let isOneText = ["String", "LowCardinality(String)"].contains(from) && ["String", "LowCardinality(String)"].contains(to)
        #expect((sent(old) != nil) == isOneText)
    }

    @Test(arguments: [
        ("Int16", "Int8"), ("Int8", "UInt8"), ("UInt8", "Int8"), ("UInt64", "Int64"), ("Float64", "Float32"), ("Int32", "Float64"),
        ("Decimal(18, 4)", "Decimal(18, 2)"), ("Decimal(18, 2)", "Decimal(18, 4)"), ("Enum8('a' = 1)", "Enum8('a' = 2)"),
        ("Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)"), ("Nullable(Int8)", "Int8"), ("Int8", "Array(Int8)"), ("String", "FixedString(3)"),
        ("Bool", "UInt8"), ("DateTime64(9, 'UTC')", "DateTime64(3, 'UTC')"),
    ])
    func aTypeThatDoesNotHoldEveryValueIsNotSent(from: String, to: String) throws {
        let fit = ColumnFit(wire(("x", from)), in: try table(["x": to]), retired: [:])
        #expect(text(fit) == "column x is \(from) in the spool and \(to) in ClickHouse, which would convert it silently")
    }

    @Test func theHistoryIsAskedForOnlyWhereAColumnIsMissing() throws {
        let columns = wire(("x", "Int8"), ("old", "Int8"))
        #expect(ColumnFit(columns, in: try table(["x": "Int8"]), retired: nil) == .askHistory)
        #expect(sent(ColumnFit(columns, in: try table(["x": "Int8", "old": "Int8"]), retired: nil)) != nil)
        // A server without one is not asked.
        #expect(
            text(ColumnFit(columns, in: try table(["x": "Int8"], history: false), retired: nil))
                == "column old is in the spool and not in ClickHouse; run `spool-loader migrate apply`")
    }

    @Test func aRenamedColumnGoesUnderItsNameOfTodayAndADroppedOneNotAtAll() throws {
        let columns = wire(("ts", "Int64"), ("was", "Int8"), ("gone", "String"), ("n", "UInt64"))
        let target = try table(["ts": "Int64", "is": "Int16", "n": "UInt64"])
        let found = try #require(sent(ColumnFit(columns, in: target, retired: ["was": .renamed("is"), "gone": .dropped])))
        #expect(found.isRewritten)
        #expect(found.columns == [columns[0], WireColumn(name: "is", type: "Int8"), nil, columns[3]])
    }

    @Test func aNameThatIsInTheTableIsThatColumnWhateverWasSaidOfIt() throws {
        let fit = ColumnFit(wire(("x", "Int8")), in: try table(["x": "Int8", "y": "Int8"]), retired: ["x": .renamed("y")])
        #expect(sent(fit)?.isRewritten == false)
    }

    @Test func whatIsNowhereIsNamed() throws {
        #expect(
            text(ColumnFit(wire(("x", "Int8")), in: try table(["y": "Int8"]), retired: ["z": .dropped]))
                == "column x is in the spool and not in ClickHouse; run `spool-loader migrate apply`")
        #expect(
            text(ColumnFit(wire(("x", "Int8")), in: try table(["y": "Int8"]), retired: ["x": .renamed("z")]))
                == "column x is in the spool and not in ClickHouse: it was renamed to z, which is not there either; run `spool-loader migrate apply`"
        )
    }

    @Test func aRenamedColumnMustFitTooAndTwoMustNotBecomeOne() throws {
        let target = try table(["y": "Int8"])
        #expect(
            text(ColumnFit(wire(("x", "Int64")), in: target, retired: ["x": .renamed("y")]))
                == "column y is Int64 in the spool and Int8 in ClickHouse, which would convert it silently")
        #expect(
            text(ColumnFit(wire(("x", "Int8"), ("y", "Int8")), in: target, retired: ["x": .renamed("y")]))
                == "columns of the spool would both go into column y, of which y is one")
    }

    @Test func anOldServerGetsItsOwnTypesUnderTheNamesOfToday() throws {
        let columns = wire(("at", "DateTime64(9, 'UTC')"), ("gone", "Int8"), ("s", "LowCardinality(String)"))
        let target = try table(["ts": "Int64", "s": "String"], version: "18.16.1")
        let found = try #require(sent(ColumnFit(columns, in: target, retired: ["at": .renamed("ts"), "gone": .dropped])))
        #expect(found.isRewritten)
        #expect(found.columns == [WireColumn(name: "ts", type: "Int64"), nil, WireColumn(name: "s", type: "String")])
    }
}
