/// Whether a chunk holds what its header promises, value by value: what `verify` runs on every chunk.
public enum ChunkCheck {
    /// Decodes the data frame behind a chunk header and checks all of it.
    ///
    /// - Parameters:
    ///   - frame: the data frame, exactly `header.dataBytes` bytes.
    ///   - segment: the header of the segment that it stands in.
    /// - Returns: the decoded block.
    @discardableResult
    public static func decode(
        _ frame: UnsafeRawBufferPointer, header: ChunkHeader, segment: SegmentHeader
    ) throws(FormatError) -> NativeBlock {
        try checkBytes(frame, header: header)
        let block = try NativeBlock(LZ4Frame.decompress(frame, contentBytes: header.blockBytes), columns: segment.columns)
        guard block.rows == header.rows else {
            throw .malformed("\(block.rows) rows in the block, \(header.rows) in the chunk header")
        }
        try checkIdentity(of: block, header: header)
        try checkTimes(of: block, header: header, segment: segment)
        return block
    }

    /// Checks the data frame's bytes against the header without decoding them.
    public static func checkBytes(_ frame: UnsafeRawBufferPointer, header: ChunkHeader) throws(FormatError) {
        guard frame.count == header.dataBytes else { throw .truncated(need: header.dataBytes, have: frame.count) }
        let computed = crc32c(frame)
        guard computed == header.dataChecksum else {
            throw .checksum(what: "data frame", stored: header.dataChecksum, computed: computed)
        }
    }

    private static func checkIdentity(of block: NativeBlock, header: ChunkHeader) throws(FormatError) {
        guard let writers = block.column(TableSchema.writerColumn), let sequences = block.column(TableSchema.sequenceColumn),
            writers.type == ColumnType(.string), sequences.type == ColumnType(.uint(bits: 64))
        else { throw .malformed("the block has no \(TableSchema.writerColumn) or no \(TableSchema.sequenceColumn)") }
        let writer = Array(header.writer.utf8)
        for row in 0..<block.rows {
            guard sequences.integer(row) == Int128(header.firstSequence) + Int128(row) else {
                throw .malformed("row \(row) has \(TableSchema.sequenceColumn) \(sequences.integer(row))")
            }
            guard writers.string(row).elementsEqual(writer) else {
                throw .malformed("row \(row) has another \(TableSchema.writerColumn)")
            }
        }
    }

    private static func checkTimes(
        of block: NativeBlock, header: ChunkHeader, segment: SegmentHeader
    ) throws(FormatError) {
        let times = block.columns[segment.eventTimeColumn]
        guard times.type == ColumnType(.dateTime64) else { throw .malformed("the event time is a \(times.type.wireText)") }
        var range = (min: Int64.max, max: Int64.min)
        for row in 0..<block.rows {
            let time = Int64(truncatingIfNeeded: times.integer(row))
            range = (min(range.min, time), max(range.max, time))
            guard segment.partitionRule.partition(of: time) == header.partition else {
                throw .malformed(
                    "row \(row) is of partition \(segment.partitionRule.partition(of: time)), the chunk of \(header.partition)")
            }
        }
        guard range.min == header.minEventTime, range.max == header.maxEventTime else {
            throw .malformed("the event times are not those of the chunk header")
        }
    }
}
