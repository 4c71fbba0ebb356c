import SpoolFormat
import Testing

@testable import spool_loader

/// What ClickHouse's history of migrations says, and which file is missing there.
@Suite struct AppliedSchemasTests {
    private static let create = """
        -- statement: create it
        CREATE TABLE t (
            ts DateTime64(9, 'UTC'), venue\tLowCardinality(String), a Int32, b Int32, spool_writer String, spool_seq UInt64
        ) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts
        """

    private static func hex(_ text: String) -> String {
        text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined()
    }

    static func answer(_ rows: [(String, Int, String)]) -> [UInt8] {
        Array(rows.map { "\(hex($0.0))\t\($0.1)\t\(hex($0.2))\n" }.joined().utf8)
    }

    private static let evolved: [(String, Int, String)] = [
        ("0001_t.sql", 1, create), ("0002_t.sql", 1, "-- statement: x\nALTER TABLE t RENAME COLUMN IF EXISTS a TO c"),
        ("0002_t.sql", 2, "-- statement: y\nALTER TABLE t DROP COLUMN IF EXISTS b;"),
        ("0003_t.sql", 1, "ALTER TABLE t RENAME COLUMN IF EXISTS c TO d"),
    ]

    @Test func theHistoryTellsWhatBecameOfEachColumn() throws {
        let applied = try AppliedSchemas(answer: Self.answer(Self.evolved))
        #expect(applied.retired("t") == ["a": .renamed("d"), "c": .renamed("d"), "b": .dropped])
        #expect(applied.retired("other") == [:])
        #expect(applied.done.map(\.file) == ["0001_t.sql", "0002_t.sql", "0002_t.sql", "0003_t.sql"])
        #expect(applied.done.map(\.number) == [1, 1, 2, 1])
        #expect(applied.model["t"]?.columns.map(\.name) == ["ts", "venue", "d", "spool_writer", "spool_seq"])
    }

    @Test func anEmptyHistoryIsOne() throws {
        let applied = try AppliedSchemas(answer: [])
        #expect(applied.done.isEmpty && applied.model == SchemaModel())
    }

    @Test func aStatementThatIsNotedTwiceCountsOnceIfItIsTheSame() throws {
        var rows = Self.evolved
        rows.insert(rows[1], at: 1)
        #expect(try AppliedSchemas(answer: Self.answer(rows)).retired("t").count == 3)
        rows[1].2 = "ALTER TABLE t DROP COLUMN IF EXISTS a"
        let failure = #expect(throws: SchemaError.self) { try AppliedSchemas(answer: Self.answer(rows)) }
        #expect(failure?.description == "coldpath_migrations: statement 1 of 0002_t.sql was done twice, with different texts")
    }

    @Test(arguments: [
        "x", "30\t1", "30\t0\t30\n", "30\tone\t30\n", "3\t1\t30\n", "3g\t1\t30\n", "FF\t1\t30\n", "30\t1\t30\t30\n", "\t\t\n", "Code: 60",
    ])
    func whatIsNoHistoryIsNotTakenForOne(text: String) {
        #expect(throws: SchemaError.self) { try AppliedSchemas(answer: Array(text.utf8)) }
    }

    @Test(arguments: [
        "ALTER TABLE t DROP COLUMN a", "SELECT 1", "", "CREATE TABLE t (", "ALTER TABLE t BLOW UP",
        "-- statement: a\nDROP TABLE t\n-- statement: b\nDROP TABLE t",
    ])
    func statementsThatCannotBeUnderstoodAreAnError(text: String) {
        #expect(throws: SchemaError.self) { try AppliedSchemas(answer: Self.answer([("0001_t.sql", 1, text)])) }
    }

    // MARK: The migration that is missing

    private static let files: [(name: String, text: String)] = [
        ("0001_t.sql", create), ("0002_t_fee.sql", "ALTER TABLE t ADD COLUMN IF NOT EXISTS fee Nullable(Float32)"),
        ("0003_t_wide.sql", "ALTER TABLE t MODIFY COLUMN a Int64"), ("0004_u.sql", create.replacing("TABLE t", with: "TABLE u")),
        ("0005_t_fees.sql", "ALTER TABLE t RENAME COLUMN IF EXISTS fee TO fees"),
    ]

    private func applied(_ count: Int) throws -> AppliedSchemas {
        try AppliedSchemas(answer: Self.answer(Self.files[..<count].map { ($0.name, 1, $0.text) }))
    }

    private func missing(_ column: String, _ type: String, in table: String = "t") -> ColumnComplaint {
        ColumnComplaint(column: WireColumn(name: column, type: type), isMissing: true, text: "no \(column)")
    }

    private func text(_ complaint: ColumnComplaint, files: Int = 5, applied: AppliedSchemas?) -> String {
        MissingMigration(files: Array(Self.files[..<files]), applied: applied).text(complaint, of: "t")
    }

    @Test func theFileThatBringsAColumnIsNamed() throws {
        #expect(
            try text(missing("fee", "Nullable(Float32)"), applied: applied(1))
                == "no fee; 0002_t_fee.sql brings it: run `spool-loader migrate apply`")
        #expect(
            try text(missing("fees", "Nullable(Float32)"), applied: applied(3))
                == "no fees; 0005_t_fees.sql brings it: run `spool-loader migrate apply`")
        #expect(
            text(missing("fee", "Nullable(Float32)"), files: 3, applied: nil)
                == "no fee; 0002_t_fee.sql brings it: run `spool-loader migrate apply`")
    }

    @Test func theFileThatWidensATypeIsNamed() throws {
        let complaint = ColumnComplaint(column: WireColumn(name: "a", type: "Int64"), isMissing: false, text: "a is wide")
        #expect(try text(complaint, applied: applied(2)) == "a is wide; 0003_t_wide.sql widens it: run `spool-loader migrate apply`")
        #expect(try text(complaint, applied: applied(3)) == "a is wide")
    }

    @Test func noFileIsNamedThatCannotHelp() throws {
        let plain = "no fee; run `spool-loader migrate apply`"
        // It was there and was renamed; without a history nobody knows whether it has been.
        #expect(text(missing("fee", "Nullable(Float32)"), applied: nil) == plain)
        // ClickHouse had it: the table was changed by hand.
        #expect(try text(missing("fee", "Nullable(Float32)"), applied: applied(4)) == plain)
        #expect(try text(missing("fee", "Nullable(String)"), applied: applied(1)) == plain)
        #expect(text(missing("fee", "Nullable(Float32)"), files: 1, applied: nil) == plain)
        #expect(MissingMigration(directory: "/nowhere", applied: nil).text(missing("fee", "Int8"), of: "t") == plain)
        let broken = MissingMigration(files: Self.files + [("0006_t.sql", "SELECT")], applied: nil)
        #expect(broken.text(missing("fee", "Nullable(Float32)"), of: "t") == plain)
    }

    @Test func theFileThatCreatesATableIsNamed() {
        #expect(
            MissingMigration(files: Self.files, applied: nil).textOfMissing("u")
                == "table u is not in ClickHouse; 0004_u.sql brings it: run `spool-loader migrate apply`")
        #expect(
            MissingMigration(files: [], applied: nil).textOfMissing("u")
                == "table u is not in ClickHouse; run `spool-loader migrate apply`")
    }
}
