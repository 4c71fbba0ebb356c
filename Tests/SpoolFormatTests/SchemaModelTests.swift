import Testing

@testable import SpoolFormat

@Suite struct SchemaModelTests {
    static let table = """
        CREATE TABLE IF NOT EXISTS trades (
          ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4), symbol LowCardinality(String), px Float32 COMMENT 'price',
          side Enum8('buy' = 1, 'sell' = 2), qty Decimal(18, 4) DEFAULT 0, venue String DEFAULT 'x',
          spool_writer LowCardinality(String), spool_seq UInt64, INDEX s spool_seq TYPE minmax GRANULARITY 1
        ) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (symbol, ts, spool_seq) TTL toDateTime(ts) + INTERVAL 90 DAY DELETE
        SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
        """

    private func model(_ texts: String...) throws(SchemaError) -> SchemaModel {
        try SchemaModel(([Self.table] + texts).enumerated().map { ("schemas/000\($0.offset + 1)_x.sql", $0.element) })
    }

    @Test("every kind of change is seen in the table, and none in what it does not name")
    func changes() throws {
        let table = try #require(
            try model(
                "ALTER TABLE trades ADD COLUMN IF NOT EXISTS note Nullable(String) COMMENT 'n' AFTER px, ADD COLUMN IF NOT EXISTS a Int8 DEFAULT 1 FIRST",
                "ALTER TABLE trades MODIFY COLUMN px Float64, MODIFY COLUMN side Enum8('buy' = 1, 'sell' = 2, 'none' = 3)",
                "ALTER TABLE trades RENAME COLUMN IF EXISTS venue TO exchange, DROP COLUMN IF EXISTS qty",
                "ALTER TABLE trades MODIFY TTL toDateTime(ts) + toIntervalDay(30), MODIFY SETTING x = 5",
                "ALTER TABLE trades DROP INDEX IF EXISTS s, ADD INDEX IF NOT EXISTS t symbol TYPE set(100) GRANULARITY 4, COMMENT COLUMN symbol 'who'",
                "ALTER TABLE trades MODIFY COLUMN symbol CODEC(ZSTD(3)), MATERIALIZE INDEX t"
            )["trades"])
        #expect(table.columns.map(\.name) == ["a", "ts", "symbol", "px", "note", "side", "exchange", "spool_writer", "spool_seq"])
        #expect(table.columns[3].type.text == "Float64")
        #expect(table.columns[3].comment == "price")
        #expect(table.columns[2].codec.text == "CODEC(ZSTD(3))")
        #expect(table.columns[2].comment == "who")
        #expect(table.columns[6].defaultValue.text == "'x'")
        #expect(table.retention == Retention(count: 30, unit: .day))
        #expect(table.settings == ["non_replicated_deduplication_window": "10000", "ttl_only_drop_parts": "1", "x": "5"])
        #expect(table.elements.mapValues(\.text) == ["t": "symbol TYPE set(100) GRANULARITY 4"])
        let schema = try table.schema()
        #expect(schema.retired == ["venue": .renamed("exchange"), "qty": .dropped])
        #expect(schema.columns.first { $0.name == "exchange" }?.defaultText == "x")
        #expect(schema.columns.first { $0.name == "side" }?.type.enumCases.count == 3)
    }

    @Test("names of columns are followed through all renames, and end where one was dropped")
    func names() throws {
        let table = try #require(
            try model(
                "ALTER TABLE trades RENAME COLUMN IF EXISTS venue TO exchange",
                "ALTER TABLE trades RENAME COLUMN IF EXISTS exchange TO market, RENAME COLUMN IF EXISTS qty TO amount",
                "ALTER TABLE trades DROP COLUMN IF EXISTS amount"
            )["trades"])
        #expect(table.current("venue")?.name == "market")
        #expect(table.current("exchange")?.name == "market")
        #expect(table.current("market")?.name == "market")
        #expect(table.current("venue")?.file == "0002_x.sql")
        #expect(table.current("qty") != nil && table.current("qty")?.name == nil)
        #expect(table.current("nothing") == nil)
        #expect(
            try table.schema().retired == [
                "venue": .renamed("market"), "exchange": .renamed("market"), "qty": .dropped, "amount": .dropped,
            ])
    }

    @Test("a name that was given up is never used again", arguments: ["venue", "qty"])
    func reuse(name: String) {
        let error = #expect(throws: SchemaError.self) {
            try model(
                "ALTER TABLE trades RENAME COLUMN IF EXISTS venue TO exchange, DROP COLUMN IF EXISTS qty",
                "ALTER TABLE trades ADD COLUMN IF NOT EXISTS \(name) String DEFAULT ''")
        }
        #expect(
            error?.description
                == "schemas/0003_x.sql:1: column \(name) was there before (0002_x.sql): old spools have rows with it, which would be taken for the new one's values; use another name"
        )
    }

    @Test(
        "a type may become one that holds all its values, and no other",
        arguments: [
            ("Int32", "Int64", true), ("Int64", "Int32", false), ("UInt8", "Int16", true), ("UInt8", "Int8", false),
            ("Int8", "UInt16", false),
            ("Float32", "Float64", true), ("Float64", "Float32", false), ("Int32", "Float64", false), ("Int32", "Nullable(Int64)", true),
            ("Nullable(Int32)", "Int32", false), ("Nullable(Int32)", "Nullable(Int64)", true), ("Array(Int8)", "Array(Int64)", true),
            ("Int8", "Array(Int8)", false), ("Decimal(9, 2)", "Decimal(18, 4)", true), ("Decimal(9, 2)", "Decimal(10, 4)", false),
            ("Decimal(9, 2)", "Decimal(9, 1)", false), ("Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)", true),
            ("Enum8('a' = 1)", "Enum16('b' = 2, 'a' = 1)", true), ("Enum8('a' = 1)", "Enum8('a' = 2)", false),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)", false), ("Enum8('a' = 1)", "String", true), ("String", "Enum8('a' = 1)", false),
            ("String", "LowCardinality(String)", true), ("LowCardinality(String)", "Nullable(String)", true),
            ("FixedString(4)", "FixedString(4)", true),
            ("Date", "DateTime('UTC')", false), ("Bool", "UInt8", false), ("String", "Int8", false),
        ])
    func widening(old: String, new: String, isSound: Bool) throws {
        #expect(try ColumnType(new).holdsAll(of: ColumnType(old)) == isSound)
    }

    @Test("a column cannot become narrower")
    func narrowing() {
        let error = #expect(throws: SchemaError.self) { try model("-- why\nALTER TABLE trades MODIFY COLUMN px Int8") }
        #expect(
            error?.description
                == "schemas/0002_x.sql:2: column px: Int8 does not hold every value of Float32, so values would change; add a column under a new name instead"
        )
    }

    @Test(
        "of a TTL of several parts the first to delete counts, and none that only moves rows",
        arguments: [
            ("toDateTime(ts) + INTERVAL 90 DAY DELETE", 90, "toDateTime(ts) + toIntervalDay(90)"),
            (
                "toDateTime(ts) + INTERVAL 7 DAY TO DISK 'cold', toDateTime(ts) + INTERVAL 90 DAY DELETE", 90,
                "toDateTime(ts) + toIntervalDay(7) TO DISK 'cold', toDateTime(ts) + toIntervalDay(90)"
            ),
            (
                "toDateTime(ts) + INTERVAL 90 DAY DELETE, toDateTime(ts) + INTERVAL 2 WEEK DELETE WHERE symbol = 'x'", 14,
                "toDateTime(ts) + toIntervalDay(90), toDateTime(ts) + toIntervalWeek(2) WHERE symbol = 'x'"
            ),
            (
                "toDateTime(ts) + INTERVAL 7 DAY RECOMPRESS CODEC(ZSTD(9))", nil,
                "toDateTime(ts) + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(9))"
            ),
        ])
    func ttls(text: String, days: Int?, phrase: String) throws {
        func check(_ table: TableDefinition?) throws {
            #expect(table?.ttl.text == phrase)
            let keep = try #require(try table?.schema()).retention
            #expect(keep.map { $0.unit == .week ? $0.count * 7 : $0.count } == days)
        }
        try check(try SchemaModel([("0001_x.sql", Self.table.replacing("toDateTime(ts) + INTERVAL 90 DAY DELETE", with: text))])["trades"])
        let altered = try model("ALTER TABLE trades MODIFY TTL \(text), MODIFY COLUMN px Float64")
        try check(altered["trades"])
        #expect(altered["trades"]?.columns.first { $0.name == "px" }?.type.text == "Float64")
        // As a server answers it.
        let live =
            "CREATE TABLE d.trades (`ts` DateTime64(9, 'UTC')) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts TTL \(phrase) SETTINGS x = 1"
        #expect(try TableDefinition(createQuery: live).ttl.text == phrase)
        #expect(TargetEngine("MergeTree ORDER BY ts TTL \(phrase) SETTINGS x = 1").settings == ["x": "1"])
        #expect(TargetEngine("MergeTree ORDER BY ts TTL \(phrase) SETTINGS x = 1").retention == altered["trades"]?.retention)
    }

    @Test("a configured time takes the place of what deletes, and leaves what moves")
    func configuredTTL() throws {
        let ttl = try #require(
            try model("ALTER TABLE trades MODIFY TTL toDateTime(ts) + INTERVAL 7 DAY TO VOLUME 'cold', toDateTime(ts) + INTERVAL 90 DAY")[
                "trades"]
        ).ttl
        #expect(
            ttl.deleting(by: SQLPhrase(ttlOf: "ts", function: "toIntervalDay", count: 30)).text
                == "toDateTime(ts) + toIntervalDay(30), toDateTime(ts) + toIntervalDay(7) TO VOLUME 'cold'")
    }

    @Test("a table that takes another's name cannot bring a column name that was given up there")
    func givenUpName() {
        let other = Self.table.replacing("trades", with: "other").replacing("venue String", with: "old String DEFAULT '', venue String")
        let given = ["ALTER TABLE trades ADD COLUMN IF NOT EXISTS old Int8 DEFAULT 0", "ALTER TABLE trades DROP COLUMN IF EXISTS old"]
        for last in [
            "-- done if: SELECT 1\nEXCHANGE TABLES trades AND other",
            "-- statement: a\n-- done if: SELECT 1\nRENAME TABLE trades TO gone\n-- statement: b\n-- done if: SELECT 1\nRENAME TABLE other TO trades",
        ] {
            let error = #expect(throws: SchemaError.self) { () throws(SchemaError) in
                try self.model(given[0], given[1], "-- derived: x\n" + other, last)
            }
            #expect(
                error?.reason.hasPrefix("table other takes the place of trades, and has a column old, which trades had before (0003_x.sql)")
                    == true)
        }
    }

    @Test("tables trade their names; what is recorded stays under its name")
    func exchange() throws {
        let other = Self.table.replacing("trades", with: "trades_grouped").replacing(
            "toDate(ts)", with: "(toDate(ts), cityHash64(symbol) % 4)")
        let model = try model(
            "-- derived: takes the place of trades\n" + other, "-- done if: SELECT 1\nEXCHANGE TABLES trades AND trades_grouped")
        #expect(model["trades"]?.partitionBy.text == "toDate(ts), cityHash64(symbol) % 4")
        #expect(model["trades"]?.partition?.rule == .day)
        #expect(model["trades"]?.derived == nil)
        #expect(model["trades_grouped"]?.derived == "takes the place of trades")
        #expect(
            try SchemaText.tables(from: [("0001_a.sql", Self.table), ("0002_b.sql", "-- derived: x\n" + other)]).map(\.table) == ["trades"])
    }

    @Test("a table that takes another's place must have its columns")
    func badExchange() {
        let error = #expect(throws: SchemaError.self) {
            try model(
                "-- derived: x\nCREATE TABLE IF NOT EXISTS u (ts DateTime64(9, 'UTC'))",
                "-- done if: SELECT 1\nEXCHANGE TABLES trades AND u")
        }
        #expect(error?.reason == "table u takes the place of trades, and differs from it in column symbol")
    }

    @Test("a recorded table may be renamed away if another takes its name")
    func succession() throws {
        let other = "-- derived: x\n" + Self.table.replacing("trades", with: "trades_new").replacing("toDate(ts)", with: "toYYYYMM(ts)")
        let away = "-- done if: SELECT 1\nRENAME TABLE trades TO trades_old"
        let model = try model(
            "ALTER TABLE trades RENAME COLUMN IF EXISTS venue TO exchange", other.replacing("venue", with: "exchange"), away,
            "-- done if: SELECT 1\nRENAME TABLE trades_new TO trades")
        #expect(model["trades"]?.partitionBy.text == "toYYYYMM(ts)")
        #expect(model["trades"]?.derived == nil)
        #expect(model["trades"]?.current("venue")?.name == "exchange")
        #expect(model["trades_old"]?.derived == "it was trades")
        let error = #expect(throws: SchemaError.self) {
            try self.model(
                other.replacing("px Float32", with: "px Float64"), away, "-- done if: SELECT 1\nRENAME TABLE trades_new TO trades")
        }
        #expect(error?.reason == "table trades_new takes the place of trades, and differs from it in column px")
    }

    @Test("what a server answers for a table is read as the file is")
    func live() throws {
        let answer = """
            CREATE TABLE default.trades (`ts` DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4), `symbol` LowCardinality(String), `px` Float32 COMMENT 'price', \
            `side` Enum8('buy' = 1, 'sell' = 2), `qty` Decimal(18, 4) DEFAULT 0, `venue` String DEFAULT 'x', `spool_writer` LowCardinality(String), \
            `spool_seq` UInt64, INDEX s spool_seq TYPE minmax GRANULARITY 1) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (symbol, ts, spool_seq) \
            TTL toDateTime(ts) + toIntervalDay(90) SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, index_granularity = 8192
            """
        let live = try TableDefinition(createQuery: answer)
        let file = try #require(try model()["trades"])
        #expect(live.name == "trades")
        #expect(live.columns.map(\.name) == file.columns.map(\.name))
        #expect(live.columns.map(\.type) == file.columns.map(\.type))
        #expect(live.columns.map(\.codec) == file.columns.map(\.codec))
        #expect(live.columns.map(\.comment) == file.columns.map(\.comment))
        #expect(live.columns.map(\.defaultValue) == file.columns.map(\.defaultValue))
        #expect(live.elements == file.elements)
        #expect([live.engine, live.partitionBy, live.orderBy, live.ttl] == [file.engine, file.partitionBy, file.orderBy, file.ttl])
        #expect(live.settings["ttl_only_drop_parts"] == "1")
    }
}

@Suite struct SQLPhraseTests {
    @Test(
        "what means the same is written in one way",
        arguments: [
            ("(a)", "a"), ("((a, b))", "a, b"), ("`a`+INTERVAL 3 month", "a + toIntervalMonth(3)"),
            ("if((s IN ('x')), f( (a) ,(b)), '')", "if(s IN('x'), f(a, b), '')"),
            ("(a + b) * c", "(a + b) * c"), ("f((a, b), c)", "f((a, b), c)"), ("(a), (b)", "(a), (b)"),
            ("'it\\'s' /* x */ -- y", "'it\\'s'"), ("", ""), ("(", "("),
        ])
    func canonical(text: String, expected: String) throws {
        let tokens = try SQLTokens(text, file: "")
        #expect(SQLPhrase(tokens, 0..<tokens.count).text == expected)
    }
}

@Suite struct StatementBlockTests {
    @Test("a file without titles is one statement; its comments and the semicolon do not change what it is")
    func plain() throws {
        let block = try #require(
            try StatementBlock.blocks(of: "-- why\n\nDROP TABLE IF EXISTS t; -- gone\n", file: "schemas/0007_no_t.sql").first)
        #expect(block.title == "no_t")
        #expect(block.sql == "-- why\n\nDROP TABLE IF EXISTS t -- gone")
        #expect(block.line == 3)
        let other = try StatementBlock.blocks(of: "drop TABLE /* x */ IF\nEXISTS `t`", file: "0007_no_t.sql")[0]
        #expect(other.identity == block.identity.replacing("DROP", with: "drop"))
        #expect(block.identity == "DROP TABLE IF EXISTS t")
    }

    @Test("blocks have titles, and what is said above a statement belongs to it")
    func blocks() throws {
        let text = """
            -- About the file.
            -- statement: copy day by day
            -- for each: SELECT DISTINCT toDate(ts) FROM a
            --     ORDER BY 1
            -- needs: SELECT 1
            -- needs: SELECT 2
            -- A comment.
            INSERT INTO b SELECT * FROM a WHERE toDate(ts) = '{each}' AND x NOT IN (SELECT x FROM b);

            -- statement: trade
            -- done if: SELECT 3
            EXCHANGE TABLES a AND b
            """
        let blocks = try StatementBlock.blocks(of: text, file: "0001_x.sql")
        #expect(blocks.map(\.title) == ["copy day by day", "trade"])
        #expect(blocks.map(\.number) == [1, 2])
        #expect(blocks.map(\.line) == [8, 12])
        #expect(blocks[0].forEach == "SELECT DISTINCT toDate(ts) FROM a ORDER BY 1")
        #expect(blocks[0].needs == ["SELECT 1", "SELECT 2"])
        #expect(blocks[0].sql.hasPrefix("-- A comment.\nINSERT INTO b") && blocks[0].sql.hasSuffix("FROM b)"))
        #expect(blocks[1].doneIf == "SELECT 3")
        #expect(blocks[1].sql == "EXCHANGE TABLES a AND b")
        #expect(try SchemaStatement(blocks[0]).isRepeatable)
    }

    @Test(
        "what cannot be told apart is refused with its line",
        arguments: [
            ("DROP TABLE a;\nDROP TABLE b;", "x.sql:2: more than one statement; give each a line `-- statement: WHAT IT DOES` above it"),
            ("DROP TABLE a;\n-- statement: b\nDROP TABLE b", "x.sql:1: text before the first line `-- statement:`"),
            ("-- statement:\nDROP TABLE b", "x.sql:1: a statement needs a title: `-- statement: WHAT IT DOES`"),
            ("-- statement: a\n-- done if: 1\n-- done if: 2\nDROP TABLE b", "x.sql:4: `-- done if:` stands twice above one statement"),
            ("-- done if:\nDROP TABLE b", "x.sql:2: `-- done if:` says nothing"),
            ("-- for each: SELECT 1\nDROP TABLE b", "x.sql:2: `-- for each:` and {each} belong together"),
            ("INSERT INTO b SELECT '{each}'", "x.sql:1: `-- for each:` and {each} belong together"),
        ])
    func refused(text: String, message: String) {
        let error = #expect(throws: SchemaError.self) { try StatementBlock.blocks(of: text, file: "x.sql") }
        #expect(error?.description == message)
    }

    @Test("a semicolon in a text, a name or a comment ends nothing")
    func semicolons() throws {
        let sql = "INSERT INTO b SELECT ';' /* ; */ AS `;` FROM b -- ;\nWHERE 1"
        #expect(try StatementBlock.blocks(of: sql + ";", file: "x.sql").map(\.sql) == [sql])
    }

    @Test(
        "statements that must not be sent twice say how to see that they have happened",
        arguments: [
            ("EXCHANGE TABLES a AND b", true), ("-- done if: SELECT 1\nEXCHANGE TABLES a AND b", false), ("DROP TABLE a", true),
            ("DROP TABLE IF EXISTS a", false), ("ALTER TABLE a ADD COLUMN x String DEFAULT ''", true),
            ("ALTER TABLE a ADD COLUMN IF NOT EXISTS x String DEFAULT ''", false), ("ALTER TABLE a MODIFY COLUMN x String", false),
            ("ALTER TABLE a DROP COLUMN IF EXISTS x, RENAME COLUMN y TO z", true), ("INSERT INTO a SELECT 1", true),
            ("INSERT INTO a SELECT x FROM b WHERE x NOT IN (SELECT x FROM a)", false), ("INSERT INTO a SELECT * FROM a", true),
            ("INSERT INTO a SELECT x FROM a WHERE x NOT IN (SELECT x FROM b)", true),
            ("-- done if: SELECT 1\nINSERT INTO a SELECT 1", true),
            ("INSERT INTO a SELECT x FROM b WHERE (x, y) NOT IN (1, 2) AND x not in (SELECT x FROM a WHERE y IN (1))", false),
            ("CREATE VIEW v AS SELECT 1", true),
            ("CREATE OR REPLACE VIEW v AS SELECT 1", false), ("RENAME TABLE a TO b", true),
        ])
    func repeating(sql: String, isRefused: Bool) throws {
        let block = try StatementBlock.blocks(of: sql, file: "x.sql")[0]
        #expect((try SchemaStatement.complaintAboutRepeating(block) != nil) == isRefused)
    }
}
