import Foundation
import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct SchemaTextTests {
    static let tail = "spool_writer String, spool_seq UInt64) PARTITION BY toDate(ts)"
    static let table = "CREATE TABLE t (ts DateTime64(9, 'UTC'), \(tail)"

    private func tables(_ texts: String...) throws -> [TableSchema] {
        try SchemaText.tables(from: texts.enumerated().map { ("000\($0.offset + 1)_x.sql", $0.element) })
    }

    @Test("every table of schemas/ is read with its columns, partitions and retention")
    func shipped() throws {
        let files = try Bytes.list(Repository.schemas).filter { $0.hasSuffix(".sql") }
        let tables = try SchemaText.tables(from: files.map { ($0, try Bytes.text("\(Repository.schemas)/\($0)")) })
        let summary = tables.map { table in
            "\(table.table) \(table.columns.count) \(table.columns[table.eventTimeColumn].name) \(table.partitionRule) "
                + (table.retention.map { "\($0.count) \($0.unit)" } ?? "forever")
        }
        #expect(
            summary == [
                "market_data 16 ts_exchange day 97 day", "orders 16 ts_intent month 7 year", "fills 13 ts_exchange month 7 year",
                "positions_intraday 11 ts month 3 year", "account_state 8 ts month 3 year", "risk_decisions 11 ts month 7 year",
                "guardrail_transitions 6 ts month 7 year", "system_events 13 ts month 6 month", "metrics_timeseries 8 ts day 90 day",
            ])
        for (file, table) in zip(files, tables) {
            // The files' own layout, one column a line, by nothing but a look at the first two words.
            let lines = try Bytes.text("\(Repository.schemas)/\(file)").split(separator: "\n").filter {
                $0.hasPrefix("    ") && !$0.hasPrefix("    --")
            }
            let names = lines.map { String($0.split(separator: " ")[0]) }.filter { $0 != "INDEX" }
            #expect(table.wireColumns.map(\.name) == names, "\(file)")
        }
        let orders = try #require(tables.first { $0.table == "orders" })
        #expect(
            orders.columns.prefix(8).map { "\($0.name) \($0.type.wireText)" } == [
                "ts_intent DateTime64(9, 'UTC')", "ts_send Nullable(DateTime64(9, 'UTC'))", "ts_ack Nullable(DateTime64(9, 'UTC'))",
                "client_order_id String", "broker_order_id String", "strategy String", "symbol String", "side Enum8('buy' = 1, 'sell' = 2)",
            ])
        #expect(
            orders.columns.filter { $0.defaultText != nil }.map(\.name) == [
                "broker_order_id", "reject_reason", "risk_mode", "risk_decision_id",
            ])
        #expect(orders.columns.first { $0.name == "limit_px" }?.isRequired == false)
        #expect(
            orders.wireColumns.suffix(2) == [
                WireColumn(name: "spool_writer", type: "LowCardinality(String)"), WireColumn(name: "spool_seq", type: "UInt64"),
            ])
    }

    @Test("added columns stand where ALTER puts them, in the order of the files")
    func alter() throws {
        let tables = try tables(
            Self.table, "ALTER TABLE t ADD COLUMN a String DEFAULT 'x', ADD COLUMN IF NOT EXISTS b Nullable(Int8) AFTER ts;",
            "alter table t add column c Array(UInt8) CODEC(ZSTD(3)) COMMENT 'it''s'".replacing("it''s", with: "its"))
        #expect(tables[0].columns.map(\.name) == ["ts", "b", "a", "c"])
        #expect(tables[0].columns.map(\.isRequired) == [true, false, false, false])
        #expect(tables[0].eventTimeColumn == 0)
    }

    @Test("what the recorder need not know is passed over")
    func passedOver() throws {
        let text = """
            -- comment with ' and (
            /* another
               one */ CREATE TABLE IF NOT EXISTS t (
              ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'a -- b', `n` Int32 NOT NULL DEFAULT -5,
              INDEX i n TYPE minmax GRANULARITY 1, CONSTRAINT c CHECK (n > 0), PROJECTION p (SELECT n ORDER BY n),
              spool_writer LowCardinality(String), spool_seq UInt64
            ) ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY (n, ts) TTL ts + toIntervalDay(30) DELETE SETTINGS x = 1, y = 'z';
            """
        let table = try tables(text)[0]
        #expect(
            table.columns == [
                Column(name: "ts", type: ColumnType(.dateTime64)), Column(name: "n", type: ColumnType(.int(bits: 32)), defaultText: "-5"),
            ])
        #expect(table.retention == Retention(count: 30, unit: .day))
        #expect(table.partitionRule == .month)
    }

    @Test(
        "malformed DDL is refused with file, line and reason",
        arguments: [
            ("", "0001_x.sql: \(SchemaStatement.known)"),
            ("OPTIMIZE TABLE t", "0001_x.sql:1: \(SchemaStatement.known)"), ("DROP TABLE IF EXISTS t", "0001_x.sql:1: no table t yet"),
            ("CREATE DICTIONARY t", "0001_x.sql:1: expected TABLE, found DICTIONARY"),
            ("CREATE TABLE", "0001_x.sql:1: expected a table name, found the end"),
            ("CREATE TABLE Trades (", "0001_x.sql:1: table name Trades: a-z, 0-9 and _, at most 64"),
            ("CREATE TABLE t", "0001_x.sql:1: expected \"(\", found the end"),
            ("CREATE TABLE t ()", "0001_x.sql:1: expected a column name, found \")\""),
            ("CREATE TABLE t (\n\nts Int999)", "0001_x.sql:3: type Int999: \(ColumnTypeTests.supported)"),
            ("CREATE TABLE t (ts DateTime64(9, 'UTC'), ts String, \(tail)", "0001_x.sql:1: column ts stands twice"),
            (
                "CREATE TABLE t (ts DateTime64(9, 'UTC') DEFAULT now64(9), \(tail)",
                "0001_x.sql:1: column ts: the writer fills defaults itself, so DEFAULT must be a literal"
            ),
            (
                "CREATE TABLE t (ts DateTime64(9, 'UTC') MATERIALIZED 1, \(tail)",
                "0001_x.sql:1: column ts: only DEFAULT literal, CODEC(...) and COMMENT '...' can follow the type"
            ),
            (
                "CREATE TABLE t (ts DateTime64(9, 'UTC'), a Array(String) DEFAULT [], \(tail)",
                "0001_x.sql:1: column a: the writer fills defaults itself, so DEFAULT must be a literal"
            ),
            (
                "CREATE TABLE t (ts DateTime64(9, 'UTC'), a Array(String) DEFAULT '', \(tail)",
                "0001_x.sql:1: column a: an Array cannot have a DEFAULT"
            ),
            (
                "CREATE TABLE t (ts DateTime64(9, 'UTC'), spool_writer String, spool_seq UInt64)",
                "0001_x.sql:1: table t has no PARTITION BY: write toDate(column) or toYYYYMM(column) of its event time"
            ),
            (
                "CREATE TABLE t (ts DateTime64(9, 'UTC'), spool_seq UInt64) PARTITION BY toDate(ts)",
                "0001_x.sql:1: table t needs a column spool_writer of type String: every row carries who wrote it and its number. If nothing is to be recorded into it, say `-- derived: WHY` above the statement"
            ),
            (
                "CREATE TABLE t (ts DateTime64(9, 'UTC'), spool_writer String, spool_seq Int64) PARTITION BY toDate(ts)",
                "0001_x.sql:1: table t needs a column spool_seq of type UInt64: every row carries who wrote it and its number. If nothing is to be recorded into it, say `-- derived: WHY` above the statement"
            ),
            (
                "CREATE TABLE t (ts DateTime('UTC'), \(tail)",
                "0001_x.sql:1: table t is partitioned by ts: that must be a column of type DateTime64(9, 'UTC')"
            ),
            (
                "CREATE TABLE t (x DateTime64(9, 'UTC'), \(tail)",
                "0001_x.sql:1: table t is partitioned by ts: that must be a column of type DateTime64(9, 'UTC')"
            ),
            (
                "\(table.replacing("toDate", with: "toMonday"))",
                "0001_x.sql:1: PARTITION BY toMonday: toDate(column) and toYYYYMM(column) are supported"
            ),
            ("\(table) TTL toStartOfDay(ts) + INTERVAL 1 DAY", "0001_x.sql:1: TTL on toStartOfDay(...): use toDateTime(column)"),
            ("\(table) TTL ts + INTERVAL 1 QUARTER", "0001_x.sql:1: TTL unit quarter"),
            ("\(table) TTL ts + 86400", "0001_x.sql:1: expected INTERVAL n UNIT, found 86400"),
            ("\(table) TTL ts + toIntervalEra(1)", "0001_x.sql:1: TTL unit era"),
            ("\(table) TTL ts + INTERVAL 17 YEAR", "0001_x.sql:1: TTL of 17 year: ClickHouse counts up to 2106, so at most 16 years"),
            ("\(table) TTL ts + INTERVAL 0 DAY", "0001_x.sql:1: TTL of 0 day: ClickHouse counts up to 2106, so at most 16 years"),
            (
                "\(table) TTL spool_seq + INTERVAL 1 DAY",
                "0001_x.sql:1: table t: its TTL is on spool_seq, its partitions on ts; use one column"
            ),
            (
                "\(table) TTL ts + INTERVAL 1 DAY, spool_seq + INTERVAL 1 YEAR DELETE",
                "0001_x.sql:1: table t: its TTL is on spool_seq, its partitions on ts; use one column"
            ),
            (
                "\(table) TTL ts + INTERVAL 1 DAY * 2",
                "0001_x.sql:1: TTL: text behind the interval; WHERE, GROUP BY, TO and RECOMPRESS are known"
            ),
            ("\(table); SELECT 1", "0001_x.sql:1: more than one statement; give each a line `-- statement: WHAT IT DOES` above it"),
            ("\(table) /* open", "0001_x.sql:1: a comment is never closed"),
            ("CREATE TABLE t (\nts String COMMENT 'open\n)", "0001_x.sql:2: a quoted text is never closed"),
            ("ALTER TABLE t ADD COLUMN a String", "0001_x.sql:1: no table t yet"),
        ])
    func malformed(text: String, message: String) {
        let error = #expect(throws: SchemaError.self) { try tables(text) }
        #expect(error?.description == message)
    }

    @Test(
        "an ALTER that does not fit is refused",
        arguments: [
            ("ALTER TABLE t ADD COLUMN ts String", "0002_x.sql:1: column ts is there already"),
            ("ALTER TABLE t ADD COLUMN a String DEFAULT '' AFTER b", "0002_x.sql:1: no column b"),
            ("ALTER TABLE t DROP COLUMN ts", "0002_x.sql:1: column ts belongs to the table's keys, partitions or TTL, and must stay"),
            ("ALTER TABLE t DROP COLUMN spool_seq", "0002_x.sql:1: column spool_seq is part of every row's name, and must stay"),
            ("ALTER TABLE t DROP COLUMN x", "0002_x.sql:1: no column x"),
            (
                "ALTER TABLE t ADD COLUMN a Int8",
                "0002_x.sql:1: column a is added without a value for the rows that are there: give it DEFAULT literal, or make it Nullable"
            ),
            ("ALTER TABLE t FREEZE", "0002_x.sql:1: this action of ALTER TABLE is not known here; known are \(SQLTokens.knownChanges)"),
            ("ALTER TABLE t DROP INDEX i", "0002_x.sql:1: no index i"),
            (
                "RENAME TABLE t TO u",
                "0001_x.sql:1: table t is recorded into, and its rows lie in the spool under that name; it is renamed, and no other table takes its place"
            ),
            (
                "CREATE MATERIALIZED VIEW v TO t AS SELECT 1",
                "0002_x.sql:1: a materialized view runs inside of every insert, and what it writes cannot be proved exact; make the rows from what is stored"
            ),
            ("INSERT INTO u SELECT 1", "0002_x.sql:1: no table u yet"),
            (
                "ALTER TABLE t ADD COLUMN a String DEFAULT '' whatever",
                "0002_x.sql:1: column a: only DEFAULT literal, CODEC(...) and COMMENT"
            ),
            (table, "0002_x.sql:1: table t is created twice"),
        ])
    func malformedAlter(text: String, message: String) {
        let error = #expect(throws: SchemaError.self) { try tables(Self.table, text) }
        #expect(error?.description.hasPrefix(message) == true, "\(String(describing: error))")
    }

    @Test("the fingerprint is FNV-1a over names and types, each with a zero byte")
    func fingerprint() {
        // FNV-1a's published vectors are of plain bytes; a name without its zero is reached by undoing that step.
        func fnv1a(_ bytes: [UInt8]) -> UInt64 {
            var hash: UInt64 = 14_695_981_039_346_656_037
            for byte in bytes { hash = (hash ^ UInt64(byte)) &* 1_099_511_628_211 }
            return hash
        }
        #expect(fnv1a(Array("foobar".utf8)) == 0x8594_4171_f739_67e8)
        #expect(schemaFingerprint([WireColumn(name: "foo", type: "bar")]) == fnv1a(Array("foo\0bar\0".utf8)))
        #expect(schemaFingerprint([]) == 0xcbf2_9ce4_8422_2325)
        #expect(Samples.demo.fingerprint == 0x4034_d7b6_10db_152a, "as the worked example has it")
        #expect(schemaFingerprint([WireColumn(name: "ab", type: "c")]) != schemaFingerprint([WireColumn(name: "a", type: "bc")]))
    }
}
