import Foundation
import SpoolFormat
import SpoolIO
import SpoolRing
import SpoolTesting
import Testing

@testable import spool_writer

/// Rings, tables, days, refusals, deaths of writers and producers in any order, beside a model that only knows what was published.
struct RingModelTests {
    /// A ring as the model sees it.
    private final class Published {
        let producer: RingProducer
        let number: UInt64
        let tables: [String]
        var rows: [(n: UInt64, table: Int, end: UInt64, isGood: Bool)] = []
        var isClosed = false
        /// As last seen.
        var durable: UInt64 = 0

        init(_ producer: RingProducer, _ number: UInt64, _ tables: [String]) {
            self.producer = producer
            self.number = number
            self.tables = tables
        }
    }

    private static let midnight: Int64 = 1_767_312_000_000_000_000
    private static let ringFactor: UInt64 = 1_000_000

    private final class Run {
        let test: TestRings
        var random: SeededRandom
        var rings: [Published] = []
        var time = RingModelTests.midnight - 50
        var deaths = 0

        init(seed: UInt64) throws {
            random = SeededRandom(seed: seed)
            test = try TestRings(
                schemas: [TestSpool.ticks, TestRings.schema("tocks")],
                [
                    "writer.chunk_rows": "\(random.pick([1, 3, 10, 50, 10_000]))", "writer.segment_bytes": "65536",
                    "writer.chunk_bytes": "\(random.pick([4_096, 1 << 20]))",
                ])
        }

        func open() throws {
            let tables = random.pick([["ticks"], ["ticks", "tocks"], ["tocks", "ticks"]])
            rings.append(Published(try test.producer(tables, bytes: random.pick([64, 128]) << 10), UInt64(rings.count), tables))
        }

        func publish(_ ring: Published) {
            for _ in 0..<random.pick([1, 5, 50, 150]) {
                let table = Int.random(in: 0..<ring.tables.count, using: &random)
                let n = ring.number * RingModelTests.ringFactor + UInt64(ring.rows.count)
                // Time goes on, with late rows of the day before, and now and then by a day.
                time += random.oneIn(300) ? 86_400_000_000_000 : Int64.random(in: 0...3, using: &random)
                let own = random.oneIn(20) ? time - 40 : time
                let isBad = random.oneIn(30)
                let note = String(repeating: "x", count: random.oneIn(10) ? 200 : random.oneIn(3) ? 20 : 0)
                let row =
                    isBad
                    ? random.pick([TestRings.badRow(n, time: own), TestRings.row(n, time: 5)]) : TestRings.row(n, time: own, note: note)
                guard ring.producer.publish(row, table: table) else { return }
                ring.rows.append((n, table, ring.producer.position, !isBad))
            }
        }

        func step() throws {
            switch Int.random(in: 0..<20, using: &random) {
            case 0 where rings.count < 12: try open()
            case 0...7: if let ring = rings.filter({ !$0.isClosed }).randomElement(using: &random) { publish(ring) }
            case 8...11: test.drain()
            case 12: test.commit()
            case 13: test.publish()
            case 14: test.recorder?.tick(monotonic: Clock.monotonic() + random.pick([0, 130_000_000, 300_000_000]))
            case 15, 16: test.settle()
            case 17:
                test.kill()
                deaths += 1
                try test.start()
            case 18:
                if random.oneIn(3), let ring = rings.filter({ !$0.isClosed }).randomElement(using: &random) {
                    ring.producer.close()
                    ring.isClosed = true
                }
            default:
                if random.oneIn(4) {
                    try test.stop()
                    deaths += 1
                    try test.start()
                }
            }
        }

        /// What a producer sees must be true: no row below its durable position is missing from the spool, or refused and not counted.
        func look(_ ring: Published, _ spool: [String: Set<UInt64>]) {
            guard !ring.isClosed else { return }
            let durable = ring.producer.durable
            #expect(durable >= ring.durable)
            ring.durable = durable
            let promised = ring.rows.filter { $0.end <= durable }
            #expect(durable == 0 || promised.last?.end == durable)
            #expect(ring.producer.refused >= promised.count { !$0.isGood })
            for (index, table) in ring.tables.enumerated() {
                let missing = promised.filter { $0.table == index && $0.isGood && spool[table]?.contains($0.n) != true }
                #expect(missing.isEmpty, "\(table)")
            }
        }

        func look() throws {
            let spool = try Dictionary(uniqueKeysWithValues: ["ticks", "tocks"].map { ($0, Set(try test.numbersIfAny($0))) })
            for ring in rings { look(ring, spool) }
        }

        func finish() throws {
            try look()
            test.settle()
            test.settle()
            for ring in rings where !ring.isClosed {
                #expect(ring.producer.durable == ring.producer.position)
                #expect(ring.producer.refused == UInt64(ring.rows.count { !$0.isGood }))
                ring.producer.close()
            }
            test.settle()
            test.settle()
            #expect(try test.files().isEmpty)
            try test.stop()
            for table in ["ticks", "tocks"] {
                let found = try test.numbersIfAny(table)
                for ring in rings {
                    let expected = ring.rows.filter { ring.tables[$0.table] == table && $0.isGood }.map(\.n)
                    let own = found.filter { $0 / RingModelTests.ringFactor == ring.number }
                    #expect(own.sorted() == expected, "ring \(ring.number), \(table)")
                }
                try checkOrder(table)
            }
            #expect(test.log.lines(with: "set aside").isEmpty)
        }

        /// Within a chunk, and from chunk to chunk of a day, a ring's rows stand as they were published.
        func checkOrder(_ table: String) throws {
            var last: [[UInt64]: UInt64] = [:]
            for row in try test.rowsIfAny(table) {
                guard case .integer(let ts) = row[0], case .integer(let number) = row[1] else { continue }
                let n = UInt64(number)
                let key = [n / RingModelTests.ringFactor, UInt64(ts / 86_400_000_000_000)]
                #expect(n > last[key] ?? 0 || last[key] == nil)
                last[key] = n
            }
        }
    }

    @Test("whatever dies and when: each row once, in order, and nothing told that is not so", arguments: Seeds.take(8))
    func model(seed: UInt64) throws {
        let run = try Run(seed: seed)
        try run.open()
        try run.test.start()
        for step in 0..<120 {
            try run.step()
            if step % 25 == 24 { try run.look() }
        }
        try run.finish()
        #expect(run.rings.reduce(0) { $0 + $1.rows.count } > 100)
    }
}

extension TestRings {
    func rowsIfAny(_ table: String) throws -> [[Cell]] {
        FileManager.default.fileExists(atPath: "\(spool.spoolPath)/\(table)") ? try spool.rows(table) : []
    }

    func numbersIfAny(_ table: String) throws -> [UInt64] {
        FileManager.default.fileExists(atPath: "\(spool.spoolPath)/\(table)") ? try spool.numbers(table) : []
    }
}
