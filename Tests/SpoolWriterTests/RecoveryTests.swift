import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// What the writer does with each damage of `docs/spool-format.md` §10 when it opens a spool.
@Suite struct RecoveryTests {
    /// A spool whose segment 1 holds chunks of ten rows and is not sealed, as after a crash; everything in it is durable.
    ///
    /// - Parameter syncingEach: whether each chunk was synced before the next one was written, rather than all of them together.
    func crashed(chunks: Int = 3, syncingEach: Bool = false) throws -> (spool: TestSpool, offsets: [Int]) {
        let spool = try TestSpool(["writer.chunk_rows": "10"])
        try withRecorder(spool) { recorder in
            let source = Source(name: nil)
            for n in 0..<UInt64(chunks * 10) {
                try recorder.take(TestSpool.line(n), from: source)
                if syncingEach, n % 10 == 9 { #expect(recorder.commit()) }
            }
            #expect(recorder.commit())
        }
        var offsets = [0]
        let bytes = try Bytes.read(try spool.newest())
        var offset = try bytes.withUnsafeBytes { try SegmentHeader.decode($0) }.frameSize
        while offset < bytes.count {
            offsets.append(offset)
            let (chunk, size) = try bytes[offset...].withUnsafeBytes { try ChunkHeader.decode($0) }
            offset += size + chunk.dataBytes
        }
        return (spool, offsets + [offset])
    }

    /// Opens a recorder and drops it without a clean stop: to the files the same as a kill.
    func withRecorder(_ spool: TestSpool, _ body: (Recorder) throws -> Void) throws { try body(try spool.recorder()) }

    /// Sets the mark back to where it stood after some chunks, so that what follows is above it.
    func setMark(_ spool: TestSpool, bytes: Int, end: UInt64) throws {
        var mark = try #require(try spool.mark())
        mark.durableBytes = UInt64(bytes)
        mark.durableEnd = end
        try Bytes.write(mark.encode(), to: spool.markPath)
    }

    let name = "0000000001-00000000000000000001.lz4"

    private func flip(_ path: String, at offset: Int) throws {
        var bytes = try Bytes.read(path)
        bytes[offset] ^= 0x10
        try Bytes.write(bytes, to: path)
    }

    @Test("a new spool begins with number and sequence 1, without notes")
    func fresh() throws {
        let spool = try TestSpool()
        try withRecorder(spool) { _ in }
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (1, 1, nil))
        #expect(start.notes.isEmpty)
    }

    @Test("a whole segment without index is sealed as it stands and numbering goes on")
    func unsealed() throws {
        let (spool, offsets) = try crashed()
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, nil))
        #expect(start.notes.isEmpty)
        let mark = try #require(try spool.mark())
        #expect(mark.isSealed)
        #expect(mark.durableEnd == 31)
        #expect(Int(mark.durableBytes) == (try Bytes.read(try spool.newest())).count)
        #expect(Int(mark.durableBytes) > offsets[4])
        guard case .sealed = try spool.contents()[0].ending else {
            Issue.record("not sealed")
            return
        }
        let again = try spool.recover()
        #expect((again.nextNumber, again.nextSequence, again.notes.count) == (2, 31, 0))
    }

    @Test("a torn tail above the mark is copied aside, cut and sealed")
    func tornTail() throws {
        let (spool, offsets) = try crashed()
        try setMark(spool, bytes: offsets[3], end: 21)
        let path = try spool.newest()
        let whole = try Bytes.read(path)
        try Bytes.write(Array(whole.dropLast(5)), to: path)
        let start = try spool.recover()
        let torn = whole.count - 5 - offsets[3]
        #expect(
            start.notes == [
                RecoveredTable.Note(
                    isAlert: false,
                    text: "ticks/\(name): cut a torn tail of \(torn) bytes at \(offsets[3]); a copy is beside it")
            ])
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 21, nil))
        #expect(try Bytes.read("\(path).torn-\(offsets[3])") == Array(whole[offsets[3]...].dropLast(5)))
        #expect(try spool.sequences() == (1...20).map { $0 })
    }

    @Test("a full-length chunk with a wrong checksum at the end, above the mark, is a torn tail")
    func wrongChecksumAtEnd() throws {
        let (spool, offsets) = try crashed()
        try setMark(spool, bytes: offsets[3], end: 21)
        try flip(try spool.newest(), at: offsets[4] - 3)
        let start = try spool.recover()
        #expect(
            start.notes.map(\.text) == [
                "ticks/\(name): cut a torn tail of \(offsets[4] - offsets[3]) bytes at \(offsets[3]); a copy is beside it"
            ])
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 21, nil))
    }

    @Test("fewer bytes than the mark says: the file is left, the loss declared, and a new segment follows")
    func tornBelowMark() throws {
        let (spool, offsets) = try crashed()
        let path = try spool.newest()
        let short = Array(try Bytes.read(path)[..<(offsets[3] + 7)])
        try Bytes.write(short, to: path)
        let start = try spool.recover()
        #expect(
            start.notes == [
                RecoveredTable.Note(
                    isAlert: true, text: "ticks/\(name): \(short.count) bytes, but \(offsets[4]) were durable; left as it is"),
                RecoveredTable.Note(isAlert: true, text: "ticks/\(name): rows 21 to 30 are lost; the next segment says so"),
            ])
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, 21))
        #expect(try Bytes.read(path) == short)
        try withRecorder(spool) { recorder in
            try recorder.take(TestSpool.line(99), from: Source(name: nil))
            try recorder.finish()
        }
        let next = try #require(try spool.contents().last)
        #expect((next.header.number, next.header.lostFrom, next.header.firstSequence) == (2, 21, 31))
        #expect(try spool.sequences().last == 31)
    }

    @Test("a chunk damaged below the mark stays where it is; the rows behind it keep their sequences")
    func damageBelowMark() throws {
        let (spool, offsets) = try crashed()
        try flip(try spool.newest(), at: offsets[3] - 3)
        let damaged = try Bytes.read(try spool.newest())
        let start = try spool.recover()
        #expect(start.notes.count == 1)
        #expect(start.notes[0].isAlert)
        let text = start.notes[0].text
        #expect(text.hasPrefix("ticks/\(name) at \(offsets[2]): checksum of the data frame differs: stored "))
        #expect(text.hasSuffix("; the segment is left as it is"))
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, nil))
        #expect(try Bytes.read(try spool.newest()) == damaged)
    }

    @Test("the last durable chunk damaged: nothing is cut and its rows are declared lost")
    func lastChunkDamagedBelowMark() throws {
        let (spool, offsets) = try crashed()
        try flip(try spool.newest(), at: offsets[4] - 3)
        let damaged = try Bytes.read(try spool.newest())
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, 21))
        #expect(start.notes.map(\.isAlert) == [true, true])
        #expect(start.notes[1].text.hasSuffix(": rows 21 to 30 are lost; the next segment says so"))
        #expect(try Bytes.read(try spool.newest()) == damaged)
    }

    @Test("a damaged chunk above the mark, with a valid one after it that was written with it, is a torn tail: neither was ever durable")
    func tornInTheMiddle() throws {
        let (spool, offsets) = try crashed()
        try setMark(spool, bytes: offsets[2], end: 11)
        try flip(try spool.newest(), at: offsets[3] - 3)
        let damaged = try Bytes.read(try spool.newest())
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 11, nil))
        #expect(start.notes.map(\.isAlert) == [false])
        #expect(try spool.numbers() == Array(0..<10))
        let torn = try #require(try spool.files().first { $0.contains(".torn-") })
        #expect(try Bytes.read("\(spool.spoolPath)/ticks/\(torn)") == Array(damaged[offsets[2]...]))
    }

    @Test("a damaged chunk above the mark, with one after it that was written once it was synced, is left as it is")
    func damageAboveMark() throws {
        let (spool, offsets) = try crashed(syncingEach: true)
        try setMark(spool, bytes: offsets[2], end: 11)
        try flip(try spool.newest(), at: offsets[3] - 3)
        let damaged = try Bytes.read(try spool.newest())
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, nil))
        #expect(start.notes.map(\.isAlert) == [true])
        #expect(try Bytes.read(try spool.newest()) == damaged)
        #expect(try !spool.files().contains { $0.contains(".torn-") })
    }

    @Test("zero bytes after the last chunk are cut without a copy")
    func zeros() throws {
        let (spool, offsets) = try crashed()
        let path = try spool.newest()
        try Bytes.write(try Bytes.read(path) + [UInt8](repeating: 0, count: 70_000), to: path)
        let start = try spool.recover()
        #expect(start.notes == [RecoveredTable.Note(isAlert: false, text: "ticks/\(name): cut 70000 zero bytes")])
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, nil))
        #expect(try spool.files() == [name, "durable"])
        #expect(try spool.sequences().count == 30)
        #expect(offsets.count == 5)
    }

    @Test("a flipped segment header leaves the file alone and declares what was durable in it as lost")
    func flippedHeader() throws {
        let (spool, _) = try crashed()
        try flip(try spool.newest(), at: 30)
        let damaged = try Bytes.read(try spool.newest())
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, 1))
        #expect(start.notes.map(\.isAlert) == [true, true])
        #expect(start.notes[0].text.hasPrefix("ticks/\(name): segment header: checksum of the segment header differs: "))
        #expect(start.notes[1].text == "ticks/\(name): rows 1 to 30 are lost; the next segment says so")
        #expect(try Bytes.read(try spool.newest()) == damaged)
    }

    @Test("where nobody knows which sequences were used, the table is refused")
    func unknownSequences() throws {
        let (headerAndMark, _) = try crashed()
        try flip(try headerAndMark.newest(), at: 30)
        try Directory.remove(headerAndMark.markPath)
        #expect(throws: RecoveryFailure.self) { _ = try headerAndMark.recover() }
        let (markAlone, _) = try crashed()
        try flip(markAlone.markPath, at: 40)
        try Directory.remove(try markAlone.newest())
        #expect(throws: RecoveryFailure.self) { _ = try markAlone.recover() }
    }

    @Test("bytes after the index are left as they are, with an alert")
    func afterIndex() throws {
        let (spool, _) = try crashed()
        _ = try spool.recover()
        let path = try spool.newest()
        try Bytes.write(try Bytes.read(path) + [1, 2, 3], to: path)
        let start = try spool.recover()
        #expect(start.notes == [RecoveredTable.Note(isAlert: true, text: "ticks/\(name): 3 bytes after the index; left as they are")])
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, nil))
    }

    @Test("a missing mark is made good from the segments")
    func missingMark() throws {
        let (spool, _) = try crashed()
        try Directory.remove(spool.markPath)
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom, start.notes.count) == (2, 31, nil, 0))
        #expect(try spool.mark()?.durableEnd == 31)
    }

    @Test("a flipped mark is an alert, and recovery goes by the segments alone")
    func flippedMark() throws {
        let (spool, _) = try crashed()
        try flip(spool.markPath, at: 40)
        let start = try spool.recover()
        #expect(start.notes.map(\.isAlert) == [true])
        let text = start.notes[0].text
        #expect(text.hasPrefix("ticks/durable: checksum of the durable mark differs: stored "))
        #expect(text.hasSuffix("; recovering from the segments alone"))
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, nil))
        #expect(try spool.mark()?.durableEnd == 31)
    }

    @Test("the newest segment gone: its durable rows are declared lost and its number is not used again")
    func segmentDeleted() throws {
        let (spool, _) = try crashed()
        try Directory.remove(try spool.newest())
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (2, 31, 1))
        #expect(
            start.notes == [
                RecoveredTable.Note(
                    isAlert: true, text: "ticks: segment \(name) is gone: rows 1 to 30 are lost; the next segment says so")
            ])
    }

    @Test("the newest of several segments gone: the loss begins where the one before it ends")
    func newestDeleted() throws {
        let (spool, _) = try crashed()
        try withRecorder(spool) { recorder in
            let source = Source(name: nil)
            for n in 0..<UInt64(5) { try recorder.take(TestSpool.line(n), from: source) }
            #expect(recorder.commit())
        }
        try Directory.remove(try spool.newest())
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom) == (3, 36, 31))
        #expect(
            start.notes.map(\.text) == [
                "ticks/\(name) ends before sequence 31, but rows up to 36 were durable: rows 31 to 35 are lost; the next segment says so"
            ])
    }

    @Test("sealed segments that were pruned are no loss")
    func pruned() throws {
        let (spool, _) = try crashed()
        _ = try spool.recover()
        try Directory.remove(try spool.newest())
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.lostFrom, start.notes.count) == (2, 31, nil, 0))
    }

    @Test("a segment that was being created is removed, and nothing else is")
    func temporary() throws {
        let (spool, _) = try crashed()
        let leftover = "\(spool.spoolPath)/ticks/0000000002-00000000000000000031.lz4.tmp"
        try Bytes.write([1, 2, 3], to: leftover)
        try Bytes.write([1], to: "\(spool.spoolPath)/ticks/notes.txt")
        let start = try spool.recover()
        #expect((start.nextNumber, start.nextSequence, start.notes.count) == (2, 31, 0))
        #expect(try spool.files() == [name, "durable", "notes.txt"])
    }
}
