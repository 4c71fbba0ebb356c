import Foundation
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// Rows that the writer gave up, and segments that are not there any more: what a tail says wherever it stands (`docs/spool-format.md` §5).
@Suite struct SpoolTailShedTests {
    /// Sealed segments with rows 1-2 3-4, 5-6 7-8, 9-10 11-12; an active one with rows 13-14.
    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<3 {
            try spool.chunk(2)
            try spool.chunk(2)
            try spool.seal()
        }
        try spool.chunk(2)
        return spool
    }

    private let third = ["segment 3 from 9", "rows 9 to 10", "rows 11 to 12", "segment 4 from 13", "rows 13 to 14", "end"]

    @Test func aTombstoneIsPassedAsShed() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[1])
        #expect(try spool.walk() == ["segment 1 from 1", "rows 1 to 2", "rows 3 to 4", "shed 5 to 8"] + third)
    }

    @Test func severalTombstonesFollowEachOther() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[0])
        try spool.shed(spool.segments()[1])
        #expect(try spool.walk() == ["shed 1 to 4", "shed 5 to 8"] + third)
        try spool.shed(spool.segments()[2])
        #expect(try spool.walk() == ["shed 1 to 4", "shed 5 to 8", "shed 9 to 12", "segment 4 from 13", "rows 13 to 14", "end"])
    }

    @Test func aReaderInTheMiddleGoesOnAsIfTheRestWereLost() throws {
        let spool = try spool()
        let segment = try spool.segments()[1]
        let chunk = try spool.chunks(of: segment)[1]
        try spool.shed(segment)
        let position = TailPosition(segmentNumber: 2, offset: chunk.offset, next: 7)
        #expect(try spool.walk(from: position) == ["shed 7 to 8"] + third)
        #expect(try spool.walk(from: TailPosition(segmentNumber: 2, offset: 0, next: 5)) == ["shed 5 to 8"] + third)
    }

    @Test func aReaderAtItsEndHasLostNothing() throws {
        let spool = try spool()
        let segment = try spool.segments()[1]
        let end = try #require(try spool.chunks(of: segment).last?.end)
        let size = try File.openForReading(spool.path(of: segment)).size()
        try spool.shed(segment)
        for offset in [end, size] {
            #expect(try spool.walk(from: TailPosition(segmentNumber: 2, offset: offset, next: 9)) == third)
        }
    }

    @Test func aTailThatHasTheSegmentOpenMayReadOnAndGoesOn() throws {
        let spool = try spool()
        let tail = spool.tail()
        try tail.refresh()
        let chunk = try spool.chunks(of: spool.segments()[1])[0]
        let position = TailPosition(segmentNumber: 2, offset: chunk.offset, next: 5)
        guard case .chunk = try tail.item(at: position) else {
            Issue.record("no chunk")
            return
        }
        try spool.shed(spool.segments()[1])
        // The list is the old one, and the file is open.
        guard case .chunk(let again, _) = try tail.item(at: position) else {
            Issue.record("no chunk")
            return
        }
        #expect(again.header.firstSequence == 5)
        #expect(try TailWalk(tail, from: TailPosition(segmentNumber: 2, offset: again.end, next: 7)).lines == ["shed 7 to 8"] + third)
    }

    @Test func aListThatIsOutOfDateLeadsToAFreshLook() throws {
        let spool = try spool()
        let tail = spool.tail()
        try tail.refresh()
        try spool.shed(spool.segments()[1])
        let end = try #require(try spool.chunks(of: spool.segments()[0]).last?.end)
        var position = TailPosition(segmentNumber: 1, offset: end, next: 5)
        // Not refreshed: to the segment that was there, and there the open fails.
        if case .move(let next) = try tail.item(at: position) { position = next }
        guard case .lost(let rows, isShed: true, _) = try tail.item(at: position) else {
            Issue.record("\(try tail.item(at: position))")
            return
        }
        #expect(rows == 5..<9)
    }

    @Test func aNewSegmentThatTheListDoesNotHaveIsNoGap() throws {
        let spool = try spool()
        // A list that was read while a tombstone came and its segment went has neither.
        let segment = try spool.segments()[1]
        let path = spool.path(of: segment)
        try Directory.rename(path, to: path + ".away")
        let tail = spool.tail()
        try tail.refresh()
        try Directory.rename(path + ".away", to: path)
        try spool.shed(segment)
        let end = try #require(try spool.chunks(of: spool.segments()[0]).last?.end)
        guard case .lost(let rows, isShed: true, _) = try tail.item(at: TailPosition(segmentNumber: 1, offset: end, next: 5)) else {
            Issue.record("it stops")
            return
        }
        #expect(rows == 5..<9)
    }

    @Test func aSegmentThatIsGoneWhileItIsListedIsTheSystemsError() throws {
        let spool = try spool()
        let name = SegmentName(number: 2, firstSequence: 5)
        try Directory.remove(spool.path(of: name))
        // A name without a file behind it.
        try FileManager.default.createSymbolicLink(atPath: spool.path(of: name), withDestinationPath: "nowhere")
        let tail = spool.tail()
        try tail.refresh()
        #expect(throws: IOFailure.self) { try tail.item(at: TailPosition(segmentNumber: 2, offset: 0, next: 5)) }
    }

    @Test func twoFilesOfOneNumberAreReadAsTheTombstone() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[1], removes: false)
        #expect(try spool.segments().count == 5)
        #expect(try spool.walk() == ["segment 1 from 1", "rows 1 to 2", "rows 3 to 4", "shed 5 to 8"] + third)
        #expect(
            try spool.verify() == [
                "note 0000000002-00000000000000000005.lz4: was given up: 0000000002-00000000000000000009.lz4 stands in its place, and the writer removes this one at its next start",
                "note 0000000002-00000000000000000009.lz4 at 0: declares rows 5 to 8 shed: the writer gave them up for want of room",
            ])
    }

    @Test func twoFilesOfOneNumberWithoutATombstoneAreDamage() throws {
        let spool = try spool()
        let name = try spool.segments()[1]
        try spool.overwrite(spool.path(of: SegmentName(number: 2, firstSequence: 7)), spool.bytes(of: spool.path(of: name)))
        #expect(try spool.walk().last?.hasPrefix("stop: ") == true)
        #expect(try spool.verify().first == "DAMAGE \(name): and 0000000002-00000000000000000007.lz4 have the same number")
    }

    @Test func rowsThatNeverBecameDurableAreDeclaredByTheNextSegment() throws {
        let spool = try TestSpool()
        try spool.chunk(2)
        try spool.seal()
        try spool.chunk(2)
        try spool.seal()
        try spool.chunk(2)
        // As if rows 3-4 had been cut and given up, and segment 3 told of it.
        try Directory.remove(spool.path(of: spool.segments()[1]))
        try spool.declareShed(from: 3, by: spool.segments()[1])
        #expect(try spool.walk() == ["segment 1 from 1", "rows 1 to 2", "shed 3 to 4", "rows 5 to 6", "end"])
        #expect(!spool.isDamaged())
    }

    @Test func onlyRowsThatWereNotPassedCount() throws {
        let spool = try TestSpool()
        try spool.chunk(4)
        try spool.seal()
        try spool.chunk(2)
        try spool.seal()
        try spool.chunk(2)
        try Directory.remove(spool.path(of: spool.segments()[1]))
        try spool.declareShed(from: 2, by: spool.segments()[1])
        #expect(try spool.walk() == ["segment 1 from 1", "rows 1 to 4", "shed 5 to 6", "rows 7 to 8", "end"])
    }

    @Test func aTombstoneForOtherRowsDoesNotExcuseAGap() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[1])
        try Directory.remove(spool.path(of: spool.segments()[0]))
        // Row 3 and 4 are neither here nor declared.
        let position = TailPosition(segmentNumber: 1, offset: 500, next: 3)
        #expect(try spool.walk(from: position) == ["stop: segment number 1, of which sequence 3 is next, is not in the spool"])
        let last = try spool.segments()[0]
        #expect(last.firstSequence == 9)
    }

    @Test func aPrunedFrontIsPassedIfTheNextOneDeclaresTheRows() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[1])
        try Directory.remove(spool.path(of: spool.segments()[0]))
        #expect(try spool.walk() == ["shed 5 to 8"] + third)
        #expect(try spool.walk(from: TailPosition(segmentNumber: 1, offset: 900, next: 5)) == ["shed 5 to 8"] + third)
    }

    @Test func aTombstoneOfTheLastSegmentEndsTheTable() throws {
        let spool = try TestSpool()
        try spool.chunk(2)
        try spool.seal()
        try spool.chunk(2)
        try spool.seal()
        try spool.shed(spool.segments()[1])
        #expect(try spool.walk() == ["segment 1 from 1", "rows 1 to 2", "shed 3 to 4", "end"])
        #expect(!spool.isDamaged())
    }

    @Test(arguments: Seeds.take(6))
    func aReaderGetsThroughWhileTheWriterGivesUpSegments(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        nonisolated(unsafe) let spool = try TestSpool()
        for _ in 0..<60 {
            try spool.chunk(2)
            try spool.chunk(1)
            try spool.seal()
        }
        try spool.chunk(2)
        let names = try spool.segments().dropLast().shuffled(using: &random)
        let writer = Thread { for name in names { _ = try? spool.shed(name) } }
        writer.start()
        var walks = 0
        while !writer.isFinished || walks < 2 {
            walks += 1
            let lines = try spool.walk()
            var next: UInt64 = 1
            for line in lines.dropLast() where !line.hasPrefix("segment") {
                let words = line.split(separator: " ")
                try #require(words[0] == "rows" || words[0] == "shed", "replay with SPOOL_TEST_SEED=\(seed): \(lines)")
                #expect(UInt64(words[1]) == next, "replay with SPOOL_TEST_SEED=\(seed): \(lines)")
                next = (UInt64(words[3]) ?? 0) + 1
            }
            #expect(next == spool.end && lines.last == "end", "replay with SPOOL_TEST_SEED=\(seed): \(lines)")
        }
        #expect(try spool.walk().count { $0.hasPrefix("shed") } == 60)
    }

    @Test func aDamagedTombstoneDoesNotTrapOrLoop() throws {
        let spool = try spool()
        try spool.shed(spool.segments()[1])
        let path = spool.path(of: try spool.segments()[1])
        for offset in 0..<(try File.openForReading(path).size()) {
            try spool.flip(path, at: offset)
            for settled in [false, true] {
                for position in [
                    TailPosition(segmentNumber: 0, offset: 0, next: 1), TailPosition(segmentNumber: 2, offset: 600, next: 7),
                    TailPosition(segmentNumber: 2, offset: 900, next: 9),
                ] {
                    let lines = try spool.walk(settled: settled, from: position)
                    #expect(lines.last != "no end", "offset \(offset): \(lines.prefix(9))")
                    #expect(!lines.contains { $0.hasPrefix("shed") && $0 != "shed 5 to 8" && $0 != "shed 7 to 8" }, "\(offset): \(lines)")
                }
            }
            #expect(spool.isDamaged(), "offset \(offset)")
            try spool.flip(path, at: offset)
        }
    }
}
