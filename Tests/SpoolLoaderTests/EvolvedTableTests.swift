import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

/// One table from the spool to a server whose table is not as it was when the rows were recorded.
@Suite struct EvolvedTableTests {
    private static let today = TestSpool.schema().wireColumns.filter { $0.name != "tags" }.map {
        WireColumn(name: $0.name == "note" ? "remark" : $0.name, type: $0.type)
    }
    private static let names = "ts symbol px remark spool_writer spool_seq"

    private static var history: String {
        let create = """
            CREATE TABLE trades (
                ts DateTime64(9, 'UTC'), symbol LowCardinality(String), px Float64, note Nullable(String), tags Array(UInt8),
                spool_writer LowCardinality(String), spool_seq UInt64
            ) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts
            """
        let change = "ALTER TABLE trades RENAME COLUMN IF EXISTS note TO remark, DROP COLUMN IF EXISTS tags"
        return String(
            decoding: AppliedSchemasTests.answer([("0001_trades.sql", 1, create), ("0002_trades.sql", 1, change)]), as: UTF8.self)
    }

    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<3 { try spool.chunk(2) }
        try spool.seal()
        return spool
    }

    private func evolved(_ fates: [FakeClickHouse.Fate] = []) -> FakeClickHouse {
        let server = FakeClickHouse(fates)
        server.change { ($0.columns, $0.history) = (Self.today, Self.history) }
        return server
    }

    @Test func oldRowsGoUnderTheNamesOfToday() throws {
        let server = evolved()
        let spool = try TestSpool()
        try spool.chunk(6)
        let bench = try LoaderBench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<7))
        #expect(server.inserts.map(\.columns) == [Self.names])
        server.change { #expect($0.historyAsked == 1 && $0.tableAsked == 1) }
    }

    @Test func aTableThatIsAsItWasIsNotAskedForItsHistory() throws {
        let server = FakeClickHouse()
        server.change { $0.history = "nonsense" }
        let bench = try LoaderBench(spool(), server)
        #expect(bench.run() && server.holdsOnce(1..<7))
        server.change { #expect($0.historyAsked == 0 && $0.tableAsked == 1) }
    }

    @Test(
        arguments: [
            [.answerLost], [.broken, .answerLost], [.tokenOnly], [.tokenOnly, .broken, .tokenOnly], [.exception(241), .exception(252)],
        ] as [[FakeClickHouse.Fate]])
    func translatedRowsArriveOnceWhateverHappens(fates: [FakeClickHouse.Fate]) throws {
        let server = evolved(fates)
        let bench = try LoaderBench(spool(), server, ["loader.batch_rows": "2"])
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<7), "\(server.copies)")
        #expect(server.inserts.allSatisfy { $0.columns == Self.names })
        // The token goes on naming what lies in the segment: a repeat is the same bytes.
        let bodies = Dictionary(grouping: server.inserts, by: \.token).values
        #expect(bodies.allSatisfy { Set($0.map(\.bytes)).count == 1 })
    }

    @Test(arguments: [FakeClickHouse.Fate.answerLost, .broken, .tokenOnly])
    func aTableThatIsAlteredWhileABatchIsInDoubtGetsItOnce(fate: FakeClickHouse.Fate) throws {
        let server = FakeClickHouse([fate])
        let bench = try LoaderBench(spool(), server)
        while server.inserts.isEmpty { bench.run(steps: 1) }
        server.change { ($0.columns, $0.history) = (Self.today, Self.history) }
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<7), "\(server.copies)")
        #expect(server.inserts.dropFirst().allSatisfy { $0.columns == Self.names })
    }

    @Test func aRefusalOfAnOldNameMakesTheLoaderAskAgain() throws {
        let server = FakeClickHouse()
        let spool = try spool()
        let bench = try LoaderBench(spool, server)
        #expect(bench.run() && server.holdsOnce(1..<7))
        // The loader knows the table as it was.
        server.change { ($0.columns, $0.history) = (Self.today, Self.history) }
        try spool.chunk(2)
        try spool.seal()
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<9))
        #expect(server.inserts.last?.columns == Self.names)
    }

    @Test func aColumnThatIsMissingIsWaitedForAndTheLoaderGoesOnByItself() throws {
        let server = FakeClickHouse()
        server.change { $0.columns = TestSpool.schema().wireColumns.filter { $0.name != "note" } }
        let bench = try LoaderBench(spool(), server)
        #expect(!bench.run(steps: 100))
        #expect(bench.loader.lastProblem == "column note is in the spool and not in ClickHouse; run `spool-loader migrate apply`")
        #expect(bench.loader.needsPerson && server.inserts.isEmpty)
        server.change { $0.columns = nil }
        #expect(bench.run() && server.holdsOnce(1..<7))
    }

    /// However long the backing off has become: `loader.backoff_max` is 30 s unless it is set.
    @Test func theTableIsAskedForAgainSoon() throws {
        let server = FakeClickHouse()
        server.change { $0.columns = TestSpool.schema().wireColumns.filter { $0.name != "note" } }
        let bench = try LoaderBench(spool(), server, ["loader.backoff": "60s", "loader.backoff_max": "1h"])
        for _ in 0..<50 where bench.loader.failures == 0 { bench.run(steps: 1) }
        guard case .waiting(let until) = bench.loader.status else { return #expect(Bool(false), "\(bench.loader.status)") }
        #expect(until - Clock.monotonic() <= 2_000_000_000)
    }

    @Test func aHistoryThatCannotBeReadIsSaidAndNothingIsSent() throws {
        let server = evolved()
        server.change { $0.history = "30\t1\t30\n" }
        let bench = try LoaderBench(spool(), server)
        #expect(!bench.run(steps: 100))
        #expect(bench.loader.lastProblem.hasPrefix("rows have columns that the table has not, and what became of them cannot be read: 0:"))
        #expect(server.inserts.isEmpty)
        server.change { $0.history = Self.history }
        #expect(bench.run() && server.holdsOnce(1..<7))
    }

    @Test func aTableThatIsNotThereIsWaitedFor() throws {
        let server = FakeClickHouse()
        server.change { $0.isThere = false }
        let bench = try LoaderBench(spool(), server)
        #expect(!bench.run(steps: 100))
        #expect(bench.loader.lastProblem == "table trades is not in ClickHouse; run `spool-loader migrate apply`")
        server.change { $0.isThere = true }
        #expect(bench.run() && server.holdsOnce(1..<7))
    }
}
