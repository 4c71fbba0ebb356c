import Glibc
import SpoolFormat
import SpoolIO

/// Which segments of a table are not needed any more: sealed, wholly loaded, and older than the keep time.
///
/// Always from the front on, so that what remains is contiguous: the first one that must stay keeps all behind it.
struct TablePruning {
    struct Segment: Encodable, Equatable {
        let segment: String
        let rows: UInt64
        let bytes: UInt64
    }

    /// Everything that decides, of one segment.
    struct Candidate: Equatable {
        let name: SegmentName
        /// Nil if the segment is not sealed, or its end cannot be read.
        let trailer: SegmentTrailer?
        /// Another file of the same number is there: only the writer knows which of the two a crash left.
        var hasTwin = false
    }

    let spool: SpoolDirectory
    let table: String
    /// In the order in which they go.
    let segments: [Segment]
    /// The oldest segment that stays, and why; nil if the table has none at all.
    let kept: (segment: String, reason: String)?

    var rows: UInt64 { segments.reduce(0) { $0 + $1.rows } }
    var bytes: UInt64 { segments.reduce(0) { $0 + $1.bytes } }

    /// - Parameters:
    ///   - keep: how long a segment stays after it was sealed, nanoseconds.
    ///   - now: nanoseconds since the Unix epoch.
    ///   - includesQuarantined: whether segments with quarantined rows go too, though nothing else has those rows.
    init(
        spool: SpoolDirectory, table: String, checkpoint: Checkpoint, quarantined: SequenceSet, keep: Int64, now: Int64,
        includesQuarantined: Bool
    ) throws {
        self.spool = spool
        self.table = table
        // The mark first, as readers do: the segment that it names was there before it.
        let mark: DurableMark?
        do {
            mark = try spool.mark(of: table)
        } catch let error as FormatError {
            throw CommandFailure("\(table)/\(DurableMark.fileName): \(error); nothing is deleted from a damaged table", code: 74)
        }
        let all = StandingSegments(try spool.segments(of: table))
        var segments: [Segment] = []
        var kept: (String, String)?
        for name in all.names {
            let file = try File.openForReading(spool.path(of: name, table: table))
            let candidate = Candidate(
                name: name, trailer: try SegmentReader.trailer(of: file), hasTwin: all.replaced.contains { $0.number == name.number })
            let newest = min(all.names.last?.number ?? 0, mark?.segmentNumber ?? 0)
            let reason = Self.reasonToKeep(
                candidate, newest: newest, checkpoint: checkpoint, quarantined: includesQuarantined ? SequenceSet() : quarantined,
                sealedBefore: now - keep)
            if let reason {
                kept = (name.fileName, reason)
                break
            }
            segments.append(Segment(segment: name.fileName, rows: candidate.trailer?.rows ?? 0, bytes: try file.size()))
        }
        self.segments = segments
        self.kept = kept
    }

    /// Why a segment must stay; nil if it can go.
    ///
    /// - Parameter newest: number of the segment that the writer may still need; 0 if that is not known.
    static func reasonToKeep(
        _ candidate: Candidate, newest: UInt64, checkpoint: Checkpoint, quarantined: SequenceSet, sealedBefore: Int64
    ) -> String? {
        let name = candidate.name
        if name.number >= newest { return newest == 0 ? "there is no durable mark" : "is the newest" }
        guard let trailer = candidate.trailer, trailer.firstSequence == name.firstSequence else {
            return "is not sealed, or its end cannot be read: see `spool-loader verify`"
        }
        if candidate.hasTwin { return "another file has its number: the writer removes one of them at its next start" }
        if trailer.endSequence > checkpoint.next { return "rows from \(max(checkpoint.next, trailer.firstSequence)) on are not loaded" }
        if name.number >= checkpoint.segmentNumber { return "the loader stands in it" }
        if let inflight = checkpoint.inflight.first, name.number >= inflight.segmentNumber { return "a batch of it is in flight" }
        let held = quarantined.intersection(trailer.firstSequence..<trailer.endSequence)
        if !held.isEmpty { return "holds quarantined rows, which are nowhere else: \(held.text(limit: 3))" }
        if trailer.sealed > sealedBefore { return "was sealed at \(rfc3339(trailer.sealed).prefix(19))Z" }
        return nil
    }

    /// Whether the table's directory can be changed here.
    ///
    /// - Throws: `CommandFailure` if not: better said before than after half of it.
    func checkWritable() throws(CommandFailure) {
        guard !segments.isEmpty, access(spool.directory(of: table), W_OK) != 0 else { return }
        throw CommandFailure(
            "\(spool.directory(of: table)) cannot be changed from here (\(String(cString: strerror(errno)))): run prune on the host and as "
                + "the user of the spool-writer; --dry-run shows what would go", code: 74)
    }

    /// Removes the segments, oldest first. When this returns that is durable.
    ///
    /// - Returns: those that are gone, and what failed.
    func remove() -> (removed: [Segment], problem: String?) {
        var removed: [Segment] = []
        do throws(IOFailure) {
            for segment in segments {
                // The writer itself may have given it up in the meantime: gone is gone.
                try Directory.removeIfPresent("\(spool.directory(of: table))/\(segment.segment)")
                removed.append(segment)
            }
            if !removed.isEmpty { try Directory.sync(spool.directory(of: table)) }
            return (removed, nil)
        } catch {
            return (removed, "\(error)")
        }
    }
}
