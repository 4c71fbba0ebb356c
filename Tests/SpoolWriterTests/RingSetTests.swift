import CSpoolRing
import Foundation
import SpoolFormat
import SpoolIO
import SpoolRing
import SpoolTesting
import Testing

@testable import spool_writer

/// Rings that behave, and writers that come and go.
struct RingSetTests {
    @Test("rows are recorded in order, and their producer sees them become durable")
    func recordsRows() throws {
        let test = try TestRings()
        let producer = try test.producer()
        for n in 0..<UInt64(100) { producer.publish(TestRings.row(n, note: "row \(n)")) }
        try test.start()
        #expect(producer.state == SPOOL_RING_ATTACHED)
        #expect(producer.state(of: 0) == SPOOL_TABLE_TAKEN)
        #expect(test.drain() == Int(producer.position))
        #expect(producer.taken == producer.position)
        #expect(producer.durable == 0)
        test.commit()
        test.publish()
        #expect(producer.durable == producer.position)
        for n in 100..<UInt64(200) { producer.publish(TestRings.row(n)) }
        try test.stop()
        #expect(producer.durable == producer.position)
        #expect(try test.spool.numbers() == Array(0..<200))
        #expect(try test.spool.rows()[42][2] == .text("row 42"))
        #expect(producer.refused == 0)
    }

    @Test("rows that were durable before their writer died, and not yet told, are not recorded again")
    func diedBeforeTelling() throws {
        let test = try TestRings()
        let producer = try test.producer()
        for n in 0..<UInt64(50) { producer.publish(TestRings.row(n)) }
        try test.start()
        test.drain()
        test.commit()
        for n in 50..<UInt64(70) { producer.publish(TestRings.row(n)) }
        test.drain()
        test.kill()
        #expect(producer.durable == 0)
        try test.start()
        try test.stop()
        #expect(try test.spool.numbers() == Array(0..<70))
        #expect(producer.durable == producer.position)
    }

    @Test("of several tables in a ring, only rows that are not in the spool are taken after a death between their chunks")
    func tablesAreTakenUpEachWhereItWas() throws {
        let test = try TestRings(schemas: [TestSpool.ticks, TestRings.schema("tocks")], ["writer.chunk_rows": "7"])
        let producer = try test.producer(["ticks", "tocks"])
        for n in 0..<UInt64(100) { producer.publish(TestRings.row(n), table: n % 3 == 0 ? 1 : 0) }
        try test.start()
        test.drain()
        // Ticks are written up to the last whole chunk; tocks only in part.
        test.recorder?.tick(monotonic: Clock.monotonic())
        test.publish()
        let durable = producer.durable
        #expect(durable < producer.position)
        test.kill()
        try test.start()
        try test.stop()
        #expect(try test.spool.numbers() == (0..<100).filter { $0 % 3 != 0 })
        #expect(try test.spool.numbers("tocks") == (0..<100).filter { $0 % 3 == 0 })
    }

    @Test("a ring that is half full of rows that wait is made durable at once")
    func earlySync() throws {
        let test = try TestRings()
        let producer = try test.producer()
        try test.start()
        var n: UInt64 = 0
        while producer.position <= 32 << 10 {
            producer.publish(TestRings.row(n))
            n += 1
        }
        test.drain()
        #expect(producer.durable == producer.position)
        // Less than half waits for the clock.
        producer.publish(TestRings.row(n))
        test.drain()
        #expect(producer.durable < producer.position)
        try test.stop()
        #expect(try test.spool.numbers() == Array(0...n))
    }

    @Test("a ring that is full gives its producer room again, many times over, and loses none of the rows that it took")
    func wrapsAround() throws {
        let test = try TestRings()
        let producer = try test.producer()
        try test.start()
        var n: UInt64 = 0
        var full: UInt64 = 0
        while producer.position < 1 << 20 {
            if producer.publish(TestRings.row(n, note: String(repeating: "x", count: Int(n % 300)))) {
                n += 1
            } else {
                full += 1
                test.settle()
            }
        }
        try test.stop()
        #expect(producer.full(0) == full && full > 10)
        #expect(try test.spool.numbers() == Array(0..<n))
    }

    @Test("midnight within a batch: each day gets its chunk, and no row is lost or told too early")
    func midnight() throws {
        let test = try TestRings(["writer.chunk_rows": "10"])
        let producer = try test.producer()
        let midnight: Int64 = 1_767_312_000_000_000_000
        for n in 0..<UInt64(100) {
            // To and fro around midnight, as two clocks would have it.
            producer.publish(TestRings.row(n, time: midnight + (n % 7 == 3 ? -1 : 1) * (50 - Int64(n)) * 1_000_000_000))
        }
        try test.start()
        test.settle()
        #expect(producer.durable == producer.position)
        try test.stop()
        #expect(try test.spool.numbers().sorted() == Array(0..<100))
        for chunk in try test.spool.contents().flatMap(\.chunks) { #expect(chunk.rows <= 10) }
    }

    @Test("a dead producer's ring is removed once all of its rows are durable, not before")
    func deadProducer() throws {
        let test = try TestRings()
        let producer = try test.producer()
        for n in 0..<UInt64(10) { producer.publish(TestRings.row(n)) }
        producer.close()
        try test.start()
        test.drain()
        test.drain()
        #expect(try test.files().count == 1)
        test.commit()
        test.drain()
        #expect(try test.files().isEmpty)
        #expect(test.rings?.count == 0)
        #expect(test.log.lines(with: "drained and removed").count == 1)
        try test.stop()
        #expect(try test.spool.numbers() == Array(0..<10))
    }

    @Test("a living producer's ring is kept, however long it is silent")
    func livingProducer() throws {
        let test = try TestRings()
        let producer = try test.producer()
        try test.start()
        for _ in 0..<5 { test.settle() }
        try test.stop()
        #expect(try test.files() == [TestRings.name(producer.path)])
        #expect(producer.state == SPOOL_RING_ATTACHED)
    }

    @Test("a ring with a table that the schemas do not have is held: nothing is taken, and nothing lost, until they have it")
    func unknownTable() throws {
        let test = try TestRings()
        let producer = try test.producer(["ticks", "tucks"])
        for n in 0..<UInt64(20) { producer.publish(TestRings.row(n), table: Int(n % 2)) }
        try test.start()
        #expect(producer.state(of: 0) == SPOOL_TABLE_TAKEN)
        #expect(producer.state(of: 1) == SPOOL_TABLE_REFUSED)
        #expect(producer.state == SPOOL_RING_HELD)
        #expect(test.log.lines(with: "ring held: table tucks: schemas define no such table", producer.path).count == 1)
        producer.close()
        for _ in 0..<3 { test.settle() }
        #expect(try test.files() == [TestRings.name(producer.path)])
        try test.stop()
        #expect(test.log.lines(with: "ring held").count == 1)
        // Another writer, whose schemas have it.
        try test.addSchema("tucks")
        try test.start()
        for _ in 0..<3 { test.settle() }
        try test.stop()
        #expect(try test.spool.numbers() == (0..<20).filter { $0 % 2 == 0 })
        #expect(try test.numbersIfAny("tucks") == (0..<20).filter { $0 % 2 == 1 })
    }

    @Test("a ring that another writer drains is left to it, whatever became of the directory's lock")
    func twoWritersWithoutLock() throws {
        let test = try TestRings()
        let producer = try test.producer()
        try test.start()
        try Directory.remove("\(test.directory)/.writer.lock")
        let other = try TestSpool(["writer.rings": test.directory])
        let recorder = try other.recorder()
        let rings = try #require(try RingSet.open(try other.configuration(), recorder: recorder, log: test.log.logger))
        #expect(rings.count == 0)
        for n in 0..<UInt64(10) { producer.publish(TestRings.row(n)) }
        _ = rings.drain(monotonic: Clock.monotonic() + 2_000_000_000)
        #expect(test.log.lines(with: "another writer drains it").count == 1)
        test.settle()
        try test.stop()
        #expect(try test.spool.numbers() == Array(0..<10))
    }

    @Test("rows that found the ring full are named in the log, once in a while and when the ring goes")
    func fullRows() throws {
        let test = try TestRings()
        let producer = try test.producer(bytes: 64 << 10)
        try test.start()
        var published = 0
        for n in 0..<UInt64(5_000) where producer.publish(TestRings.row(n)) { published += 1 }
        let lost = 5_000 - published
        #expect(lost > 0)
        test.settle()
        _ = test.rings?.drain(monotonic: Clock.monotonic() + 2_000_000_000)
        #expect(test.log.lines(with: "the ring was full", "ticks \(lost);").count == 1)
    }

    @Test("two writers do not drain one directory")
    func secondWriter() throws {
        let test = try TestRings()
        try test.start()
        let other = try TestSpool(["writer.rings": test.directory])
        let recorder = try other.recorder()
        let failure = #expect(throws: (any Error).self) {
            try RingSet.open(try other.configuration(), recorder: recorder, log: test.log.logger)
        }
        #expect("\(failure!)".contains("another writer drains these rings"))
    }

    // MARK: Refusals

    @Test("a bad row is refused with table, column and position; those around it are recorded in order")
    func badRow() throws {
        let test = try TestRings()
        let producer = try test.producer()
        var positions: [UInt64] = []
        for n in 0..<UInt64(30) {
            if n % 10 == 5 { positions.append(producer.position) }
            producer.publish(n % 10 == 5 ? TestRings.badRow(n) : TestRings.row(n))
        }
        try test.start()
        test.settle()
        // The loop goes on.
        for _ in 0..<3 { test.settle() }
        #expect(producer.refused == 3)
        for position in positions {
            #expect(test.log.lines(with: "row refused: ticks.note", producer.path, "position=\(position)").count == 1)
        }
        try test.stop()
        #expect(try test.spool.numbers() == (0..<30).filter { $0 % 10 != 5 })
    }

    @Test("a producer that is wrong all the time does not fill the log, and the log says how often it was")
    func manyRefusals() throws {
        let test = try TestRings()
        let producer = try test.producer()
        for n in 0..<UInt64(100) { producer.publish(TestRings.badRow(n)) }
        try test.start()
        test.settle()
        #expect(test.log.lines(with: "row refused").count == 10)
        _ = test.rings?.drain(monotonic: Clock.monotonic() + 11_000_000_000)
        #expect(test.log.lines(with: "90 more rows were refused").count == 1)
        producer.publish(TestRings.badRow(100))
        test.settle()
        #expect(test.log.lines(with: "row refused").count == 11)
        #expect(producer.refused == 101)
    }

    @Test("refused rows that a writer counted before it died are not counted by the next")
    func refusalsAreCountedOnce() throws {
        let test = try TestRings()
        let producer = try test.producer()
        producer.publish(TestRings.row(0))
        producer.publish(TestRings.badRow(1))
        producer.publish(TestRings.row(2))
        try test.start()
        test.settle()
        producer.publish(TestRings.row(3))
        producer.publish(TestRings.badRow(4))
        test.drain()
        test.commit()
        test.kill()
        // The second refusal was not told: it is counted now. The first was.
        try test.start()
        test.settle()
        #expect(producer.refused == 2)
        // Told, and yet below what is durable in the ring: as if the store of the durable position had not come to pass.
        producer.consumer.pointee.durable_position = 0
        test.kill()
        try test.start()
        try test.stop()
        #expect(producer.refused == 2)
        #expect(try test.spool.numbers() == [0, 2, 3])
    }

    // MARK: The disk

    @Test("while the disk is full rows stay in their rings", .enabled(if: SmallDisk.isPossible))
    func fullDisk() throws {
        let test = try TestRings(["writer.chunk_rows": "50"])
        let disk = try #require(SmallDisk(bytes: 2 << 20))
        test.spool.spoolPath = "\(disk.path)/spool"
        let producer = try test.producer()
        try test.start()
        var random = SeededRandom(seed: 11)
        var n: UInt64 = 0
        func publish() -> Bool {
            let note = (0..<20).map { _ in String(random.next(), radix: 36) }.joined()
            guard producer.publish(TestRings.row(n, note: note)) else { return false }
            n += 1
            return true
        }
        for _ in 0..<60 { _ = publish() }
        test.settle()
        #expect(producer.durable == producer.position)
        try disk.fill(leaving: 0)
        while publish() {}
        for _ in 0..<4 { test.settle() }
        #expect(test.recorder?.blockedBy != nil)
        #expect(producer.durable < producer.position)
        let durable = producer.durable
        let before = n
        #expect(!publish())
        disk.makeRoom()
        test.recorder?.tick(monotonic: Clock.monotonic() + 300_000_000)
        test.settle()
        #expect(test.recorder?.blockedBy == nil)
        #expect(producer.durable > durable)
        while publish() && n < before + 100 {}
        try test.stop()
        #expect(producer.durable == producer.position)
        #expect(try test.spool.numbers() == Array(0..<n))
    }

    // MARK: What is loaded

    @Test("a producer is told what is in ClickHouse once the checkpoints of all tables have passed it")
    func loadedPositions() throws {
        let test = try TestRings(schemas: [TestSpool.ticks, TestRings.schema("tocks")])
        let checkpoints = try test.spool.directory.directory("checkpoints/w1")
        test.spool.flags["writer.checkpoints"] = test.spool.directory.file("checkpoints")
        func checkpoint(_ table: String, next: UInt64, version: UInt64, writer: String = "w1") throws {
            var checkpoint = Checkpoint(writer: writer, table: table)
            checkpoint.next = next
            checkpoint.version = version
            let old = [UInt8](repeating: 0, count: Checkpoint.slotBytes)
            let slots = version % 2 == 0 ? checkpoint.encode() + old : old + checkpoint.encode()
            try Bytes.write(slots, to: "\(checkpoints)/\(table).checkpoint")
        }
        let producer = try test.producer(["ticks", "tocks"])
        for n in 0..<UInt64(10) { producer.publish(TestRings.row(n), table: Int(n % 2)) }
        try test.start()
        test.settle()
        test.settle()
        #expect(producer.loaded == 0)
        let first = producer.durable
        #expect(first == producer.position)
        try checkpoint("ticks", next: 6, version: 1)
        test.settle()
        #expect(producer.loaded == 0)
        // Of another writer, or damaged: nothing is known.
        try checkpoint("tocks", next: 6, version: 1, writer: "w2")
        test.settle()
        #expect(producer.loaded == 0)
        try Bytes.write([UInt8](repeating: 7, count: 2 * Checkpoint.slotBytes), to: "\(checkpoints)/tocks.checkpoint")
        test.settle()
        #expect(producer.loaded == 0)
        try checkpoint("tocks", next: 5, version: 2)
        test.settle()
        #expect(producer.loaded == 0)
        try checkpoint("tocks", next: 6, version: 3)
        test.settle()
        #expect(producer.loaded == first)
        producer.publish(TestRings.row(10))
        test.settle()
        test.settle()
        #expect(producer.loaded == first)
        test.kill()
        try test.start()
        test.settle()
        try checkpoint("ticks", next: 7, version: 4)
        test.settle()
        #expect(producer.loaded == producer.position)
    }
}
