import Foundation
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

@Suite struct RecordedRowsTests {
    /// A spool of several tables whose files the test writes itself.
    private final class Files {
        let home = TemporaryDirectory()
        let spool: SpoolDirectory
        private var numbers: [String: (number: UInt64, next: UInt64)] = [:]

        init() throws {
            try Bytes.write(Array("coldpath-spool 1\nwriter w1\n".utf8), to: home.file("spool.id"))
            spool = try SpoolDirectory.open(home.path)
        }

        func schema(_ table: String, more: [Column] = []) -> TableSchema {
            TableSchema(
                table: table,
                columns: [Column(name: "ts", type: ColumnType(.dateTime64)), Column(name: "component", type: ColumnType(.string))] + more,
                eventTimeColumn: 0, partitionRule: .day, retention: nil)
        }

        /// Writes a segment with these event times, a list for each chunk.
        ///
        /// - Parameter taken: when the first row of each chunk was taken, after ``Samples/time``.
        @discardableResult
        func segment(
            _ table: String, _ chunks: [[Int64]], taken: [Int64] = [], sealed: Bool = true, component: String = "engine",
            more: [Column] = []
        ) throws -> String {
            let schema = schema(table, more: more)
            let (number, next) = numbers[table] ?? (1, 1)
            var segment = SegmentBuilder(schema: schema, writer: "w1", number: number, firstSequence: next, created: Samples.time)
            for (index, times) in chunks.enumerated() {
                let rows = times.map { [Cell.integer(Int128(Samples.time + $0)), .text(component)] + more.map { _ in Cell.integer(1) } }
                try segment.append(chunk: rows, ingest: Samples.time + (index < taken.count ? taken[index] : 0))
            }
            if sealed { segment.seal(at: Samples.time) }
            _ = try home.directory(table)
            let path = "\(home.path)/\(table)/\(SegmentName(number: number, firstSequence: next).fileName)"
            try Bytes.write(segment.bytes, to: path)
            numbers[table] = (number + 1, next + UInt64(chunks.joined().count))
            return path
        }

        func rows(
            _ only: [String] = [], range: TimeRange = .everything, order: ReplayOrder? = .time, memory: Int = 256 << 20
        ) throws -> RecordedRows {
            try RecordedRows(of: spool, only: only, range: range, order: order, memory: memory)
        }
    }

    private struct Seen: Equatable, CustomStringConvertible {
        let table: String
        let time: Int64
        let sequence: UInt64
        var description: String { "\(table) \(sequence) at \(time)" }
    }

    private func all(_ rows: inout RecordedRows) throws -> [Seen] {
        var seen: [Seen] = []
        while let row = try rows.next() {
            if rows.order == .time { #expect(row.block.block.columns[0].integer(row.row) == Int128(row.time + rows.shift)) }
            seen.append(Seen(table: rows.tables[row.table].name, time: row.time - Samples.time, sequence: row.sequence))
        }
        return seen
    }

    @Test("rows of all tables come in the order of their times, of one moment by table and sequence")
    func order() throws {
        let files = try Files()
        try files.segment("a", [[0, 10], [20, 10]])
        try files.segment("b", [[5, 10, 30]])
        try files.segment("a", [[15, 1]], sealed: false)
        var rows = try files.rows()
        #expect(rows.rows == 9)
        #expect(rows.span == Samples.time...Samples.time + 30)
        let expected: [(String, Int64, UInt64)] = [
            ("a", 0, 1), ("a", 1, 6), ("b", 5, 1), ("a", 10, 2), ("a", 10, 4), ("b", 10, 2), ("a", 15, 5), ("a", 20, 3), ("b", 30, 3),
        ]
        #expect(try all(&rows) == expected.map { Seen(table: $0.0, time: $0.1, sequence: $0.2) })
        #expect(rows.problems.isEmpty)
        var only = try files.rows(["b"])
        #expect(try all(&only).map(\.sequence) == [1, 2, 3])
    }

    @Test("random spools: each row of the range once, sorted, whatever may be open at a time", arguments: Seeds.take(30))
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let files = try Files()
        var expected: [Seen] = []
        for table in ["a", "b", "c"] {
            var sequence: UInt64 = 0
            var base: Int64 = 0
            for number in 0..<4 {
                let chunks = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                    base += Int64.random(in: 0...50, using: &random)
                    return (0..<Int.random(in: 1...20, using: &random)).map { _ in
                        // Some come hours early or late; all of one day.
                        base + (random.oneIn(15) ? Int64.random(in: 0...10_000, using: &random) : Int64.random(in: 0...60, using: &random))
                    }
                }
                try files.segment(table, chunks, sealed: number < 3)
                for time in chunks.joined() {
                    sequence += 1
                    expected.append(Seen(table: table, time: time, sequence: sequence))
                }
            }
        }
        let (from, to) = random.oneIn(2) ? (Int64.min, Int64.max) : (Samples.time + 100, Samples.time + 300)
        let range = TimeRange(from: from, to: to)
        expected = expected.filter { range.contains(Samples.time + $0.time) }
            .sorted { ($0.time, $0.table, $0.sequence) < ($1.time, $1.table, $1.sequence) }
        let memory = random.pick([0, 3_000, 1 << 30])
        var rows = try files.rows(range: range, memory: memory)
        rows.shift = random.pick([0, 1, -1_000_000_007, 86_400_000_000_000])
        #expect(rows.rows >= UInt64(expected.count))
        if let span = rows.span, let first = expected.first, let last = expected.last {
            #expect(span.contains(Samples.time + first.time) && span.contains(Samples.time + last.time))
        }
        #expect(try all(&rows) == expected)
        #expect(rows.problems.isEmpty)
    }

    @Test("in the order of recording a table's rows come by sequence, when they were taken, as far apart as their event times")
    func asRecorded() throws {
        let files = try Files()
        let second: Int64 = 1_000_000_000
        // Taken 100 ns after their event times; the third row is late, the fourth of a clock that is ahead by an hour.
        try files.segment("a", [[0, 50, 10, 3_600 * second, 60], [second, second + 1]], taken: [100, second + 100])
        // An order that is filled a second after it was decided, and nothing in between.
        try files.segment("b", [[10, 10], [10]], taken: [10, second + 50])
        var rows = try files.rows(order: nil)
        #expect(rows.order == .recorded)
        let expected: [(String, Int64, UInt64)] = [
            ("b", 10, 1), ("b", 10, 2), ("a", 100, 1), ("a", 150, 2), ("a", 150, 3), ("a", 150, 4), ("a", 160, 5), ("b", second + 50, 3),
            ("a", second + 100, 6), ("a", second + 101, 7),
        ]
        #expect(try all(&rows) == expected.map { Seen(table: $0.0, time: $0.1, sequence: $0.2) })
        #expect(rows.problems.isEmpty)
        #expect(rows.span == Samples.time + 10...Samples.time + second + 101)
    }

    @Test("by default the order of recording is for rows that were recorded as they happened")
    func choice() throws {
        let second: Int64 = 1_000_000_000
        for (taken, order) in [(0, ReplayOrder.recorded), (59 * second, .recorded), (61 * second, .time), (-61 * second, .time)] {
            let files = try Files()
            try files.segment("a", [[0, 1, 2]], taken: [taken])
            #expect(try files.rows(order: nil).order == order, "\(taken)")
            // An order that was filled long after it was decided changes nothing.
            try files.segment("b", [[0]], taken: [3_600 * second])
            #expect(try files.rows(order: nil).order == order, "\(taken)")
        }
    }

    @Test("a clock that was set back does not change the order of recording", arguments: Seeds.take(20))
    func clocks(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let files = try Files()
        var expected: [String: UInt64] = [:]
        for table in ["a", "b"] {
            for number in 0..<3 {
                let chunks = (0..<3).map { _ in
                    (0..<Int.random(in: 1...5, using: &random)).map { _ in Int64.random(in: 0...2_000, using: &random) }
                }
                try files.segment(
                    table, chunks, taken: (0..<3).map { _ in Int64.random(in: 0...1_000, using: &random) }, sealed: number < 2)
                expected[table, default: 0] += UInt64(chunks.joined().count)
            }
        }
        var rows = try files.rows(order: .recorded, memory: random.pick([0, 1 << 20]))
        let span = try #require(rows.span)
        var last: [String: (sequence: UInt64, time: Int64)] = [:]
        for row in try all(&rows) {
            let before = last[row.table] ?? (0, .min)
            #expect(row.sequence == before.sequence + 1 && row.time >= before.time)
            #expect(span.contains(row.time + Samples.time))
            last[row.table] = (row.sequence, row.time)
        }
        #expect(last.mapValues(\.sequence) == expected)
    }

    @Test("a chunk whose next row is far away is closed when others need its room, and opened again")
    func memory() throws {
        let files = try Files()
        for chunk in 0..<Int64(10) { try files.segment("a", [[chunk, 1_000 + chunk]]) }
        var wide = try files.rows()
        let whole = try all(&wide)
        #expect(wide.openings == 10)
        var narrow = try files.rows(memory: 0)
        #expect(try all(&narrow) == whole)
        #expect(narrow.openings == 20)
    }

    @Test("what the recorder says of itself is passed over, in system_events and nowhere else")
    func ownRows() throws {
        let files = try Files()
        try files.segment("system_events", [[0, 1]], component: "spool-writer")
        try files.segment("system_events", [[2]], component: "spool-writer-2")
        try files.segment("orders", [[3]], component: "spool-writer")
        var rows = try files.rows()
        #expect(try all(&rows).map(\.time) == [2, 3])
        #expect(rows.ownRows == 2)
    }

    @Test("a table whose schema moved is several, each with its own columns")
    func schemas() throws {
        let files = try Files()
        try files.segment("a", [[0]])
        try files.segment("a", [[1]], more: [Column(name: "n", type: ColumnType(.uint(bits: 8)))])
        try files.segment("a", [[2]])
        var rows = try files.rows()
        #expect(rows.tables.map(\.name) == ["a", "a"])
        #expect(rows.tables.map { $0.columns.map(\.name) } == [["ts", "component"], ["ts", "component", "n"]])
        var names: [[String]] = []
        while let row = try rows.next() { names.append(row.block.block.columns.map(\.name)) }
        #expect(names == [["ts", "component"], ["ts", "component", "n"], ["ts", "component"]])
    }

    @Test("what cannot be read is named, and all else comes")
    func damage() throws {
        let files = try Files()
        let first = try files.segment("a", [[0], [1], [2]])
        let second = try files.segment("a", [[3], [4]], sealed: false)
        try files.segment("a", [[5]])
        var bytes = try Bytes.read(first)
        // In the data of the second chunk: its header is listed by the index, its bytes do not match.
        let place = try SegmentReader(path: first)
        var offsets: [LocatedChunk] = []
        try place.walk(limit: UInt64(bytes.count)) { if case .chunk(let chunk) = $0 { offsets.append(chunk) } }
        bytes[Int(offsets[1].dataOffset) + 30] ^= 1
        try Bytes.write(bytes, to: first)
        try Bytes.write(Array(try Bytes.read(second).dropLast(3)), to: second)
        var rows = try files.rows()
        let pruned = try files.segment("b", [[9]])
        var more = try files.rows(["b"])
        try FileManager.default.removeItem(atPath: pruned)
        #expect(try all(&rows).map(\.time) == [0, 2, 3, 5])
        #expect(rows.problems.count == 2)
        #expect(rows.problems.contains { $0.hasPrefix("\(first) at \(offsets[1].offset): checksum") })
        #expect(rows.problems.contains { $0.hasPrefix(second) && $0.hasSuffix("cut short") })
        #expect(try all(&more).isEmpty)
        #expect(more.problems == ["\(pruned): was pruned before its rows were due"])
    }

    @Test("no prefix and no flipped bit of a segment traps, or brings a row that was not there", arguments: Seeds.take(3))
    func hostile(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let files = try Files()
        let path = try files.segment("a", [[0, 1], [2, 3]])
        let whole = try Bytes.read(path)
        var intact = try files.rows()
        let expected = try all(&intact)
        for _ in 0..<400 {
            var bytes = whole
            if random.oneIn(2) {
                bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
            } else {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            try Bytes.write(bytes, to: path)
            guard var rows = try? files.rows(order: random.pick([.time, .recorded])) else { continue }
            for row in try all(&rows) {
                #expect(expected.contains { $0.sequence == row.sequence && (rows.order == .recorded || $0 == row) })
            }
        }
    }
}
