/// The durable high-water mark of a table (`docs/spool-format.md` §8): how far readers may read.
public struct DurableMark: Equatable, Sendable {
    public static let fileName = "durable"
    public static let bytes = 128
    private static let checksumOffset = 8
    private static let tag = SkippableFrame.tag("CPHW")

    public var writer: String
    public var segmentNumber: UInt64
    public var segmentFirstSequence: UInt64
    /// Bytes of that segment that are synced.
    public var durableBytes: UInt64
    /// The sequence after the last durable row.
    public var durableEnd: UInt64
    public var isSealed: Bool
    /// Nanoseconds since the Unix epoch.
    public var published: Int64
    /// `Int64.max` if the segment has no rows.
    public var minEventTime: Int64
    /// `Int64.min` if the segment has no rows.
    public var maxEventTime: Int64
    public var publications: UInt64

    public init(
        writer: String, segmentNumber: UInt64, segmentFirstSequence: UInt64, durableBytes: UInt64, durableEnd: UInt64,
        isSealed: Bool, published: Int64, minEventTime: Int64, maxEventTime: Int64, publications: UInt64
    ) {
        self.writer = writer
        self.segmentNumber = segmentNumber
        self.segmentFirstSequence = segmentFirstSequence
        self.durableBytes = durableBytes
        self.durableEnd = durableEnd
        self.isSealed = isSealed
        self.published = published
        self.minEventTime = minEventTime
        self.maxEventTime = maxEventTime
        self.publications = publications
    }

    public var segment: SegmentName { SegmentName(number: segmentNumber, firstSequence: segmentFirstSequence) }

    public func encode() -> [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.tag)
        writer.put(FormatLimits.version)
        writer.put(UInt16(isSealed ? 1 : 0))
        writer.put(UInt32(0))
        writer.put(UInt32(0))
        writer.put(segmentNumber)
        writer.put(segmentFirstSequence)
        writer.put(durableBytes)
        writer.put(durableEnd)
        writer.put(published)
        writer.put(minEventTime)
        writer.put(maxEventTime)
        writer.put(publications)
        writer.putText8(self.writer)
        writer.putZeros(to: Self.bytes)
        let crc = writer.bytes.withUnsafeBytes { crc32c($0, zeroing: Self.checksumOffset) }
        writer.patch(crc, at: Self.checksumOffset)
        return writer.bytes
    }

    /// Reads a mark from exactly its 128 bytes.
    public static func decode(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> DurableMark {
        guard bytes.count >= Self.bytes else { throw .truncated(need: Self.bytes, have: bytes.count) }
        guard bytes.count == Self.bytes else { throw .malformed("a mark of \(bytes.count) bytes") }
        var reader = ByteReader(bytes)
        guard try reader.take(UInt32.self) == tag else { throw .malformed("no durable mark") }
        let version: UInt16 = try reader.take()
        let flags: UInt16 = try reader.take()
        let stored: UInt32 = try reader.take()
        let computed = crc32c(bytes, zeroing: checksumOffset)
        guard stored == computed else { throw .checksum(what: "durable mark", stored: stored, computed: computed) }
        guard version == FormatLimits.version else { throw .unknownVersion(found: version) }
        guard flags & ~1 == 0 else { throw .unknownFlags(found: flags) }
        _ = try reader.take(UInt32.self)
        let number: UInt64 = try reader.take()
        let first: UInt64 = try reader.take()
        let mark = DurableMark(
            writer: "", segmentNumber: number, segmentFirstSequence: first, durableBytes: try reader.take(),
            durableEnd: try reader.take(), isSealed: flags & 1 == 1, published: try reader.take(),
            minEventTime: try reader.take(), maxEventTime: try reader.take(), publications: try reader.take())
        var named = mark
        named.writer = try reader.takeText8()
        guard number > 0, first > 0, number <= 9_999_999_999, mark.durableEnd >= first, NameRule.isWriterID(named.writer) else {
            throw .malformed("the durable mark contradicts itself")
        }
        return named
    }
}
