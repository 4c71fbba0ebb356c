/// Rows of one symbol that the sources of a chunk sent and that were not recorded on purpose (`docs/spool-format.md` §6).
public struct ChunkLoss: Equatable, Sendable {
    /// Empty for all symbols, or those that nobody knows.
    public var symbol: String
    /// Why, as a word: `sampling`, `disk`, ...
    public var reason: String
    public var count: UInt64
    /// Least and greatest event time; nanoseconds since the Unix epoch.
    public var from: Int64
    public var to: Int64

    public init(symbol: String, reason: String, count: UInt64, from: Int64, to: Int64) {
        self.symbol = symbol
        self.reason = reason
        self.count = count
        self.from = from
        self.to = to
    }

    /// Both together. The numbers may come from a file, and then be any.
    public func adding(_ other: ChunkLoss) -> ChunkLoss {
        let (sum, overflow) = count.addingReportingOverflow(other.count)
        return ChunkLoss(symbol: symbol, reason: reason, count: overflow ? .max : sum, from: min(from, other.from), to: max(to, other.to))
    }

    /// Bytes that it takes in a header.
    public var byteCount: Int { 2 + symbol.utf8.count + reason.utf8.count + 24 }

    func encode(into writer: inout ByteWriter) {
        writer.putText8(symbol)
        writer.putText8(reason)
        writer.put(count)
        writer.put(from)
        writer.put(to)
    }

    init(from reader: inout ByteReader) throws(FormatError) {
        symbol = try reader.takeText8()
        reason = try reader.takeText8()
        count = try reader.take()
        from = try reader.take()
        to = try reader.take()
    }
}

/// The frame before each chunk (`docs/spool-format.md` §6): what the data frame after it holds, checked without decoding it.
public struct ChunkHeader: Equatable, Sendable {
    public var table: String
    public var writer: String
    public var segmentNumber: UInt64
    public var firstSequence: UInt64
    public var rows: Int
    public var partition: Int32
    public var fingerprint: UInt64
    /// Nanoseconds since the Unix epoch.
    public var minEventTime: Int64
    public var maxEventTime: Int64
    public var firstIngest: Int64
    /// CRC-32C of the data frame as it lies in the file.
    public var dataChecksum: UInt32
    /// Bytes of the data frame in the file.
    public var dataBytes: Int
    /// Bytes of the Native block inside it.
    public var blockBytes: Int
    public var sources: [SourcePosition]
    /// More chunks of the same cut follow: the cut counts only once the last of them is there.
    public var continues = false

    /// Rows up to the positions in ``sources`` that are not in the spool on purpose.
    public var losses: [ChunkLoss] = []

    static let continuesFlag: UInt16 = 1
    static let lossesFlag: UInt16 = 4
    static let syncedFlag: UInt16 = 8

    /// Bytes of the segment that were synced when the chunk was written; nil if it does not say. So recovery knows which bytes a power loss may have
    /// taken although later ones are there.
    public var syncedBytes: UInt64?

    public init(
        table: String, writer: String, segmentNumber: UInt64, firstSequence: UInt64, rows: Int, partition: Int32,
        fingerprint: UInt64, minEventTime: Int64, maxEventTime: Int64, firstIngest: Int64, dataChecksum: UInt32,
        dataBytes: Int, blockBytes: Int, sources: [SourcePosition]
    ) {
        self.table = table
        self.writer = writer
        self.segmentNumber = segmentNumber
        self.firstSequence = firstSequence
        self.rows = rows
        self.partition = partition
        self.fingerprint = fingerprint
        self.minEventTime = minEventTime
        self.maxEventTime = maxEventTime
        self.firstIngest = firstIngest
        self.dataChecksum = dataChecksum
        self.dataBytes = dataBytes
        self.blockBytes = blockBytes
        self.sources = sources
    }

    public var endSequence: UInt64 { firstSequence + UInt64(rows) }

    public func encode() -> [UInt8] {
        precondition(rows > 0 && rows <= FormatLimits.chunkRows, "chunk of \(rows) rows")
        precondition(blockBytes <= FormatLimits.blockBytes, "block of \(blockBytes) bytes")
        precondition(sources.count <= FormatLimits.chunkSources, "\(sources.count) sources in a chunk")
        var writer = SkippableFrame.begin(
            .chunkHeader,
            flags: (continues ? Self.continuesFlag : 0) | (losses.isEmpty ? 0 : Self.lossesFlag)
                | (syncedBytes == nil ? 0 : Self.syncedFlag))
        writer.put(dataChecksum)
        writer.put(UInt32(dataBytes))
        writer.put(UInt32(blockBytes))
        writer.put(firstSequence)
        writer.put(UInt32(rows))
        writer.put(partition)
        writer.put(fingerprint)
        writer.put(minEventTime)
        writer.put(maxEventTime)
        writer.put(firstIngest)
        writer.put(segmentNumber)
        writer.putText8(table)
        writer.putText8(self.writer)
        writer.put(UInt16(sources.count))
        for source in sources { source.encode(into: &writer) }
        if let syncedBytes { writer.put(syncedBytes) }
        if !losses.isEmpty {
            writer.put(UInt16(losses.count))
            for loss in losses { loss.encode(into: &writer) }
        }
        let frame = SkippableFrame.finish(writer)
        precondition(frame.count <= FormatLimits.chunkHeaderBytes, "a chunk header of \(frame.count) bytes")
        return frame
    }

    /// Bytes that the frame takes, from its first eight.
    public static func frameSize(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> Int {
        try SkippableFrame.size(of: bytes, expecting: .chunkHeader)
    }

    /// Reads the frame at the start of `bytes`.
    ///
    /// - Returns: the header and its frame's size in bytes; the data frame follows there.
    public static func decode(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> (ChunkHeader, frameSize: Int) {
        var (reader, size, flags) = try SkippableFrame.open(bytes, expecting: .chunkHeader)
        do {
            var header = try ChunkHeader(from: &reader, hasLosses: flags & lossesFlag != 0, isSynced: flags & syncedFlag != 0)
            header.continues = flags & continuesFlag != 0
            return (header, size)
        } catch .truncated {
            throw .malformed("the chunk header's fields run past its end")
        }
    }

    /// Whether the chunk belongs where it stands: the spliced chunk of another segment has valid checksums too.
    public func check(against segment: SegmentHeader, expecting sequence: UInt64) throws(FormatError) {
        guard table == segment.table, writer == segment.writer, segmentNumber == segment.number,
            fingerprint == segment.fingerprint
        else {
            throw .malformed(
                "the chunk is of table \(table), writer \(writer), segment \(segmentNumber); this is table "
                    + "\(segment.table), writer \(segment.writer), segment \(segment.number)")
        }
        guard firstSequence == sequence else {
            throw .malformed("the chunk begins at sequence \(firstSequence), expected \(sequence)")
        }
    }

    private init(from reader: inout ByteReader, hasLosses: Bool, isSynced: Bool) throws(FormatError) {
        dataChecksum = try reader.take()
        dataBytes = Int(try reader.take(UInt32.self))
        blockBytes = Int(try reader.take(UInt32.self))
        firstSequence = try reader.take()
        rows = Int(try reader.take(UInt32.self))
        partition = try reader.take()
        fingerprint = try reader.take()
        minEventTime = try reader.take()
        maxEventTime = try reader.take()
        firstIngest = try reader.take()
        segmentNumber = try reader.take()
        table = try reader.takeText8()
        writer = try reader.takeText8()
        let sourceCount = Int(try reader.take(UInt16.self))
        guard sourceCount <= FormatLimits.chunkSources else { throw .malformed("\(sourceCount) source positions") }
        sources = []
        for _ in 0..<sourceCount { sources.append(try SourcePosition(from: &reader)) }
        if isSynced { syncedBytes = try reader.take() }
        if hasLosses {
            let lossCount = Int(try reader.take(UInt16.self))
            guard lossCount > 0 else { throw .malformed("a chunk header with losses, and none of them") }
            for _ in 0..<lossCount { losses.append(try ChunkLoss(from: &reader)) }
        }
        guard reader.remaining == 0 else { throw .malformed("\(reader.remaining) unknown bytes in the chunk header") }
        guard rows > 0, rows <= FormatLimits.chunkRows, blockBytes > 0, blockBytes <= FormatLimits.blockBytes,
            dataBytes > 0, minEventTime <= maxEventTime, firstSequence <= UInt64.max - UInt64(rows)
        else { throw .malformed("the chunk header contradicts itself") }
    }
}
