import SpoolFormat
import SpoolTesting
import Testing

/// Every prefix and every single-bit flip of valid bytes: damage never passes for other content.
@Suite struct DamageTests {
    private static func flips(_ bytes: [UInt8]) -> some Sequence<(bit: Int, bytes: [UInt8])> {
        (0..<bytes.count * 8).lazy.map { bit in
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            return (bit, flipped)
        }
    }

    @Test("every flipped bit of a segment is noticed", arguments: [true, false])
    func segmentFlips(small: Bool) throws {
        let segment = try small ? Samples.workedExample() : Samples.mixedSegment()
        let whole = try SegmentWalk.contents(of: segment.bytes)
        for (bit, bytes) in Self.flips(segment.bytes) {
            guard let contents = try? SegmentWalk.contents(of: bytes) else { continue }
            // A frame that claims more bytes than there are looks torn: a sealed segment must then not look sealed.
            #expect(contents.ending != whole.ending, "bit \(bit)")
            guard case .torn = contents.ending else {
                Issue.record("bit \(bit) passes as \(contents.ending)")
                continue
            }
            #expect(contents.rows == Array(whole.rows.prefix(contents.rows.count)), "bit \(bit)")
        }
    }

    @Test("every prefix of a segment is torn or not sealed, and holds only whole chunks", arguments: [true, false])
    func segmentPrefixes(small: Bool) throws {
        let segment = try small ? Samples.workedExample() : Samples.mixedSegment()
        let whole = try SegmentWalk.contents(of: segment.bytes)
        // Where the header and each chunk end.
        let boundaries = segment.frameOffsets.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        for count in 0..<segment.bytes.count {
            let prefix = Array(segment.bytes[..<count])
            guard count >= segment.frameOffsets[1] else {
                #expect(throws: FormatError.self, "prefix of \(count)") { try SegmentWalk.contents(of: prefix) }
                continue
            }
            let contents = try SegmentWalk.contents(of: prefix)
            let boundary = try #require(boundaries.last { $0 <= count })
            #expect(contents.ending == (boundary == count ? .open : .torn(at: boundary)), "prefix of \(count)")
            #expect(contents.chunks == Array(whole.chunks.prefix(boundaries.firstIndex(of: boundary)!)), "prefix of \(count)")
            #expect(contents.rows == Array(whole.rows.prefix(contents.rows.count)), "prefix of \(count)")
        }
    }

    @Test("a prefix that ends within the header is too short, not wrong")
    func headerPrefixes() throws {
        let segment = try Samples.mixedSegment()
        for count in 0..<segment.frameOffsets[1] {
            let error = #expect(throws: FormatError.self) { try SegmentWalk.contents(of: Array(segment.bytes[..<count])) }
            #expect(error?.isTruncation == true, "prefix of \(count): \(String(describing: error))")
        }
    }

    @Test("chunks in another order, twice or of another segment are noticed")
    func splicedChunks() throws {
        let segment = try Samples.mixedSegment()
        let offsets = segment.frameOffsets
        let header = segment.bytes[..<offsets[1]]
        let first = segment.bytes[offsets[1]..<offsets[3]]
        let second = segment.bytes[offsets[3]..<offsets[5]]
        for spliced in [header + second, header + first + first, header + second + first] {
            let error = #expect(throws: FormatError.self) { try SegmentWalk.contents(of: Array(spliced)) }
            #expect("\(String(describing: error))".contains("the chunk begins at sequence"))
        }
        var other = try Samples.workedExample().bytes
        other.replaceSubrange(try Samples.workedExample().frameOffsets[1]..., with: first)
        let error = #expect(throws: FormatError.self) { try SegmentWalk.contents(of: other) }
        #expect("\(String(describing: error))".contains("the chunk is of table mixed"))
    }

    @Test("every flipped bit and every prefix of a durable mark is noticed")
    func mark() throws {
        let mark = DurableMark(
            writer: "tokyo-1-5f0c9a3e", segmentNumber: 7, segmentFirstSequence: 301_442, durableBytes: 88_064,
            durableEnd: 311_442, isSealed: false, published: Samples.time, minEventTime: 5, maxEventTime: 9, publications: 12)
        let bytes = mark.encode()
        #expect(bytes.count == DurableMark.bytes)
        #expect(try bytes.withUnsafeBytes { try DurableMark.decode($0) } == mark)
        for (bit, flipped) in Self.flips(bytes) {
            #expect(throws: FormatError.self, "bit \(bit)") { try flipped.withUnsafeBytes { try DurableMark.decode($0) } }
        }
        for count in 0..<bytes.count {
            #expect(throws: FormatError.truncated(need: 128, have: count)) {
                try bytes[..<count].withUnsafeBytes { try DurableMark.decode($0) }
            }
        }
        // Sequences begin with 1: readers count what is before them.
        var zero = mark
        (zero.segmentFirstSequence, zero.durableEnd) = (0, 0)
        #expect(throws: FormatError.self) { try zero.encode().withUnsafeBytes { try DurableMark.decode($0) } }
        #expect(throws: FormatError.malformed("a mark of 129 bytes")) {
            try (bytes + [0]).withUnsafeBytes { try DurableMark.decode($0) }
        }
    }

    @Test("every flipped bit of an index frame is noticed")
    func index() throws {
        let segment = try Samples.mixedSegment()
        let bytes = Array(segment.bytes[segment.frameOffsets.last!...])
        let (index, size) = try bytes.withUnsafeBytes { try SegmentIndex.decode($0) }
        #expect(size == bytes.count)
        #expect(index.entries.count == 3)
        for (bit, flipped) in Self.flips(bytes) {
            #expect(throws: FormatError.self, "bit \(bit)") { try flipped.withUnsafeBytes { try SegmentIndex.decode($0) } }
        }
    }

    @Test("every flipped bit of a trailer is noticed")
    func trailer() throws {
        let bytes = Array(try Samples.mixedSegment().bytes.suffix(SegmentTrailer.bytes))
        let trailer = try bytes.withUnsafeBytes { try SegmentTrailer.decode($0) }
        #expect(trailer.rows == 9)
        for (bit, flipped) in Self.flips(bytes) {
            #expect(throws: FormatError.self, "bit \(bit)") { try flipped.withUnsafeBytes { try SegmentTrailer.decode($0) } }
        }
    }

    @Test("every flipped bit of a checkpoint slot is noticed, in its text and in its padding")
    func checkpoint() throws {
        var checkpoint = Checkpoint(writer: "tokyo-1-5f0c9a3e", table: "fills")
        checkpoint.version = 42
        checkpoint.next = 301_442
        let first = InflightBatch(
            firstSequence: 301_442, endSequence: 311_442, segmentNumber: 7, fromOffset: 88_064, toOffset: 412_380,
            partition: -20_776, checksum: 0x5bd1_e995, attempt: 1_780_000_000)
        var second = first
        (second.firstSequence, second.endSequence) = (311_442, 311_443)
        checkpoint.inflight = [first, second]
        let slot = checkpoint.encode()
        #expect(slot.count == Checkpoint.slotBytes)
        #expect(try Checkpoint.decode(slot) == checkpoint)
        let text = (slot.lastIndex { $0 != 0x20 && $0 != 0x0A } ?? 0) + 2
        for (bit, flipped) in Self.flips(slot) where bit / 8 <= text || bit % 997 == 0 || bit / 8 == slot.count - 1 {
            #expect(throws: FormatError.self, "bit \(bit)") { try Checkpoint.decode(flipped) }
        }
        for count in [0, 1, text, slot.count - 1] {
            #expect(throws: FormatError.truncated(need: 4_096, have: count)) { try Checkpoint.decode(Array(slot[..<count])) }
        }
    }

    @Test("a later version and an unknown flag are refused by name, not taken for damage")
    func laterVersions() throws {
        let segment = try Samples.workedExample()
        func changed(_ offset: Int, to value: UInt16) -> [UInt8] {
            var bytes = Array(segment.bytes[..<segment.frameOffsets[1]])
            bytes.replaceSubrange(offset..<offset + 2, with: [UInt8(value & 0xFF), UInt8(value >> 8)])
            bytes.replaceSubrange(16..<20, with: [0, 0, 0, 0])
            let crc = bytes.withUnsafeBytes { crc32c($0) }
            bytes.replaceSubrange(16..<20, with: (0..<4).map { UInt8(truncatingIfNeeded: crc >> (8 * $0)) })
            return bytes
        }
        #expect(throws: FormatError.unknownVersion(found: 2)) { try SegmentWalk.contents(of: changed(12, to: 2)) }
        #expect(throws: FormatError.unknownFlags(found: 0x8000)) { try SegmentWalk.contents(of: changed(14, to: 0x8000)) }
        #expect(
            "\(FormatError.unknownVersion(found: 2))" == "format version 2; this build reads version 1: use a newer one")
    }

    /// Found by the fuzzer: such a length, added to the place where it stands, is no number any more.
    @Test(
        arguments: [[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]]
            as [[UInt8]])
    func aLengthThatIsAnyNumberIsRefused(_ length: [UInt8]) {
        let columns = Samples.demo.wireColumns
        #expect(throws: FormatError.self) { try NativeBlock([UInt8(columns.count), 1] + length + [0x61], columns: columns) }
        #expect(throws: FormatError.self) { try NativeBlock([UInt8(columns.count), 1, 2, 0x74, 0x73] + length, columns: columns) }
    }
}
