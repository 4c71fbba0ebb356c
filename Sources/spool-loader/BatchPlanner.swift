import SpoolFormat
import SpoolIO

/// Chunks of one insert: a contiguous range of one segment, one table, one partition.
struct Batch {
    let segment: OpenSegment
    let chunks: [LocatedChunk]

    var from: UInt64 { chunks.first?.offset ?? 0 }
    var to: UInt64 { chunks.last?.end ?? 0 }
    var firstSequence: UInt64 { chunks.first?.header.firstSequence ?? 0 }
    var endSequence: UInt64 { chunks.last?.header.endSequence ?? 0 }
    var rows: UInt64 { endSequence - firstSequence }
    var partition: Int32 { chunks.first?.header.partition ?? 0 }
    var minEventTime: Int64 { chunks.map(\.header.minEventTime).min() ?? .max }
    var maxEventTime: Int64 { chunks.map(\.header.maxEventTime).max() ?? .min }
    var firstIngest: Int64 { chunks.first?.header.firstIngest ?? 0 }

    /// Where the next batch begins.
    var end: TailPosition { TailPosition(segmentNumber: segment.name.number, offset: to, next: endSequence) }

    func inflight(checksum: UInt32, attempt: Int) -> InflightBatch {
        InflightBatch(
            firstSequence: firstSequence, endSequence: endSequence, segmentNumber: segment.name.number, fromOffset: from,
            toOffset: to, partition: partition, checksum: checksum, attempt: attempt)
    }
}

/// How large a batch may become.
struct BatchLimits {
    /// Rows; below ClickHouse's squash limit, so that a batch is one block.
    let rows: Int
    /// Bytes in the segment.
    let bytes: Int
    /// Bytes in ClickHouse's memory, likewise below its squash limit of 256 MiB.
    static let memoryBytes = 200 << 20
    /// In memory ClickHouse adds at most so much for each value of a String or Array.
    static let overheadPerValue = 9
}

/// Gathers chunks into batches.
struct BatchPlanner {
    enum Plan {
        case batch(Batch)
        /// The first thing at the position is no chunk; see there.
        case other(TailItem)
    }

    let tail: SpoolTail
    let limits: BatchLimits

    /// The next batch from the position.
    func plan(from position: TailPosition) throws -> Plan {
        var chunks: [LocatedChunk] = []
        var segment: OpenSegment?
        var size = (rows: 0, bytes: 0, memory: 0)
        var place = position
        while true {
            let item = try tail.item(at: place)
            guard case .chunk(let chunk, let owner) = item else {
                if let segment, !chunks.isEmpty { return .batch(Batch(segment: segment, chunks: chunks)) }
                return .other(item)
            }
            let header = chunk.header
            let overhead = owner.reader.header.columns.count { $0.type.contains("String") || $0.type.hasPrefix("Array") }
            let next = (
                rows: size.rows + header.rows, bytes: size.bytes + Int(chunk.end - chunk.offset),
                memory: size.memory + header.blockBytes + header.rows * overhead * BatchLimits.overheadPerValue
            )
            if let first = chunks.first, let segment {
                guard header.partition == first.header.partition, next.rows <= limits.rows, next.bytes <= limits.bytes,
                    next.memory <= BatchLimits.memoryBytes
                else { return .batch(Batch(segment: segment, chunks: chunks)) }
            }
            segment = owner
            chunks.append(chunk)
            size = next
            place = TailPosition(segmentNumber: place.segmentNumber, offset: chunk.end, next: header.endSequence)
        }
    }

    /// The batch that a checkpoint notes as in flight, from the same bytes.
    ///
    /// - Throws: `CommandFailure` if they are not the same any more.
    func batch(of inflight: InflightBatch) throws -> (Batch, body: [UInt8]) {
        func fail(_ why: String) -> CommandFailure {
            CommandFailure(
                "\(tail.table): the batch in flight, rows \(inflight.firstSequence) to \(inflight.endSequence - 1), cannot be read "
                    + "again from segment \(inflight.segmentNumber): \(why); whether ClickHouse has it, `spool-loader audit` tells",
                code: 74)
        }
        guard let segment = try tail.segment(number: inflight.segmentNumber) else { throw fail("it is not in the spool") }
        var chunks: [LocatedChunk] = []
        var offset = inflight.fromOffset
        var sequence = inflight.firstSequence
        while offset < inflight.toOffset {
            guard case .chunk(let chunk) = try segment.reader.item(at: offset, limit: inflight.toOffset) else {
                throw fail("no chunk at \(offset)")
            }
            do throws(FormatError) {
                try chunk.header.check(against: segment.reader.header, expecting: sequence)
            } catch {
                throw fail("\(error)")
            }
            chunks.append(chunk)
            offset = chunk.end
            sequence = chunk.header.endSequence
        }
        let batch = Batch(segment: segment, chunks: chunks)
        guard sequence == inflight.endSequence, !chunks.isEmpty else { throw fail("it ends at sequence \(sequence)") }
        let body = try segment.reader.file.read(Int(batch.to - batch.from), at: batch.from)
        guard body.withUnsafeBytes({ crc32c($0) }) == inflight.checksum else { throw fail("its bytes have changed") }
        return (batch, body)
    }

    /// Whether the segment of a batch in flight is not there any more, or a tombstone stands in its place.
    func isGone(_ inflight: InflightBatch) throws -> Bool {
        guard let segment = try tail.segment(number: inflight.segmentNumber) else { return true }
        return segment.name.firstSequence > inflight.firstSequence
    }

    /// Reads a batch's bytes and checks every data frame against its header.
    ///
    /// - Returns: the bytes, and how many of the chunks are sound: those from the first damaged one on must not be sent.
    func read(_ batch: Batch) throws -> (body: [UInt8], sound: Int, error: FormatError?) {
        let body = try batch.segment.reader.file.read(Int(batch.to - batch.from), at: batch.from)
        for (index, chunk) in batch.chunks.enumerated() {
            let start = Int(chunk.dataOffset - batch.from)
            let end = Int(chunk.end - batch.from)
            guard end <= body.count else { return (body, index, .truncated(need: end, have: body.count)) }
            let error: FormatError? = body.withUnsafeBytes { raw -> FormatError? in
                do throws(FormatError) {
                    // The header again, from the very bytes that will be sent.
                    let (header, _) = try ChunkHeader.decode(UnsafeRawBufferPointer(rebasing: raw[Int(chunk.offset - batch.from)..<start]))
                    guard header == chunk.header else { throw .malformed("the chunk header changed while it was read") }
                    try ChunkCheck.checkBytes(UnsafeRawBufferPointer(rebasing: raw[start..<end]), header: header)
                    return nil
                } catch {
                    return error
                }
            }
            if let error { return (body, index, error) }
        }
        return (body, batch.chunks.count, nil)
    }
}
