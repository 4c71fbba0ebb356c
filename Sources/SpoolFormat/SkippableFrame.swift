/// The part that our three skippable LZ4 frames have in common (`docs/spool-format.md` §4).
enum SkippableFrame {
    /// Bytes before the fields that differ.
    static let prefixBytes = 20
    private static let checksumOffset = 16

    enum Kind {
        case segmentHeader, chunkHeader, index

        /// LZ4's magic number: skippable frames have 0x184D2A50 to 0x184D2A5F.
        var magic: UInt32 {
            switch self {
            case .segmentHeader: 0x184D_2A50
            case .chunkHeader: 0x184D_2A51
            case .index: 0x184D_2A52
            }
        }

        /// Four ASCII letters, so that a skippable frame of another program is not taken for ours.
        var tag: UInt32 {
            switch self {
            case .segmentHeader: fourLetters("CPSH")
            case .chunkHeader: fourLetters("CPCH")
            case .index: fourLetters("CPIX")
            }
        }

        var name: String {
            switch self {
            case .segmentHeader: "segment header"
            case .chunkHeader: "chunk header"
            case .index: "index frame"
            }
        }

        var knownFlags: UInt16 {
            switch self {
            case .segmentHeader: SegmentHeader.shedFlag
            case .chunkHeader: ChunkHeader.continuesFlag | ChunkHeader.lossesFlag | ChunkHeader.syncedFlag
            case .index: 0
            }
        }

        var maxBytes: Int {
            switch self {
            case .segmentHeader: FormatLimits.segmentHeaderBytes
            case .chunkHeader: FormatLimits.chunkHeaderBytes
            case .index: prefixBytes + 4 + FormatLimits.segmentChunks * 48 + 80
            }
        }
    }

    /// Starts a frame; the size and the checksum are filled in by ``finish(_:)``.
    static func begin(_ kind: Kind, flags: UInt16 = 0) -> ByteWriter {
        precondition(flags & ~kind.knownFlags == 0, "flags \(flags) of a \(kind.name)")
        var writer = ByteWriter()
        writer.put(kind.magic)
        writer.put(UInt32(0))
        writer.put(kind.tag)
        writer.put(FormatLimits.version)
        writer.put(flags)
        writer.put(UInt32(0))
        return writer
    }

    static func finish(_ writer: ByteWriter) -> [UInt8] {
        var writer = writer
        writer.patch(UInt32(writer.bytes.count - 8), at: 4)
        let crc = writer.bytes.withUnsafeBytes { crc32c($0, zeroing: checksumOffset) }
        writer.patch(crc, at: checksumOffset)
        return writer.bytes
    }

    /// The frame's whole size, from its first bytes, before anything else of it is trusted.
    ///
    /// - Throws: `.truncated` while too few bytes are there, `.malformed` when this is no such frame.
    static func size(of bytes: UnsafeRawBufferPointer, expecting kind: Kind) throws(FormatError) -> Int {
        var reader = ByteReader(bytes)
        let magic: UInt32 = try reader.take()
        guard magic == kind.magic else {
            throw .malformed("no \(kind.name): the LZ4 magic is 0x\(hex(magic)), expected 0x\(hex(kind.magic))")
        }
        let size = 8 + Int(try reader.take(UInt32.self))
        guard size >= prefixBytes, size <= kind.maxBytes else {
            throw .malformed("the \(kind.name) claims \(size) bytes; \(prefixBytes) to \(kind.maxBytes) are possible")
        }
        return size
    }

    /// Checks magic, tag, version, flags, size and checksum, and gives a reader that stands after the common part.
    static func open(
        _ bytes: UnsafeRawBufferPointer, expecting kind: Kind
    ) throws(FormatError) -> (ByteReader, size: Int, flags: UInt16) {
        let size = try size(of: bytes, expecting: kind)
        guard bytes.count >= size else { throw .truncated(need: size, have: bytes.count) }
        let frame = UnsafeRawBufferPointer(rebasing: bytes[..<size])
        var reader = ByteReader(frame, at: 8)
        let tag: UInt32 = try reader.take()
        let version: UInt16 = try reader.take()
        let flags: UInt16 = try reader.take()
        let stored: UInt32 = try reader.take()
        let computed = crc32c(frame, zeroing: checksumOffset)
        // The checksum comes first: a flipped bit in the version is damage, not a newer version.
        guard stored == computed else { throw .checksum(what: kind.name, stored: stored, computed: computed) }
        guard tag == kind.tag else { throw .malformed("a skippable frame of another program stands for the \(kind.name)") }
        guard version == FormatLimits.version else { throw .unknownVersion(found: version) }
        guard flags & ~kind.knownFlags == 0 else { throw .unknownFlags(found: flags) }
        return (reader, size, flags)
    }

    private static func fourLetters(_ text: StaticString) -> UInt32 {
        text.withUTF8Buffer { UnsafeRawBufferPointer($0).loadUnaligned(as: UInt32.self).littleEndian }
    }

    /// The tag of a structure that is not a frame (mark, trailer).
    static func tag(_ text: StaticString) -> UInt32 { fourLetters(text) }
}
