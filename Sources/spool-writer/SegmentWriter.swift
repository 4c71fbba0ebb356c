import Glibc
import SpoolFormat
import SpoolIO
import SpoolStatus

/// A chunk that was given up before it was durable.
struct DroppedChunk {
    let header: ChunkHeader
    /// Its LZ4 frame.
    let data: [UInt8]
}

/// Appends chunks to the segments of one table and publishes how far they are durable.
///
/// Chunks are compressed straight into ``unsynced`` and stay there until they are synced, so that a full disk or a failed
/// sync can be answered by writing the same bytes again, to the same place or to a new segment.
final class SegmentWriter {
    /// The active segment.
    private struct Active {
        let file: File
        let header: SegmentHeader
        let created: Int64
        /// Synced bytes.
        var durableBytes: UInt64
        var entries: [IndexEntry] = []
        var firstIngest: Int64 = 0
        var minEventTime = Int64.max
        var maxEventTime = Int64.min
        /// A sync failed: nothing may be appended any more.
        var isSuspect = false
        /// The index is there and counts as durable. A mark that says so may have been read although it could not be synced, so
        /// that from here on no byte of the segment changes.
        var isEnded = false
    }

    private struct Pending {
        var header: ChunkHeader
        let headerBytes: Int
    }

    /// Chunks after which a segment is sealed, well below what an index can list.
    private static let segmentChunks = FormatLimits.segmentChunks / 10

    let schema: TableSchema
    let spool: SpoolDirectory
    let segmentBytes: Int
    /// Nanoseconds.
    let segmentAge: Int64

    private var active: Active?
    private var markFile: File?
    /// A segment that was not where it should be when it was last synced.
    private var missing: SegmentHeader?
    private var publications: UInt64 = 0
    private var nextNumber: UInt64
    /// Rows `[lostFrom, next sequence)` that recovery found missing; the next segment's header declares them.
    private var lostFrom: UInt64?
    /// Those rows were given up for want of room, rather than damaged.
    private var isShed = false
    private let columns: [WireColumn]
    private let frames = LZ4FrameWriter()

    /// The sequence of the next row.
    private(set) var nextSequence: UInt64
    /// Everything before this sequence is durable and published.
    private(set) var durableEnd: UInt64
    /// What of each source is in chunks, durable or not: what a producer of this process need not send again.
    private(set) var positions: PositionTable
    /// What of each source is durable: all that a segment header may say, since a crash can leave the header alone.
    private var durablePositions: PositionTable

    /// How long syncs of segments took that succeeded.
    private(set) var syncTimes = Histogram()
    /// Bytes of chunks not yet synced, as they lie or shall lie in the segment.
    private var unsynced = RawBuffer(capacity: 1 << 16)
    private var pending: [Pending] = []
    private var durableLosses: [ChunkLoss] = []
    /// Whether rows are durable that the mark does not name yet.
    private var isUnpublished = false
    /// How many of those bytes are written to the file.
    private var writtenBytes = 0
    private var block = RawBuffer(capacity: 1 << 16)

    init(schema: TableSchema, spool: SpoolDirectory, start: RecoveredTable, segmentBytes: Int, segmentAge: Int64) {
        self.schema = schema
        self.spool = spool
        self.segmentBytes = segmentBytes
        self.segmentAge = segmentAge
        columns = schema.wireColumns
        nextNumber = start.nextNumber
        nextSequence = start.nextSequence
        durableEnd = start.nextSequence
        lostFrom = start.lostFrom
        positions = start.positions
        durablePositions = start.positions
        publications = start.publications
    }

    deinit {
        unsynced.free()
        block.free()
    }

    /// Forgets a source that can never come back. Call when all of its rows are durable.
    func forget(_ source: String) {
        positions.forget(source)
        durablePositions.forget(source)
    }

    /// Gives up the chunks that are not durable. Their sequences are not used again; the next segment says so.
    ///
    /// - Returns: the chunks, their data frames still compressed.
    func dropPending() -> [DroppedChunk] {
        var dropped: [DroppedChunk] = []
        var offset = 0
        for chunk in pending {
            let start = offset + chunk.headerBytes
            offset = start + chunk.header.dataBytes
            dropped.append(DroppedChunk(header: chunk.header, data: Array(unsynced.bytes[start..<offset])))
        }
        guard let first = dropped.first else { return [] }
        if lostFrom == nil { (lostFrom, isShed) = (first.header.firstSequence, true) }
        pending.removeAll(keepingCapacity: true)
        unsynced.truncate(to: 0)
        writtenBytes = 0
        // A segment has no gaps: the active one ends where it is durable.
        active?.isSuspect = true
        return dropped
    }

    /// Takes the losses that durable chunks count, which begin anew.
    ///
    /// - Returns: also the sequence behind the last of those chunks.
    func takeDurableLosses() -> (losses: [ChunkLoss], end: UInt64)? {
        guard !durableLosses.isEmpty else { return nil }
        defer { durableLosses.removeAll() }
        return (durableLosses, durableEnd)
    }

    /// Whether chunks wait to be written or synced.
    var isDirty: Bool { !pending.isEmpty }
    /// Bytes held in memory because they are not durable yet.
    var undurableBytes: Int { unsynced.count }

    /// Makes the finished rows of each builder a chunk and empties it. Nothing is written yet; see ``write(now:)``.
    ///
    /// All chunks of a cut count together or not at all, since only the last one says how far its sources have come.
    ///
    /// - Parameters:
    ///   - builders: one a partition, none of them empty.
    ///   - firstIngest: when the first of these rows arrived, nanoseconds since the Unix epoch.
    ///   - sources: at most `FormatLimits.chunkSources` positions.
    ///   - losses: rows before those positions that are not recorded.
    func cut(_ builders: [BlockBuilder], firstIngest: Int64, sources: [SourcePosition], losses: [ChunkLoss] = []) {
        for (index, builder) in builders.enumerated() {
            let isLast = index == builders.count - 1
            append(builder, firstIngest: firstIngest, sources: isLast ? sources : [], losses: isLast ? losses : [], continues: !isLast)
        }
        for position in sources { positions.note(position) }
    }

    private func append(
        _ builder: BlockBuilder, firstIngest: Int64, sources: [SourcePosition], losses: [ChunkLoss], continues: Bool
    ) {
        block.truncate(to: 0)
        builder.assemble(firstSequence: nextSequence, into: &block)
        var header = ChunkHeader(
            table: schema.table, writer: spool.writer, segmentNumber: active?.header.number ?? nextNumber,
            firstSequence: nextSequence, rows: builder.rows, partition: builder.partition,
            fingerprint: schemaFingerprint(columns), minEventTime: builder.minEventTime, maxEventTime: builder.maxEventTime,
            firstIngest: firstIngest, dataChecksum: 0, dataBytes: 0, blockBytes: block.count, sources: sources)
        header.continues = continues
        header.losses = losses
        header.syncedBytes = 0
        // The header's size does not depend on what its numbers are, so the data frame can be made in its place.
        let headerBytes = header.encode().count
        let start = unsynced.count
        unsynced.reserve(headerBytes + LZ4FrameWriter.bound(block.count))
        unsynced.appendZeros(headerBytes)
        let room = UnsafeMutableRawBufferPointer(
            start: unsynced.base + unsynced.count, count: unsynced.capacity - unsynced.count)
        let dataBytes = frames.compress(block.bytes, into: room)
        header.dataBytes = dataBytes
        header.dataChecksum = crc32c(UnsafeRawBufferPointer(start: room.baseAddress, count: dataBytes))
        unsynced.extend(by: dataBytes)
        store(header.encode(), at: start)
        pending.append(Pending(header: header, headerBytes: headerBytes))
        nextSequence = header.endSequence
        builder.dropFinished()
    }

    /// Corrects, before they are written, up to where the sources of the chunks are complete once these chunks are durable.
    /// When a chunk was cut that was not known: rows of other tables were not durable yet. After a crash a producer should
    /// not be asked for what it was told is durable.
    ///
    /// - Parameter complete: the position by the source's name; nil to leave what the chunk says.
    func noteComplete(_ complete: (String) -> UInt64?) {
        guard writtenBytes == 0 else { return }
        let synced = active.map { $0.isSuspect ? 0 : $0.durableBytes } ?? 0
        var seen: Set<String> = []
        var offset = unsynced.count
        for index in pending.indices.reversed() {
            offset -= pending[index].headerBytes + pending[index].header.dataBytes
            // Only the last chunk with rows of a source stands for all of them.
            for place in pending[index].header.sources.indices where seen.insert(pending[index].header.sources[place].source).inserted {
                if let position = complete(pending[index].header.sources[place].source) {
                    pending[index].header.sources[place].complete = position
                }
            }
            // Of a segment that is still to be begun nothing is known to be synced.
            pending[index].header.syncedBytes = pending[index].header.segmentNumber == active?.header.number ? synced : 0
            store(pending[index].header.encode(), at: offset)
        }
    }

    /// Writes what was cut. Nothing is durable until ``sync(now:)``; after an error the same bytes are tried again next time.
    func write(now: Int64) throws(IOFailure) {
        if let active, active.isSuspect || active.isEnded { try abandon(now: now) }
        guard writtenBytes < unsynced.count else { return }
        if active == nil { try begin(now: now) }
        guard let active else { return }
        let rest = UnsafeRawBufferPointer(rebasing: unsynced.bytes[writtenBytes...])
        try active.file.write(rest, at: active.durableBytes + UInt64(writtenBytes))
        writtenBytes = unsynced.count
    }

    /// Makes everything that was written durable and publishes it; then begins a new segment if this one is due.
    ///
    /// - Throws: after a failed sync nothing is assumed of the segment: it is cut back to what was durable and sealed, and the
    ///   chunks wait to be written again into a new one.
    func sync(now: Int64) throws(IOFailure) {
        precondition(writtenBytes == unsynced.count, "sync with \(unsynced.count - writtenBytes) bytes unwritten")
        guard let file = active?.file, let header = active?.header else { return }
        if !pending.isEmpty {
            do throws(IOFailure) {
                let began = Clock.monotonic()
                try file.sync()
                syncTimes.observe(Double(Clock.monotonic() - began) / 1e9)
                let path = spool.path(of: header.name, table: schema.table)
                guard file.isAt(path) else { throw IOFailure("find (it was moved away or removed)", path, ENOENT) }
            } catch {
                // Moved away or removed: whether what was durable is lost shows when there is a spool again.
                if error.isMissing { missing = active?.header }
                active?.isSuspect = true
                writtenBytes = 0
                try abandon(now: now)
                throw error
            }
            account()
            isUnpublished = true
        }
        // Also after a mark could not be written: what is durable must not wait for the next rows to be seen.
        if isUnpublished, let active, !active.isEnded { try publish(active, now: now, sealed: false, durably: false) }
        if let active, !active.entries.isEmpty, active.isEnded || isFull(active, now: now) { try seal(now: now) }
    }

    /// Whether `active` has reached one of the limits of a segment: bytes, age, chunks.
    private func isFull(_ active: Active, now: Int64) -> Bool {
        active.durableBytes >= UInt64(segmentBytes) || now - active.created >= segmentAge
            || active.entries.count >= Self.segmentChunks
    }

    /// Ends the active segment with its index. When this returns, all of it and its mark are durable.
    func seal(now: Int64) throws(IOFailure) {
        precondition(pending.isEmpty, "seal with \(pending.count) chunks pending")
        try close(now: now)
    }

    /// Ends the active segment and begins another, so that it is no longer the newest. When this returns both are durable.
    func roll(now: Int64) throws(IOFailure) {
        guard pending.isEmpty, active?.entries.isEmpty == false else { return }
        try close(now: now)
        try begin(now: now)
    }

    /// When the oldest row that is cut and not durable was taken, nanoseconds since the Unix epoch.
    var oldestPendingIngest: Int64? { pending.first?.header.firstIngest }

    /// Bytes of the active segment that are durable; 0 if it has no rows.
    var activeBytes: UInt64 { active.map { $0.entries.isEmpty ? 0 : $0.durableBytes } ?? 0 }

    /// Whether the durable mark names this segment, or none behind it is there yet.
    func isNewest(_ name: SegmentName) -> Bool { name.number + 1 >= nextNumber }

    /// What of each source is durable.
    var durableSources: [SourcePosition] { durablePositions.all }

    /// When the active segment is due to be sealed for its age; nil if there is none with rows.
    var sealDeadline: Int64? {
        guard let active, !active.entries.isEmpty else { return nil }
        return active.created + segmentAge
    }

    // MARK: Steps

    /// Begins a segment. When this returns its header and name are durable, and its mark is published.
    private func begin(now: Int64) throws(IOFailure) {
        try spool.checkID()
        let directory = spool.directory(of: schema.table)
        // A directory that was there and is gone is not made anew: what is in it would be missing where it comes back.
        guard publications == 0 || Directory.exists(directory) else {
            throw IOFailure("find (it was moved away or removed; bring it back)", directory, ENOENT)
        }
        try Directory.create(directory)
        let first = pending.first?.header.firstSequence ?? nextSequence
        if let gone = missing {
            missing = nil
            if !File.exists(spool.path(of: gone.name, table: schema.table)), gone.firstSequence < first {
                (lostFrom, isShed) = (min(lostFrom ?? .max, gone.lostFrom), false)
            }
        }
        let header = SegmentHeader(
            table: schema.table, writer: spool.writer, number: nextNumber, firstSequence: first, lostFrom: lostFrom ?? first,
            isShed: isShed && lostFrom.map { $0 < first } == true, created: now, columns: columns, eventTimeColumn: schema.eventTimeColumn,
            partitionRule: schema.partitionRule,
            sources: durablePositions.all)
        let path = spool.path(of: header.name, table: schema.table)
        let temporary = path + ".tmp"
        try Directory.removeIfPresent(temporary)
        let file = try File.create(temporary)
        let bytes = header.encode()
        try file.write(bytes, at: 0)
        // Sync before the rename, and the directory after it: a segment that has its name has its whole header.
        try file.sync()
        try Directory.rename(temporary, to: path)
        try Directory.sync(directory)
        renumber(to: header.number)
        let begun = Active(file: file, header: header, created: now, durableBytes: UInt64(bytes.count))
        active = begun
        nextNumber += 1
        lostFrom = nil
        isShed = false
        try publish(begun, now: now, sealed: false, durably: true)
    }

    /// Chunks that were cut for another segment name it in their headers.
    private func renumber(to number: UInt64) {
        var offset = 0
        for index in pending.indices {
            if pending[index].header.segmentNumber != number {
                pending[index].header.segmentNumber = number
                pending[index].header.syncedBytes = 0
                store(pending[index].header.encode(), at: offset)
            }
            offset += pending[index].headerBytes + pending[index].header.dataBytes
        }
        writtenBytes = 0
    }

    private func store(_ bytes: [UInt8], at offset: Int) {
        (unsynced.base + offset).copyMemory(from: bytes, byteCount: bytes.count)
    }

    /// The pending chunks are durable: they become part of the segment's index.
    private func account() {
        guard var segment = active else { return }
        for chunk in pending {
            segment.entries.append(IndexEntry(offset: segment.durableBytes, header: chunk.header))
            segment.durableBytes += UInt64(chunk.headerBytes + chunk.header.dataBytes)
            segment.minEventTime = min(segment.minEventTime, chunk.header.minEventTime)
            segment.maxEventTime = max(segment.maxEventTime, chunk.header.maxEventTime)
            if segment.firstIngest == 0 { segment.firstIngest = chunk.header.firstIngest }
            durableEnd = chunk.header.endSequence
            for position in chunk.header.sources { durablePositions.note(position) }
            durableLosses += chunk.header.losses
        }
        active = segment
        pending.removeAll(keepingCapacity: true)
        unsynced.truncate(to: 0)
        writtenBytes = 0
    }

    /// Writes the durable mark: data first, then the mark, so that it never says more than is true.
    private func publish(_ segment: Active, now: Int64, sealed: Bool, durably: Bool) throws(IOFailure) {
        publications += 1
        let mark = DurableMark(
            writer: spool.writer, segmentNumber: segment.header.number, segmentFirstSequence: segment.header.firstSequence,
            durableBytes: segment.durableBytes, durableEnd: max(durableEnd, segment.header.firstSequence), isSealed: sealed,
            published: now, minEventTime: segment.minEventTime, maxEventTime: segment.maxEventTime, publications: publications)
        let directory = spool.directory(of: schema.table)
        // A spool that came back may be a copy, with another file in the mark's place.
        let isNew = markFile.map { !$0.isAt($0.path) } ?? true
        let file: File
        if let markFile, !isNew { file = markFile } else { file = try File.openForWriting("\(directory)/\(DurableMark.fileName)") }
        try file.write(mark.encode(), at: 0)
        if durably || isNew { try file.sync() }
        if isNew { try Directory.sync(directory) }
        markFile = file
        isUnpublished = false
    }

    /// After a failed sync: the pages may be gone although a second sync would succeed, so this segment ends where it was durable.
    private func abandon(now: Int64) throws(IOFailure) {
        writtenBytes = 0
        try close(now: now)
    }

    /// Ends the active segment with its index, where it was last durable. When this returns, all of it and its mark are durable.
    private func close(now: Int64) throws(IOFailure) {
        guard var segment = active else { return }
        if !segment.isEnded {
            // What an earlier try left behind this place must not stand behind the index.
            try segment.file.truncate(to: segment.durableBytes)
            let index = SegmentIndex.encode(
                entries: segment.entries, firstSequence: segment.header.firstSequence, firstIngest: segment.firstIngest, sealed: now,
                at: segment.durableBytes)
            try segment.file.write(index, at: segment.durableBytes)
            try segment.file.sync()
            segment.durableBytes += UInt64(index.count)
            segment.isEnded = true
            active = segment
        }
        // A second try writes the mark alone: a loader may have read the one that could not be synced.
        try publish(segment, now: now, sealed: true, durably: true)
        active = nil
    }
}
