import Glibc
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// A disk that takes nothing, and a spool that is not there: what is kept, refused or given up, and that it goes on by itself.
@Suite(.enabled(if: SmallDisk.isPossible, "a file system of its own needs the right to mount"))
struct GivenUpTests {
    private static func noise(_ random: inout SeededRandom) -> String { (0..<60).map { _ in String(random.next(), radix: 36) }.joined() }

    private func tick(_ n: UInt64, _ random: inout SeededRandom) -> String {
        "{\"table\":\"ticks\",\"ts\":\(TestSpool.time),\"n\":\(n),\"note\":\"\(Self.noise(&random))\"}"
    }

    private func scene(_ flags: [String: String]) throws -> (disk: SmallDisk, spool: TestSpool) {
        let disk = try #require(SmallDisk(bytes: 4 << 20))
        let spool = try TestSpool(
            schemas: [MarketSchemas.quotes, MarketSchemas.events, TestSpool.ticks],
            [
                "writer.chunk_rows": "200", "writer.reserve": "0", "writer.disk_warn": "100", "writer.disk_shed": "100",
                "writer.disk_emergency": "100",
            ]
            .merging(flags) { $1 })
        spool.spoolPath = "\(disk.path)/spool"
        return (disk, spool)
    }

    @Test(
        "when the queue of audit rows is full each further one is refused with the reason; what was accepted is durable once there is room")
    func auditRowsAreRefused() throws {
        var random = SeededRandom(seed: 3)
        let (disk, spool) = try scene(["writer.queue_audit": "1MiB"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        try recorder.take(tick(0, &random), from: source)
        recorder.commit()
        try disk.fill(leaving: 0)
        var accepted: [UInt64] = [0]
        var reasons: Set<String> = []
        for n in 1..<UInt64(3_000) {
            do throws(Refusal) {
                try recorder.take(tick(n, &random), from: source)
                accepted.append(n)
            } catch {
                reasons.insert(error.reason)
            }
            recorder.tick(monotonic: Clock.monotonic() + Int64(n) * 1_000_000)
        }
        #expect(!reasons.isEmpty)
        #expect(reasons.allSatisfy { $0.contains("the disk takes no rows") && $0.contains("send it again later") })
        #expect(recorder.commits.undurableBytes(.audit) < 2 << 20)
        #expect(source.complete < UInt64(accepted.count))
        disk.makeRoom()
        recorder.tick(monotonic: Clock.monotonic() + 10_000_000_000)
        #expect(recorder.commit())
        try recorder.take(tick(9_999, &random), from: source)
        try recorder.finish()
        #expect(try spool.numbers() == accepted + [9_999])
        #expect(source.accepted == UInt64(accepted.count) + 1)
    }

    @Test(
        "market rows that the disk does not take are dropped oldest first, counted by symbol, and hold nobody up", arguments: Seeds.take(4))
    func marketRowsAreDropped(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let (disk, spool) = try scene(["writer.queue_market": "1MiB", "writer.chunk_age": "1ms"])
        let recorder = try spool.recorder()
        let source = recorder.source(named: "socket:feed", resume: true)
        var sent: [String: UInt64] = [:]
        func quote(_ n: UInt64) throws {
            let symbol = ["A", "B", "C"][Int.random(in: 0..<3, using: &random)]
            sent[symbol, default: 0] += 1
            try recorder.take(
                MarketSchemas.quote(
                    symbol, at: Int64(n), bid: Double.random(in: 0...1, using: &random), n: random.next() / 2, event: "trade"),
                from: source)
        }
        for n in 0..<UInt64(500) { try quote(n) }
        recorder.commit()
        // Not full, which would let new rows be dropped at once, but gone: the disk takes nothing.
        try Directory.rename(spool.spoolPath, to: "\(disk.path)/elsewhere")
        let before = source.complete
        var most = 0
        var n: UInt64 = 500
        while n < 120_000 {
            for _ in 0..<500 {
                try quote(n)
                n += 1
            }
            recorder.tick(monotonic: Clock.monotonic() + Int64(n) * 10_000)
            most = max(most, recorder.commits.undurableBytes(.market))
        }
        #expect(most < 2 << 20)
        #expect(source.complete < n)
        #expect(source.complete >= before)
        try Directory.rename("\(disk.path)/elsewhere", to: spool.spoolPath)
        recorder.tick(monotonic: Clock.monotonic() + 100_000_000_000)
        recorder.commit()
        #expect(recorder.commit())
        #expect(source.complete == n)
        try recorder.finish()
        let lost = try spool.losses()
        #expect(!lost.isEmpty && lost.allSatisfy { $0.reason == "queue_full" })
        var there: [String: UInt64] = [:]
        for row in try spool.rows("market_data") {
            if case .bytes(let symbol) = row[1] { there[String(decoding: symbol, as: UTF8.self), default: 0] += 1 }
        }
        for loss in lost { there[loss.symbol, default: 0] += loss.rows }
        #expect(there == sent)
        // Sequences that were given up are declared so.
        let headers = try spool.segments("market_data").map { try SegmentReader(path: spool.path($0, "market_data")).header }
        #expect(headers.allSatisfy { $0.lost.isEmpty || $0.isShed })
        #expect(headers.reduce(0) { $0 + UInt64($1.lost.count) } == lost.reduce(0) { $0 + $1.rows })
    }

    @Test("a spool that is moved away and back: nothing is called durable meanwhile, and everything is there in the end")
    func movedAway() throws {
        var random = SeededRandom(seed: 5)
        let (disk, spool) = try scene([:])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        for n in 0..<UInt64(10) { try recorder.take(tick(n, &random), from: source) }
        #expect(recorder.commit())
        rename(spool.spoolPath, "\(disk.path)/elsewhere")
        for n in 10..<UInt64(20) { try recorder.take(tick(n, &random), from: source) }
        #expect(!recorder.commit())
        #expect(recorder.blockedBy?.isMissing == true)
        #expect(!recorder.commit())
        #expect(source.complete == 10)
        #expect(!Directory.exists(spool.spoolPath), "a spool that is gone is not made anew: nobody would know its sequences")
        rename("\(disk.path)/elsewhere", spool.spoolPath)
        #expect(recorder.commit())
        for n in 20..<UInt64(30) { try recorder.take(tick(n, &random), from: source) }
        try recorder.finish()
        #expect(try spool.numbers() == Array(0..<30))
        #expect(try spool.sequences() == Array(1...30))
    }

    @Test("a segment that is removed while it is written: its durable rows are declared lost, by damage, and the rest is there")
    func segmentRemoved() throws {
        var random = SeededRandom(seed: 6)
        let (_, spool) = try scene([:])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        for n in 0..<UInt64(10) { try recorder.take(tick(n, &random), from: source) }
        #expect(recorder.commit())
        unlink(try spool.newest())
        for n in 10..<UInt64(20) { try recorder.take(tick(n, &random), from: source) }
        recorder.commit()
        #expect(recorder.commit())
        try recorder.finish()
        #expect(try spool.numbers() == Array(10..<20))
        let header = try SegmentReader(path: try spool.newest()).header
        #expect((header.lost, header.isShed) == (1..<11, false))
    }

    @Test("the reserve is taken in advance, given to audit rows when nothing else is left, and taken again")
    func reserve() throws {
        var random = SeededRandom(seed: 8)
        let (disk, spool) = try scene([
            "writer.reserve": "10MiB", "writer.disk_warn": "97", "writer.disk_shed": "98", "writer.disk_emergency": "99",
        ])
        let recorder = try spool.recorder()
        let path = "\(spool.spoolPath)/\(DiskReserve.fileName)"
        recorder.tick(monotonic: Clock.monotonic())
        let whole = try File.openForReading(path).size()
        #expect(whole == 4 << 20 / 20, "a twentieth of the disk at most")
        try disk.fill(leaving: 0)
        let source = Source(name: nil)
        for n in 0..<UInt64(200) { try recorder.take(tick(n, &random), from: source) }
        #expect(recorder.commit(), "the reserve has room for them")
        #expect(try File.openForReading(path).size() < whole)
        disk.makeRoom()
        recorder.tick(monotonic: Clock.monotonic() + 1_000_000_000)
        #expect(try File.openForReading(path).size() == whole)
        try recorder.finish()
        #expect(try spool.numbers() == Array(0..<200))
    }
}
