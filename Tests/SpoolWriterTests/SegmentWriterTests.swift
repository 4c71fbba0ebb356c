import Glibc
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// When chunks are cut, written, published, rolled and sealed.
@Suite struct SegmentWriterTests {
    private func take(_ range: Range<UInt64>, _ recorder: Recorder, _ source: Source = Source(name: nil), time: Int64 = TestSpool.time)
        throws
    {
        for n in range { try recorder.take(TestSpool.line(n, time: time), from: source) }
    }

    @Test("nothing is written before it is due, and nothing is published that is not in the file")
    func accepted() throws {
        let spool = try TestSpool()
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        try take(0..<10, recorder, source)
        recorder.tick(monotonic: Clock.monotonic())
        #expect(source.complete == 0)
        #expect(!Directory.exists("\(spool.spoolPath)/ticks"))
        #expect(recorder.tick(monotonic: Clock.monotonic() + 250_000_000))
        #expect(source.complete == 10)
        let mark = try #require(try spool.mark())
        #expect((mark.durableEnd, mark.isSealed) == (11, false))
        #expect(Int(mark.durableBytes) == (try Bytes.read(try spool.newest())).count)
        #expect((mark.minEventTime, mark.maxEventTime) == (TestSpool.time, TestSpool.time + 9))
    }

    @Test("rows gathered since the last cut are not called durable when those before them are")
    func restIsNotDurable() throws {
        let spool = try TestSpool(["writer.chunk_rows": "5", "writer.sync": "every 100ms"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        try take(0..<7, recorder, source)
        let now = Clock.monotonic()
        #expect(!recorder.tick(monotonic: now))
        #expect(recorder.tick(monotonic: now + 110_000_000), "the cut rows are synced after 100 ms")
        #expect(source.complete == 5)
        #expect(try spool.mark()?.durableEnd == 6)
        try take(7..<8, recorder, source)
        #expect(source.complete == 5)
        try recorder.finish()
        #expect(source.complete == 8)
    }

    @Test("the mark never says more than whole chunks that are there, at any moment", arguments: Seeds.take(10))
    func markIsTrue(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let spool = try TestSpool(["writer.chunk_rows": "5", "writer.segment_bytes": "65536"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        var last: DurableMark?
        for n in 0..<UInt64(200) {
            try recorder.take(TestSpool.line(n), from: source)
            if random.oneIn(6) { recorder.tick(monotonic: Clock.monotonic() + (random.oneIn(2) ? 200_000_000 : 0)) }
            guard random.oneIn(4), Directory.exists("\(spool.spoolPath)/ticks"), let mark = try spool.mark() else { continue }
            let bytes = try Bytes.read(spool.path(mark.segment))
            #expect(UInt64(bytes.count) >= mark.durableBytes)
            let contents = try SegmentWalk.contents(of: Array(bytes[..<Int(mark.durableBytes)]))
            #expect(contents.ending == .open)
            #expect((contents.chunks.last?.endSequence ?? contents.header.firstSequence) == mark.durableEnd)
            #expect(mark.durableEnd == source.complete + 1)
            #expect(mark.publications >= last?.publications ?? 0)
            last = mark
        }
    }

    @Test("a chunk is cut at its rows and at its bytes")
    func chunkLimits() throws {
        let spool = try TestSpool(["writer.chunk_rows": "100", "writer.chunk_bytes": "4096"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        try take(0..<150, recorder, source)
        for n in 150..<UInt64(156) {
            let line = "{\"table\":\"ticks\",\"ts\":\(TestSpool.time),\"n\":\(n),\"note\":\"\(String(repeating: "x", count: 1_500))\"}"
            try recorder.take(line, from: source)
        }
        try recorder.finish()
        #expect(try spool.contents()[0].chunks.map(\.rows) == [100, 52, 3, 1])
        #expect(try spool.numbers() == (0..<156).map { $0 })
    }

    @Test("rows of several partitions are gathered side by side and cut together, one chunk a partition")
    func partitions() throws {
        let spool = try TestSpool()
        let recorder = try spool.recorder()
        let day: Int64 = 86_400_000_000_000
        let days: [Int64] = [0, 0, 1, 1, 1, 0, 2]
        for (n, day_) in days.enumerated() {
            try recorder.take(TestSpool.line(UInt64(n), time: TestSpool.time + day_ * day), from: Source(name: nil))
        }
        try recorder.finish()
        let chunks = try spool.contents()[0].chunks
        #expect(chunks.map(\.rows) == [3, 3, 1])
        #expect(chunks.map(\.partition) == [20_455, 20_456, 20_457])
        #expect(chunks.map(\.continues) == [true, true, false])
        #expect(try spool.numbers() == [0, 1, 5, 2, 3, 4, 6])
        #expect(try spool.sequences() == [1, 2, 3, 4, 5, 6, 7])
    }

    @Test("a segment rolls at its size, and the rows go on in the next without a gap")
    func rollBySize() throws {
        let spool = try TestSpool(["writer.chunk_rows": "20", "writer.segment_bytes": "65536"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        var random = SeededRandom(seed: 1)
        for n in 0..<UInt64(100) {
            // Random digits hardly compress.
            let note = (0..<150).map { _ in String(random.next(), radix: 36) }.joined()
            try recorder.take("{\"table\":\"ticks\",\"ts\":\(TestSpool.time),\"n\":\(n),\"note\":\"\(note)\"}", from: source)
            if n % 20 == 19 { #expect(recorder.commit()) }
        }
        try recorder.finish()
        let contents = try spool.contents()
        #expect(contents.count >= 2)
        #expect(contents.map(\.header.number) == (1...UInt64(contents.count)).map { $0 })
        for (earlier, later) in zip(contents, contents.dropFirst()) {
            #expect(later.header.firstSequence == earlier.chunks.last?.endSequence)
            #expect(later.header.lostFrom == later.header.firstSequence)
        }
        for segment in contents {
            guard case .sealed = segment.ending else {
                Issue.record("segment \(segment.header.number) is not sealed")
                continue
            }
        }
        #expect(try spool.sequences() == (1...100).map { $0 })
    }

    @Test("a segment rolls at its age although nothing more comes")
    func rollByAge() throws {
        let spool = try TestSpool(["writer.segment_age": "1s"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        try take(0..<3, recorder, source)
        #expect(recorder.commit())
        let deadline = try #require(recorder.nextDeadline) - Clock.monotonic()
        #expect(deadline > 500_000_000 && deadline <= 1_000_000_000)
        #expect(try spool.mark()?.isSealed == false)
        usleep(1_050_000)
        recorder.tick(monotonic: Clock.monotonic())
        #expect(try spool.mark()?.isSealed == true)
        #expect(recorder.nextDeadline == nil)
        try take(3..<5, recorder, source)
        try recorder.finish()
        #expect(try spool.contents().map(\.rows.count) == [3, 2])
        #expect(try spool.segments().map(\.firstSequence) == [1, 4])
    }

    @Test("a clean stop seals, and a start after it begins a new segment without a note")
    func finish() throws {
        let spool = try TestSpool()
        do {
            let recorder = try spool.recorder()
            try take(0..<4, recorder)
            try recorder.finish()
        }
        let contents = try spool.contents()
        guard case .sealed(let index) = contents[0].ending else {
            Issue.record("not sealed")
            return
        }
        #expect((index.trailer.rows, index.trailer.chunks) == (4, 1))
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.notes.count) == (2, 5, 0))
    }

    @Test("without rows there are no files")
    func empty() throws {
        let spool = try TestSpool()
        do { try (try spool.recorder()).finish() }
        #expect(try Bytes.list(spool.spoolPath) == ["spool.id", "spool.lock"])
    }

    @Test("a second writer is turned away, and a spool keeps its writer id")
    func lock() throws {
        let spool = try TestSpool()
        do {
            let first = try spool.recorder()
            let error = #expect(throws: SpoolFailure.self) { try spool.recorder() }
            #expect(
                error?.description
                    == "\(spool.spoolPath) is in use by another spool-writer (pid \(getpid())): stop that one, send to its socket, or use another --spool"
            )
            #expect(first.spool.writer == "w1")
        }
        spool.flags["writer.id"] = "w2"
        let error = #expect(throws: SpoolFailure.self) { try spool.recorder() }
        #expect(
            error?.description
                == "\(spool.spoolPath) belongs to writer w1, the configuration says w2: a spool keeps its writer id for life")
        #expect(try Bytes.text("\(spool.spoolPath)/spool.id") == "coldpath-spool 1\nwriter w1\n")
    }

    @Test("what could not be published is published as soon as it can be, without waiting for more rows")
    func publishesLater() throws {
        let spool = try TestSpool()
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        // A directory in the mark's place: every write to the mark fails.
        try Directory.create("\(spool.spoolPath)/ticks/durable")
        try take(0..<3, recorder, source)
        #expect(!recorder.commit())
        #expect(!recorder.commit())
        #expect(recorder.blockedBy?.code == EISDIR)
        #expect(source.complete == 0)
        rmdir("\(spool.spoolPath)/ticks/durable")
        #expect(recorder.commit())
        #expect(source.complete == 3)
        #expect(try spool.mark()?.durableEnd == 4)
        try recorder.finish()
        #expect(try spool.numbers() == [0, 1, 2])
    }

    @Test("a segment whose mark says sealed does not change any more, also when that mark could not be synced")
    func sealedStays() throws {
        let spool = try TestSpool()
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        try take(0..<3, recorder, source)
        #expect(recorder.commit())
        let segment = try spool.newest()
        let mark = "\(spool.spoolPath)/ticks/durable"
        // Takes what is written, and cannot be synced: a loader would have read the mark.
        try Directory.removeIfPresent(mark)
        try #require(symlink("/dev/null", mark) == 0)
        let error = #expect(throws: IOFailure.self) { try recorder.finish() }
        #expect((error?.code, error?.path) == (EINVAL, mark))
        let sealed = try Bytes.read(segment)
        guard case .sealed = try SegmentWalk.contents(of: sealed).ending else {
            Issue.record("not sealed")
            return
        }
        usleep(1_000)
        #expect(throws: IOFailure.self) { try recorder.finish() }
        try take(3..<5, recorder, source)
        #expect(!recorder.commit())
        #expect(try Bytes.read(segment) == sealed)
        #expect(source.complete == 3)
        try Directory.removeIfPresent(mark)
        #expect(recorder.commit())
        #expect(try Bytes.read(segment) == sealed)
        #expect(try spool.mark()?.segmentNumber == 2)
        try recorder.finish()
        #expect(try spool.contents().map(\.rows.count) == [3, 2])
        #expect(try spool.numbers() == [0, 1, 2, 3, 4])
    }
}
