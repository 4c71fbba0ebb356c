import SpoolFormat
import SpoolIO

/// Losses that chunks count and that have no rows in `system_events` yet: what a writer left that was killed between the two.
enum UnledgeredLosses {
    /// Segments that are looked at: rows of the ledger follow their chunks within a second, so older ones have theirs.
    private static let maxSegments = 3

    /// The name by which the ledger's chunks say how far a table's losses are written down.
    static func source(of table: String) -> String { "losses:\(table)" }

    /// The losses in chunks that begin at the sequence or behind it.
    static func find(in spool: SpoolDirectory, table: String, from sequence: UInt64) -> [ChunkLoss] {
        var losses: [ChunkLoss] = []
        for name in ((try? spool.segments(of: table)) ?? []).suffix(maxSegments) {
            // What cannot be read here recovery has told already.
            guard let reader = try? SegmentReader(path: spool.path(of: name, table: table)), let size = try? reader.file.size() else {
                continue
            }
            var offset = reader.start
            while case .chunk(let chunk)? = try? reader.item(at: offset, limit: size) {
                if chunk.header.firstSequence >= sequence { losses += chunk.header.losses }
                offset = chunk.end
            }
        }
        return losses
    }
}
