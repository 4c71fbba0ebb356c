import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// A producer that names itself and sends again after a crash: no line twice, none missing.
@Suite struct ResumeTests {
    static let tables = ["ticks", "others", "thirds"]

    private func spool(_ flags: [String: String] = [:]) throws -> TestSpool {
        try TestSpool(schemas: Self.tables.map { TestSpool.ticks.replacing("ticks", with: $0) }, flags)
    }

    /// A table's files as they lie there at one moment.
    private struct Files {
        let segment: SegmentName
        let bytes: [UInt8]
        let mark: [UInt8]

        init?(_ spool: TestSpool, _ table: String) throws {
            guard Directory.exists("\(spool.spoolPath)/\(table)"), let newest = try spool.segments(table).last else { return nil }
            segment = newest
            bytes = try Bytes.read(spool.path(newest, table))
            mark = try Bytes.read("\(spool.spoolPath)/\(table)/durable")
        }
    }

    /// Takes back whatever a commit wrote.
    private func restore(_ spool: TestSpool, _ table: String, to before: Files?) throws {
        guard let after = try Files(spool, table) else { return }
        if after.segment != before?.segment { try Directory.remove(spool.path(after.segment, table)) }
        guard let before else { return try Directory.remove("\(spool.spoolPath)/\(table)/durable") }
        try Bytes.write(before.bytes, to: spool.path(before.segment, table))
        try Bytes.write(before.mark, to: "\(spool.spoolPath)/\(table)/durable")
    }

    /// Makes the files what a crash in the middle of a commit leaves: any part of what the commit wrote.
    private func tear(_ spool: TestSpool, _ table: String, before: Files?, _ random: inout SeededRandom) throws {
        guard let after = try Files(spool, table) else { return }
        let path = spool.path(after.segment, table)
        var mark = try #require(try spool.mark(table))
        if before?.segment == after.segment, let before {
            let keep = Int.random(in: before.bytes.count...after.bytes.count, using: &random)
            try Bytes.write(Array(after.bytes[..<keep]), to: path)
            try Bytes.write(before.mark, to: "\(spool.spoolPath)/\(table)/durable")
        } else {
            let (header, size) = try after.bytes.withUnsafeBytes { try SegmentHeader.decode($0) }
            let keep = Int.random(in: random.oneIn(2) ? size...size : size...after.bytes.count, using: &random)
            try Bytes.write(Array(after.bytes[..<keep]), to: path)
            mark.durableBytes = UInt64(size)
            mark.durableEnd = header.firstSequence
            try Bytes.write(mark.encode(), to: "\(spool.spoolPath)/\(table)/durable")
        }
    }

    @Test("after crashes at any moment a resuming producer's lines are each there once", arguments: Seeds.take(40))
    func everyLineOnce(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let spool = try spool(["writer.chunk_rows": "7", "writer.segment_bytes": "65536"])
        // What the producer sends: which table each of its lines is for; some lines are refused.
        let lines = (0..<400).map { _ in random.oneIn(15) ? "bad" : random.pick(Self.tables) }
        // With odd seeds they are of several partitions, which are cut together: all chunks of a cut, or none.
        let days: [Int64] = (0..<400).map { _ in seed % 2 == 0 ? 0 : random.pick([0, 0, 0, 1, 2]) }
        var sent = 0
        var acknowledged = 0
        var rounds = 0
        while sent < lines.count {
            rounds += 1
            try #require(rounds < 500, "no progress")
            let recorder = try spool.recorder()
            let source = recorder.source(named: "socket:engine", resume: true)
            #expect(source.position <= UInt64(sent))
            let durable = Int(source.position)
            sent = durable
            // Refused lines behind the last row leave no trace, so they may be asked for again; rows never.
            #expect(!lines[min(sent, acknowledged)..<acknowledged].contains { $0 != "bad" }, "seed \(seed): asked for what was durable")
            for _ in 0..<Int.random(in: 1...120, using: &random) where sent < lines.count {
                let line =
                    lines[sent] == "bad"
                    ? "{\"table\":\"ticks\",\"n\":-1}"
                    : TestSpool.line(UInt64(sent), table: lines[sent], time: TestSpool.time + days[sent] * 86_400_000_000_000)
                let refusal = recorder.refusal(of: Array(line.utf8), from: source)
                // A bad line that is sent again counts as one that is there already.
                #expect(refusal == nil || lines[sent] == "bad", "seed \(seed): \(String(describing: refusal))")
                sent += 1
                // Too early for anything; late enough to sync what was cut, but not to cut the rest; late enough for all.
                if random.oneIn(5) { recorder.tick(monotonic: Clock.monotonic() + random.pick([0, 150_000_000, 10_000_000_000])) }
                if random.oneIn(25) { #expect(recorder.commit()) }
            }
            // Lines that were there already leave no trace either, so only rounds without them count.
            acknowledged = source.repeated == 0 ? Int(source.complete) : durable
            if sent == lines.count || random.oneIn(3) {
                let before = try Self.tables.map { try Files(spool, $0) }
                #expect(recorder.commit())
                if sent < lines.count {
                    // Tables are written and synced one after the other: one is torn, those after it were not begun.
                    let torn = Int.random(in: 0..<Self.tables.count, using: &random)
                    try tear(spool, Self.tables[torn], before: before[torn], &random)
                    for index in Self.tables.indices where index > torn { try restore(spool, Self.tables[index], to: before[index]) }
                }
            }
        }
        for table in Self.tables {
            _ = try spool.recover(table)
            let expected = lines.indices.filter { lines[$0] == table }.map { UInt64($0) }
            let found = try spool.numbers(table)
            // Within a partition the order is the producer's; between partitions it is that of the chunks.
            for day in Set(days) {
                #expect(
                    found.filter { days[Int($0)] == day } == expected.filter { days[Int($0)] == day }, "\(table), day \(day), seed \(seed)")
            }
            #expect(try spool.sequences(table) == (0..<expected.count).map { UInt64($0 + 1) }, "\(table), seed \(seed)")
        }
    }

    @Test("rows that a new segment's header was written for, but that never followed it, are sent again")
    func headerAlone() throws {
        let spool = try spool()
        do {
            let recorder = try spool.recorder()
            let source = recorder.source(named: "socket:engine", resume: true)
            for n in 0..<UInt64(5) { try recorder.take(TestSpool.line(n), from: source) }
            #expect(recorder.commit())
        }
        // The power went away after the segment was created and before its first chunk was synced.
        let path = try spool.newest()
        let bytes = try Bytes.read(path)
        let header = try bytes.withUnsafeBytes { try SegmentHeader.decode($0) }
        try Bytes.write(Array(bytes[..<header.frameSize]), to: path)
        var mark = try #require(try spool.mark())
        mark.durableBytes = UInt64(header.frameSize)
        mark.durableEnd = 1
        try Bytes.write(mark.encode(), to: spool.markPath)
        #expect(header.0.sources.isEmpty, "the header speaks of what came before it")

        let recorder = try spool.recorder()
        let source = recorder.source(named: "socket:engine", resume: true)
        #expect(source.position == 0)
        for n in 0..<UInt64(5) { try recorder.take(TestSpool.line(n), from: source) }
        try recorder.finish()
        #expect(source.repeated == 0)
        #expect(try spool.numbers() == [0, 1, 2, 3, 4])
    }

    @Test("a producer that has forgotten acknowledged lines goes on from the first that it still has")
    func fromWhatIsKept() throws {
        let spool = try spool()
        let recorder = try spool.recorder()
        let first = recorder.source(named: "socket:engine", resume: true, from: 7)
        #expect(first.position == 7)
        for n in 7..<UInt64(10) { try recorder.take(TestSpool.line(n), from: first) }
        // What is durable counts for more than an older claim.
        #expect(recorder.source(named: "socket:engine", resume: true, from: 3).position == 10)
        try recorder.finish()
        #expect(try spool.numbers() == [7, 8, 9])
    }

    @Test("of a cut whose last chunk is missing nothing counts, and its lines are sent again")
    func tornCut() throws {
        let spool = try spool()
        let day: Int64 = 86_400_000_000_000
        do {
            let recorder = try spool.recorder()
            let source = recorder.source(named: "socket:engine", resume: true)
            for n in 0..<UInt64(2) { try recorder.take(TestSpool.line(n), from: source) }
            #expect(recorder.commit())
        }
        do {
            let recorder = try spool.recorder()
            let source = recorder.source(named: "socket:engine", resume: true)
            for n in 2..<UInt64(6) { try recorder.take(TestSpool.line(n, time: TestSpool.time + Int64(n % 2) * day), from: source) }
            #expect(recorder.commit())
        }
        // Only the first of the second cut's two chunks reached the disk.
        let path = try spool.newest()
        let whole = try Bytes.read(path)
        let chunks = try spool.contents().flatMap(\.chunks)
        #expect(chunks.map(\.continues) == [false, true, false])
        let reader = try SegmentReader(path: path)
        guard case .chunk(let first) = try reader.item(at: reader.start, limit: UInt64(whole.count)) else {
            Issue.record("no chunk")
            return
        }
        try Bytes.write(Array(whole[..<Int(first.end)]), to: path)
        var torn = try #require(try spool.mark())
        torn.durableBytes = reader.start
        torn.durableEnd = 3
        try Bytes.write(torn.encode(), to: spool.markPath)

        let recorder = try spool.recorder()
        let source = recorder.source(named: "socket:engine", resume: true)
        #expect(source.position == 2)
        for n in 2..<UInt64(6) { try recorder.take(TestSpool.line(n, time: TestSpool.time + Int64(n % 2) * day), from: source) }
        try recorder.finish()
        #expect(source.repeated == 0)
        #expect(try spool.numbers().sorted() == [0, 1, 2, 3, 4, 5])
        #expect(try spool.sequences() == [1, 2, 3, 4, 5, 6])
    }

    @Test("a clean stop is remembered to the last line")
    func cleanStop() throws {
        let spool = try spool()
        do {
            let recorder = try spool.recorder()
            let source = recorder.source(named: "socket:engine", resume: true)
            for n in 0..<UInt64(6) { try recorder.take(TestSpool.line(n, table: n % 2 == 0 ? "ticks" : "others"), from: source) }
            try recorder.finish()
        }
        let recorder = try spool.recorder()
        let source = recorder.source(named: "socket:engine", resume: true)
        for n in source.position..<6 { try recorder.take(TestSpool.line(n, table: n % 2 == 0 ? "ticks" : "others"), from: source) }
        try recorder.finish()
        #expect(try spool.numbers("ticks") == [0, 2, 4])
        #expect(try spool.numbers("others") == [1, 3, 5])
    }

    @Test("a producer that does not resume begins behind what it sent before")
    func withoutResume() throws {
        let spool = try spool()
        do {
            let recorder = try spool.recorder()
            let source = recorder.source(named: "socket:engine", resume: false)
            for n in 0..<UInt64(3) { try recorder.take(TestSpool.line(n), from: source) }
            try recorder.finish()
        }
        let recorder = try spool.recorder()
        let source = recorder.source(named: "socket:engine", resume: false)
        #expect(source.position == 3)
        try recorder.take(TestSpool.line(3), from: source)
        try recorder.finish()
        #expect(try spool.numbers() == [0, 1, 2, 3])
    }

    @Test("sources survive in segment headers although their chunks are in older segments")
    func olderSegments() throws {
        let spool = try spool()
        for (index, name) in ["socket:a", "socket:b", "socket:c"].enumerated() {
            let recorder = try spool.recorder()
            let source = recorder.source(named: name, resume: true)
            for n in 0..<UInt64(index + 1) { try recorder.take(TestSpool.line(n), from: source) }
            try recorder.finish()
        }
        let positions = try spool.recover().positions
        #expect(["socket:a", "socket:b", "socket:c"].map(positions.end) == [1, 2, 3])
        #expect(positions.end("socket:d") == 0)
    }

    @Test("only the sources that were heard last are remembered, up to the limit")
    func forgetsTheOldest() {
        var positions = PositionTable()
        for index in 0...FormatLimits.segmentSources {
            positions.note(SourcePosition(source: "socket:\(index)", end: 5, complete: 4))
        }
        #expect(positions.all.count == FormatLimits.segmentSources)
        #expect(positions.end("socket:0") == 0)
        #expect(positions.end("socket:1") == 5)
        positions.note(SourcePosition(source: "socket:1", end: 3, complete: 3))
        #expect(positions.end("socket:1") == 5, "positions never go back")
        #expect(positions.all.last?.source == "socket:1")
    }
}
