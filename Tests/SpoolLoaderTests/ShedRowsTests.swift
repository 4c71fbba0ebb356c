import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// What loader, `ls` and `audit` make of rows that were given up.
@Suite struct ShedRowsTests {
    /// Sealed segments with rows 1-2 3-4, 5-6 7-8; an active one with rows 9-10.
    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<2 {
            try spool.chunk(2)
            try spool.chunk(2)
            try spool.seal()
        }
        try spool.chunk(2)
        return spool
    }

    private func audit(_ spool: TestSpool, _ server: FakeClickHouse) throws -> TableAudit.Result {
        let settings = try configuration(["loader.url": server.url, "loader.timeout": "2s"])
        return try TableAudit(
            spool: spool.spool, table: spool.table, checkpoints: spool.checkpoints,
            server: ClickHouse(configuration: settings, http: HTTPClient()), times: (.min, .max)
        ).run()
    }

    @Test func shedRowsAreCountedAndNotQuarantined() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[0])
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool, server)
        #expect(bench.run() && bench.stopReason == nil)
        #expect(server.holdsOnce(5..<11))
        let checkpoint = try #require(try bench.savedCheckpoint())
        #expect(checkpoint.rowsShed == 4 && checkpoint.rowsQuarantined == 0 && checkpoint.rowsLoaded == 6 && checkpoint.next == 11)
        #expect(
            try QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table).outstandingRows().ranges == [])
        let result = try audit(spool, server)
        #expect(result.isClean && result.shed.ranges == [[1, 5]] && result.missing.rows == 0 && result.rows == 6 && result.present == 6)
    }

    @Test func rowsOfAShedSegmentThatHadArrivedBeforeAreNotShed() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool, server, ["loader.batch_rows": "2"])
        while bench.checkpoint.next < 7 { bench.run(steps: 1) }
        bench.die()
        try spool.shed(spool.segments()[1])
        #expect(bench.run() && bench.stopReason == nil)
        let there = server.copies.keys.filter { (5..<9).contains($0) }.count
        #expect(there >= 2)
        let result = try audit(spool, server)
        #expect(result.isClean && result.shed.rows == UInt64(4 - there) && result.missing.rows == 0)
    }

    @Test func rowsOfATombstoneThatAreThereTwiceAreStillNamed() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[0])
        let server = FakeClickHouse()
        server.change { $0.copies = [3: 2, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1] }
        let result = try audit(spool, server)
        #expect(result.duplicate.ranges == [[3, 4]] && result.shed.ranges == [[1, 3], [4, 5]] && !result.isClean)
    }

    /// A loader killed while rows 1-4 were on their way, and their segment given up before the next one starts.
    private func killed(_ spool: TestSpool, _ server: FakeClickHouse) throws {
        let first = try LoaderBench(spool, server)
        while server.inserts.isEmpty { first.run(steps: 1) }
        first.die()
        #expect(try first.savedCheckpoint()?.inflight.first?.endSequence == 5)
    }

    @Test func aBatchInFlightThatArrivedIsLoadedThoughItsSegmentWasShed() throws {
        let (spool, server) = (try spool(), FakeClickHouse([.answerLost]))
        try killed(spool, server)
        try spool.shed(spool.segments()[0])
        let second = try LoaderBench(spool, server)
        #expect(second.run() && second.stopReason == nil)
        #expect(server.holdsOnce(1..<11))
        #expect(second.checkpoint.rowsLoaded == 10 && second.checkpoint.rowsShed == 0 && second.checkpoint.inflight.isEmpty)
    }

    @Test func aBatchInFlightThatDidNotArriveIsShedWithItsSegment() throws {
        for removes in [true, false] {
            let (spool, server) = (try spool(), FakeClickHouse([.broken]))
            try killed(spool, server)
            try spool.shed(spool.segments()[0], removes: removes)
            let second = try LoaderBench(spool, server)
            #expect(second.run() && second.stopReason == nil)
            #expect(server.holdsOnce(5..<11))
            #expect(second.checkpoint.rowsLoaded == 6 && second.checkpoint.rowsShed == 4 && second.checkpoint.rowsQuarantined == 0)
        }
    }

    @Test func aBatchInFlightThatIsPartlyThereStops() throws {
        let (spool, server) = (try spool(), FakeClickHouse([.half]))
        try killed(spool, server)
        try spool.shed(spool.segments()[0])
        let second = try LoaderBench(spool, server)
        #expect(second.run())
        #expect(
            second.stopReason
                == "trades: the batch in flight, rows 1 to 4, cannot be sent again: its segment was given up; ClickHouse has 2 of its 4 rows, 2 different ones; `spool-loader audit` names those that are missing"
        )
    }

    @Test func aBatchInFlightWhoseSegmentIsGoneWithoutADeclarationStopsUnlessItArrived() throws {
        for (fate, arrives) in [(.broken, false), (.answerLost, true)] as [(FakeClickHouse.Fate, Bool)] {
            let (spool, server) = (try spool(), FakeClickHouse([fate]))
            try killed(spool, server)
            try Directory.remove(spool.path(of: spool.segments()[0]))
            let second = try LoaderBench(spool, server)
            #expect(second.run())
            #expect((second.stopReason == nil) == arrives, "\(second.stopReason ?? "")")
            if arrives { #expect(server.holdsOnce(1..<11)) }
            if !arrives { #expect(second.stopReason?.contains("its segment is not in the spool, and no other one declares") == true) }
        }
    }

    @Test func aQuestionAboutAGoneBatchIsAskedUntilItIsAnswered() throws {
        let (spool, server) = (try spool(), FakeClickHouse([.answerLost]))
        try killed(spool, server)
        try spool.shed(spool.segments()[0])
        let second = try LoaderBench(spool, server, ["loader.url": "http://127.0.0.1:1,\(server.url)"])
        #expect(second.run() && second.stopReason == nil && server.holdsOnce(1..<11))
    }

    @Test func lsTellsShedSegmentsAndCountsOnlyRowsThatAreThere() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[1])
        let survey = SpoolSurvey(spool: spool.spool, checkpoints: spool.checkpoints)
        let segments = try survey.segments(of: spool.table)
        #expect(segments.map(\.state) == ["sealed", "shed", "active"])
        #expect(segments.map(\.rows) == [4, 0, 2])
        #expect(segments[1].firstSequence == 5 && segments[1].endSequence == 9)
        let store = try CheckpointStore(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table)
        var checkpoint = store.checkpoint
        checkpoint.next = 3
        try store.save(checkpoint)
        let table = try survey.table(spool.table, now: TestSpool.start)
        #expect(table.rows == 6 && table.lagRows == 4 && table.durableEnd == 11 && table.problems == [])
    }

    @Test(arguments: [
        (present: 10, distinct: 10, declared: true, GoneBatch.loaded), (10, 10, false, .loaded), (0, 0, true, .absent),
    ])
    func whatIsThereDecidesOverAGoneBatch(present: Int, distinct: Int, declared: Bool, expected: GoneBatch) {
        #expect(GoneBatch(batch, present: UInt64(present), distinct: UInt64(distinct), isDeclared: declared) == expected)
    }

    @Test(arguments: [(0, 0, false), (5, 5, true), (20, 10, true), (10, 9, true), (11, 10, true)])
    func everythingElseAboutAGoneBatchStops(present: Int, distinct: Int, declared: Bool) {
        guard case .stop = GoneBatch(batch, present: UInt64(present), distinct: UInt64(distinct), isDeclared: declared) else {
            Issue.record("it goes on")
            return
        }
    }

    private let batch = InflightBatch(
        firstSequence: 1, endSequence: 11, segmentNumber: 1, fromOffset: 9, toOffset: 99, partition: 1, checksum: 1, attempt: 0)
}
