import SpoolFormat
import SpoolIO
import Synchronization
import Testing

@testable import spool_loader

/// One table from the spool to a server, with the checkpoint looked at wherever it counts.
@Suite struct TableLoaderTests {
    /// Rows 1-2, 3-4, 5-6 in a sealed segment, 7-8 in an active one.
    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<3 { try spool.chunk(2) }
        try spool.seal()
        try spool.chunk(2)
        return spool
    }

    @Test func everythingDurableIsLoadedOnceAndTheCheckpointSaysSo() throws {
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool(), server)
        #expect(bench.run())
        #expect(server.holdsOnce(1..<9))
        #expect(server.inserts.map(\.sequences) == [1..<7, 7..<9])
        let checkpoint = try #require(try bench.savedCheckpoint())
        #expect(checkpoint.next == 9 && checkpoint.rowsLoaded == 8 && checkpoint.inflight.isEmpty && checkpoint.segmentNumber == 2)
    }

    @Test func theBytesSentAreThoseOfTheSegment() throws {
        let server = FakeClickHouse()
        let spool = try spool()
        #expect(try LoaderBench(spool, server).run())
        try #require(server.inserts.count == 2)
        let segment = try spool.segments()[0]
        let chunks = try spool.chunks(of: segment)
        let bytes = try spool.bytes(of: spool.path(of: segment))
        #expect(server.inserts[0].bytes == Array(bytes[Int(chunks[0].offset)..<Int(chunks[2].end)]))
        let crc = server.inserts[0].bytes.withUnsafeBytes { crc32c($0) }
        #expect(server.inserts[0].token == "test-1/trades/1-7/\(hex(crc))/0")
    }

    @Test(
        arguments: [
            [], [.answerLost], [.broken], [.exception(252), .exception(252), .exception(252)], [.tokenOnly], [.broken, .answerLost],
            [.tokenOnly, .broken, .tokenOnly], [.answerLost, .answerLost], [.loads, .tokenOnly, .exception(241)],
        ] as [[FakeClickHouse.Fate]])
    func theIntentIsDurableBeforeTheFirstByteArrivesAndEveryRowEndsUpThereOnce(fates: [FakeClickHouse.Fate]) throws {
        let spool = try spool()
        let directory = spool.checkpoints
        let problems = Mutex<[String]>([])
        let server = FakeClickHouse(fates) { insert in
            // What a loader would find that is killed now.
            let checkpoint = try? CheckpointStore.peek(directory: directory, writer: TestSpool.writer, table: TestSpool.table)
            let crc = insert.bytes.withUnsafeBytes { crc32c($0) }
            let noted = checkpoint?.inflight.first { $0.token(writer: TestSpool.writer, table: TestSpool.table) == insert.token }
            guard let inflight = noted, inflight.firstSequence..<inflight.endSequence == insert.sequences, inflight.checksum == crc,
                checkpoint?.next ?? .max <= insert.sequences.lowerBound
            else { return problems.withLock { $0.append("\(insert.token) came before its intent") } }
        }
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        #expect(bench.stopReason == nil)
        #expect(problems.withLock { $0 } == [])
        #expect(server.holdsOnce(1..<9), "\(server.copies)")
        #expect(try bench.savedCheckpoint()?.next == 9)
        #expect(bench.checkpoint.rowsLoaded == 8)
        for insert in server.inserts { #expect(insert.partitions.count == 1) }
    }

    @Test func aNewCheckpointDoesNotLoadTwiceWhatIsThere() throws {
        let server = FakeClickHouse()
        let first = try spool()
        #expect(try LoaderBench(first, server).run())
        let sent = server.inserts.count
        try first.chunk(3)
        try first.seal()
        // The checkpoints are lost.
        for name in try Directory.list("\(first.checkpoints)/\(TestSpool.writer)") {
            try Directory.remove("\(first.checkpoints)/\(TestSpool.writer)/\(name)")
        }
        let bench = try LoaderBench(first, server)
        #expect(bench.run())
        #expect(bench.stopReason == nil)
        #expect(server.holdsOnce(1..<12), "\(server.copies)")
        #expect(server.inserts.count == sent + 1)
        #expect(bench.checkpoint.next == 12 && bench.checkpoint.rowsLoaded == 11)
    }

    @Test func anOldCopyOfACheckpointDoesNotLoadTwiceWhatIsThere() throws {
        let server = FakeClickHouse()
        let spool = try spool()
        #expect(try LoaderBench(spool, server).run())
        let path = "\(spool.checkpoints)/\(TestSpool.writer)/\(TestSpool.table).checkpoint"
        let copy = try File.openForReading(path).read(2 * Checkpoint.slotBytes, at: 0)
        try spool.chunk(3)
        try spool.chunk(2)
        try spool.seal()
        #expect(try LoaderBench(spool, server).run())
        let sent = server.inserts.count
        try spool.chunk(1)
        try spool.seal()
        try File.openForWriting(path).write(copy, at: 0)
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        #expect(bench.stopReason == nil)
        #expect(server.holdsOnce(1..<15), "\(server.copies)")
        #expect(server.inserts.count == sent + 1)
        #expect(bench.checkpoint.next == 15)
    }

    @Test func aNewCheckpointStopsWhereRowsAreThereInAnotherWay() throws {
        let server = FakeClickHouse()
        let spool = try spool()
        #expect(try LoaderBench(spool, server).run())
        server.change { $0.copies[2] = nil }
        for name in try Directory.list("\(spool.checkpoints)/\(TestSpool.writer)") {
            try Directory.remove("\(spool.checkpoints)/\(TestSpool.writer)/\(name)")
        }
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        #expect(
            bench.stopReason
                == "the checkpoint says that sequence 1 is next, but ClickHouse has 7 rows of this writer from there on, sequences 1 to 8, "
                + "and they are not simply the next ones; restore the right checkpoint, or see with `spool-loader audit` what is missing")
        #expect(server.copies.count == 7)
    }

    @Test func anInsertThatIsRefusedForEverBacksOffAlthoughQuestionsAreAnswered() throws {
        let server = FakeClickHouse(Array(repeating: .exception(48), count: 12))
        let bench = try LoaderBench(try spool(), server)
        var most = 0
        for _ in 0..<2_000 where bench.loader.status != .drained {
            bench.run(steps: 1)
            most = max(most, bench.loader.failures)
        }
        #expect(most == 12)
        #expect(bench.loader.failures == 0 && server.holdsOnce(1..<9))
    }

    @Test func rowsThatComeLaterAreLoadedLater() throws {
        let server = FakeClickHouse()
        let spool = try spool()
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        try spool.chunk(3)
        try spool.seal()
        try spool.chunk(1)
        #expect(bench.run())
        #expect(server.holdsOnce(1..<13))
        #expect(bench.checkpoint.next == 13)
    }

    @Test func withNothingToDoNothingIsAsked() throws {
        let server = FakeClickHouse()
        let bench = try LoaderBench(TestSpool(), server)
        #expect(bench.run())
        #expect(server.requests == 0)
    }

    @Test func aTableThatIsNotInClickHouseIsWaitedForAndNothingIsSent() throws {
        let server = FakeClickHouse()
        server.change { $0.isThere = false }
        let bench = try LoaderBench(spool(), server)
        #expect(!bench.run(steps: 50))
        #expect(bench.loader.lastProblem == "table trades is not in ClickHouse; run `spool-loader migrate apply`")
        #expect(server.inserts.isEmpty)
        server.change { $0.isThere = true }
        #expect(bench.run())
        #expect(server.holdsOnce(1..<9))
    }

    @Test func halfABatchStopsTheTableWithWhatIsThere() throws {
        let server = FakeClickHouse([.half])
        let spool = try spool()
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        #expect(bench.stopReason == "rows 1 to 6: 3 of 6 rows are there, and 3 of the missing ones are not expired")
        #expect(try bench.savedCheckpoint()?.next == 1)
        #expect(try bench.savedCheckpoint()?.inflight.first?.endSequence == 7)
        #expect(server.inserts.count == 1)
        // It does not try again by itself.
        #expect(bench.run() && server.inserts.count == 1)
    }

    @Test func doubledRowsStopTheTable() throws {
        let bench = try LoaderBench(spool(), FakeClickHouse([.twice]))
        #expect(bench.run())
        #expect(bench.stopReason == "rows 1 to 6: 12 rows with 6 different sequences are there, of 6: some are doubled")
    }

    @Test func aDamagedChunkIsQuarantinedAndTheRestIsLoaded() throws {
        let server = FakeClickHouse()
        let spool = try spool()
        let segment = try spool.segments()[0]
        try spool.flip(spool.path(of: segment), at: spool.chunks(of: segment)[1].dataOffset + 9)
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        #expect(server.inserts.map(\.sequences) == [1..<3, 5..<7, 7..<9])
        #expect(bench.checkpoint.rowsQuarantined == 2 && bench.checkpoint.rowsLoaded == 6)
        #expect(
            try QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table).outstandingRows().ranges == [
                3..<5
            ])
    }

    @Test func expiredRowsAreCountedAsSuchAndNotSentAgain() throws {
        let server = FakeClickHouse([.answerLost])
        server.change {
            $0.engine =
                "MergeTree PARTITION BY toDate(ts) ORDER BY ts TTL toDateTime(ts) + toIntervalDay(1) SETTINGS non_replicated_deduplication_window = 1000"
            $0.expiry = Clock.now() - TestSpool.day
        }
        let spool = try TestSpool()
        // Old ones and one that lives, in one chunk; all of one day it need not be: the chunk is cut there.
        let fresh = Clock.now() - TestSpool.second
        try spool.chunk(4, at: TestSpool.start)
        try spool.chunk(2, at: fresh)
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        #expect(bench.stopReason == nil)
        #expect(bench.checkpoint.rowsExpired == 4 && bench.checkpoint.rowsLoaded == 2)
        #expect(server.inserts.count { $0.sequences == 1..<5 } == 1)
        #expect(server.copies == [5: 1, 6: 1])
    }

    @Test func aBatchOfWhichSomeRowsAreExpiredIsDone() throws {
        let server = FakeClickHouse([.answerLost])
        let limit = Clock.now() - TestSpool.day
        server.change {
            $0.engine = "MergeTree TTL toDateTime(ts) + toIntervalDay(1)"
            $0.expiry = limit
        }
        let spool = try TestSpool()
        // One day holds both sides of the limit, unless that lies within an hour of midnight.
        let hour = 3_600 * TestSpool.second
        let sameDay = (limit - hour) / TestSpool.day == (limit + hour) / TestSpool.day
        try spool.append(at: sameDay ? limit - hour : limit - TestSpool.second)
        try spool.append(at: sameDay ? limit + hour : limit + 60 * TestSpool.second)
        try spool.commit()
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        #expect(bench.stopReason == nil)
        #expect(bench.checkpoint.rowsExpired == 1 && bench.checkpoint.rowsLoaded == 1)
        #expect(bench.checkpoint.next == 3)
    }
}
