import SpoolFormat
import SpoolIO

/// A batch of which ClickHouse has some rows: which are missing.
struct PartlyThere {
    private(set) var missing: UInt64 = 0
    /// How many of those are older than the table's retention.
    private(set) var expired: UInt64 = 0
    /// Sequences at which rows that are there and rows that are missing meet.
    private(set) var cuts: [UInt64] = []

    /// - Parameters:
    ///   - present: sequences that are there, ascending.
    ///   - expiry: event times up to this one are expired, nanoseconds since the Unix epoch.
    init(_ batch: Batch, present: [UInt64], expiry: Int64) throws {
        var place = 0
        var wasPresent: Bool?
        for chunk in batch.chunks {
            let block = try batch.segment.reader.block(of: chunk)
            let times = block.columns[batch.segment.reader.header.eventTimeColumn]
            for row in batch.slice?.rows ?? Array(0..<block.rows) {
                let sequence = chunk.header.firstSequence + UInt64(row)
                while place < present.count, present[place] < sequence { place += 1 }
                let isPresent = place < present.count && present[place] == sequence
                if !isPresent {
                    missing += 1
                    if times.integer(row) <= Int128(expiry) { expired += 1 }
                }
                if let wasPresent, wasPresent != isPresent { cuts.append(sequence) }
                wasPresent = isPresent
            }
        }
    }
}
