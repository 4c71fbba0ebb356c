import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// How chunks become batches, and how a batch in flight is found again.
@Suite struct BatchPlannerTests {
    private func planner(_ spool: TestSpool, rows: Int = 1_000_000, bytes: Int = 1 << 30) throws -> BatchPlanner {
        let tail = spool.tail()
        try tail.refresh()
        return BatchPlanner(tail: tail, limits: BatchLimits(rows: rows, bytes: bytes))
    }

    private func bytes(of body: any RequestBody) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: body.count)
        var done = 0
        // In pieces, as libcurl asks for them.
        while done < body.count {
            done += try bytes.withUnsafeMutableBytes {
                try body.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[done..<min(done + 100, $0.count)]), at: done)
            }
        }
        return bytes
    }

    /// All batches of the spool, as ranges of rows.
    private func batches(_ planner: BatchPlanner) throws -> [Batch] {
        var position = TailPosition(segmentNumber: 0, offset: 0, next: 1)
        var batches: [Batch] = []
        while true {
            switch try planner.plan(from: position) {
            case .batch(let batch, _):
                batches.append(batch)
                position = batch.end
            case .skip(let next), .other(.move(let next)): position = next
            case .other: return batches
            }
        }
    }

    private func ranges(_ batches: [Batch]) -> [Range<UInt64>] { batches.map { $0.firstSequence..<$0.endSequence } }

    @Test func chunksOfOnePartitionAndSegmentGoTogether() throws {
        let spool = try TestSpool()
        for _ in 0..<3 { try spool.chunk(2) }
        try spool.seal()
        try spool.chunk(2)
        #expect(ranges(try batches(planner(spool))) == [1..<7, 7..<9])
    }

    @Test func aBatchNeverHoldsTwoPartitions() throws {
        let spool = try TestSpool()
        for day in [0, 0, 1, 1, 0] { try spool.chunk(2, at: TestSpool.start + Int64(day) * TestSpool.day) }
        let batches = try batches(planner(spool))
        #expect(ranges(batches) == [1..<5, 5..<9, 9..<11])
        for batch in batches { #expect(Set(batch.chunks.map(\.header.partition)).count == 1) }
    }

    @Test func rowsOfTwoDaysInOneGoAreTwoChunks() throws {
        let spool = try TestSpool()
        try spool.append(at: TestSpool.start)
        try spool.append(at: TestSpool.start + TestSpool.day)
        try spool.commit()
        #expect(ranges(try batches(planner(spool))) == [1..<2, 2..<3])
    }

    @Test func theLimitOfRowsIsKeptUnlessOneChunkIsLarger() throws {
        let spool = try TestSpool()
        for count in [2, 2, 2, 9, 1] { try spool.chunk(count) }
        #expect(ranges(try batches(planner(spool, rows: 4))) == [1..<5, 5..<7, 7..<16, 16..<17])
        #expect(ranges(try batches(planner(spool, rows: 5))) == [1..<5, 5..<7, 7..<16, 16..<17])
        #expect(ranges(try batches(planner(spool, rows: 6))) == [1..<7, 7..<16, 16..<17])
    }

    @Test func onlyTheLastBatchOfWhatIsDurableCouldBecomeLarger() throws {
        let spool = try TestSpool()
        try spool.chunk(2)
        try spool.seal()
        for _ in 0..<3 { try spool.chunk(2) }
        let planner = try planner(spool, rows: 4)
        var position = TailPosition(segmentNumber: 0, offset: 0, next: 1)
        var full: [Bool] = []
        while full.count < 3 {
            switch try planner.plan(from: position) {
            case .batch(let batch, let isFull):
                full.append(isFull)
                position = batch.end
            case .skip(let next), .other(.move(let next)): position = next
            case .other(let item): return #expect(Bool(false), "\(item)")
            }
        }
        // The end of a segment, the limit of rows, the end of what is durable.
        #expect(full == [true, true, false])
    }

    @Test func theLimitOfBytesIsKept() throws {
        let spool = try TestSpool()
        for _ in 0..<4 { try spool.chunk(2) }
        let chunks = try spool.chunks(of: spool.segments()[0])
        // The larger pair: values differ, so chunks may by a byte.
        let two = Int(max(chunks[1].end - chunks[0].offset, chunks[3].end - chunks[2].offset))
        let least = Int(min(chunks[1].end - chunks[0].offset, chunks[3].end - chunks[2].offset))
        #expect(ranges(try batches(planner(spool, bytes: two))) == [1..<5, 5..<9])
        #expect(ranges(try batches(planner(spool, bytes: least - 1))) == [1..<3, 3..<5, 5..<7, 7..<9])
    }

    @Test(arguments: Seeds.take(30))
    func batchesAreContiguousAndLoseNothing(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let spool = try TestSpool()
        for _ in 0..<20 {
            let day = Int64.random(in: 0...1, using: &random) * TestSpool.day
            try spool.chunk(Int.random(in: 1...6, using: &random), at: TestSpool.start + day)
            if Int.random(in: 0..<100, using: &random) < 20 { try spool.seal() }
        }
        let rows = Int.random(in: 1...20, using: &random)
        var next: UInt64 = 1
        for batch in try batches(planner(spool, rows: rows)) {
            #expect(batch.firstSequence == next, "replay with SPOOL_TEST_SEED=\(seed)")
            #expect(batch.rows <= UInt64(rows) || batch.chunks.count == 1)
            #expect(Set(batch.chunks.map(\.header.segmentNumber)) == [batch.segment.name.number])
            next = batch.endSequence
        }
        #expect(next == spool.end, "replay with SPOOL_TEST_SEED=\(seed)")
    }

    @Test func aBatchInFlightIsFoundAgainWithTheSameBytesWhateverTheLimitsAreNow() throws {
        let spool = try TestSpool()
        for _ in 0..<4 { try spool.chunk(2) }
        let first = try planner(spool, rows: 6)
        let batch = try #require(try batches(first).first)
        let checked = try BatchReader().check(batch)
        let inflight = batch.inflight(checksum: checked.checksum, attempt: 2)
        try spool.chunk(2)
        let again = try planner(spool, rows: 2).batch(of: inflight)
        let path = spool.path(of: try spool.segments()[0])
        let bytes = try bytes(of: BatchReader().check(again).body)
        #expect(bytes == Array(try spool.bytes(of: path)[Int(batch.from)..<Int(batch.to)]))
        #expect(bytes.withUnsafeBytes { crc32c($0) } == checked.checksum)
        #expect(again.firstSequence..<again.endSequence == 1..<7)
        #expect(again.inflight(checksum: inflight.checksum, attempt: 2) == inflight)
    }

    @Test func everyChangedBitOfABatchInFlightIsRefused() throws {
        let spool = try TestSpool()
        try spool.chunk(2)
        try spool.chunk(2)
        let planner = try planner(spool)
        let batch = try #require(try batches(planner).first)
        let reader = BatchReader()
        let inflight = batch.inflight(checksum: try reader.check(batch).checksum, attempt: 0)
        let path = spool.path(of: try spool.segments()[0])
        for offset in batch.from..<batch.to {
            for bit in 0..<UInt8(8) {
                try spool.flip(path, at: offset, mask: 1 << bit)
                // Refused where its headers are read, or where its bytes are checked.
                let again = try? planner.batch(of: inflight)
                let checked = try again.map { try reader.check($0) }
                #expect(checked.map { $0.error != nil && $0.checksum != inflight.checksum } ?? true, "bit \(bit) at \(offset)")
                try spool.flip(path, at: offset, mask: 1 << bit)
            }
        }
    }

    @Test func aBatchInFlightThatIsNotThereNamesItself() throws {
        let spool = try TestSpool()
        try spool.chunk(2)
        let planner = try planner(spool)
        var inflight = InflightBatch(
            firstSequence: 1, endSequence: 3, segmentNumber: 9, fromOffset: 10, toOffset: 20, partition: 0, checksum: 0, attempt: 0)
        func problem() -> String? {
            do {
                _ = try planner.batch(of: inflight)
                return nil
            } catch { return "\(error)" }
        }
        #expect(
            problem()
                == "trades: the batch in flight, rows 1 to 2, cannot be read again from segment 9: it is not in the spool; whether ClickHouse has it, `spool-loader audit` tells"
        )
        inflight.segmentNumber = 1
        #expect(problem()?.contains("no chunk at 10") == true)
        inflight.fromOffset = 20
        #expect(problem()?.contains("it has no chunk") == true)
        inflight.toOffset = .max
        #expect(problem() != nil)
    }

    @Test func chunksFromTheFirstDamagedOneOnAreNotSound() throws {
        let spool = try TestSpool()
        for _ in 0..<3 { try spool.chunk(2) }
        let planner = try planner(spool)
        let batch = try #require(try batches(planner).first)
        #expect(try BatchReader().check(batch).sound == 3)
        let path = spool.path(of: try spool.segments()[0])
        try spool.flip(path, at: batch.chunks[1].dataOffset + 9)
        #expect(try BatchReader().check(batch).sound == 1)
        // The header too is checked in the bytes that would be sent.
        try spool.flip(path, at: batch.chunks[0].offset + 40)
        #expect(try BatchReader().check(batch).sound == 0)
        try spool.truncate(path, to: batch.chunks[0].dataOffset)
        #expect(try BatchReader().check(batch).sound == 0)
    }
}
