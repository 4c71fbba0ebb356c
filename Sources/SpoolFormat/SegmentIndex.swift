/// One chunk's place and extent, as the index frame lists it (`docs/spool-format.md` §9).
public struct IndexEntry: Equatable, Sendable {
    /// Offset of the chunk header in the segment, in bytes.
    public var offset: UInt64
    public var firstSequence: UInt64
    public var rows: Int
    public var partition: Int32
    public var minEventTime: Int64
    public var maxEventTime: Int64
    public var dataBytes: Int
    public var blockBytes: Int

    public init(offset: UInt64, header: ChunkHeader) {
        self.offset = offset
        firstSequence = header.firstSequence
        rows = header.rows
        partition = header.partition
        minEventTime = header.minEventTime
        maxEventTime = header.maxEventTime
        dataBytes = header.dataBytes
        blockBytes = header.blockBytes
    }

    init(from reader: inout ByteReader) throws(FormatError) {
        offset = try reader.take()
        firstSequence = try reader.take()
        rows = Int(try reader.take(UInt32.self))
        partition = try reader.take()
        minEventTime = try reader.take()
        maxEventTime = try reader.take()
        dataBytes = Int(try reader.take(UInt32.self))
        blockBytes = Int(try reader.take(UInt32.self))
    }

    func encode(into writer: inout ByteWriter) {
        writer.put(offset)
        writer.put(firstSequence)
        writer.put(UInt32(rows))
        writer.put(partition)
        writer.put(minEventTime)
        writer.put(maxEventTime)
        writer.put(UInt32(dataBytes))
        writer.put(UInt32(blockBytes))
    }
}

/// What the last 80 bytes of a sealed segment say: all that a listing needs.
public struct SegmentTrailer: Equatable, Sendable {
    public static let bytes = 80
    static let checksumOffset = 72
    static let tag = SkippableFrame.tag("CPEN")

    public var firstSequence: UInt64
    public var endSequence: UInt64
    /// `Int64.max` if the segment has no rows.
    public var minEventTime: Int64
    /// `Int64.min` if the segment has no rows.
    public var maxEventTime: Int64
    public var firstIngest: Int64
    public var sealed: Int64
    public var blockBytes: UInt64
    public var fileBytes: UInt64
    public var chunks: Int
    public var indexBytes: Int

    public var rows: UInt64 { endSequence - firstSequence }

    /// Reads a trailer from exactly its 80 bytes.
    public static func decode(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> SegmentTrailer {
        guard bytes.count == Self.bytes else { throw .truncated(need: Self.bytes, have: bytes.count) }
        var reader = ByteReader(bytes)
        let trailer = SegmentTrailer(
            firstSequence: try reader.take(), endSequence: try reader.take(), minEventTime: try reader.take(),
            maxEventTime: try reader.take(), firstIngest: try reader.take(), sealed: try reader.take(),
            blockBytes: try reader.take(), fileBytes: try reader.take(), chunks: Int(try reader.take(UInt32.self)),
            indexBytes: Int(try reader.take(UInt32.self)))
        let stored: UInt32 = try reader.take()
        let computed = crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<checksumOffset]))
        guard try reader.take(UInt32.self) == tag else { throw .malformed("no trailer: the segment is not sealed") }
        guard stored == computed else { throw .checksum(what: "trailer", stored: stored, computed: computed) }
        guard trailer.endSequence >= trailer.firstSequence else { throw .malformed("the trailer contradicts itself") }
        return trailer
    }

    func encode(into writer: inout ByteWriter) {
        let start = writer.bytes.count
        writer.put(firstSequence)
        writer.put(endSequence)
        writer.put(minEventTime)
        writer.put(maxEventTime)
        writer.put(firstIngest)
        writer.put(sealed)
        writer.put(blockBytes)
        writer.put(fileBytes)
        writer.put(UInt32(chunks))
        writer.put(UInt32(indexBytes))
        let crc = writer.bytes.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[start...])) }
        writer.put(crc)
        writer.put(Self.tag)
    }
}

/// The frame that seals a segment.
public struct SegmentIndex: Equatable, Sendable {
    public var entries: [IndexEntry]
    public var trailer: SegmentTrailer

    /// Makes the index of a segment whose chunks end at `offset`.
    public static func encode(
        entries: [IndexEntry], firstSequence: UInt64, firstIngest: Int64, sealed: Int64, at offset: UInt64
    ) -> [UInt8] {
        let indexBytes = SkippableFrame.prefixBytes + 4 + entries.count * 48 + SegmentTrailer.bytes
        let trailer = SegmentTrailer(
            firstSequence: firstSequence,
            endSequence: entries.last.map { $0.firstSequence + UInt64($0.rows) } ?? firstSequence,
            minEventTime: entries.map(\.minEventTime).min() ?? .max,
            maxEventTime: entries.map(\.maxEventTime).max() ?? .min,
            firstIngest: firstIngest, sealed: sealed, blockBytes: entries.reduce(0) { $0 + UInt64($1.blockBytes) },
            fileBytes: offset + UInt64(indexBytes), chunks: entries.count, indexBytes: indexBytes)
        var writer = SkippableFrame.begin(.index)
        writer.put(UInt32(entries.count))
        for entry in entries { entry.encode(into: &writer) }
        trailer.encode(into: &writer)
        return SkippableFrame.finish(writer)
    }

    /// Whether an index frame begins here, by its magic alone.
    public static func begins(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= 4
            && UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)) == SkippableFrame.Kind.index.magic
    }

    public static func frameSize(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> Int {
        try SkippableFrame.size(of: bytes, expecting: .index)
    }

    /// Reads the frame at the start of `bytes`.
    public static func decode(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> (SegmentIndex, frameSize: Int) {
        var (reader, size, _) = try SkippableFrame.open(bytes, expecting: .index)
        let count = Int(try reader.take(UInt32.self))
        guard reader.remaining == count * 48 + SegmentTrailer.bytes else {
            throw .malformed("the index claims \(count) chunks in \(size) bytes")
        }
        var entries: [IndexEntry] = []
        entries.reserveCapacity(count)
        for _ in 0..<count { entries.append(try IndexEntry(from: &reader)) }
        let trailer = try SegmentTrailer.decode(reader.take(count: SegmentTrailer.bytes))
        guard trailer.chunks == count, trailer.indexBytes == size else { throw .malformed("the trailer and the index differ") }
        return (SegmentIndex(entries: entries, trailer: trailer), size)
    }
}
