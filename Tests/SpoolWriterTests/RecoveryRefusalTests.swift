import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// What recovery must not touch at all: that table is refused, the others are recorded.
extension RecoveryTests {
    @Test("a gap between chunks refuses the table", arguments: [true, false])
    func gap(missing: Bool) throws {
        let (spool, offsets) = try crashed()
        let path = try spool.newest()
        let bytes = try Bytes.read(path)
        let tail = missing ? bytes[offsets[3]...] : bytes[offsets[1]...]
        try Bytes.write(Array(bytes[..<offsets[2]] + tail), to: path)
        try setMark(spool, bytes: offsets[2], end: 11)
        let error = #expect(throws: RecoveryFailure.self) { try spool.recover() }
        #expect(
            error?.description == "ticks/\(name) at \(offsets[2]): the chunk begins at sequence \(missing ? 21 : 1), expected 11")
    }

    /// Gives the frame another version or flag, and the checksum that belongs to it.
    private func relabel(_ path: String, frame offset: Int, checksumAt: Int, size: Int, field: Int) throws {
        var bytes = try Bytes.read(path)
        bytes[offset + field] = 0x40
        bytes.replaceSubrange(offset + checksumAt..<offset + checksumAt + 4, with: [0, 0, 0, 0])
        let crc = bytes[offset..<offset + size].withUnsafeBytes { crc32c($0) }
        for index in 0..<4 { bytes[offset + checksumAt + index] = UInt8(truncatingIfNeeded: crc >> (8 * index)) }
        try Bytes.write(bytes, to: path)
    }

    @Test(
        "an unknown version or flag refuses that table by name; the other tables are recorded",
        arguments: [
            "header version", "header flag", "chunk version", "mark version", "mark flag",
        ])
    func unknownVersion(what: String) throws {
        let (spool, offsets) = try crashed()
        let path = try spool.newest()
        let chunkSize = try Bytes.read(path)[offsets[1]...].withUnsafeBytes { try ChunkHeader.frameSize($0) }
        let version = "format version 64; this build reads version 1: use a newer one"
        let flag = "unknown flags 0x40: written by a newer version, use that one"
        let expected: String
        switch what {
        case "header version":
            try relabel(path, frame: 0, checksumAt: 16, size: offsets[1], field: 12)
            expected = "ticks/\(name): \(version)"
        case "header flag":
            try relabel(path, frame: 0, checksumAt: 16, size: offsets[1], field: 14)
            expected = "ticks/\(name): \(flag)"
        case "chunk version":
            try relabel(path, frame: offsets[1], checksumAt: 16, size: chunkSize, field: 12)
            expected = "ticks/\(name) at \(offsets[1]): \(version)"
        case "mark version":
            try relabel(spool.markPath, frame: 0, checksumAt: 8, size: 128, field: 4)
            expected = "ticks/durable: \(version)"
        default:
            try relabel(spool.markPath, frame: 0, checksumAt: 8, size: 128, field: 6)
            expected = "ticks/durable: \(flag)"
        }
        let before = try Bytes.read(path)
        let error = #expect(throws: RecoveryFailure.self) { try spool.recover() }
        #expect(error?.description == expected)
        #expect(try Bytes.read(path) == before)

        try Bytes.write(Array(TestSpool.ticks.replacing("ticks", with: "others").utf8), to: "\(spool.schemaPath)/0002_others.sql")
        try withRecorder(spool) { recorder in
            let source = Source(name: nil)
            #expect(recorder.refusal(of: Array(TestSpool.line(1).utf8), from: source) == "the table cannot be recorded: \(expected)")
            try recorder.take(TestSpool.line(5, table: "others"), from: source)
            try recorder.finish()
        }
        #expect(try spool.numbers("others") == [5])
    }

    @Test("a segment of another writer, table or number refuses the table")
    func foreignSegment() throws {
        let (spool, _) = try crashed()
        let path = try spool.newest()
        try Directory.rename(path, to: "\(spool.spoolPath)/ticks/0000000009-00000000000000000001.lz4")
        let error = #expect(throws: RecoveryFailure.self) { try spool.recover() }
        #expect(
            error?.description == "ticks/0000000009-00000000000000000001.lz4 says that it is \(name) of table ticks, writer w1")
    }
}
