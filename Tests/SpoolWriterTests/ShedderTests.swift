import Glibc
import Logging
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// Making room: which segments go, which stay, and what stands in their place.
struct ShedderTests {
    /// A spool with a market and an audit table, and five sealed segments of each.
    private final class Scene {
        let spool: TestSpool
        let checkpoints: String
        let recorder: Recorder
        let log = LogRecord()
        let shedder: Shedder

        init(segments: Int = 5) throws {
            spool = try TestSpool(schemas: [MarketSchemas.quotes, MarketSchemas.events, TestSpool.ticks])
            checkpoints = try spool.directory.directory("checkpoints/w1")
            spool.flags["writer.checkpoints"] = spool.directory.file("checkpoints")
            recorder = try spool.recorder(log: log.logger)
            for segment in 0..<segments {
                for row in 0..<10 {
                    let n = UInt64(segment * 10 + row)
                    try recorder.take(MarketSchemas.quote(row < 7 ? "A" : "B", at: Int64(n), bid: Double(n), n: n), from: Source(name: nil))
                    try recorder.take(TestSpool.line(n), from: Source(name: nil))
                }
                try recorder.finish()
            }
            let guardian = try #require(recorder.guardian)
            shedder = Shedder(
                configuration: try spool.configuration(), spool: recorder.spool, commits: recorder.commits, ledger: guardian.ledger,
                log: log.logger)
        }

        func loaded(_ table: String, next: UInt64, segment: UInt64) throws {
            var checkpoint = Checkpoint(writer: "w1", table: table)
            (checkpoint.version, checkpoint.next, checkpoint.segmentNumber) = (1, next, segment)
            try Bytes.write(checkpoint.encode(), to: "\(checkpoints)/\(table).checkpoint")
        }

        func settle() -> Bool {
            recorder.guardian?.flushLosses(monotonic: Clock.monotonic())
            return recorder.commits.commit(cutting: true)
        }

        /// Steps until something is freed or nothing is left.
        func step() throws -> Shedder.Outcome {
            for _ in 0..<2_000 {
                let outcome = shedder.step(wanted: 1, now: Clock.now(), monotonic: Clock.monotonic(), settle: settle)
                if outcome != .working { return outcome }
                usleep(1_000)
            }
            Issue.record("it never comes to an end")
            return .nothingLeft
        }

        func numbers(_ table: String) throws -> [UInt64] { try spool.segments(table).map(\.number) }
    }

    @Test("loaded segments go first, oldest first, but never the one that the checkpoint stands in, nor the newest")
    func loadedFirst() throws {
        let scene = try Scene()
        try scene.loaded("ticks", next: 31, segment: 4)
        try scene.loaded("market_data", next: 11, segment: 2)
        guard case .freed = try scene.step() else { return #expect(Bool(false), "nothing was freed") }
        #expect(try scene.numbers("market_data") == [2, 3, 4, 5])
        for _ in 0..<3 { guard case .freed = try scene.step() else { break } }
        #expect(try scene.numbers("ticks") == [4, 5])
    }

    @Test("audit segments that are not loaded never go, however often it is tried")
    func auditStays() throws {
        let scene = try Scene()
        var steps = 0
        while try scene.step() != .nothingLeft, steps < 50 { steps += 1 }
        #expect(try scene.numbers("ticks") == [1, 2, 3, 4, 5])
        #expect(try scene.spool.numbers() == Array(0..<50))
    }

    @Test("a market segment that is not loaded becomes a tombstone: its rows are in the ledger by symbol, and recovery goes on behind it")
    func tombstone() throws {
        let scene = try Scene()
        guard case .freed = try scene.step() else { return #expect(Bool(false), "nothing was freed") }
        let names = try scene.spool.segments("market_data")
        #expect(names.map(\.firstSequence) == [11, 11, 21, 31, 41])
        let contents = try scene.spool.contents("market_data")
        #expect(contents[0].rows.isEmpty)
        let header = try SegmentReader(path: scene.spool.path(names[0], "market_data")).header
        #expect((header.isShed, header.lost, header.number) == (true, 1..<11, 1))
        #expect(
            try scene.spool.losses() == [
                RecordedLoss(symbol: "A", reason: "shed", rows: 7), RecordedLoss(symbol: "B", reason: "shed", rows: 3),
            ])
        #expect(try scene.spool.recordedQuotes() == Array(10..<50))
    }

    @Test("all but the newest can go, and each loss is recorded once")
    func allTombstones() throws {
        let scene = try Scene()
        while try scene.step() != .nothingLeft {}
        #expect(try scene.spool.recordedQuotes() == Array(40..<50))
        #expect(try scene.spool.losses().reduce(0) { $0 + $1.rows } == 40)
    }

    @Test("the segment that the loader may be sending is left alone")
    func loaderIsLeftAlone() throws {
        let scene = try Scene()
        try scene.loaded("market_data", next: 3, segment: 1)
        guard case .freed = try scene.step() else { return #expect(Bool(false), "nothing was freed") }
        #expect(try scene.spool.recordedQuotes() == Array(0..<10) + Array(20..<50))
    }

    @Test("what cannot be read is never deleted: a damaged segment stays, and the log says so")
    func damagedStays() throws {
        let scene = try Scene()
        let first = try #require(try scene.spool.segments("market_data").first)
        let path = scene.spool.path(first, "market_data")
        var bytes = try Bytes.read(path)
        let start = Int(try SegmentReader(path: path).start)
        bytes[start + 9] ^= 1
        try Bytes.write(bytes, to: path)
        while try scene.step() != .nothingLeft {}
        #expect(try Bytes.read(path) == bytes)
        #expect(scene.log.lines(with: "a segment is kept", first.fileName).count == 1)
    }

    @Test("a segment beside its tombstone, as a crash leaves them, is removed at the next start, and its rows are counted once")
    func crashBetween() throws {
        let spool = try TestSpool(schemas: [MarketSchemas.quotes, MarketSchemas.events])
        do {
            let recorder = try spool.recorder()
            for segment in 0..<2 {
                for n in UInt64(segment * 5)..<UInt64(segment * 5 + 5) {
                    try recorder.take(MarketSchemas.quote("A", at: Int64(n), bid: 1, n: n), from: Source(name: nil))
                }
                try recorder.finish()
            }
        }
        let first = try #require(try spool.segments("market_data").first)
        let bytes = try Bytes.read(spool.path(first, "market_data"))
        let header = try SegmentReader(path: spool.path(first, "market_data")).header
        let directory = try SpoolDirectory.open(spool.spoolPath)
        let tombstone = Tombstone(replacing: header, end: 6, sources: [], in: directory, now: TestSpool.time)
        try tombstone.prepare()
        try tombstone.finish()
        try Bytes.write(bytes, to: spool.path(first, "market_data"))
        #expect(try spool.segments("market_data").map(\.number) == [1, 1, 2])
        let recovered = try spool.recover("market_data")
        #expect(recovered.nextSequence == 11)
        #expect(try spool.segments("market_data").map(\.number) == [1, 2])
        #expect(try spool.recordedQuotes() == Array(5..<10))
    }

    @Test("two segments of one number that are no segment and its tombstone refuse the table")
    func twoOfOneNumber() throws {
        let spool = try TestSpool()
        do {
            let recorder = try spool.recorder()
            for n in 0..<UInt64(5) { try recorder.take(TestSpool.line(n), from: Source(name: nil)) }
            try recorder.finish()
        }
        let bytes = try Bytes.read(try spool.newest())
        try Bytes.write(bytes, to: "\(spool.spoolPath)/ticks/\(SegmentName(number: 1, firstSequence: 3).fileName)")
        #expect(throws: RecoveryFailure.self) { try spool.recover() }
    }

    @Test("loaded segments are deleted once they are older than the keep time, and not before")
    func retention() throws {
        let scene = try Scene()
        try scene.loaded("ticks", next: 51, segment: 5)
        scene.shedder.retain(now: Clock.now() + 3_600_000_000_000)
        #expect(try scene.numbers("ticks") == [1, 2, 3, 4, 5])
        scene.shedder.retain(now: Clock.now() + 25 * 3_600_000_000_000)
        #expect(try scene.numbers("ticks") == [5])
        #expect(try scene.numbers("market_data") == [1, 2, 3, 4, 5])
    }
}
