import CSpoolRing
import Foundation
import SpoolFormat
import SpoolIO
import SpoolRing
import SpoolTesting
import Testing

@testable import spool_writer

/// Rings whose producers break the rules while the writer runs in this very process: a trap ends the test.
struct HostileRingTests {
    /// A healthy ring beside the bad one, which must not notice.
    private final class Beside {
        let test: TestRings
        let healthy: RingProducer
        let bad: RingProducer
        private var n: UInt64 = 1_000_000

        init(_ flags: [String: String] = [:]) throws {
            test = try TestRings(schemas: [TestSpool.ticks, TestRings.schema("tocks")], flags)
            healthy = try test.producer()
            bad = try test.producer()
            for n in 0..<UInt64(10) { bad.publish(TestRings.row(n)) }
            feed()
            try test.start()
            test.settle()
        }

        func feed() {
            for _ in 0..<10 {
                healthy.publish(TestRings.row(n))
                n += 1
            }
        }

        /// - Parameter expected: rows of the bad ring that must be there.
        func finish(_ expected: [UInt64] = Array(0..<10)) throws {
            feed()
            for _ in 0..<3 { test.settle() }
            #expect(healthy.durable == healthy.position)
            #expect(healthy.state == SPOOL_RING_ATTACHED)
            try test.stop()
            let numbers = try test.spool.numbers()
            #expect(numbers.filter { $0 >= 1_000_000 } == Array(1_000_000..<n))
            #expect(numbers.filter { $0 < 1_000_000 } == expected)
        }

        /// The bad ring was set aside, once, for this reason.
        func expectSetAside(_ reason: String) throws {
            #expect(bad.state == SPOOL_RING_SET_ASIDE)
            #expect(test.log.lines(with: "ring set aside", reason, bad.path).count == 1, "\(test.log.all)")
            #expect(try test.files() == [TestRings.name(bad.path) + ".bad", TestRings.name(healthy.path)].sorted())
        }
    }

    @Test(
        "a record that cannot be sets its ring aside; rows before it are recorded",
        arguments: [
            [UInt32(0), 0], [4, 0], [8, 0], [24, 0], [33, 0], [0x10000, 0], [0xFFFF_FFF8, 0], [.max, .max], [32, 1], [32, 64],
            [32, 0xFFFF], [32, 0x10000], [1 << 20, 0], [48, 0],
        ])
    func badRecord(word: [UInt32]) throws {
        let beside = try Beside()
        beside.bad.publish(TestRings.row(10))
        let position = beside.bad.position
        beside.bad.publish(raw: RingLayout.little(word[0]) + RingLayout.little(word[1]) + [UInt8](repeating: 0, count: 32))
        beside.test.settle()
        try beside.expectSetAside("corrupt: at \(position): a record of")
        try beside.finish(Array(0..<11))
    }

    @Test("a write position that goes back, too far, or between records sets its ring aside")
    func badWritePosition() throws {
        for change: (UInt64) -> UInt64 in [
            { $0 - 8 }, { _ in 0 }, { $0 + (64 << 10) + 8 }, { $0 + 4 }, { $0 + 1 }, { _ in .max }, { _ in .max - 7 }, { $0 + (1 << 63) },
        ] {
            let beside = try Beside()
            beside.bad.setWritePosition(change(beside.bad.position))
            beside.test.settle()
            try beside.expectSetAside("corrupt: it is written up to")
            try beside.finish()
        }
    }

    @Test("a producer that takes itself room by moving the durable position is set aside before it has overwritten what is not durable")
    func durablePositionMoved() throws {
        let beside = try Beside()
        for n in 10..<UInt64(20) { beside.bad.publish(TestRings.row(n)) }
        beside.test.drain()
        beside.bad.consumer.pointee.durable_position = beside.bad.position
        var n: UInt64 = 20
        while beside.bad.position < UInt64(64 << 10) + 400 + 64 {
            beside.bad.publish(TestRings.row(n))
            n += 1
        }
        beside.test.settle()
        try beside.expectSetAside("corrupt: it is written up to")
        try beside.finish(Array(0..<20))
    }

    @Test("nonsense in the writer's own page does no harm")
    func consumerPage() throws {
        let beside = try Beside()
        let page = beside.bad.consumer
        memset(page, 0xFF, MemoryLayout<spool_ring_consumer_page>.size)
        beside.bad.publish(TestRings.badRow(10))
        beside.bad.publish(TestRings.row(11))
        beside.test.settle()
        #expect(beside.bad.durable == beside.bad.position)
        #expect(beside.bad.refused == 1)
        try beside.finish(Array(0..<10) + [11])
    }

    @Test("counts in the ring that cannot be are not believed by the next writer")
    func wildCounts() throws {
        for (rows, position) in [(UInt64.max, UInt64(0)), (.max, .max), (.max - 1, 8)] {
            let beside = try Beside()
            beside.test.kill()
            beside.bad.consumer.pointee.refused_rows = rows
            beside.bad.consumer.pointee.refused_position = position
            beside.bad.publish(TestRings.badRow(10))
            beside.bad.publish(TestRings.row(11))
            try beside.test.start()
            beside.test.settle()
            let isWild = position == .max
            if isWild { #expect(beside.test.log.lines(with: "ring set aside", "counted up to", beside.bad.path).count == 1) }
            try beside.finish(Array(0..<10) + (isWild ? [] : [11]))
        }
    }

    @Test("positions at the end of all numbers")
    func lastPositions() throws {
        let test = try TestRings()
        let producer = try test.producer()
        let start = UInt64.max - 255
        producer.ring.pointee.position = start
        producer.consumer.pointee.durable_position = start
        producer.publish(raw: RingLayout.record(TestRings.row(0)))
        try test.start()
        test.settle()
        for n in 1..<UInt64(10) {
            producer.publish(raw: RingLayout.record(TestRings.row(n)))
            test.settle()
        }
        #expect(test.log.lines(with: "ring set aside").count == 1)
        try test.stop()
        let numbers = try test.spool.numbers()
        #expect(numbers == Array(0..<7), "\(test.log.all)")
    }

    @Test("names that shrink, or that their room cannot hold, set the ring aside")
    func names() throws {
        let schema = TestSpool.ticks.replacing("note String", with: "note LowCardinality(String)")
        let layout = RingLayout(TestRings.tickSchema, named: ["note"])
        for wild in [UInt32(0), 1, 3, .max] {
            let test = try TestRings(schemas: [schema])
            let producer = try RingProducer(test.directory, [layout.declared])
            let ids = ["A", "B"].map { producer.intern($0) }
            func publish(_ n: UInt64) {
                producer.publish(layout.bytes([.integer(Int128(TestSpool.time)), .integer(Int128(n)), .text("A")]) { _ in ids[0] })
            }
            publish(0)
            try test.start()
            test.settle()
            #expect(producer.durable == producer.position)
            UnsafeMutableRawPointer(producer.names).storeBytes(of: wild, as: UInt32.self)
            publish(1)
            test.settle()
            #expect(producer.state == SPOOL_RING_SET_ASIDE)
            #expect(test.log.lines(with: "ring set aside: corrupt", "name", producer.path).count == 1)
            try test.stop()
            #expect(try test.spool.numbers() == [0])
        }
    }

    @Test("an id that the ring has not given refuses its row alone; a name that changes after use stays what it was")
    func nameIDs() throws {
        let schema = TestSpool.ticks.replacing("note String", with: "note LowCardinality(String)")
        let layout = RingLayout(TestRings.tickSchema, named: ["note"])
        let test = try TestRings(schemas: [schema])
        let producer = try RingProducer(test.directory, [layout.declared])
        let id = producer.intern("AB")
        func publish(_ n: UInt64, _ id: UInt32) {
            producer.publish(layout.bytes([.integer(Int128(TestSpool.time)), .integer(Int128(n)), .text("?")]) { _ in id })
        }
        for (n, id) in [id, id + 1, 0x7FFF_FFFF, 0x8000_0000, .max, 0, id].enumerated() { publish(UInt64(n), id) }
        try test.start()
        test.settle()
        producer.names[6] = UInt8(ascii: "X")
        publish(7, id)
        try test.stop()
        // 0x80000000 points at the row's beginning, where its time makes a wild length.
        #expect(try test.spool.numbers() == [0, 5, 6, 7])
        #expect(try test.spool.rows().map { $0[2] } == [.text("AB"), .text(""), .text("AB"), .text("AB")])
        #expect(producer.refused == 4)
    }

    @Test("rows that are small in the ring and large in the spool do not make a chunk beyond its limits")
    func largeNames() throws {
        let columns = (0..<30).map { "c\($0)" }
        let schema = TableSchema(
            table: "wide",
            columns: [Column(name: "ts", type: ColumnType(.dateTime64))] + columns.map { Column(name: $0, type: ColumnType(.string)) },
            eventTimeColumn: 0, partitionRule: .day, retention: nil)
        let text =
            "CREATE TABLE wide (ts DateTime64(9, 'UTC'), \(columns.map { "\($0) LowCardinality(String)" }.joined(separator: ", ")), "
            + "spool_writer String, spool_seq UInt64) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts;"
        let test = try TestRings(schemas: [text], ["writer.chunk_bytes": "1MiB"])
        let layout = RingLayout(schema, named: Set(columns))
        let producer = try RingProducer(test.directory, [layout.declared], bytes: 256 << 10)
        let id = producer.intern(String(repeating: "n", count: 255))
        let row = layout.bytes([.integer(Int128(TestSpool.time))] + columns.map { _ in .text("?") }) { _ in id }
        var count = 0
        while producer.publish(row) { count += 1 }
        try test.start()
        try test.stop()
        let chunks = try test.spool.segments("wide").flatMap {
            try SegmentWalk.contents(of: try Bytes.read(test.spool.path($0, "wide"))).chunks
        }
        #expect(chunks.reduce(0) { $0 + $1.rows } == count && count > 1_000)
        // What is taken at once, and what was gathered before.
        #expect(chunks.allSatisfy { $0.blockBytes < 6 << 20 })
    }

    // MARK: Files

    @Test("a file that is cut while it is mapped sets the ring aside, wherever it is cut", arguments: [0, 4_096, 8_192, 12_288, 90_112])
    func cut(to size: Int) throws {
        let beside = try Beside()
        // Far enough on for the rows to lie in the part that is gone.
        for n in 10..<UInt64(700) { beside.bad.publish(TestRings.row(n)) }
        let file = open(beside.bad.path, O_RDWR)
        let whole = lseek(file, 0, SEEK_END)
        #expect(ftruncate(file, off_t(size)) == 0)
        defer {
            // Its producer, in this process, writes to its page once more when it closes.
            ftruncate(file, whole)
            close(file)
        }
        beside.test.settle()
        #expect(beside.test.log.lines(with: "ring set aside: the file was cut while it was in use", beside.bad.path).count == 1)
        #expect(try beside.test.files().contains(TestRings.name(beside.bad.path) + ".bad"))
        try beside.finish()
    }

    @Test("a table that is declared twice is no ring: what of it is in the spool could not be told")
    func declaredTwice() throws {
        let test = try TestRings()
        // Names that differ in one byte, made equal in the file.
        let producer = try test.producer(["ticks", "tucks"])
        producer.close()
        var bytes = try Bytes.read(producer.path)
        let place = try #require(bytes.indices.last { bytes[$0...].starts(with: Array("tucks".utf8)) })
        bytes[place + 1] = UInt8(ascii: "i")
        try Bytes.write(bytes.withFreshChecksum(), to: producer.path)
        try test.start()
        test.settle()
        #expect(test.log.lines(with: "ring set aside", "ticks", "twice").count == 1)
        try test.stop()
    }

    @Test("a ring that is renamed in use, with checkpoints to be looked at, is one ring still")
    func renamed() throws {
        let beside = try Beside(["writer.checkpoints": "/nonexistent"])
        rename(beside.bad.path, beside.test.directory + "/other.ring")
        for n in 10..<UInt64(20) { beside.bad.publish(TestRings.row(n)) }
        for _ in 0..<3 { beside.test.settle() }
        #expect(beside.test.log.lines(with: beside.bad.path, "its file is gone").count == 1)
        try beside.finish(Array(0..<20))
    }

    @Test("a copy of a ring under another name is not drained: its rows would be recorded twice")
    func copied() throws {
        let beside = try Beside()
        for n in 10..<UInt64(20) { beside.bad.publish(TestRings.row(n)) }
        let copy = beside.test.directory + "/copy.ring"
        try FileManager.default.copyItem(atPath: beside.bad.path, toPath: copy)
        for _ in 0..<3 { beside.test.settle() }
        #expect(beside.test.log.lines(with: "ring set aside", copy).count == 1)
        #expect(try beside.test.files().contains("copy.ring.bad"))
        try beside.finish(Array(0..<20))
    }

    @Test("a copy is not drained either by a writer that sees it first")
    func copiedBeforeTheStart() throws {
        let beside = try Beside()
        beside.test.kill()
        for n in 10..<UInt64(20) { beside.bad.publish(TestRings.row(n)) }
        // Sorts before and behind the true one.
        for name in ["a.ring", "z.ring"] {
            try FileManager.default.copyItem(atPath: beside.bad.path, toPath: "\(beside.test.directory)/\(name)")
        }
        try beside.test.start()
        for _ in 0..<3 { beside.test.settle() }
        #expect(beside.bad.durable == beside.bad.position)
        try beside.finish(Array(0..<20))
    }

    @Test("a ring whose file is replaced goes on until its producer dies, and the new file is not touched for its sake")
    func replaced() throws {
        let beside = try Beside()
        let stranger = beside.test.directory + "/stranger"
        try Bytes.write(Array("stranger".utf8), to: stranger)
        rename(stranger, beside.bad.path)
        beside.bad.publish(TestRings.row(10))
        beside.test.settle()
        #expect(beside.test.log.lines(with: beside.bad.path, "its file is gone").count == 1)
        // The old one breaks a rule: the file that has its name now is not the culprit.
        beside.bad.setWritePosition(4)
        beside.test.drain()
        #expect(beside.bad.state == SPOOL_RING_SET_ASIDE)
        #expect(try !beside.test.files().contains { $0.hasSuffix(".bad") } || Bytes.text(beside.bad.path + ".bad") == "stranger")
        #expect(beside.test.log.lines(with: "ring set aside: corrupt", beside.bad.path).count == 1)
        // It is looked at on its own.
        beside.test.settle()
        #expect(beside.test.log.lines(with: "ring set aside: not a ring", beside.bad.path).count == 1)
        try beside.finish(Array(0..<11))
    }

    @Test("what was set aside before is kept when another ring of that name is")
    func twoOfAName() throws {
        let test = try TestRings()
        let path = test.directory + "/x.ring"
        try test.start()
        for text in ["first", "second", "third"] {
            try Bytes.write(Array(text.utf8), to: path)
            test.settle()
        }
        let kept = try test.files().map { try Bytes.text("\(test.directory)/\($0)") }
        #expect(kept.sorted() == ["first", "second", "third"])
        #expect(try test.files().allSatisfy { $0.hasPrefix("x.ring.bad") })
    }

    @Test("what a producer that was killed while it made a ring has left is removed, but no ring that is being made")
    func unfinished() throws {
        let test = try TestRings()
        let dead = test.directory + "/.0123456789abcdef.tmp"
        let young = test.directory + "/.0123456789abcde0.tmp"
        let made = test.directory + "/.0123456789abcde1.tmp"
        let foreign = test.directory + "/.notes.tmp"
        for path in [dead, young, made, foreign] { try Bytes.write([1], to: path) }
        let old = Date(timeIntervalSinceNow: -3_600)
        for path in [dead, made, foreign] { try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: path) }
        let maker = open(made, O_RDWR)
        defer { close(maker) }
        #expect(flock(maker, LOCK_EX | LOCK_NB) == 0)
        try test.start()
        test.settle()
        #expect(try test.files() == [made, young, foreign].map(TestRings.name).sorted())
        try test.stop()
    }
}

extension [UInt8] {
    /// A ring's file with the checksum that belongs to its header.
    func withFreshChecksum() -> [UInt8] {
        var bytes = self
        let tables = bytes.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: 48, as: UInt32.self)) }
        bytes.replaceSubrange(60..<64, with: [0, 0, 0, 0])
        let crc = bytes.withUnsafeBytes { raw in
            spool_crc32c(spool_crc32c(0, raw.baseAddress, 128), raw.baseAddress! + 12_288, tables)
        }
        bytes.replaceSubrange(60..<64, with: RingLayout.little(crc))
        return bytes
    }
}
