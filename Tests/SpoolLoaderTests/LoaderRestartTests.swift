import Glibc
import SpoolFormat
import SpoolIO
import SpoolTesting
import Synchronization
import Testing

@testable import spool_loader

/// Loaders that are killed and started again, and servers that come and go.
@Suite struct LoaderRestartTests {
    private func spool(chunks: Int = 4) throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<chunks { try spool.chunk(2) }
        return spool
    }

    @Test func aLoaderThatDiedWithABatchInFlightAsksBeforeItSends() throws {
        for fate in [FakeClickHouse.Fate.answerLost, .broken, .tokenOnly, .loads] {
            let server = FakeClickHouse([fate])
            let spool = try spool()
            var first: LoaderBench? = try LoaderBench(spool, server)
            while server.inserts.isEmpty {
                first?.loader.step(now: Clock.monotonic())
                first?.http.wait(milliseconds: 1)
            }
            first?.die()
            first = nil
            let second = try LoaderBench(spool, server)
            #expect(second.run())
            #expect(server.holdsOnce(1..<9), "\(fate): \(server.copies)")
            #expect(second.checkpoint.next == 9 && second.checkpoint.epoch == 2)
        }
    }

    @Test(arguments: Seeds.take(12))
    func loadersKilledAnywhereLoadEveryRowOnce(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let all: [FakeClickHouse.Fate] = [.loads, .loads, .answerLost, .broken, .tokenOnly, .exception(252)]
        let server = FakeClickHouse((0..<20).map { _ in all.randomElement(using: &random) ?? .loads })
        let spool = try TestSpool()
        for _ in 0..<8 {
            try spool.chunk(Int.random(in: 1...4, using: &random))
            if Int.random(in: 0..<100, using: &random) < 30 { try spool.seal() }
        }
        var next: UInt64 = 0
        for _ in 0..<25 {
            let bench = try LoaderBench(
                spool, server,
                [
                    "loader.batch_rows": "\(Int.random(in: 1...9, using: &random))",
                    "loader.inflight": "\(Int.random(in: 1...4, using: &random))",
                ])
            bench.run(steps: Int.random(in: 1...12, using: &random))
            bench.die()
            let now = try bench.savedCheckpoint()?.next ?? 0
            #expect(now >= next, "replay with SPOOL_TEST_SEED=\(seed)")
            next = now
            // What the checkpoint says is loaded is loaded, at every death.
            for sequence in 1..<max(next, 1) { #expect(server.copies[sequence] == 1, "replay with SPOOL_TEST_SEED=\(seed)") }
        }
        #expect(try LoaderBench(spool, server).run())
        #expect(server.holdsOnce(1..<spool.end), "replay with SPOOL_TEST_SEED=\(seed): \(server.copies)")
    }

    @Test func batchesInFlightOfWhichOneCannotBeReadForAMomentAreEachResumedOnce() throws {
        let spool = try TestSpool()
        for _ in 0..<2 {
            try spool.chunk(2)
            try spool.seal()
        }
        let server = FakeClickHouse([.broken, .broken])
        var first: LoaderBench? = try LoaderBench(spool, server, ["loader.inflight": "2"])
        while server.inserts.count < 2 { first?.run(steps: 1) }
        first?.die()
        #expect(try first?.savedCheckpoint()?.inflight.count == 2)
        first = nil
        // What a network file system may do for a moment: the second segment's name is there, and reading it fails.
        let path = spool.path(of: try spool.segments()[1])
        try Directory.rename(path, to: spool.path + "/aside")
        try Directory.create(path)
        let second = try LoaderBench(spool, server)
        second.run(steps: 20)
        #expect(second.loader.failures > 0 && second.stopReason == nil, "\(second.loader.lastProblem)")
        rmdir(path)
        try Directory.rename(spool.path + "/aside", to: path)
        #expect(second.run() && second.stopReason == nil)
        #expect(server.holdsOnce(1..<5), "\(server.copies)")
        #expect(second.checkpoint.rowsLoaded == 4 && second.checkpoint.next == 5)
    }

    @Test func aServerThatIsNotThereIsTriedAgain() throws {
        let spool = try spool()
        let gone = FakeClickHouse()
        let url = gone.url
        gone.stop()
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool, server, ["loader.url": "\(url),\(server.url)"])
        #expect(bench.run())
        #expect(server.holdsOnce(1..<9))
        #expect(bench.loader.failures == 0)
    }

    @Test func aChangedBatchInFlightStopsTheTable() throws {
        let server = FakeClickHouse([.broken])
        let spool = try spool()
        var first: LoaderBench? = try LoaderBench(spool, server)
        while server.inserts.isEmpty {
            first?.loader.step(now: Clock.monotonic())
            first?.http.wait(milliseconds: 1)
        }
        first?.die()
        first = nil
        let segment = try spool.segments()[0]
        try spool.flip(spool.path(of: segment), at: spool.chunks(of: segment)[1].dataOffset + 9)
        let second = try LoaderBench(spool, server)
        #expect(second.run())
        #expect(second.stopReason?.hasSuffix("its bytes have changed; whether ClickHouse has it, `spool-loader audit` tells") == true)
        #expect(server.inserts.count == 1)
    }

    @Test func aSecondLoaderOfTheSameTableIsRefused() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        let first = try LoaderBench(spool, server)
        #expect(throws: CommandFailure.self) { try LoaderBench(spool, server) }
        #expect(first.run())
    }

    @Test func aDamagedMarkIsWaitedOut() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool, server)
        try spool.flip(spool.markPath, at: 50)
        #expect(!bench.run(steps: 30))
        #expect(bench.loader.lastProblem.hasPrefix("trades/durable: checksum of the durable mark differs"))
        #expect(server.requests == 0)
        try spool.flip(spool.markPath, at: 50)
        #expect(bench.run() && server.holdsOnce(1..<9))
    }

    @Test(arguments: [
        "1\t1\t1\t0\n", "1\t1\t1\t18446744073709551615\n", "18446744073709551615\t18446744073709551615\t1\t18446744073709551615\n",
    ])
    func anAbsurdAnswerAboutOlderRowsStopsAndDoesNotTrap(rows: String) throws {
        let target = "engine\t\tMergeTree\n" + TestSpool.schema().wireColumns.map { "column\t\($0.name)\t\($0.type)\n" }.joined()
        let server = RawServer { request in
            String(decoding: request.body, as: UTF8.self).hasPrefix("SELECT kind") ? .ok(target) : .ok(rows)
        }
        defer { server.stop() }
        let bench = try LoaderBench(spool(), FakeClickHouse(), ["loader.url": server.url])
        #expect(bench.run())
        #expect(bench.stopReason?.hasPrefix("the checkpoint says that sequence 1 is next, but ClickHouse has ") == true)
        #expect(bench.checkpoint.next == 1)
    }

    @Test func anAnswerThatIsNoCountIsNotTakenForOne() throws {
        for nonsense in ["", "8\n", "8\tx\t8\n", "8\t8\nCode: 241. DB::Exception\n", "8\t8", "-1\t-1\n", "99999999999999999999999\t1\n"] {
            let target = "engine\t\tMergeTree\n" + TestSpool.schema().wireColumns.map { "column\t\($0.name)\t\($0.type)\n" }.joined()
            let counts = Mutex(0)
            let server = RawServer { request in
                if request.parameters["query"] != nil { return .close }
                if String(decoding: request.body, as: UTF8.self).hasPrefix("SELECT kind") { return .ok(target) }
                counts.withLock { $0 += 1 }
                return .ok(nonsense)
            }
            defer { server.stop() }
            let bench = try LoaderBench(spool(), FakeClickHouse(), ["loader.url": server.url])
            for _ in 0..<2_000 where counts.withLock({ $0 }) < 3 { bench.run(steps: 1) }
            #expect(bench.checkpoint.next == 1, "\(nonsense)")
            #expect(bench.loader.lastProblem.hasPrefix("an answer that is no count: "), "\(nonsense): \(bench.loader.lastProblem)")
        }
    }
}
