import Logging
import SpoolFormat
import SpoolTesting
import Testing

@testable import spool_loader

/// Loading into a server that knows no tokens: a batch is sent again only when the last insert of it is over.
@Suite struct OldServerLoadTests {
    /// Each chunk is a batch.
    private func spool(chunks: Int) throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<chunks { try spool.chunk(4) }
        return spool
    }

    private func server(_ fates: [FakeClickHouse.Fate] = []) -> FakeClickHouse {
        let server = FakeClickHouse(fates)
        server.change { $0.isOld = true }
        return server
    }

    private func bench(_ spool: TestSpool, _ server: FakeClickHouse, _ more: [String: String] = [:]) throws -> LoaderBench {
        try LoaderBench(spool, server, ["loader.batch_rows": "4", "loader.inflight": "4"].merging(more) { $1 })
    }

    @Test func rowsGoThereInPlainBlocksOneBatchAtATime() throws {
        let (spool, server) = (try spool(chunks: 5), server())
        let bench = try bench(spool, server)
        var most = 0
        for _ in 0..<5_000 where bench.loader.status != .drained {
            bench.run(steps: 1)
            most = max(most, bench.checkpoint.inflight.count)
        }
        #expect(bench.loader.status == .drained && server.holdsOnce(1..<21))
        #expect(most == 1 && server.inserts.count == 5)
    }

    @Test(arguments: [(0, 0), (0, 5), (3, 0), (3, 5)])
    func anInsertThatGoesOnWithoutItsConnectionIsWaitedFor(hidden: Int, shown: Int) throws {
        let (spool, server) = (try spool(chunks: 3), server([.loads, .late(hidden: hidden, shown: shown)]))
        let bench = try bench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<13))
        #expect(server.inserts.map(\.sequences) == [1..<5, 5..<9, 9..<13])
    }

    @Test func whatNeverArrivedIsSentAgain() throws {
        let (spool, server) = (try spool(chunks: 3), server([.loads, .broken, .broken, .answerLost]))
        let bench = try bench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<13))
        #expect(server.inserts.map(\.sequences) == [1..<5, 5..<9, 5..<9, 5..<9, 9..<13])
        // Under one id, so that a server refuses it while the last one runs.
        #expect(Set(server.inserts[1...3].map(\.token)).count == 1)
    }

    @Test(arguments: [(0, 5), (3, 5)])
    func aLoaderThatWasKilledWaitsForItsLastInsert(hidden: Int, shown: Int) throws {
        let (spool, server) = (try spool(chunks: 3), server([.loads, .late(hidden: hidden, shown: shown)]))
        do {
            let bench = try bench(spool, server)
            for _ in 0..<5_000 where server.inserts.count < 2 { bench.run(steps: 1) }
            bench.die()
        }
        #expect(server.inserts.count == 2)
        let bench = try bench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<13) && server.inserts.count == 3)
    }

    @Test(arguments: [(0, 5), (3, 5)])
    func aLoaderWithoutItsCheckpointWaitsForInsertsOfTheTable(hidden: Int, shown: Int) throws {
        let (spool, server) = (try spool(chunks: 3), server())
        server.change {
            $0.copies = [1: 1, 2: 1, 3: 1, 4: 1]
            $0.late = [
                FakeClickHouse.Late(
                    queryID: "\(TestSpool.writer)/\(TestSpool.table)/5-9/x/0", sequences: [5, 6, 7, 8], hidden: hidden, shown: shown)
            ]
        }
        let bench = try bench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<13) && server.inserts.map(\.sequences) == [9..<13])
    }

    @Test func aRefusedRowIsFoundAndTheRestIsLoaded() throws {
        let (spool, server) = (try spool(chunks: 3), server())
        server.change { $0.refused = [6, 12] }
        let bench = try bench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.copies == Dictionary(uniqueKeysWithValues: (1...12).filter { ![6, 12].contains($0) }.map { (UInt64($0), 1) }))
        #expect(
            try QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table).outstandingRows().ranges == [
                6..<7, 12..<13,
            ])
    }

    @Test(arguments: Seeds.take(6))
    func whateverHappensWhoeverIsKilledEachRowIsThereOnce(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let fates: [FakeClickHouse.Fate] = [
            .loads, .loads, .answerLost, .broken, .exception(252), .exception(216), .late(hidden: 2, shown: 2), .late(hidden: 0, shown: 3),
        ]
        let server = server((0..<10).map { _ in fates.randomElement(using: &random) ?? .loads })
        let spool = try spool(chunks: 6)
        let refused: Set<UInt64> = [UInt64.random(in: 1...24, using: &random)]
        server.change { $0.refused = refused }
        for _ in 0..<4 {
            let bench = try bench(spool, server)
            bench.run(steps: Int.random(in: 1...60, using: &random))
            bench.die()
        }
        let bench = try bench(spool, server)
        #expect(bench.run(steps: 30_000), "replay with SPOOL_TEST_SEED=\(seed): \(bench.loader.lastProblem)")
        let wanted = Dictionary(uniqueKeysWithValues: (1..<spool.end).filter { !refused.contains($0) }.map { ($0, 1) })
        #expect(server.copies == wanted, "replay with SPOOL_TEST_SEED=\(seed)")
    }

    // MARK: Requeue

    @Test(arguments: [.loads, .answerLost, .broken, .late(hidden: 3, shown: 3)] as [FakeClickHouse.Fate])
    func quarantinedRowsGoToAnOldServerOnce(fate: FakeClickHouse.Fate) throws {
        let (spool, server) = (try spool(chunks: 3), server())
        server.change { $0.refused = [6, 11] }
        do {
            let bench = try bench(spool, server)
            #expect(bench.run() && bench.stopReason == nil)
        }
        server.change { $0.refused = [] }
        server.meets([fate])
        let settings = try configuration([
            "loader.url": server.url, "loader.backoff": "1ms", "loader.backoff_max": "1ms", "loader.timeout": "2s",
        ])
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let list = QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table)
        let result = try RequeueTable(
            table: spool.table, spool: spool.spool, list: list,
            server: RequeueServer(configuration: settings, stopSignal: .never, log: log), schemas: "", log: log
        ).run()
        #expect(result.remaining == 0 && result.problems == [] && result.loaded == 2)
        #expect(server.holdsOnce(1..<13))
    }
}
