import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// Tables for tests of what is recorded of market data.
enum MarketSchemas {
    static let quotes = """
        CREATE TABLE market_data (ts DateTime64(9, 'UTC'), symbol LowCardinality(String), event Enum8('quote' = 1, 'trade' = 2),
        bid_px1 Nullable(Float64), bid_sz1 Nullable(Float64), ask_px1 Nullable(Float64), ask_sz1 Nullable(Float64), n UInt64 DEFAULT 0,
        spool_writer String, spool_seq UInt64) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts;
        """
    static let events = """
        CREATE TABLE system_events (ts DateTime64(9, 'UTC'), component LowCardinality(String), event LowCardinality(String),
        severity Enum8('info' = 2, 'warning' = 3, 'error' = 4, 'critical' = 5) DEFAULT 'info', table_name LowCardinality(String) DEFAULT '',
        symbol LowCardinality(String) DEFAULT '', range_from Nullable(DateTime64(9, 'UTC')), range_to Nullable(DateTime64(9, 'UTC')),
        seq_from Nullable(UInt64), seq_to Nullable(UInt64), row_count UInt64 DEFAULT 0, reason LowCardinality(String) DEFAULT '',
        detail String DEFAULT '', spool_writer String, spool_seq UInt64) ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY ts;
        """

    static func quote(_ symbol: String, at ms: Int64, bid: Double?, n: UInt64 = 0, event: String = "quote") -> String {
        let price = bid.map { "\($0)" } ?? "null"
        return "{\"table\":\"market_data\",\"ts\":\(TestSpool.time + ms * 1_000_000),\"symbol\":\"\(symbol)\",\"event\":\"\(event)\","
            + "\"bid_px1\":\(price),\"bid_sz1\":1,\"ask_px1\":101,\"ask_sz1\":2,\"n\":\(n)}"
    }
}

/// A row of `system_events` that names a loss.
struct RecordedLoss: Hashable {
    let symbol: String
    let reason: String
    let rows: UInt64
}

extension TestSpool {
    /// The losses that are recorded, in their order; incidents are left out.
    func losses() throws -> [RecordedLoss] {
        try rows("system_events").compactMap { row in
            func text(_ column: Int) -> String {
                if case .bytes(let bytes) = row[column] { String(decoding: bytes, as: UTF8.self) } else { "" }
            }
            guard text(2) == "rows_dropped", case .integer(let count) = row[10] else { return nil }
            return RecordedLoss(symbol: text(5), reason: text(11), rows: UInt64(count))
        }
    }

    /// The values of `n` of what is recorded of market data.
    func recordedQuotes() throws -> [UInt64] {
        try rows("market_data").map { row in
            guard case .integer(let n) = row[7] else { throw FormatError.malformed("no number") }
            return UInt64(n)
        }
    }
}

struct MarketTableTests {
    private func spool(_ flags: [String: String] = [:]) throws -> TestSpool {
        try TestSpool(schemas: [MarketSchemas.quotes, MarketSchemas.events], flags)
    }

    @Test("as configured by default, everything is recorded and nothing is lost")
    func recordsAll() throws {
        let spool = try spool()
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        for n in 0..<UInt64(50) { try recorder.take(MarketSchemas.quote("A", at: Int64(n), bid: 100, n: n), from: source) }
        try recorder.finish()
        #expect(try spool.recordedQuotes() == Array(0..<50))
        #expect(!Directory.exists("\(spool.spoolPath)/system_events"))
        #expect(source.dropped == 0)
    }

    @Test("changes only: a quote that changes neither best bid nor ask is skipped, trades never; each loss is in the ledger by symbol")
    func changesOnly() throws {
        let spool = try spool(["writer.record": "changes"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        let lines: [(String, Double?, String)] = [
            ("A", 100, "quote"), ("A", 100, "quote"), ("B", 100, "quote"), ("A", 100.5, "quote"), ("A", 100.5, "trade"),
            ("A", 100.5, "quote"),
            ("B", nil, "quote"), ("B", nil, "quote"), ("B", 100, "quote"), ("A", 100, "quote"),
        ]
        for (n, line) in lines.enumerated() {
            try recorder.take(MarketSchemas.quote(line.0, at: Int64(n), bid: line.1, n: UInt64(n), event: line.2), from: source)
        }
        try recorder.finish()
        #expect(try spool.recordedQuotes() == [0, 2, 3, 4, 6, 8, 9])
        #expect(
            Set(try spool.losses()) == [
                RecordedLoss(symbol: "A", reason: "unchanged", rows: 2), RecordedLoss(symbol: "B", reason: "unchanged", rows: 1),
            ])
        #expect(source.accepted == 7)
        #expect(source.dropped == 3)
        #expect(source.complete == 10)
    }

    @Test(
        "a source's own rows of system_events say nothing of its market rows: those that a kill kept from the disk are recorded when they come again"
    )
    func ownEventsAreNoLosses() throws {
        let spool = try spool()
        let lines =
            (0..<UInt64(4)).map { MarketSchemas.quote("A", at: Int64($0), bid: 100, n: $0) } + [
                "{\"table\":\"system_events\",\"ts\":\(TestSpool.time),\"component\":\"engine\",\"event\":\"started\"}"
            ] + (4..<UInt64(6)).map { MarketSchemas.quote("A", at: Int64($0), bid: 100, n: $0) }
        var first: Recorder? = try spool.recorder()
        let source = try #require(first?.source(named: "import:day", resume: true))
        for line in lines { try first?.take(line, from: source) }
        // Audit tables are made durable first; here the kill comes before the market tables.
        first?.commits.commit(where: { $0.tableClass == .audit }, cutting: true)
        #expect(try spool.rows("system_events").count == 1 && !Directory.exists("\(spool.spoolPath)/market_data/durable"))
        first = nil

        let second = try spool.recorder()
        let again = second.source(named: "import:day", resume: true)
        #expect(again.position == 0)
        for line in lines { try second.take(line, from: again) }
        try second.finish()
        #expect(try spool.recordedQuotes() == Array(0..<6))
        #expect(try spool.rows("system_events").count == 1)
        #expect(again.repeated == 1 && again.dropped == 0)
    }

    @Test(
        "more producers than a chunk can name, of which only losses are known, are no trap, whether a row comes after them or none",
        arguments: [true, false])
    func manySources(thenRow: Bool) throws {
        let spool = try spool(["writer.record": "changes"])
        let recorder = try spool.recorder()
        let sources = (0..<200).map { recorder.source(named: "socket:\($0)", resume: true) }
        try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100, n: 0), from: sources[0])
        try #require(recorder.commits.commit(cutting: true))
        // Nothing changes: no row, and a loss of each of them.
        for source in sources { try recorder.take(MarketSchemas.quote("A", at: 1, bid: 100, n: 1), from: source) }
        if thenRow { try recorder.take(MarketSchemas.quote("A", at: 2, bid: 101, n: 2), from: sources[0]) }
        try recorder.finish()
        #expect(try spool.recordedQuotes() == (thenRow ? [0, 2] : [0]))
        // The source with the row is named, whatever others are.
        if thenRow {
            let again = try spool.recover("market_data").positions
            #expect(again.end("socket:0") == sources[0].position)
        }
        #expect(try spool.losses().reduce(0) { $0 + $1.rows } == 200)
        for source in sources { #expect(source.complete == source.position) }
    }

    @Test("with a sampling interval, a quote that changes nothing is recorded again after it")
    func sampling() throws {
        let spool = try spool(["writer.record": "changes", "writer.sample": "10ms"])
        let recorder = try spool.recorder()
        for n in 0..<UInt64(35) {
            try recorder.take(MarketSchemas.quote("A", at: Int64(n), bid: 100, n: n), from: Source(name: nil))
        }
        try recorder.finish()
        #expect(try spool.recordedQuotes() == [0, 10, 20, 30])
        #expect(try spool.losses() == [RecordedLoss(symbol: "A", reason: "unchanged", rows: 31)])
    }

    @Test("under pressure quotes of a symbol are sampled, then only trades recorded, then nothing")
    func stages() throws {
        let market = MarketTable(
            schema: try #require(try SchemaText.tables(from: [("test", MarketSchemas.quotes)]).first),
            configuration: try TestSpool().configuration())
        let symbol = "A".withCString { market.symbol(UnsafeRawBufferPointer(start: $0, count: 1)) }
        let other = "B".withCString { market.symbol(UnsafeRawBufferPointer(start: $0, count: 1)) }
        func reasons(_ stage: Pressure.Stage, _ keys: [(Int, Bool, Int64)]) -> [LossReason?] {
            market.stage = stage
            return keys.map { market.reasonToSkip(MarketTable.Key(symbol: $0.0, isTrade: $0.1, top: UInt64($0.2), time: $0.2)) }
        }
        #expect(!market.isThinning)
        #expect(
            reasons(
                .interval(10), [(symbol, false, 100), (symbol, false, 109), (other, false, 109), (symbol, true, 109), (symbol, false, 110)])
                == [nil, .sampling, nil, nil, nil])
        // A clock that was set back does not silence the symbol until it has caught up.
        #expect(reasons(.interval(10), [(symbol, false, 50), (symbol, false, 55)]) == [nil, .sampling])
        #expect(reasons(.tradesOnly, [(symbol, false, 500), (symbol, true, 500)]) == [.pressure, nil])
        #expect(reasons(.nothing, [(symbol, false, 900), (symbol, true, 900)]) == [.disk, .disk])
        #expect(market.isThinning)
    }

    @Test("what is not recorded holds its producer back until the loss itself is durable")
    func lossesHoldTheirSource() throws {
        let spool = try spool(["writer.record": "changes"])
        let recorder = try spool.recorder()
        let source = recorder.source(named: "socket:p", resume: true)
        for n in 0..<UInt64(10) { try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100, n: n), from: source) }
        #expect(source.complete == 0)
        // The quotes' own chunk counts them, so that they are dealt with before the ledger has its row.
        recorder.commits.commit(where: { $0.schema.table == "market_data" }, cutting: true)
        #expect(source.complete == 10)
        for n in 10..<UInt64(15) { try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100, n: n), from: source) }
        // No row, so no chunk: now the ledger itself must be durable.
        recorder.commits.commit(where: { $0.schema.table == "market_data" }, cutting: true)
        #expect(source.complete == 10)
        recorder.commit()
        #expect(source.complete == 15)
        #expect(try spool.losses() == [RecordedLoss(symbol: "A", reason: "unchanged", rows: 14)])
    }

    @Test("losses of chunks that a killed writer made durable are in the ledger after the next start, once")
    func takenUp() throws {
        let spool = try spool(["writer.record": "changes"])
        for _ in 0..<3 {
            let recorder = try spool.recorder()
            let source = Source(name: nil)
            for n in 0..<UInt64(10) { try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100, n: n), from: source) }
            recorder.commits.commit(where: { $0.schema.table == "market_data" }, cutting: true)
        }
        try spool.recorder().finish()
        try spool.recorder().finish()
        #expect(try spool.losses().reduce(0) { $0 + $1.rows } == 27)
        #expect(try spool.recordedQuotes().count == 3)
    }

    @Test("a flood that fills the queue between two syncs is no reason to drop anything where the disk takes it", arguments: [true, false])
    func healthyDisk(givesUp: Bool) throws {
        let spool = try spool(["writer.queue_market": "1MiB", "writer.sync": "every 60s", "writer.chunk_rows": "500"])
        let recorder = try Recorder(configuration: try spool.configuration(), log: LogRecord().logger, givesUp: givesUp)
        let source = recorder.source(named: "import:flood", resume: true)
        var random = SeededRandom(seed: 2)
        for n in 0..<UInt64(100_000) {
            let bid = Double.random(in: 0...1, using: &random)
            try recorder.take(MarketSchemas.quote("A", at: Int64(n), bid: bid, n: n, event: "trade"), from: source)
            if n % 1_000 == 0 { recorder.tick(monotonic: Clock.monotonic()) }
        }
        try recorder.finish()
        #expect(try spool.recordedQuotes() == Array(0..<100_000))
        #expect(source.complete == 100_000)
    }

    @Test("without a table for losses nobody is held up by them: they are in the log")
    func noLossTable() throws {
        let spool = try TestSpool(schemas: [MarketSchemas.quotes], ["writer.record": "changes"])
        let log = LogRecord()
        let recorder = try spool.recorder(log: log.logger)
        let source = recorder.source(named: "socket:p", resume: true)
        for n in 0..<UInt64(3) { try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100, n: n), from: source) }
        recorder.commit()
        // From here on no row is recorded, so no chunk can carry the losses.
        for n in 3..<UInt64(10) { try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100, n: n), from: source) }
        recorder.commit()
        #expect(source.complete == 10)
        #expect(!log.lines(with: "a loss cannot be recorded", "\"row_count\":7").isEmpty)
    }

    @Test("a table for losses that does not take them holds nobody up either")
    func unfitLossTable() throws {
        let narrow = """
            CREATE TABLE system_events (ts DateTime64(9, 'UTC'), component String, spool_writer String, spool_seq UInt64)
            ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts;
            """
        let spool = try TestSpool(schemas: [MarketSchemas.quotes, narrow], ["writer.record": "changes"])
        let log = LogRecord()
        let recorder = try spool.recorder(log: log.logger)
        let source = recorder.source(named: "socket:p", resume: true)
        for _ in 0..<2 {
            for n in 0..<UInt64(5) { try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100, n: n), from: source) }
            recorder.commit()
        }
        #expect(source.complete == 10)
        #expect(!log.lines(with: "a loss cannot be recorded", "unknown field").isEmpty)
    }

    @Test("symbols as long as lines are counted without their names, and do not fill the memory")
    func longSymbols() throws {
        let spool = try spool(["writer.record": "changes"])
        let recorder = try spool.recorder()
        let long = String(repeating: "x", count: 2_000)
        for n in 0..<UInt64(4) { try recorder.take(MarketSchemas.quote("\(long)\(n / 2)", at: 0, bid: 1, n: n), from: Source(name: nil)) }
        try recorder.finish()
        #expect(try spool.losses() == [RecordedLoss(symbol: "", reason: "unchanged", rows: 3)])
    }

    @Test("while the disk takes no losses, the loop is not woken for them again and again")
    func noBusyWait() throws {
        let spool = try TestSpool(
            schemas: [MarketSchemas.quotes, MarketSchemas.events, TestSpool.ticks],
            ["writer.record": "changes", "writer.queue_audit": "1MiB", "writer.chunk_rows": "100"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        var random = SeededRandom(seed: 1)
        try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100), from: source)
        recorder.commit()
        // The spool is gone, and the queue of audit rows full: nothing can be made durable, and no loss written down.
        try Directory.rename(spool.spoolPath, to: spool.spoolPath + "-away")
        while !recorder.commits.isFull(.audit) {
            let note = (0..<60).map { _ in String(random.next(), radix: 36) }.joined()
            try recorder.take("{\"table\":\"ticks\",\"ts\":\(TestSpool.time),\"n\":1,\"note\":\"\(note)\"}", from: source)
        }
        for _ in 0..<5 { try recorder.take(MarketSchemas.quote("A", at: 0, bid: 100), from: source) }
        recorder.guardian?.ledger.note(
            LossLedger.Incident(event: "test", severity: "info", reason: "", detail: ""), monotonic: Clock.monotonic())
        recorder.commit()
        var now = Clock.monotonic() + 5_000_000_000
        for _ in 0..<10 {
            recorder.tick(monotonic: now)
            let next = try #require(recorder.nextDeadline)
            #expect(next > now)
            now = next
        }
    }

    @Test(
        "whatever is sent again after a crash at whatever moment, recorded and lost rows are all that were sent", arguments: Seeds.take(12))
    func crashes(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let spool = try TestSpool(schemas: [MarketSchemas.quotes, MarketSchemas.events, TestSpool.ticks], ["writer.record": "changes"])
        let lines: [(text: String, symbol: String)] = (0..<UInt64(400)).map { n in
            let symbol = ["A", "B"][Int.random(in: 0..<2, using: &random)]
            // Ticks between the quotes hold the producer's position back on their own.
            if random.oneIn(4) { return (TestSpool.line(n), "") }
            return (MarketSchemas.quote(symbol, at: Int64(n), bid: Double(Int.random(in: 0..<3, using: &random)), n: n), symbol)
        }
        var complete: UInt64 = 0
        while complete < UInt64(lines.count) {
            let recorder = try spool.recorder()
            let source = recorder.source(named: "socket:p", resume: true, from: complete)
            #expect(source.position >= complete)
            while source.position < UInt64(lines.count) {
                try recorder.take(lines[Int(source.position)].text, from: source)
                let what = Int.random(in: 0..<60, using: &random)
                if what == 0 { recorder.commits.commit(where: { $0.tableClass == .audit }, cutting: true) }
                if what == 1 { recorder.commits.commit(where: { $0.tableClass == .market }, cutting: true) }
                if what == 2 { recorder.guardian?.flushLosses(monotonic: Clock.monotonic()) }
                if what == 3 { recorder.commit() }
                if what == 4 { break }
            }
            if source.position == UInt64(lines.count) { recorder.commit() }
            complete = source.complete
        }
        #expect(try spool.numbers() == (0..<UInt64(400)).filter { lines[Int($0)].symbol.isEmpty })
        var counts: [String: UInt64] = [:]
        for row in try spool.rows("market_data") {
            if case .bytes(let symbol) = row[1] { counts[String(decoding: symbol, as: UTF8.self), default: 0] += 1 }
        }
        for loss in try spool.losses() { counts[loss.symbol, default: 0] += loss.rows }
        #expect(counts == ["A": UInt64(lines.count { $0.symbol == "A" }), "B": UInt64(lines.count { $0.symbol == "B" })])
    }
}
