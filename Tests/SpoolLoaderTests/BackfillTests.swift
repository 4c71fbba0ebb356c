import Glibc
import Logging
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// One table of a spool into a server that may have some of its rows, with the checkpoint of its own.
@Suite struct BackfillTests {
    private func run(
        _ spool: TestSpool, _ server: FakeClickHouse, range: TimeRange = .everything, liveFrom: UInt64? = nil,
        refused: SequenceSet = SequenceSet(),
        batchRows: Int = 100_000
    ) throws -> BackfillResult {
        let settings = try configuration([
            "loader.url": server.url, "loader.backoff": "1ms", "loader.backoff_max": "1ms", "loader.timeout": "1s",
            "loader.batch_rows": "\(batchRows)", "loader.linger": "0ms", "loader.inflight": "1",
        ])
        var log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        log.logLevel = .critical
        let http = HTTPClient()
        let ours = SequenceSet([0..<UInt64.max]).subtracting(refused)
        let scope = LoadScope(
            times: range == .everything ? nil : range, sequences: refused.isEmpty ? nil : ours, end: liveFrom,
            checkpoints: spool.checkpoints, asksFirst: true, firstAttempt: 1_700_000_000)
        let (server, quiet) = (try ClickHouse(configuration: settings, http: http), log)
        let loader = try openedAgain {
            try TableLoader(
                table: spool.table, spool: spool.spool, configuration: settings, server: server, log: quiet, once: false, scope: scope)
        }
        let lane = BackfillLane(loader: loader, refusedBefore: refused.count)
        while !lane.isOver {
            lane.step(now: Clock.monotonic(), patience: 0)
            if lane.hasFailedTooOften { throw CommandFailure(loader.lastProblem, code: 74) }
            http.wait(milliseconds: 2)
        }
        return lane.result
    }

    private func forgetCheckpoint(_ spool: TestSpool) throws {
        unlink("\(spool.checkpoints)/\(TestSpool.writer)/\(spool.table).checkpoint")
    }

    /// Rows 1-4, 5-8 in a sealed segment, 9-12 in an active one.
    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        try spool.chunk(4)
        try spool.chunk(4)
        try spool.seal()
        try spool.chunk(4)
        return spool
    }

    @Test("everything is loaded once; the same again has nothing to do; without its checkpoint it asks and finds all there")
    func everything() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        var result = try run(spool, server)
        #expect(result.loaded == 12 && result.present == 0 && result.problem == nil)
        #expect(server.holdsOnce(1..<13))
        result = try run(spool, server)
        #expect(result.loaded == 0 && result.present == 0)
        try forgetCheckpoint(spool)
        result = try run(spool, server)
        #expect(result.loaded == 0 && result.present == 12)
        #expect(server.inserts.count == 2)
        #expect(server.holdsOnce(1..<13))
    }

    @Test(
        "rows that were loaded and deleted come back, though ClickHouse knows the token that they were loaded under",
        arguments: ["", "Replicated"])
    func deleted(prefix: String) throws {
        let spool = try spool()
        let server = FakeClickHouse()
        server.change { $0.engine = prefix + $0.engine }
        #expect(try LoaderBench(spool, server).run())
        #expect(server.holdsOnce(1..<13))
        // By a mutation, which leaves the tokens.
        server.change { $0.copies = [1: 1] }
        try forgetCheckpoint(spool)
        let result = try run(spool, server)
        #expect(result.loaded == 11 && result.present == 1 && result.problem == nil)
        #expect(server.holdsOnce(1..<13), "\(server.copies)")
    }

    @Test("whole batches that are missing go as they lie in the segment, under a token that no loader has used")
    func bytesOfTheSegment() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        _ = try run(spool, server)
        let segment = try spool.segments()[0]
        let chunks = try spool.chunks(of: segment)
        let bytes = Array(try spool.bytes(of: spool.path(of: segment))[Int(chunks[0].offset)..<Int(chunks[1].end)])
        try #require(server.inserts.count == 2)
        #expect(server.inserts[0].bytes == bytes)
        #expect(server.inserts[0].token == "test-1/trades/1-9/\(hex(bytes.withUnsafeBytes { crc32c($0) }))/1700000000")
    }

    @Test("of a batch that is partly there only the missing rows are sent")
    func holes() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        server.change { $0.copies = [2: 1, 3: 1, 12: 1] }
        let result = try run(spool, server)
        #expect(result.loaded == 9 && result.present == 3)
        #expect(server.holdsOnce(1..<13))
        #expect(server.inserts.map(\.sequences) == [1..<2, 4..<5, 5..<9, 9..<12])
    }

    @Test("a range of event times loads its rows and no others, and segments without any are passed without a question")
    func ranges() throws {
        let spool = try TestSpool()
        for day in 0..<Int64(5) {
            try spool.chunk(4, at: TestSpool.start + day * TestSpool.day)
            try spool.seal()
        }
        let server = FakeClickHouse()
        let range = TimeRange(from: TestSpool.start + TestSpool.day + 2, to: TestSpool.start + 3 * TestSpool.day + 1)
        let result = try run(spool, server, range: range)
        #expect(result.loaded == 7 && result.present == 0)
        #expect(server.holdsOnce(7..<14))
        // One for what the table is like, then a question, an insert and a question for each of three days.
        #expect(server.requests == 10)
        let again = try run(spool, server, range: range)
        #expect(again.loaded == 0)
        #expect(server.requests == 10)
    }

    @Test("what belongs to a live loader is left to it")
    func live() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        #expect(try run(spool, server, liveFrom: 5).loaded == 4)
        #expect(server.holdsOnce(1..<5))
        #expect(try run(spool, server, liveFrom: 9).loaded == 4)
        #expect(server.holdsOnce(1..<9))
    }

    @Test("rows that ClickHouse is known to refuse do not hold up those around them")
    func refusedBefore() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        let result = try run(spool, server, refused: SequenceSet([3..<4, 9..<13]))
        #expect(result.loaded == 7 && result.quarantined == 5 && result.problem == nil)
        #expect(server.copies.keys.sorted() == [1, 2, 4, 5, 6, 7, 8])
    }

    @Test("rows that are older than the TTL are expired, and not sent")
    func expired() throws {
        let spool = try TestSpool()
        let old = Clock.now() - 3 * TestSpool.day
        try spool.chunk(4, at: old)
        try spool.chunk(4, at: Clock.now())
        let server = FakeClickHouse()
        server.change {
            $0.engine =
                "MergeTree PARTITION BY toDate(ts) ORDER BY ts TTL toDateTime(ts) + toIntervalDay(2) SETTINGS index_granularity = 8192"
            $0.expiry = old + TestSpool.day
        }
        let result = try run(spool, server)
        #expect(result.loaded == 4 && result.expired == 4 && result.problem == nil)
        #expect(server.holdsOnce(5..<9))
        #expect(server.inserts.count == 1)
    }

    @Test("a damaged chunk is quarantined in the backfill's own list, and the rest is loaded")
    func damage() throws {
        let spool = try spool()
        let segment = try spool.segments()[0]
        try spool.flip(spool.path(of: segment), at: spool.chunks(of: segment)[1].end - 10)
        let server = FakeClickHouse()
        let result = try run(spool, server)
        #expect(result.loaded == 8 && result.quarantined == 4 && result.problem == nil)
        #expect(server.copies.keys.sorted() == [1, 2, 3, 4, 9, 10, 11, 12])
        #expect(
            try QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table).outstandingRows().ranges == [
                5..<9
            ])
    }

    @Test("what is promised and not here is waited for, and then named")
    func copyInProgress() throws {
        let spool = try spool()
        let active = spool.path(of: try spool.segments()[1])
        let bytes = try spool.bytes(of: active)
        try spool.truncate(active, to: UInt64(bytes.count) - 1)
        let server = FakeClickHouse()
        let result = try run(spool, server)
        #expect(result.loaded == 8)
        #expect(try #require(result.problem).contains("more are durable"))
        try spool.overwrite(active, bytes)
        #expect(try run(spool, server).problem == nil)
        #expect(server.holdsOnce(1..<13))
    }

    @Test("a table that is not in ClickHouse, or of other types, is a problem with a name")
    func target() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        server.change { $0.isThere = false }
        #expect(try run(spool, server).problem == "table trades is not in ClickHouse; run `spool-loader migrate apply`")
    }

    @Test("an insert that fails for ever ends the command, and the same command goes on")
    func failing() throws {
        let spool = try spool()
        let server = FakeClickHouse(Array(repeating: .exception(241), count: 12))
        let failure = #expect(throws: CommandFailure.self) { try run(spool, server) }
        #expect(failure?.code == 74)
        #expect(try run(spool, server).loaded == 12)
        #expect(server.holdsOnce(1..<13))
    }

    @Test("rows that ClickHouse refuses are found and set aside, and all others are loaded")
    func refused() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        server.change { $0.refused = [3, 10] }
        let result = try run(spool, server)
        #expect(result.loaded == 10 && result.quarantined == 2 && result.problem == nil)
        #expect(server.copies.keys.sorted() == [1, 2, 4, 5, 6, 7, 8, 9, 11, 12])
    }

    /// The event times of a spool's rows, by sequence.
    private func eventTimes(_ spool: TestSpool) throws -> [UInt64: Int64] {
        var times: [UInt64: Int64] = [:]
        for segment in try spool.segments() {
            let reader = try SegmentReader(path: spool.path(of: segment))
            for chunk in try spool.chunks(of: segment) {
                let block = try reader.block(of: chunk)
                for row in 0..<block.rows {
                    times[chunk.header.firstSequence + UInt64(row)] = Int64(block.columns[reader.header.eventTimeColumn].integer(row))
                }
            }
        }
        return times
    }

    @Test("a batch that was in flight and cannot be read again is asked for like any other")
    func inflightDamaged() throws {
        let spool = try spool()
        let server = FakeClickHouse(Array(repeating: .exception(241), count: 12))
        #expect(throws: CommandFailure.self) { try run(spool, server) }
        let checkpoint = try CheckpointStore.peek(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table)
        #expect(checkpoint?.inflight.count == 1)
        let segment = try spool.segments()[0]
        try spool.flip(spool.path(of: segment), at: spool.chunks(of: segment)[1].end - 10)
        let result = try run(spool, server)
        #expect(result.loaded == 8 && result.quarantined == 4)
        #expect(server.copies.keys.sorted() == [1, 2, 3, 4, 9, 10, 11, 12])
    }

    @Test("whatever was there, whatever is asked for and whatever fails: each row of the range is there once", arguments: Seeds.take(20))
    func model(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let spool = try TestSpool()
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let day = random.oneIn(8) ? TestSpool.day : 0
                try spool.append(at: TestSpool.start + day + Int64.random(in: 0..<100, using: &random))
            }
            try spool.commit()
            if random.oneIn(3) { try spool.seal() }
        }
        let times = try eventTimes(spool)
        let fates: [FakeClickHouse.Fate] = (0..<Int.random(in: 0...30, using: &random)).map { _ in
            random.pick([.loads, .answerLost, .tokenOnly, .broken, .exception(241)])
        }
        let server = FakeClickHouse(fates)
        let there = times.keys.filter { _ in random.oneIn(3) }
        server.change { table in
            table.times = times
            for sequence in there { table.copies[sequence] = 1 }
        }
        var expected = Set(there)
        for _ in 0..<3 {
            let ends = (0..<2).map { _ in Int64.random(in: 0...100, using: &random) }.sorted()
            let range = random.oneIn(3) ? .everything : TimeRange(from: TestSpool.start + ends[0], to: TestSpool.start + ends[1] + 1)
            try forgetCheckpoint(spool)
            expected.formUnion(times.filter { range.contains($0.value) }.keys)
            // Runs that failed for good are followed by others, as people do.
            var isDone = false
            for _ in 0..<10 where !isDone {
                do {
                    let problem = try run(spool, server, range: range, batchRows: random.pick([1, 5, 100])).problem
                    #expect(problem == nil, "seed \(seed): \(problem ?? "")")
                    isDone = true
                } catch is CommandFailure {}
            }
            #expect(isDone)
            #expect(server.copies == Dictionary(uniqueKeysWithValues: expected.map { ($0, 1) }), "seed \(seed)")
        }
        for insert in server.inserts { #expect(insert.partitions.count == 1) }
    }

    @Test("each range and each target has checkpoints of its own, and the same ones each time")
    func sets() throws {
        let one = try configuration(["loader.url": "http://a:8123"])
        let two = try configuration(["loader.url": "http://b:8123"])
        let day = TimeRange(from: TestSpool.start, to: TestSpool.start + TestSpool.day)
        #expect(
            Backfill.setName(range: .everything, one) == "all-\(hex(Array("http://a:8123 default".utf8).withUnsafeBytes { crc32c($0) }))")
        #expect(Backfill.setName(range: day, one).hasPrefix("2026-01-02T030405Z--2026-01-03T030405Z-"))
        #expect(Set([one, two].flatMap { [Backfill.setName(range: .everything, $0), Backfill.setName(range: day, $0)] }).count == 4)
    }
}
