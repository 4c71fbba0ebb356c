import SpoolFormat
import SpoolIO

/// Rows of one insert: a contiguous range of one segment, one table, one partition.
///
/// Nearly always whole chunks, whose bytes are sent as they lie in the segment. A batch that must begin or end within a chunk is a slice
/// of that one chunk, encoded anew.
struct Batch {
    /// Some rows of one chunk.
    struct Slice {
        /// What the batch covers; rows of it that are not in ``rows`` are not wanted.
        let sequences: Range<UInt64>
        /// Numbers of the rows within the chunk, ascending.
        let rows: [Int]
        let minEventTime: Int64
        let maxEventTime: Int64
    }

    let segment: OpenSegment
    let chunks: [LocatedChunk]
    /// Of the only chunk, if not all of it is meant.
    var slice: Slice?

    var from: UInt64 { chunks.first?.offset ?? 0 }
    var to: UInt64 { chunks.last?.end ?? 0 }
    var firstSequence: UInt64 { slice?.sequences.lowerBound ?? chunks.first?.header.firstSequence ?? 0 }
    var endSequence: UInt64 { slice?.sequences.upperBound ?? chunks.last?.header.endSequence ?? 0 }
    var rows: UInt64 { slice.map { UInt64($0.rows.count) } ?? endSequence - firstSequence }
    var partition: Int32 { chunks.first?.header.partition ?? 0 }
    var minEventTime: Int64 { slice?.minEventTime ?? chunks.lazy.map(\.header.minEventTime).min() ?? .max }
    var maxEventTime: Int64 { slice?.maxEventTime ?? chunks.lazy.map(\.header.maxEventTime).max() ?? .min }

    var start: TailPosition { TailPosition(segmentNumber: segment.name.number, offset: from, next: firstSequence) }

    /// Where the next batch begins: within the same chunk, if this one ends there.
    var end: TailPosition {
        let isWithin = endSequence < chunks.last?.header.endSequence ?? 0
        return TailPosition(segmentNumber: segment.name.number, offset: isWithin ? from : to, next: endSequence)
    }

    /// Where to cut it in two: between chunks if it has several, else between rows. Nil if it covers only one row.
    var middle: UInt64? {
        guard endSequence - firstSequence > 1 else { return nil }
        let middle = firstSequence + (endSequence - firstSequence) / 2
        guard chunks.count > 1 else { return middle }
        return chunks.dropFirst().map(\.header.firstSequence).min { $0.distance(from: middle) < $1.distance(from: middle) }
    }

    func inflight(checksum: UInt32, attempt: Int) -> InflightBatch {
        InflightBatch(
            firstSequence: firstSequence, endSequence: endSequence, segmentNumber: segment.name.number, fromOffset: from,
            toOffset: to, partition: partition, checksum: checksum, attempt: attempt)
    }
}

extension UInt64 {
    fileprivate func distance(from other: UInt64) -> UInt64 { self > other ? self - other : other - self }
}

/// How large a batch may become.
struct BatchLimits: Equatable {
    /// Rows; below ClickHouse's squash limit, so that a batch is one block.
    var rows: Int
    /// Bytes in the segment.
    var bytes: Int
    /// Most rows that one block of ClickHouse may have, with room to spare.
    static let blockRows = 1_000_000
    /// Bytes in ClickHouse's memory, likewise below its squash limit of 256 MiB.
    static let memoryBytes = 200 << 20
    /// In memory ClickHouse adds at most so much for each value of a String or Array.
    static let overheadPerValue = 9
    /// Chunks: of tiny ones so many that a batch's list of them stays small.
    static let chunks = 1_024
}
