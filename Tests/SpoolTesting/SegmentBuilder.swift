import SpoolFormat

/// Makes a segment's bytes from rows, in memory.
public struct SegmentBuilder {
    public let schema: TableSchema
    public let header: SegmentHeader
    public private(set) var bytes: [UInt8]
    /// Where each frame begins, the index too.
    public private(set) var frameOffsets: [Int] = [0]

    private var entries: [IndexEntry] = []
    private var nextSequence: UInt64
    private var firstIngest: Int64 = 0

    public init(
        schema: TableSchema, writer: String, number: UInt64 = 1, firstSequence: UInt64 = 1, created: Int64,
        sources: [SourcePosition] = []
    ) {
        self.schema = schema
        header = SegmentHeader(
            table: schema.table, writer: writer, number: number, firstSequence: firstSequence, lostFrom: firstSequence,
            created: created, columns: schema.wireColumns, eventTimeColumn: schema.eventTimeColumn,
            partitionRule: schema.partitionRule, sources: sources)
        bytes = header.encode()
        nextSequence = firstSequence
    }

    /// Appends one chunk of these rows, which must be of one partition.
    public mutating func append(chunk rows: [[Cell]], ingest: Int64, sources: [SourcePosition] = []) throws {
        let builder = try BlockBuilder(schema: schema, writer: header.writer) { _ in [] }
        for row in rows {
            let finish = builder.append(row: row)
            precondition(finish == .finished, "\(finish)")
        }
        var block = RawBuffer(capacity: 1_024)
        defer { block.free() }
        builder.assemble(firstSequence: nextSequence, into: &block)
        let frame = [UInt8](unsafeUninitializedCapacity: LZ4FrameWriter.bound(block.count)) { room, count in
            count = LZ4FrameWriter().compress(block.bytes, into: UnsafeMutableRawBufferPointer(room))
        }
        let chunk = ChunkHeader(
            table: schema.table, writer: header.writer, segmentNumber: header.number, firstSequence: nextSequence,
            rows: rows.count, partition: builder.partition, fingerprint: header.fingerprint,
            minEventTime: builder.minEventTime, maxEventTime: builder.maxEventTime, firstIngest: ingest,
            dataChecksum: frame.withUnsafeBytes { crc32c($0) }, dataBytes: frame.count, blockBytes: block.count,
            sources: sources)
        let headerBytes = chunk.encode()
        entries.append(IndexEntry(offset: UInt64(bytes.count), header: chunk))
        frameOffsets += [bytes.count, bytes.count + headerBytes.count]
        bytes += headerBytes + frame
        nextSequence = chunk.endSequence
        if firstIngest == 0 { firstIngest = ingest }
    }

    public mutating func seal(at time: Int64) {
        frameOffsets.append(bytes.count)
        bytes += SegmentIndex.encode(
            entries: entries, firstSequence: header.firstSequence, firstIngest: firstIngest, sealed: time,
            at: UInt64(bytes.count))
    }
}
