import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// The active segment cut at every length that a crash can leave: nothing durable is lost, no sequence is used twice.
@Suite struct TornTailTests {
    /// A crashed spool of one segment, its bytes, and its mark as of the first chunk.
    private func crashed() throws -> (spool: TestSpool, bytes: [UInt8], mark: DurableMark) {
        let spool = try TestSpool(["writer.chunk_rows": "3"])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        for n in 0..<UInt64(3) { try recorder.take(TestSpool.line(n), from: source) }
        #expect(recorder.commit())
        let mark = try #require(try spool.mark())
        for n in 3..<UInt64(9) { try recorder.take(TestSpool.line(n), from: source) }
        #expect(recorder.commit())
        return (spool, try Bytes.read(try spool.newest()), mark)
    }

    private func restart(_ spool: TestSpool, _ bytes: [UInt8], _ mark: DurableMark, _ what: String) throws {
        for name in try spool.files() { try Directory.remove("\(spool.spoolPath)/ticks/\(name)") }
        try Bytes.write(bytes, to: spool.path(mark.segment))
        try Bytes.write(mark.encode(), to: spool.markPath)
        do {
            let recorder = try spool.recorder()
            try recorder.take(TestSpool.line(100), from: Source(name: nil))
            try recorder.finish()
        }
        let numbers = try spool.numbers()
        let whole = numbers.count - 1
        #expect([3, 6, 9].contains(whole), "\(what): \(numbers)")
        #expect(numbers == (0..<UInt64(whole)).map { $0 } + [100], "\(what)")
        #expect(try spool.sequences() == (1...UInt64(whole + 1)).map { $0 }, "\(what)")
        #expect(try spool.contents().map(\.header.lostFrom) == [1, UInt64(whole + 1)], "\(what)")
        #expect(try spool.segments().map(\.number) == [1, 2], "\(what)")
        #expect(try spool.mark()?.durableEnd == UInt64(whole + 2), "\(what)")
    }

    @Test("cut at every length above the mark, the spool goes on where the last whole chunk ended")
    func everyLength() throws {
        let (spool, bytes, mark) = try crashed()
        for count in Int(mark.durableBytes)...bytes.count {
            try restart(spool, Array(bytes[..<count]), mark, "\(count) bytes")
        }
    }

    @Test("zeros after every length above the mark are a torn tail too")
    func zerosAfterEveryLength() throws {
        let (spool, bytes, mark) = try crashed()
        for count in Int(mark.durableBytes)...bytes.count {
            let zeros = [UInt8](repeating: 0, count: bytes.count - count)
            try restart(spool, bytes[..<count] + zeros, mark, "\(count) bytes, then zeros")
        }
    }

    @Test("whatever a torn tail held is kept beside the segment, byte for byte")
    func copies() throws {
        let (spool, bytes, mark) = try crashed()
        let offset = Int(mark.durableBytes)
        let cut = Array(bytes[..<(offset + 50)])
        try restart(spool, cut, mark, "50 bytes of tail")
        #expect(try Bytes.read("\(spool.path(mark.segment)).torn-\(offset)") == Array(cut[offset...]))
    }

    @Test("a sealed segment cut at any length below the mark is left as it is, and sequences go on behind the mark")
    func sealedAndCut() throws {
        let (spool, _, _) = try crashed()
        _ = try spool.recover()
        let path = try spool.newest()
        let mark = try Bytes.read(spool.markPath)
        let whole = try Bytes.read(path)
        for count in stride(from: 0, to: whole.count, by: 7) {
            try Bytes.write(Array(whole[..<count]), to: path)
            try Bytes.write(mark, to: spool.markPath)
            let start = try spool.recover()
            #expect((start.nextNumber, start.nextSequence) == (2, 10), "\(count) bytes")
            #expect(start.notes.first?.isAlert == true, "\(count) bytes")
            #expect(try Bytes.read(path).count == count, "\(count) bytes")
        }
    }
}
