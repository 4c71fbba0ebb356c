import CSpoolRing
import SpoolFormat
import SpoolIO
import SpoolRing
import SpoolTesting
import Testing

@testable import spool_writer

/// A table that has moved on since its producers were made.
enum MovedSchemas {
    static let quotes = """
        CREATE TABLE quotes (ts DateTime64(9, 'UTC'), n UInt32, price Decimal(9, 2), side Enum8('buy' = 1, 'sell' = 2),
        venue String DEFAULT '', sizes Array(UInt8), ratio Float32, spool_writer String, spool_seq UInt64)
        ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts;
        """
    static let moved = """
        ALTER TABLE quotes
        ADD COLUMN IF NOT EXISTS fee Decimal(18, 4) DEFAULT 0.25 AFTER n, ADD COLUMN IF NOT EXISTS tags Array(String),
        RENAME COLUMN IF EXISTS price TO px, DROP COLUMN IF EXISTS venue, MODIFY COLUMN n UInt64, MODIFY COLUMN px Nullable(Decimal(18, 4)),
        MODIFY COLUMN side Enum8('buy' = 1, 'sell' = 2, 'short' = 3), MODIFY COLUMN sizes Array(Int64), MODIFY COLUMN ratio Float64;
        """

    /// The columns behind the times, as `moved` has them: n, fee, px, side, sizes, ratio, tags.
    static func row(_ n: Int128, px: Cell = .integer(15_000)) -> [Cell] {
        [.integer(n), .integer(2_500), px, .integer(2), .array([.integer(0), .integer(255)]), .double(0.5), .array([])]
    }

    static func line(_ n: UInt64, price: String = "\"price\":1.5", venue: String? = "\"XNYS\"") -> String {
        let venue = venue.map { ",\"venue\":\($0)" } ?? ""
        return "{\"table\":\"quotes\",\"ts\":\(TestSpool.time + Int64(n)),\"n\":\(n),\(price),\"side\":\"sell\"\(venue),\"sizes\":[0,255],"
            + "\"ratio\":0.5}"
    }
}

extension TestSpool {
    /// Adds a file to the schemas, for the next writer.
    func move(_ sql: String, number: Int = 90) throws {
        try Bytes.write(Array(sql.utf8), to: "\(schemaPath)/\(String("000\(number)".suffix(4)))_moved.sql")
    }

    /// Rows without their event times and names.
    func values(_ table: String) throws -> [[Cell]] { try rows(table).map { Array($0.dropFirst().dropLast(2)) } }
}

/// JSON lines of producers that do not know yet.
struct OldLineTests {
    private func spool() throws -> TestSpool {
        let spool = try TestSpool(schemas: [MovedSchemas.quotes])
        try spool.move(MovedSchemas.moved)
        return spool
    }

    @Test("added, renamed, dropped and widened columns: old lines are recorded as the new table has them")
    func oldLines() throws {
        let spool = try spool()
        let log = LogRecord()
        let recorder = try spool.recorder(log: log.logger)
        let source = recorder.source(named: "socket:engine", resume: false)
        for n in 1...UInt64(3) { try recorder.take(MovedSchemas.line(n), from: source) }
        // Escaped names, other orders, other values of the dropped field, and none of it.
        for venue in ["null", "7", "{\"a\":[1,2,{}]}", "\"\\u0041\"", "true"] {
            try recorder.take(MovedSchemas.line(4, venue: venue), from: source)
        }
        try recorder.take(MovedSchemas.line(4, price: "\"pr\\u0069ce\":1.5", venue: nil), from: source)
        try recorder.take(MovedSchemas.line(4, price: "\"px\":1.5", venue: nil), from: source)
        try recorder.take(
            "{\"venue\":1,\"ratio\":0.5,\"sizes\":[0,255],\"price\":1.5,\"side\":\"sell\",\"n\":4,\"ts\":\(TestSpool.time),\"table\":\"quotes\",\"venue\":2}",
            from: source)
        try recorder.finish()
        #expect(try spool.values("quotes") == ([1, 2, 3] + Array(repeating: 4, count: 8)).map { MovedSchemas.row($0) })
        #expect(source.refused == 0 && source.accepted == 11)
        #expect(log.lines(with: "quotes.venue was dropped", "not recorded any more", "socket:engine").count == 1, "\(log.all)")
    }

    @Test("every producer that sends a dropped field is named once, unnamed ones together, and not without end")
    func namesProducers() throws {
        let spool = try spool()
        let log = LogRecord()
        let recorder = try spool.recorder(log: log.logger)
        for _ in 0..<3 {
            for name in ["socket:a", "socket:b"] {
                try recorder.take(MovedSchemas.line(1), from: recorder.source(named: name, resume: false))
            }
            try recorder.take(MovedSchemas.line(1), from: Source(name: nil))
        }
        for name in ["socket:a", "socket:b", "a producer that gives no name"] {
            #expect(log.lines(with: "quotes.venue was dropped", "still come from \(name),").count == 1)
        }
        for number in 0..<100 { try recorder.take(MovedSchemas.line(1), from: recorder.source(named: "socket:\(number)", resume: false)) }
        #expect(log.lines(with: "quotes.venue was dropped").count == 21)
        #expect(log.lines(with: "quotes.venue was dropped", "no further ones are named").count == 1)
    }

    @Test("what an old line must not say is refused, and leaves no trace")
    func refused() throws {
        let spool = try spool()
        let log = LogRecord()
        let recorder = try spool.recorder(log: log.logger)
        let source = recorder.source(named: "socket:engine", resume: false)
        func refusal(_ line: String) -> String? { recorder.refusal(of: Array(line.utf8), from: source) }
        let twice = "px: given twice; price is an older name of it"
        #expect(refusal(MovedSchemas.line(1, price: "\"price\":1.5,\"px\":1.5")) == twice)
        #expect(refusal(MovedSchemas.line(1, price: "\"px\":1.5,\"price\":1.5")) == twice)
        #expect(refusal(MovedSchemas.line(1, price: "\"price\":1.5,\"price\":1.5")) == twice)
        #expect(refusal(MovedSchemas.line(1, price: "\"price\":\"abc\""))?.hasPrefix("px: ") == true)
        #expect(refusal(MovedSchemas.line(1, price: "\"prise\":1")) == "prise: unknown field; table quotes has no such column")
        #expect(refusal(MovedSchemas.line(1, price: "\"p\":1")) == "p: unknown field; table quotes has no such column")
        #expect(refusal(MovedSchemas.line(1, venue: "nul")) != nil)
        #expect(refusal(MovedSchemas.line(1, venue: "\"x")) != nil)
        #expect(refusal(MovedSchemas.line(1, price: "\"n\":2")) == "n: given twice")
        // A refused line says nothing of its dropped field, neither at once nor with the next line.
        try recorder.take(MovedSchemas.line(5, venue: nil), from: source)
        #expect(log.lines(with: "dropped").isEmpty)
        try recorder.finish()
        #expect(try spool.values("quotes") == [MovedSchemas.row(5)])
        #expect(source.refused == 9)
    }

    @Test("values that only the wider types hold, of producers that are up to date")
    func newLines() throws {
        let spool = try spool()
        let recorder = try spool.recorder()
        let line =
            "{\"table\":\"quotes\",\"ts\":\(TestSpool.time),\"n\":18446744073709551615,\"px\":null,\"side\":\"short\",\"sizes\":[-9223372036854775808],"
            + "\"ratio\":0.1,\"fee\":99999999999999.9999,\"tags\":[\"a\"]}"
        try recorder.take(line, from: Source(name: nil))
        try recorder.finish()
        #expect(
            try spool.values("quotes") == [
                [
                    .integer(Int128(UInt64.max)), .integer(999_999_999_999_999_999), .null, .integer(3),
                    .array([.integer(.init(Int64.min))]),
                    .double(0.1), .array([.text("a")]),
                ]
            ])
    }

    @Test("edges of the old types are in JSON what they were")
    func edges() throws {
        let spool = try TestSpool(schemas: [
            """
            CREATE TABLE t (ts DateTime64(9, 'UTC'), a Int8, b UInt32, c Float32, d Decimal(9, 4), e Enum8('x' = -128, 'y' = 127), f Date, g String,
            spool_writer String, spool_seq UInt64) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts;
            """,
            """
            ALTER TABLE t MODIFY COLUMN a Int64, MODIFY COLUMN b Int64, MODIFY COLUMN c Float64, MODIFY COLUMN d Decimal(38, 10),
            MODIFY COLUMN e LowCardinality(String), MODIFY COLUMN f Nullable(Date), MODIFY COLUMN g Nullable(String);
            """,
        ])
        let recorder = try spool.recorder()
        for (a, b, c, d, e) in [
            ("-128", "0", "-3.4028234663852886e38", "-99999.9999", "x"), ("127", "4294967295", "1e-45", "99999.9999", "y"),
        ] {
            try recorder.take(
                "{\"table\":\"t\",\"ts\":\(TestSpool.time),\"a\":\(a),\"b\":\(b),\"c\":\(c),\"d\":\"\(d)\",\"e\":\"\(e)\",\"f\":\"2149-06-06\",\"g\":\"\"}",
                from: Source(name: nil))
        }
        try recorder.finish()
        let limit: Int128 = 999_999_999_000_000
        #expect(
            try spool.values("t") == [
                [.integer(-128), .integer(0), .double(-3.4028234663852886e38), .integer(-limit), .text("x"), .integer(65_535), .text("")],
                [.integer(127), .integer(4_294_967_295), .double(1e-45), .integer(limit), .text("y"), .integer(65_535), .text("")],
            ])
    }

    @Test("a table that is made from others says so to whoever sends rows to it")
    func derivedTable() throws {
        let spool = try TestSpool(schemas: [
            TestSpool.ticks,
            "-- statement: bars\n-- derived: one row a second of ticks\n"
                + TestSpool.ticks.replacing("TABLE ticks", with: "TABLE bars"),
        ])
        let recorder = try spool.recorder()
        let reason = recorder.refusal(of: Array(TestSpool.line(1, table: "bars").utf8), from: Source(name: nil))
        #expect(reason?.contains("its rows are made from others (one row a second of ticks)") == true, "\(reason ?? "")")
    }
}

/// Rings of producers that do not know yet.
struct OldRingTests {
    private static func schema(_ texts: [String]) throws -> TableSchema {
        try #require(try SchemaText.tables(from: texts.enumerated().map { ("000\($0 + 1)_t.sql", $1) }).first { $0.table == "quotes" })
    }

    private static func layout() throws -> RingLayout { RingLayout(try schema([MovedSchemas.quotes])) }

    private static func row(_ layout: RingLayout, _ n: Int128) -> [UInt8] {
        layout.bytes([
            .integer(Int128(TestSpool.time)), .integer(n), .integer(150), .integer(2), .text("XNYS"), .array([.integer(0), .integer(255)]),
            .double(0.5),
        ])
    }

    @Test("an old ring's rows are recorded as the new table has them, and the log says what of it is old")
    func oldRing() throws {
        let test = try TestRings(schemas: [MovedSchemas.quotes])
        try test.spool.move(MovedSchemas.moved)
        let layout = try Self.layout()
        let producer = try RingProducer(test.directory, [layout.declared])
        for n in 0..<Int128(50) { producer.publish(Self.row(layout, n)) }
        try test.start()
        try test.stop()
        #expect(try test.spool.values("quotes") == (0..<50).map { MovedSchemas.row($0) })
        #expect(producer.refused == 0 && producer.durable == producer.position)
        #expect(test.log.lines(with: "quotes.venue was dropped", "still come from ring \(producer.path)").count == 1)
        #expect(
            test.log.lines(
                with: "declares quotes as it once was", "n was UInt32 and is UInt64", "price is px by now", "sizes was Array(UInt8)",
                producer.path
            ).count == 1, "\(test.log.all)")
    }

    @Test("a writer that is killed and one with new schemas after it: one ring, every row once, in segments of their own")
    func acrossAKill() throws {
        let test = try TestRings(schemas: [MovedSchemas.quotes], ["writer.chunk_rows": "7"])
        let layout = try Self.layout()
        let producer = try RingProducer(test.directory, [layout.declared])
        for n in 0..<Int128(40) { producer.publish(Self.row(layout, n)) }
        try test.start()
        test.drain()
        // Whole chunks only are durable, and nothing is told.
        test.recorder?.tick(monotonic: Clock.monotonic())
        for n in 40..<Int128(60) { producer.publish(Self.row(layout, n)) }
        test.drain()
        test.kill()
        try test.spool.move(MovedSchemas.moved)
        try test.start()
        for n in 60..<Int128(80) { producer.publish(Self.row(layout, n)) }
        try test.stop()
        let contents = try test.spool.contents("quotes")
        #expect(contents.count == 2)
        #expect(
            contents.map(\.header.columns)
                == [try Self.schema([MovedSchemas.quotes]), try Self.schema([MovedSchemas.quotes, MovedSchemas.moved])].map(\.wireColumns))
        func n(_ row: [Cell]) -> Cell { row[1] }
        #expect(try test.spool.rows("quotes").map(n) == (0..<80).map { .integer($0) })
        #expect(try test.spool.sequences("quotes") == Array(1...80))
        #expect(
            contents[1].rows.map { Array($0.dropFirst().dropLast(2)) }
                == (80 - contents[1].rows.count..<80).map { MovedSchemas.row(Int128($0)) })
        #expect(producer.durable == producer.position && producer.refused == 0)
    }

    @Test("a bad row of an old declaration is refused by itself, in the words of the type that its producer knows")
    func badRow() throws {
        let test = try TestRings(schemas: [MovedSchemas.quotes])
        try test.spool.move(MovedSchemas.moved)
        let layout = try Self.layout()
        let producer = try RingProducer(test.directory, [layout.declared])
        var bad = Self.row(layout, 1)
        let price = layout.declared.columns[2].offset
        bad.replaceSubrange(price..<price + 4, with: RingLayout.little(Int32(1_000_000_000)))
        producer.publish(Self.row(layout, 0))
        producer.publish(bad)
        producer.publish(Self.row(layout, 2))
        try test.start()
        try test.stop()
        #expect(try test.spool.values("quotes") == [0, 2].map { MovedSchemas.row($0) })
        #expect(producer.refused == 1)
        #expect(test.log.lines(with: "row refused: quotes.px: a decimal of more than 9 digits").count == 1, "\(test.log.all)")
    }

    @Test("a producer ahead of the writer's schemas is held with what to do, and taken once the writer has them")
    func newerProducer() throws {
        let test = try TestRings(schemas: [MovedSchemas.quotes])
        let layout = RingLayout(try Self.schema([MovedSchemas.quotes, MovedSchemas.moved]))
        let producer = try RingProducer(test.directory, [layout.declared])
        let row = layout.bytes([.integer(Int128(TestSpool.time))] + MovedSchemas.row(3))
        producer.publish(row)
        try test.start()
        #expect(producer.state == SPOOL_RING_HELD && producer.state(of: 0) == SPOOL_TABLE_REFUSED)
        #expect(
            test.log.lines(
                with: "ring held: table quotes: the schema has no column fee: if the producer is newer", "spool-loader migrate apply",
                "restart the writer"
            ).count == 1, "\(test.log.all)")
        try test.stop()
        try test.spool.move(MovedSchemas.moved)
        try test.start()
        #expect(producer.state == SPOOL_RING_ATTACHED)
        try test.stop()
        #expect(try test.spool.values("quotes") == [MovedSchemas.row(3)])
    }

    @Test("a ring that fits no more after a restart is held where it was, and none of its rows is lost or doubled once it fits again")
    func heldInBetween() throws {
        let test = try TestRings(schemas: [MovedSchemas.quotes])
        let layout = try Self.layout()
        let producer = try RingProducer(test.directory, [layout.declared])
        for n in 0..<Int128(10) { producer.publish(Self.row(layout, n)) }
        try test.start()
        test.settle()
        for n in 10..<Int128(20) { producer.publish(Self.row(layout, n)) }
        test.drain()
        test.commit()
        test.kill()
        // A schema that never was: the same name, and another type.
        let other = MovedSchemas.quotes.replacing("n UInt32", with: "n UInt16")
        try TextFile.replace("\(test.spool.schemaPath)/0001_test.sql", with: other)
        try test.start()
        #expect(producer.state == SPOOL_RING_HELD)
        #expect(test.log.lines(with: "column n is declared as UInt32, the schema has UInt16").count == 1)
        for n in 20..<Int128(30) { producer.publish(Self.row(layout, n)) }
        for _ in 0..<3 { test.settle() }
        #expect(producer.taken <= producer.position && producer.durable < producer.position)
        test.kill()
        try TextFile.replace("\(test.spool.schemaPath)/0001_test.sql", with: MovedSchemas.quotes)
        try test.start()
        try test.stop()
        #expect(try test.spool.rows("quotes").map { $0[1] } == (0..<30).map { .integer($0) })
        #expect(producer.durable == producer.position)
    }

    @Test("a dropped column that contradicts its row holds its ring, and others take no notice")
    func hostileDropped() throws {
        let test = try TestRings(schemas: [MovedSchemas.quotes])
        try test.spool.move(MovedSchemas.moved)
        let layout = try Self.layout()
        let good = try RingProducer(test.directory, [layout.declared])
        var columns = layout.declared.columns
        let venue = try #require(columns.firstIndex { $0.name == "venue" })
        for (storage, offset) in [(DeclaredColumn.Storage.string, layout.declared.rowBytes - 7), (.fixed, 0), (.name, Int(UInt32.max) - 1)]
        {
            columns[venue] = DeclaredColumn(name: "venue", type: "String", storage: storage, offset: offset, nullOffset: nil)
            let declared = DeclaredTable(name: "quotes", fingerprint: 0, rowBytes: layout.declared.rowBytes, columns: columns)
            let bad = try RingProducer(test.directory, [declared])
            bad.publish(Self.row(layout, 99))
            try test.start()
            good.publish(Self.row(layout, 1))
            test.settle()
            #expect(bad.state == SPOOL_RING_HELD)
            #expect(good.state == SPOOL_RING_ATTACHED && good.durable == good.position)
            #expect(test.log.lines(with: "ring held: table quotes: column venue", bad.path).count == 1)
            test.kill()
            try Directory.remove(bad.path)
        }
    }
}
