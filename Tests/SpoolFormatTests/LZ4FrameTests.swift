import CLZ4
import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct LZ4FrameTests {
    private func compress(_ content: [UInt8], by writer: LZ4FrameWriter = LZ4FrameWriter()) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: LZ4FrameWriter.bound(content.count)) { room, count in
            count = content.withUnsafeBytes { writer.compress($0, into: UnsafeMutableRawBufferPointer(room)) }
        }
    }

    private func decompress(_ frame: [UInt8], _ count: Int) throws -> [UInt8] {
        try frame.withUnsafeBytes { try LZ4Frame.decompress($0, contentBytes: count) }
    }

    private func content(_ count: Int) -> [UInt8] {
        var random = SeededRandom(seed: UInt64(count))
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next() & 0x3F) }
    }

    /// A frame by liblz4 with other settings than ours.
    private func foreign(_ content: [UInt8], _ change: (inout LZ4F_preferences_t) -> Void) -> [UInt8] {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled
        preferences.frameInfo.contentSize = UInt64(content.count)
        change(&preferences)
        return [UInt8](unsafeUninitializedCapacity: 2 * content.count + 100) { room, count in
            count = LZ4F_compressFrame(room.baseAddress, room.count, content, content.count, &preferences)
        }
    }

    @Test("content of every size comes back", arguments: [1, 2, 100, 65_535, 65_536, 65_537, 300_000])
    func roundTrip(count: Int) throws {
        let bytes = content(count)
        #expect(try decompress(compress(bytes), count) == bytes)
    }

    @Test("a frame has the content size and checksum, no block checksums, and blocks of 64 KiB")
    func settings() {
        let frame = compress(content(1_000))
        #expect(frame[0..<4] == [0x04, 0x22, 0x4D, 0x18])
        #expect(frame[4] & 0b1100_1101 == 0b0100_1100, "version 01, content size, content checksum, no dictionary")
        #expect(frame[5] == 0x40)
        #expect(frame[6..<14] == [0xE8, 3, 0, 0, 0, 0, 0, 0])
    }

    @Test("cut at every length it is refused: liblz4 alone would give the content without its end mark")
    func cut() {
        let bytes = content(300)
        let frame = compress(bytes)
        for count in 0..<frame.count {
            #expect(throws: FormatError.self, "\(count) of \(frame.count)") { try decompress(Array(frame[..<count]), bytes.count) }
        }
        #expect(throws: FormatError.malformed("LZ4 frame: the frame is cut short")) { try decompress(frame.dropLast(1), bytes.count) }
        #expect(throws: FormatError.malformed("LZ4 frame: the frame is cut short")) { try decompress(frame.dropLast(8), bytes.count) }
    }

    @Test("bytes after the frame are refused")
    func lengthened() {
        let frame = compress(content(300))
        #expect(throws: FormatError.malformed("LZ4 frame: the frame ends 1 bytes early")) { try decompress(frame + [0], 300) }
        #expect(throws: FormatError.self) { try decompress(frame + frame, 300) }
    }

    @Test("another content size than promised is refused")
    func otherSize() {
        let frame = compress(content(300))
        for promised in [0, 1, 299, 301, 65_536] {
            #expect(
                throws: FormatError.malformed("LZ4 frame: it must have a content checksum, no dictionary and a content size of \(promised)")
            ) { try decompress(frame, promised) }
        }
        #expect(throws: FormatError.malformed("a block of 67108865 bytes")) { try decompress(frame, (64 << 20) + 1) }
        #expect(throws: FormatError.malformed("a block of -1 bytes")) { try decompress(frame, -1) }
    }

    @Test("a frame without a checksum of its content, or without its size, is refused although it is whole")
    func weakFrames() throws {
        let bytes = content(300)
        let refusal = FormatError.malformed("LZ4 frame: it must have a content checksum, no dictionary and a content size of 300")
        #expect(try decompress(foreign(bytes) { _ in }, 300) == bytes, "the frame is good but for what is changed")
        #expect(throws: refusal) { try decompress(foreign(bytes) { $0.frameInfo.contentChecksumFlag = LZ4F_noContentChecksum }, 300) }
        #expect(throws: refusal) { try decompress(foreign(bytes) { $0.frameInfo.contentSize = 0 }, 300) }
        #expect(throws: refusal) { try decompress(foreign(bytes) { $0.frameInfo.dictID = 7 }, 300) }
    }

    @Test("every flipped bit of the content or of its checksum is refused")
    func flips() {
        let bytes = content(200)
        let frame = compress(bytes)
        for bit in 0..<frame.count * 8 {
            var flipped = frame
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            // A bit of the header may say the same in another way; it must never give other content.
            if let result = try? decompress(flipped, bytes.count) { #expect(result == bytes, "bit \(bit)") }
            if bit / 8 >= frame.count - 4 { #expect(throws: FormatError.self, "bit \(bit)") { try decompress(flipped, bytes.count) } }
        }
    }
}
