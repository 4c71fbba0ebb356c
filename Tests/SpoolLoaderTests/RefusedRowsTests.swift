import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// Rows that ClickHouse will not take: found, set aside with all that is known of them, and no other row suffers.
@Suite struct RefusedRowsTests {
    private func spool(chunks: [Int]) throws -> TestSpool {
        let spool = try TestSpool()
        for rows in chunks { try spool.chunk(rows) }
        return spool
    }

    private func quarantined(_ spool: TestSpool) throws -> [Range<UInt64>] {
        try QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table).outstandingRows().ranges
    }

    @Test(arguments: [1, 2, 4])
    func aRefusedRowIsQuarantinedWithCodeAndValuesAndTheRestIsLoaded(inflight: Int) throws {
        let (spool, server) = (try spool(chunks: [4, 3, 5, 4]), FakeClickHouse())
        server.change { $0.refused = [6] }
        let bench = try LoaderBench(spool, server, ["loader.inflight": "\(inflight)"])
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.copies == Dictionary(uniqueKeysWithValues: (1...16).filter { $0 != 6 }.map { (UInt64($0), 1) }))
        #expect(try quarantined(spool) == [6..<7])
        #expect(bench.checkpoint.rowsQuarantined == 1 && bench.checkpoint.rowsLoaded == 15 && bench.checkpoint.next == 17)
        let line = try #require(try TextFile.read("\(spool.checkpoints)/\(TestSpool.writer)/\(spool.table).quarantine"))
        #expect(line.hasPrefix("6 7 ") && line.contains("VIOLATED_CONSTRAINT") && line.contains("\"spool_seq\":6"), "\(line)")
    }

    @Test(arguments: Seeds.take(12))
    func whateverIsRefusedWhoeverIsKilledAllOthersAreThereOnce(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let fates: [FakeClickHouse.Fate] = [.loads, .loads, .loads, .answerLost, .broken, .tokenOnly, .exception(252)]
        let server = FakeClickHouse((0..<15).map { _ in fates.randomElement(using: &random) ?? .loads })
        let spool = try TestSpool()
        for _ in 0..<6 {
            try spool.chunk(Int.random(in: 1...7, using: &random))
            if Int.random(in: 0..<100, using: &random) < 30 { try spool.seal() }
        }
        let refused = Set((1..<spool.end).filter { _ in Int.random(in: 0..<100, using: &random) < 15 })
        server.change { $0.refused = refused }
        for _ in 0..<12 {
            let bench = try LoaderBench(
                spool, server,
                [
                    "loader.batch_rows": "\(Int.random(in: 3...30, using: &random))",
                    "loader.inflight": "\(Int.random(in: 1...4, using: &random))", "loader.timeout": "1s",
                ])
            bench.run(steps: Int.random(in: 1...25, using: &random))
            bench.die()
        }
        let bench = try LoaderBench(spool, server, ["loader.timeout": "1s", "loader.inflight": "3"])
        #expect(bench.run(steps: 5_000), "replay with SPOOL_TEST_SEED=\(seed): \(bench.loader.lastProblem)")
        #expect(bench.stopReason == nil, "replay with SPOOL_TEST_SEED=\(seed)")
        let wanted = Dictionary(uniqueKeysWithValues: (1..<spool.end).filter { !refused.contains($0) }.map { ($0, 1) })
        #expect(server.copies == wanted, "replay with SPOOL_TEST_SEED=\(seed)")
        #expect(SequenceSet(try quarantined(spool)) == SequenceSet(refused.sorted().map { $0..<$0 + 1 }), "seed \(seed)")
        #expect(bench.checkpoint.rowsQuarantined == UInt64(refused.count), "seed \(seed)")
        #expect(bench.checkpoint.rowsLoaded == UInt64(wanted.count), "seed \(seed)")
    }

    @Test func oneRowOfVeryManyIsFoundWhateverElseIsOnItsWay() throws {
        // Halving leaves more parts behind the refused row than a checkpoint can note.
        let (spool, server) = (try spool(chunks: Array(repeating: 40, count: 30)), FakeClickHouse())
        server.change { $0.refused = [2] }
        let bench = try LoaderBench(spool, server, ["loader.inflight": "8", "loader.batch_rows": "400"])
        #expect(bench.run(steps: 10_000) && bench.stopReason == nil, "\(bench.loader.lastProblem)")
        #expect(server.copies == Dictionary(uniqueKeysWithValues: (1...1_200).filter { $0 != 2 }.map { (UInt64($0), 1) }))
        #expect(bench.checkpoint.rowsQuarantined == 1 && bench.checkpoint.rowsLoaded == 1_199)
    }

    @Test func rowsThatWaitForTheirTurnBehindARefusedOneMayBeShedInTheMeantime() throws {
        let (spool, server) = (try spool(chunks: [4, 4, 4]), FakeClickHouse())
        try spool.seal()
        try spool.chunk(2)
        server.change { $0.refused = [1] }
        let bench = try LoaderBench(spool, server, ["loader.quarantine_rows": "0"])
        // It waits for a person, with the first row refused and the others not sent yet.
        #expect(!bench.run(steps: 400))
        #expect(bench.loader.lastProblem.hasPrefix("ClickHouse refuses row 1 too"))
        try spool.shed(spool.segments()[0])
        server.change { $0.refused = [] }
        #expect(bench.run() && bench.stopReason == nil)
        // What the loader still had open it may load; each row is there once, or shed.
        #expect(server.copies.values.allSatisfy { $0 == 1 } && server.copies[1] == 1 && server.copies[13] == 1 && server.copies[14] == 1)
        #expect(bench.checkpoint.rowsLoaded == UInt64(server.copies.count) && bench.checkpoint.next == 15)
        #expect(bench.checkpoint.rowsShed + bench.checkpoint.rowsLoaded == 14)
    }

    @Test func aTableThatRefusesEverythingIsNotEmptiedIntoQuarantine() throws {
        let (spool, server) = (try spool(chunks: [5, 5]), FakeClickHouse())
        server.change { $0.refused = Set(1...10) }
        let bench = try LoaderBench(spool, server, ["loader.quarantine_rows": "3"])
        #expect(!bench.run(steps: 400))
        #expect(try quarantined(spool) == [1..<4])
        #expect(bench.loader.lastProblem.hasPrefix("ClickHouse refuses row 4 too, after 3 others that are quarantined"))
        // The cause is mended.
        server.change { $0.refused = [] }
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(4..<11))
    }

    @Test func moreThanTheAllowedPartitionsAreSentInPartsUntilTheyPass() throws {
        let (spool, server) = (try spool(chunks: [9, 4, 8]), FakeClickHouse())
        server.change { $0.maxPartitions = 2 }
        let bench = try LoaderBench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<22) && bench.checkpoint.rowsQuarantined == 0)
    }

    @Test func whereClickHouseHasOtherPartitionsABatchMayBeThereInPartAndTheRestFollows() throws {
        let (spool, server) = (try spool(chunks: [3, 3]), FakeClickHouse([.half]))
        server.change { $0.engine = "MergeTree PARTITION BY symbol ORDER BY ts SETTINGS non_replicated_deduplication_window = 1000" }
        let bench = try LoaderBench(spool, server, ["loader.timeout": "1s"])
        #expect(bench.run(steps: 10_000) && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<7))
        #expect(server.inserts.map(\.sequences) == [1..<7, 4..<7])
    }

    @Test func anInsertOfSeveralPartitionsThatGoesOnWithoutItsConnectionIsWaitedFor() throws {
        let (spool, server) = (try spool(chunks: [8]), FakeClickHouse([.loads, .inTwoParts(after: 400_000_000)]))
        server.change { $0.maxPartitions = 4 }
        let bench = try LoaderBench(spool, server, ["loader.timeout": "1s"])
        #expect(bench.run(steps: 5_000) && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<9) && bench.checkpoint.next == 9, "\(server.copies)")
    }

    @Test func bytesThatClickHouseCallsDamagedAreReadAndSentAgainAsTheyAre() throws {
        let (spool, server) = (try spool(chunks: [2, 2]), FakeClickHouse([.exception(618)]))
        let bench = try LoaderBench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(1..<5))
        #expect(server.inserts.map(\.sequences) == [1..<5, 1..<5])
        #expect(server.inserts[0].token == server.inserts[1].token)
    }

    @Test func severalBatchesAreOnTheirWayAndTheCheckpointPassesThemInOrder() throws {
        let (spool, server) = (try spool(chunks: [2, 2, 2, 2, 2]), FakeClickHouse())
        let bench = try LoaderBench(spool, server, ["loader.inflight": "3", "loader.batch_rows": "2"])
        var most = 0
        for _ in 0..<5_000 where bench.loader.status != .drained {
            bench.run(steps: 1)
            most = max(most, bench.checkpoint.inflight.count)
        }
        // Those that are done wait in the list for the ones before them.
        #expect(most >= 3 && most <= Checkpoint.maxInflight)
        #expect(server.holdsOnce(1..<11) && bench.checkpoint.inflight.isEmpty)
    }

    @Test func whereTheOrderOfInsertsIsSeenOneBatchGoesAtATime() throws {
        let (spool, server) = (try spool(chunks: [2, 2, 2, 2]), FakeClickHouse())
        server.change { $0.engine = "ReplacingMergeTree ORDER BY ts SETTINGS non_replicated_deduplication_window = 1000" }
        let bench = try LoaderBench(spool, server, ["loader.inflight": "3", "loader.batch_rows": "2"])
        for _ in 0..<5_000 where bench.loader.status != .drained {
            bench.run(steps: 1)
            #expect(bench.checkpoint.inflight.count <= 1)
        }
        #expect(server.holdsOnce(1..<9))
    }
}
