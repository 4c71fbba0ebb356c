import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

/// Sequences, marks and versions: where the loader stops rather than load wrong rows, and where a spool may begin.
@Suite struct SpoolTailOrderTests {
    private let start = TailPosition(segmentNumber: 0, offset: 0, next: 1)

    /// Three sealed segments with rows 1-2, 3-4, 5-6.
    private func threeSegments() throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<3 {
            try spool.chunk(2)
            try spool.seal()
        }
        return spool
    }

    private func path(_ spool: TestSpool, _ index: Int) throws -> String { spool.path(of: try spool.segments()[index]) }

    /// Writes the segment's header anew; its other bytes follow as they are.
    private func rewriteHeader(_ spool: TestSpool, _ index: Int, _ change: (inout SegmentHeader) -> Void) throws {
        let path = try path(spool, index)
        let reader = try SegmentReader(path: path)
        var header = reader.header
        change(&header)
        #expect(header.encode().count == reader.start)
        try spool.overwrite(path, header.encode())
    }

    @Test func aMissingSegmentIsAGapAndStops() throws {
        let spool = try threeSegments()
        try Directory.remove(path(spool, 1))
        let last = try spool.segments()[1]
        #expect(try spool.walk() == ["segment 1 from 1", "rows 1 to 2", "stop: trades/\(last) begins at sequence 5, expected 3"])
    }

    @Test func aDeclaredLossIsPassed() throws {
        let spool = try threeSegments()
        try Directory.remove(path(spool, 1))
        try rewriteHeader(spool, 1) { $0.lostFrom = 3 }
        #expect(
            try spool.walk()
                == ["segment 1 from 1", "rows 1 to 2", "lost 3 to 4", "segment", "rows 5 to 6", "end"].filter { $0 != "segment" })
    }

    @Test func aLossDeclaredForOtherRowsDoesNotExcuseAGap() throws {
        let spool = try threeSegments()
        try Directory.remove(path(spool, 1))
        // Row 3 is neither here nor declared lost.
        try rewriteHeader(spool, 1) { $0.lostFrom = 4 }
        #expect(try spool.walk().last?.hasPrefix("stop: ") == true)
    }

    @Test func aLossAtTheBeginningIsNotPassedInSilence() throws {
        let spool = try threeSegments()
        try Directory.remove(path(spool, 0))
        try rewriteHeader(spool, 0) { $0.lostFrom = 1 }
        #expect(try spool.walk() == ["lost 1 to 2", "rows 3 to 4", "segment 3 from 5", "rows 5 to 6", "end"])
    }

    @Test func aPrunedSpoolBeginsWhereItBeginsIfNothingWasLoaded() throws {
        let spool = try threeSegments()
        try Directory.remove(path(spool, 0))
        #expect(try spool.walk() == ["segment 2 from 3", "rows 3 to 4", "segment 3 from 5", "rows 5 to 6", "end"])
    }

    @Test func aSegmentThatWasPrunedAfterItWasLoadedIsNotMissed() throws {
        let spool = try threeSegments()
        // As a checkpoint stands after the last batch of segment 1: before its index.
        let end = try #require(try spool.chunks(of: spool.segments()[0]).last?.end)
        try Directory.remove(path(spool, 0))
        let position = TailPosition(segmentNumber: 1, offset: end, next: 3)
        #expect(try spool.walk(from: position) == ["segment 2 from 3", "rows 3 to 4", "segment 3 from 5", "rows 5 to 6", "end"])
    }

    @Test func aSegmentThatWasPrunedBeforeItWasLoadedStops() throws {
        let spool = try threeSegments()
        try Directory.remove(path(spool, 0))
        let position = TailPosition(segmentNumber: 1, offset: 500, next: 2)
        #expect(try spool.walk(from: position) == ["stop: segment number 1, of which sequence 2 is next, is not in the spool"])
    }

    @Test func everythingPrunedAfterItWasLoadedIsTheEnd() throws {
        let spool = try threeSegments()
        for name in try spool.segments() { try Directory.remove(spool.path(of: name)) }
        #expect(try spool.walk(from: TailPosition(segmentNumber: 3, offset: 900, next: 7)) == ["end"])
    }

    @Test func namesThatContradictTheOrderOfRowsStopAndDoNotTrap() throws {
        let spool = try threeSegments()
        // A name that goes back behind what was read, after a segment that cannot be read.
        let back = SegmentName(number: 3, firstSequence: 1)
        try Directory.rename(path(spool, 2), to: spool.path(of: back))
        try spool.truncate(path(spool, 1), to: 40)
        let lines = try spool.walk(settled: true)
        #expect(lines.last == "stop: trades/\(back) begins at sequence 1, expected 3 or more", "\(lines)")
    }

    @Test func aChunkOfAnotherSegmentStops() throws {
        let spool = try threeSegments()
        let bytes = try spool.bytes(of: path(spool, 0))
        let chunk = try spool.chunks(of: spool.segments()[0])[0]
        let place = try spool.chunks(of: spool.segments()[1])[0]
        try spool.overwrite(path(spool, 1), Array(bytes[Int(chunk.offset)..<Int(chunk.end)]), at: place.offset)
        let lines = try spool.walk()
        #expect(
            lines.last?.hasPrefix(
                "stop: trades/\(try spool.segments()[1]) at \(place.offset): the chunk is of table trades, writer test-1, segment 1; ")
                == true, "\(lines)")
    }

    @Test func aSegmentOfAnotherTableOrWriterIsDamage() throws {
        let spool = try threeSegments()
        try rewriteHeader(spool, 1) { $0.writer = "test-2" }
        #expect(
            try spool.walk().dropFirst(2) == [
                "segment 2 from 3",
                "quarantine 3 to 4: segment header: the header says segment \(spool.segments()[1]) of table trades, writer test-2",
                "rows 5 to 6", "end",
            ])
    }

    @Test func aNewerVersionStopsWhereverItStands() throws {
        for (file, offset) in [("segment", 12), ("chunk", 12), ("flags", 14)] as [(String, UInt64)] {
            let spool = try threeSegments()
            let path = try path(spool, 1)
            let frame = file == "segment" ? 0 : try spool.chunks(of: spool.segments()[1])[0].offset
            try spool.overwrite(path, [2], at: frame + offset)
            try spool.reseal(path, frame: frame)
            let line = try #require(try spool.walk().last)
            let reason =
                file == "flags"
                ? "unknown flags 0x2: written by a newer version, use that one"
                : "format version 2; this build reads version 1: use a newer one"
            #expect(line.hasPrefix("stop: trades/") && line.hasSuffix(reason), "\(file): \(line)")
        }
    }

    @Test func withoutAMarkOnlySealedSegmentsAreRead() throws {
        let spool = try threeSegments()
        try spool.chunk(2)
        try Directory.remove(spool.markPath)
        #expect(
            try spool.walk() == [
                "segment 1 from 1", "rows 1 to 2", "segment 2 from 3", "rows 3 to 4", "segment 3 from 5", "rows 5 to 6", "end",
            ])
        let active = try TestSpool()
        try active.chunk(2)
        try Directory.remove(active.markPath)
        #expect(try active.walk() == ["end"])
    }

    @Test func aDamagedMarkMeansReadingNothing() throws {
        let spool = try threeSegments()
        for offset in 0..<UInt64(DurableMark.bytes) {
            try spool.flip(spool.markPath, at: offset)
            #expect(throws: FormatError.self) { try spool.tail().refresh() }
            try spool.flip(spool.markPath, at: offset)
        }
        try spool.truncate(spool.markPath, to: 100)
        #expect(throws: FormatError.truncated(need: 128, have: 100)) { try spool.tail().refresh() }
    }

    @Test func aMarkOfAnotherWriterMeansReadingNothing() throws {
        let spool = try threeSegments()
        var mark = try #require(try spool.spool.mark(of: spool.table))
        mark.writer = "other"
        try spool.overwrite(spool.markPath, mark.encode())
        #expect(throws: FormatError.self) { try spool.tail().refresh() }
    }

    @Test func whatTheMarkDoesNotCoverIsNotThere() throws {
        let spool = try TestSpool()
        try spool.chunk(2)
        let mark = try spool.bytes(of: spool.markPath)
        try spool.chunk(2)
        try spool.seal()
        try spool.chunk(2)
        try spool.overwrite(spool.markPath, mark)
        #expect(try spool.walk() == ["segment 1 from 1", "rows 1 to 2", "end"])
    }

    @Test func rowsThatBecomeDurableAreFoundFromWhereTheTailStood() throws {
        let spool = try TestSpool()
        try spool.chunk(2)
        let tail = spool.tail()
        let first = try TailWalk(tail)
        try spool.chunk(2)
        try spool.seal()
        try spool.chunk(2)
        #expect(try TailWalk(tail, from: first.position).lines == ["rows 3 to 4", "segment 2 from 5", "rows 5 to 6", "end"])
    }

    @Test func aTableWithoutRowsEndsAtOnce() throws {
        let spool = try TestSpool()
        #expect(try spool.walk() == ["end"])
        try Directory.create(spool.directory)
        #expect(try spool.walk() == ["end"])
    }
}
