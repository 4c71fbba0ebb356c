import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

/// The damage table of `docs/spool-format.md` §10, column "loader", row by row.
@Suite struct SpoolTailDamageTests {
    /// Segment 1 with rows 1-2, 3-4, 5-6, sealed; segment 2 with rows 7-8, 9-10, active unless sealed.
    private func twoSegments(sealed: Bool = false) throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<3 { try spool.chunk(2) }
        try spool.seal()
        for _ in 0..<2 { try spool.chunk(2) }
        if sealed { try spool.seal() }
        return spool
    }

    private func path(_ spool: TestSpool, _ index: Int) throws -> String { spool.path(of: try spool.segments()[index]) }
    private let clean = [
        "segment 1 from 1", "rows 1 to 2", "rows 3 to 4", "rows 5 to 6", "segment 2 from 7", "rows 7 to 8", "rows 9 to 10", "end",
    ]

    @Test func aSoundSpoolIsReadToItsMark() throws {
        #expect(try twoSegments().walk() == clean)
        #expect(try twoSegments(sealed: true).walk() == clean)
    }

    @Test func aFlipInDataQuarantinesExactlyThatChunk() throws {
        for index in 0..<2 {
            let spool = try twoSegments()
            let segment = try spool.segments()[index]
            let chunk = try spool.chunks(of: segment)[1]
            try spool.flip(spool.path(of: segment), at: chunk.dataOffset + 20)
            let lines = try spool.walk()
            let rows = index == 0 ? "3 to 4" : "9 to 10"
            let damaged = lines.filter { $0.hasPrefix("quarantine") }
            #expect(
                damaged.count == 1 && damaged.first?.hasPrefix("quarantine \(rows): checksum of the data frame differs") == true, "\(lines)"
            )
            #expect(lines.filter { !$0.hasPrefix("quarantine") } == clean.filter { $0 != "rows \(rows)" })
        }
    }

    @Test func aFlipInAChunkHeaderQuarantinesUpToTheNextChunk() throws {
        let spool = try twoSegments()
        let segment = try spool.segments()[0]
        // In every field, the frame's size included.
        let chunk = try spool.chunks(of: segment)[1]
        for offset in chunk.offset..<chunk.dataOffset {
            try spool.flip(spool.path(of: segment), at: offset)
            let lines = try spool.walk()
            try #require(lines.count > 2)
            #expect(lines[2].hasPrefix("quarantine 3 to 4: "), "offset \(offset - chunk.offset): \(lines)")
            #expect(lines.filter { !$0.hasPrefix("quarantine") } == clean.filter { $0 != "rows 3 to 4" }, "offset \(offset - chunk.offset)")
            try spool.flip(spool.path(of: segment), at: offset)
        }
    }

    @Test func aFrameWithAWrongSizeDoesNotHideTheChunksBehindIt() throws {
        let spool = try twoSegments()
        let segment = try spool.segments()[0]
        let chunk = try spool.chunks(of: segment)[0]
        // The size field: 0x4000 bytes more than there are.
        try spool.flip(spool.path(of: segment), at: chunk.offset + 5, mask: 0x40)
        #expect(
            try spool.walk() == ["segment 1 from 1", "quarantine 1 to 2: a frame runs past the segment's end"] + clean.dropFirst(2))
    }

    @Test func aDamagedIndexCostsNoRows() throws {
        let spool = try twoSegments()
        let segment = try spool.segments()[0]
        let end = try #require(try spool.chunks(of: segment).last?.end)
        try spool.flip(spool.path(of: segment), at: end + 30)
        let lines = try spool.walk()
        try #require(lines.count > 4)
        #expect(lines[4].hasPrefix("quarantine no rows: checksum of the index frame differs"), "\(lines)")
        #expect(lines.filter { !$0.hasPrefix("quarantine") } == clean.filter { $0 != "segment 2 from 7" })
    }

    @Test func aDamagedIndexSeenBeforeTheNextSegmentCameDoesNotStopTheWayThere() throws {
        let spool = try TestSpool()
        try spool.chunk(2)
        try spool.seal()
        let segment = try spool.segments()[0]
        let size = try File.openForReading(spool.path(of: segment)).size()
        try spool.flip(spool.path(of: segment), at: size - 20)
        let first = try TailWalk(spool.tail())
        #expect(first.lines.count == 4 && first.lines.last == "end")
        try spool.chunk(2)
        #expect(try spool.walk(from: first.position) == ["segment 2 from 3", "rows 3 to 4", "end"])
    }

    @Test func aMarkAheadOfItsSegmentMeansACopyInProgress() throws {
        let spool = try twoSegments()
        let path = try path(spool, 1)
        let size = try File.openForReading(path).size()
        for cut in [1, 40, 300, 500] as [UInt64] where cut < size {
            try spool.truncate(path, to: size - cut)
            let lines = try spool.walk(settled: true)
            #expect(lines.last?.hasPrefix("wait: ") == true && !lines.contains { $0.hasPrefix("quarantine") }, "\(lines)")
        }
    }

    @Test func aMarkWhoseSegmentIsNotCopiedYetIsNotTheEnd() throws {
        let spool = try twoSegments()
        try Directory.remove(path(spool, 1))
        #expect(
            try spool.walk() == clean[..<4] + ["wait: trades: rows before 11 are durable, and only those before 7 are here"])
        try Directory.remove(path(spool, 0))
        #expect(try spool.walk() == ["wait: trades: rows before 11 are durable, and only those before 1 are here"])
    }

    @Test func aCopyThatReplacesTheFileIsSeen() throws {
        let spool = try twoSegments()
        let path = try path(spool, 1)
        let whole = try spool.bytes(of: path)
        try spool.truncate(path, to: UInt64(whole.count - 10))
        let tail = spool.tail()
        let first = try TailWalk(tail)
        #expect(first.lines.last?.hasPrefix("wait: ") == true)
        // As rsync does it: a new file takes the name.
        try spool.overwrite(path + ".copy", whole)
        try Directory.rename(path + ".copy", to: path)
        #expect(try TailWalk(tail, from: first.position).lines == ["rows 9 to 10", "end"])
    }

    @Test func anOlderSegmentThatIsCutShortIsWaitedForAndThenQuarantined() throws {
        let spool = try twoSegments()
        let segment = try spool.segments()[0]
        let chunk = try spool.chunks(of: segment)[1]
        for size in [chunk.offset, chunk.offset + 10, chunk.dataOffset + 5] {
            try spool.truncate(spool.path(of: segment), to: size)
            let waiting = try spool.walk()
            #expect(waiting.last?.hasPrefix("wait: trades/\(segment) ends at byte \(size) without its index") == true, "\(waiting)")
            #expect(
                try spool.walk(settled: true)
                    == clean[..<2] + ["quarantine 3 to 6: the segment is cut short"] + clean[5...])
        }
    }

    @Test func zerosInAnOlderSegmentAreWaitedForAndThenQuarantined() throws {
        let spool = try twoSegments()
        let segment = try spool.segments()[0]
        let path = spool.path(of: segment)
        let chunk = try spool.chunks(of: segment)[2]
        let size = try File.openForReading(path).size()
        try spool.overwrite(path, [UInt8](repeating: 0, count: Int(size - chunk.offset)), at: chunk.offset)
        #expect(try spool.walk().last?.hasPrefix("wait: ") == true)
        #expect(try spool.walk(settled: true) == clean[..<3] + ["quarantine 5 to 6: the segment is cut short"] + clean[5...])
    }

    @Test func anOlderSegmentWhoseIndexIsGoneCostsNoRows() throws {
        let spool = try twoSegments()
        let segment = try spool.segments()[0]
        let end = try #require(try spool.chunks(of: segment).last?.end)
        try spool.truncate(spool.path(of: segment), to: end)
        #expect(try spool.walk() == clean)
        // A rest of the index: perhaps more is to come.
        try spool.append([0x52, 0x2A], to: spool.path(of: segment))
        #expect(try spool.walk().last?.hasPrefix("wait: ") == true)
        #expect(try spool.walk(settled: true).contains("quarantine no rows: the segment is cut short"))
    }

    @Test func bytesAfterTheIndexAreNotRead() throws {
        let spool = try twoSegments()
        try spool.append([UInt8](repeating: 0, count: 100), to: path(spool, 0))
        #expect(try spool.walk() == clean)
        try spool.append(Array("foreign".utf8), to: path(spool, 0))
        #expect(try spool.walk() == clean)
    }

    @Test func zerosBehindTheMarkAreNotRead() throws {
        let spool = try twoSegments()
        try spool.append([UInt8](repeating: 0, count: 4_096), to: path(spool, 1))
        #expect(try spool.walk() == clean)
    }

    @Test func zerosBelowTheMarkAreQuarantined() throws {
        let spool = try twoSegments()
        let segment = try spool.segments()[1]
        let chunk = try spool.chunks(of: segment)[1]
        try spool.overwrite(spool.path(of: segment), [UInt8](repeating: 0, count: Int(chunk.end - chunk.offset)), at: chunk.offset)
        #expect(try spool.walk() == clean.dropLast(2) + ["quarantine 9 to 10: bytes below the durable mark are gone", "end"])
    }

    @Test func aDamagedSegmentHeaderQuarantinesThatSegmentIfLaterOnesAreThere() throws {
        let spool = try twoSegments()
        let start = try SegmentReader(path: path(spool, 0)).start
        for offset in [0, 4, 8, 12, 16, 30, start - 1] {
            try spool.flip(path(spool, 0), at: offset)
            let lines = try spool.walk(settled: true)
            try #require(lines.count > 2)
            #expect(lines[0] == "segment 1 from 1" && lines[1].hasPrefix("quarantine 1 to 6: segment header: "), "\(lines)")
            #expect(lines[2...] == clean[5...])
            try spool.flip(path(spool, 0), at: offset)
        }
        try spool.truncate(path(spool, 0), to: 30)
        #expect(
            try spool.walk() == [
                "segment 1 from 1", "wait: trades/\(spool.segments()[0]): its header is not complete: still being copied, or cut short",
            ])
        #expect(try spool.walk(settled: true).contains { $0.hasPrefix("quarantine 1 to 6: segment header: needs ") })
    }

    @Test func aDamagedHeaderOfTheLastSegmentStopsTheTable() throws {
        let spool = try twoSegments()
        try spool.flip(path(spool, 1), at: 30)
        let segment = try spool.segments()[1]
        #expect(try spool.walk().last?.hasPrefix("stop: trades/\(segment): segment header: checksum of the segment header differs") == true)
    }
}
