import Glibc
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// A writer that starts with other schemas than the one before it, which stopped or was killed: what lies in the spool keeps its columns, what comes
/// gets the new ones, and nothing is lost or doubled.
struct SchemaRestartTests {
    private static let moved = """
        ALTER TABLE ticks ADD COLUMN IF NOT EXISTS venue LowCardinality(String) DEFAULT 'X' AFTER ts, DROP COLUMN IF EXISTS note;
        """

    private func columns(_ spool: TestSpool) throws -> [[String]] {
        try spool.contents().map { $0.header.columns.map(\.name).dropLast(2).map { $0 } }
    }

    private static let before = ["ts", "n", "note"]
    private static let after = ["ts", "venue", "n"]

    /// The values of `n`, wherever the column stands in its segment.
    private func numbers(_ spool: TestSpool) throws -> [UInt64] {
        try spool.contents().flatMap { contents in
            let place = try #require(contents.header.columns.firstIndex { $0.name == "n" })
            return contents.rows.map { row -> UInt64 in if case .integer(let n) = row[place] { UInt64(n) } else { .max } }
        }
    }

    @Test("after a clean stop the next segment has the new columns, and sequences go on")
    func cleanStop() throws {
        let spool = try TestSpool()
        for round in 0..<4 {
            let recorder = try spool.recorder()
            for n in 0..<UInt64(5) { try recorder.take(TestSpool.line(UInt64(round) * 5 + n), from: Source(name: nil)) }
            try recorder.finish()
            if round == 1 { try spool.move(Self.moved) }
        }
        #expect(try columns(spool) == [Self.before, Self.before, Self.after, Self.after])
        #expect(try numbers(spool) == Array(0..<20))
        #expect(try spool.sequences() == Array(1...20))
    }

    @Test("after a kill the old segment is ended with its own columns, in whatever state it was left")
    func killed() throws {
        for tail in ["whole", "no chunk", "torn", "zeros"] {
            let spool = try TestSpool()
            do {
                let recorder = try spool.recorder()
                for n in 0..<UInt64(5) { try recorder.take(TestSpool.line(n), from: Source(name: nil)) }
                #expect(recorder.commit())
            }
            let path = try spool.newest()
            var bytes = try Bytes.read(path)
            var expected = Array(UInt64(0)..<5)
            if tail == "no chunk" {
                let start = Int(try SegmentReader(path: path).start)
                bytes.removeSubrange(start...)
                var mark = try #require(try spool.mark())
                (mark.durableBytes, mark.durableEnd) = (UInt64(start), 1)
                try Bytes.write(mark.encode(), to: spool.markPath)
                expected = []
            }
            if tail == "torn" { bytes += bytes[Int(try SegmentReader(path: path).start)...].prefix(50) }
            if tail == "zeros" { bytes += [UInt8](repeating: 0, count: 4_096) }
            try Bytes.write(bytes, to: path)
            try spool.move(Self.moved)
            do {
                let recorder = try spool.recorder()
                for n in 10..<UInt64(15) { try recorder.take(TestSpool.line(n), from: Source(name: nil)) }
                try recorder.finish()
            }
            #expect(try columns(spool) == [Self.before, Self.after], "\(tail)")
            #expect(try numbers(spool) == expected + Array(10..<15), "\(tail)")
            #expect(try spool.sequences() == Array(1...UInt64(expected.count + 5)), "\(tail)")
            for contents in try spool.contents() { if case .sealed = contents.ending {} else { Issue.record("\(tail): not sealed") } }
        }
    }

    @Test(
        "kills at any moment and schemas that move in between: a resuming producer's lines are each there once", arguments: Seeds.take(12))
    func everyLineOnce(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let spool = try TestSpool(["writer.chunk_rows": "7"])
        let moves = [
            "ALTER TABLE ticks ADD COLUMN IF NOT EXISTS a Nullable(Float64) FIRST;",
            "ALTER TABLE ticks RENAME COLUMN IF EXISTS note TO remark;",
            "ALTER TABLE ticks DROP COLUMN IF EXISTS remark;", "ALTER TABLE ticks MODIFY COLUMN n Nullable(UInt64);",
        ]
        let count: UInt64 = 400
        var complete: UInt64 = 0
        var starts = 0
        while complete < count {
            if starts % 3 == 2, starts / 3 < moves.count { try spool.move(moves[starts / 3], number: 10 + starts / 3) }
            starts += 1
            let recorder = try spool.recorder()
            let source = recorder.source(named: "socket:p", resume: true, from: complete)
            while source.position < count {
                let n = source.position
                let line = "{\"table\":\"ticks\",\"ts\":\(TestSpool.time + Int64(n)),\"n\":\(n),\"note\":\"\(n)\"}"
                try recorder.take(line, from: source)
                if random.oneIn(20) { recorder.tick(monotonic: Clock.monotonic()) }
                if random.oneIn(25) { recorder.commit() }
                if random.oneIn(30) { break }
            }
            if source.position == count { recorder.commit() }
            complete = source.complete
            #expect(source.refused == 0)
        }
        try spool.recorder().finish()
        #expect(try numbers(spool) == Array(0..<count))
        #expect(try spool.sequences() == Array(1...count))
        #expect(Set(try columns(spool)).count >= 3)
    }

    // MARK: Losses

    private static let movedQuotes = """
        ALTER TABLE market_data RENAME COLUMN IF EXISTS symbol TO instrument, RENAME COLUMN IF EXISTS bid_px1 TO bid,
        ADD COLUMN IF NOT EXISTS venue String DEFAULT '' FIRST, MODIFY COLUMN event Enum16('quote' = 1, 'trade' = 2, 'halt' = 300);
        """

    @Test("losses that chunks of an older schema count are in the ledger after the next start, once")
    func lossesAreTakenUp() throws {
        let spool = try TestSpool(schemas: [MarketSchemas.quotes, MarketSchemas.events], ["writer.record": "changes"])
        for round in 0..<3 {
            let recorder = try spool.recorder()
            for n in 0..<UInt64(10) { try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100, n: n), from: Source(name: nil)) }
            recorder.commits.commit(where: { $0.schema.table == "market_data" }, cutting: true)
            if round == 0 { try spool.move(Self.movedQuotes) }
            if round == 1 { try spool.move("ALTER TABLE system_events RENAME COLUMN IF EXISTS detail TO remark;", number: 91) }
        }
        try spool.recorder().finish()
        try spool.recorder().finish()
        #expect(try spool.losses().reduce(0) { $0 + $1.rows } == 27)
        #expect(Set(try spool.losses().map(\.symbol)) == ["A"])
        #expect(try spool.rows("market_data").count == 3)
    }

    @Test("segments of an older schema that are given up for want of room are counted by the symbol of their time")
    func oldSegmentsAreShed() throws {
        let spool = try TestSpool(schemas: [MarketSchemas.quotes, MarketSchemas.events])
        for round in 0..<3 {
            let recorder = try spool.recorder()
            for n in 0..<UInt64(10) {
                try recorder.take(MarketSchemas.quote(n < 7 ? "A" : "B", at: Int64(n), bid: Double(n), n: n), from: Source(name: nil))
            }
            try recorder.finish()
            if round == 0 { try spool.move(Self.movedQuotes) }
        }
        let recorder = try spool.recorder()
        let guardian = try #require(recorder.guardian)
        let log = LogRecord()
        let shedder = Shedder(
            configuration: try spool.configuration(), spool: recorder.spool, commits: recorder.commits, ledger: guardian.ledger,
            log: log.logger)
        func settle() -> Bool {
            guardian.flushLosses(monotonic: Clock.monotonic())
            return recorder.commits.commit(cutting: true)
        }
        // Segments are counted on a thread of their own.
        for _ in 0..<5_000 {
            if shedder.step(wanted: 1, now: Clock.now(), monotonic: Clock.monotonic(), settle: settle) == .nothingLeft { break }
            usleep(1_000)
        }
        #expect(log.lines(with: "gave up 10 rows").count == 2, "\(log.all)")
        var rows: [String: UInt64] = [:]
        for loss in try spool.losses() { rows[loss.symbol, default: 0] += loss.rows }
        #expect(rows == ["A": 14, "B": 6])
        // Tombstones keep the columns of what they stand for; the newest segment stays.
        let contents = try spool.contents("market_data")
        #expect(contents.map(\.rows.count) == [0, 0, 10])
        #expect(contents.map { $0.header.columns[0].name } == ["ts", "venue", "venue"])
        #expect(contents.map(\.header.isShed) == [true, true, false])
    }

    // MARK: What is recorded under pressure

    @Test(
        "thinning goes on with columns that were renamed or widened since",
        arguments: [
            [movedQuotes], [movedQuotes, "ALTER TABLE market_data MODIFY COLUMN event LowCardinality(String);"],
            [
                "ALTER TABLE market_data MODIFY COLUMN symbol Nullable(String), MODIFY COLUMN event Nullable(Enum16('quote' = 1, 'trade' = 2));"
            ],
        ])
    func thinning(moves: [String]) throws {
        let spool = try TestSpool(schemas: [MarketSchemas.quotes, MarketSchemas.events] + moves, ["writer.record": "changes"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        let lines: [(String, Double?, String)] = [
            ("A", 100, "quote"), ("A", 100, "quote"), ("B", 100, "quote"), ("A", 100.5, "quote"), ("A", 100.5, "trade"),
            ("A", 100.5, "quote"), ("B", nil, "quote"), ("B", nil, "quote"), ("B", 100, "quote"), ("A", 100, "quote"),
        ]
        for (n, line) in lines.enumerated() {
            try recorder.take(MarketSchemas.quote(line.0, at: Int64(n), bid: line.1, n: UInt64(n), event: line.2), from: source)
        }
        try recorder.finish()
        #expect(source.accepted == 7 && source.dropped == 3)
        #expect(
            Set(try spool.losses()) == [
                RecordedLoss(symbol: "A", reason: "unchanged", rows: 2), RecordedLoss(symbol: "B", reason: "unchanged", rows: 1),
            ])
    }

    // MARK: Tables that go

    @Test(
        "a table that schemas do not name any more, or make from others, keeps its rows whole and ended; and goes on where it was if it comes back",
        arguments: [false, true])
    func tableGoes(isDerived: Bool) throws {
        let spool = try TestSpool(schemas: [TestSpool.ticks, TestSpool.ticks.replacing("TABLE ticks", with: "TABLE tocks")])
        do {
            let recorder = try spool.recorder()
            for n in 0..<UInt64(5) {
                try recorder.take(TestSpool.line(n), from: Source(name: nil))
                try recorder.take(TestSpool.line(n, table: "tocks"), from: Source(name: nil))
            }
            #expect(recorder.commit())
        }
        let file = "\(spool.schemaPath)/0002_test.sql"
        let text = try Bytes.text(file)
        if isDerived {
            try Bytes.write(Array("-- statement: tocks\n-- derived: one row a second\n\(text)".utf8), to: file)
        } else {
            try Directory.remove(file)
        }
        let log = LogRecord()
        do {
            let recorder = try spool.recorder(log: log.logger)
            #expect(recorder.refusal(of: Array(TestSpool.line(1, table: "tocks").utf8), from: Source(name: nil)) != nil)
            try recorder.take(TestSpool.line(5), from: Source(name: nil))
            try recorder.finish()
        }
        #expect(log.lines(with: "not recorded any more: they stay there", "table=tocks").count == 1, "\(log.all)")
        #expect(try spool.numbers("tocks") == Array(0..<5))
        guard case .sealed? = try spool.contents("tocks").last?.ending else {
            Issue.record("not sealed")
            return
        }
        #expect(try spool.mark("tocks")?.isSealed == true)
        try Bytes.write(Array(text.utf8), to: file)
        do {
            let recorder = try spool.recorder()
            try recorder.take(TestSpool.line(6, table: "tocks"), from: Source(name: nil))
            try recorder.finish()
        }
        #expect(try spool.numbers("tocks") == [0, 1, 2, 3, 4, 6])
        #expect(try spool.sequences("tocks") == Array(1...6))
        #expect(try spool.numbers() == Array(0...5))
    }

    @Test("a table of losses that lacks what a loss says is named at the start, one that has moved on is not")
    func olderLossTable() throws {
        func complaints(_ events: String, _ moves: String...) throws -> [String] {
            let log = LogRecord()
            let spool = try TestSpool(schemas: [MarketSchemas.quotes, events] + moves)
            _ = try spool.recorder(log: log.logger)
            #expect(!Directory.exists("\(spool.spoolPath)/system_events"))
            return log.lines(with: "losses cannot be recorded in system_events")
        }
        #expect(try complaints(MarketSchemas.events).isEmpty)
        #expect(
            try complaints(
                MarketSchemas.events,
                "ALTER TABLE system_events RENAME COLUMN IF EXISTS reason TO why, DROP COLUMN IF EXISTS detail, ADD COLUMN IF NOT EXISTS host String DEFAULT '';"
            ).isEmpty)
        let older = MarketSchemas.events.replacing("row_count UInt64 DEFAULT 0, ", with: "")
        #expect(try complaints(older).first?.contains("row_count: unknown field") == true)
        let stricter = MarketSchemas.events.replacing("detail String DEFAULT ''", with: "detail String DEFAULT '', host String")
        #expect(try complaints(stricter).first?.contains("host: missing; the column has no default") == true)
        #expect(try complaints(MarketSchemas.events.replacing(", 'critical' = 5", with: "")).first?.contains("severity: ") == true)
    }

    // MARK: Settings

    @Test("a section of the configuration about a table that is not there is refused with those that are")
    func unknownSection() throws {
        let spool = try TestSpool(schemas: [TestSpool.ticks, TestSpool.ticks.replacing("TABLE ticks", with: "TABLE tocks")])
        let file = spool.directory.file("coldpath.toml")
        func complaint(_ text: String) throws -> String? {
            try Bytes.write(Array(text.utf8), to: file)
            let configuration = try Configuration(
                file: file, environment: [:], flags: ["spool": spool.spoolPath, "schemas": spool.schemaPath])
            do {
                _ = try Recorder(configuration: configuration, log: LogRecord().logger)
                return nil
            } catch {
                return "\(error)"
            }
        }
        #expect(try complaint("[tables.tocks]\nchunk_rows = 10\n") == nil)
        let why = "schemas define no such table; they define ticks, tocks. Mend the name, or remove the section"
        #expect(try complaint("[tables.tucks]\nchunk_rows = 10\n") == "\(file): [tables.tucks]: \(why)")
        // Also one that says nothing.
        #expect(try complaint("[tables.ticks]\n[tables.tucks]\n") == "\(file): [tables.tucks]: \(why)")
    }
}
