import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// Which segments may go, reason by reason.
@Suite struct TablePruningTests {
    private let now = TestSpool.start + 100 * TestSpool.day

    /// Sealed segments with rows 1-2, 3-4, 5-6; an active one with rows 7-8.
    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<3 {
            try spool.chunk(2)
            try spool.seal()
        }
        try spool.chunk(2)
        return spool
    }

    private func checkpoint(next: UInt64, segment: UInt64, inflight: InflightBatch? = nil) -> Checkpoint {
        var checkpoint = Checkpoint(writer: TestSpool.writer, table: TestSpool.table)
        checkpoint.next = next
        checkpoint.segmentNumber = segment
        checkpoint.inflight = inflight.map { [$0] } ?? []
        return checkpoint
    }

    private func plan(
        _ spool: TestSpool, _ checkpoint: Checkpoint, quarantined: [Range<UInt64>] = [], keep: Int64 = 0, includes: Bool = false
    ) throws -> TablePruning {
        try TablePruning(
            spool: spool.spool, table: spool.table, checkpoint: checkpoint, quarantined: SequenceSet(quarantined), keep: keep, now: now,
            includesQuarantined: includes)
    }

    @Test func whatIsLoadedAndOldGoesOldestFirst() throws {
        let spool = try spool()
        let names = try spool.segments()
        let pruning = try plan(spool, checkpoint(next: 9, segment: 4), keep: 99 * TestSpool.day)
        #expect(pruning.segments.map(\.segment) == names[..<3].map(\.fileName) && pruning.rows == 6)
        #expect(pruning.kept?.segment == names[3].fileName && pruning.kept?.reason == "is the newest")
        let size = try File.openForReading(spool.path(of: names[0])).size()
        #expect(pruning.segments[0].bytes == size && pruning.bytes > size)
        #expect(pruning.remove().problem == nil)
        #expect(try spool.segments() == [names[3]])
        #expect(try spool.walk() == ["segment 4 from 7", "rows 7 to 8", "end"])
        #expect(!spool.isDamaged())
        // A loader goes on, and so does one that has no checkpoint.
        let server = FakeClickHouse()
        #expect(try LoaderBench(spool, server).run() && server.holdsOnce(7..<9))
    }

    @Test func theNewestStaysThoughItIsSealed() throws {
        let spool = try TestSpool()
        for _ in 0..<2 {
            try spool.chunk(2)
            try spool.seal()
        }
        let pruning = try plan(spool, checkpoint(next: 5, segment: 9))
        #expect(pruning.segments.count == 1 && pruning.kept?.reason == "is the newest")
    }

    @Test func whatIsNotLoadedStays() throws {
        let spool = try spool()
        #expect(try plan(spool, checkpoint(next: 1, segment: 0)).kept?.reason == "rows from 1 on are not loaded")
        let half = try plan(spool, checkpoint(next: 4, segment: 2))
        #expect(half.segments.count == 1 && half.kept?.reason == "rows from 4 on are not loaded")
    }

    @Test func theSegmentThatTheCheckpointStandsInStays() throws {
        let spool = try spool()
        let pruning = try plan(spool, checkpoint(next: 5, segment: 2))
        #expect(pruning.segments.count == 1 && pruning.kept?.reason == "the loader stands in it")
    }

    @Test func aSegmentWithABatchInFlightStays() throws {
        let spool = try spool()
        let inflight = InflightBatch(
            firstSequence: 3, endSequence: 5, segmentNumber: 2, fromOffset: 1, toOffset: 2, partition: 1, checksum: 1, attempt: 0)
        let pruning = try plan(spool, checkpoint(next: 9, segment: 4, inflight: inflight))
        #expect(pruning.segments.count == 1 && pruning.kept?.reason == "a batch of it is in flight")
    }

    @Test func whatWasSealedLatelyStays() throws {
        let spool = try spool()
        let pruning = try plan(spool, checkpoint(next: 9, segment: 4), keep: 101 * TestSpool.day)
        #expect(pruning.segments.isEmpty && pruning.kept?.reason == "was sealed at 2026-01-02T03:04:05Z")
    }

    @Test func quarantinedRowsStayUnlessTheyAreGivenUp() throws {
        let spool = try spool()
        let pruning = try plan(spool, checkpoint(next: 9, segment: 4), quarantined: [4..<5])
        #expect(pruning.segments.count == 1 && pruning.kept?.reason == "holds quarantined rows, which are nowhere else: 4")
        #expect(try plan(spool, checkpoint(next: 9, segment: 4), quarantined: [4..<5], includes: true).segments.count == 3)
    }

    @Test func whatCannotBeReadToItsEndStays() throws {
        let spool = try spool()
        let path = spool.path(of: try spool.segments()[1])
        try spool.truncate(path, to: File.openForReading(path).size() - 1)
        let pruning = try plan(spool, checkpoint(next: 9, segment: 4))
        #expect(pruning.segments.count == 1)
        #expect(pruning.kept?.reason == "is not sealed, or its end cannot be read: see `spool-loader verify`")
    }

    @Test func withoutAMarkNothingGoes() throws {
        let spool = try spool()
        try spool.flip(spool.markPath, at: 50)
        #expect(throws: CommandFailure.self) { try plan(spool, checkpoint(next: 9, segment: 4)) }
        try Directory.remove(spool.markPath)
        #expect(try plan(spool, checkpoint(next: 9, segment: 4)).kept?.reason == "there is no durable mark")
    }

    @Test func aNewerSegmentThanTheMarksDoesNotMakeThatOneOld() throws {
        let spool = try spool()
        let mark = try spool.bytes(of: spool.markPath)
        try spool.seal()
        try spool.chunk(2)
        try spool.overwrite(spool.markPath, mark)
        #expect(try plan(spool, checkpoint(next: 99, segment: 9)).segments.count == 3)
    }

    @Test func tombstonesGoAndTwinsStay() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[0])
        try spool.shed(spool.segments()[1], removes: false)
        let pruning = try plan(spool, checkpoint(next: 9, segment: 4))
        #expect(pruning.segments.map(\.rows) == [0] && pruning.kept?.reason.hasPrefix("another file has its number") == true)
    }

    @Test func aFileThatCannotGoIsNamedAndEndsIt() throws {
        let spool = try spool()
        let names = try spool.segments()
        let pruning = try plan(spool, checkpoint(next: 9, segment: 4))
        try Directory.remove(spool.path(of: names[1]))
        try Directory.create(spool.path(of: names[1]))
        let (removed, problem) = pruning.remove()
        #expect(removed.map(\.segment) == [names[0].fileName])
        #expect(problem?.hasPrefix("remove \(spool.path(of: names[1])): ") == true)
        #expect(try spool.segments() == Array(names[1...]))
    }

    @Test func whatTheWriterGaveUpMeanwhileIsGoneAnyway() throws {
        let spool = try spool()
        let pruning = try plan(spool, checkpoint(next: 9, segment: 4))
        try Directory.remove(spool.path(of: spool.segments()[0]))
        #expect(pruning.remove().problem == nil)
        #expect(try spool.segments().count == 1)
    }
}
