import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// Makes room in the spool: segments that are loaded, and under pressure market segments that are not.
///
/// A loaded segment is one that ends before the loader's checkpoint and is not the one that the checkpoint stands in. What cannot be read is
/// never deleted, and neither is the newest segment of a table.
final class Shedder {
    enum Outcome: Equatable {
        case freed(UInt64)
        /// Something is on its way.
        case working
        /// Nothing of ours is left that could go.
        case nothingLeft
    }

    /// Bytes of an active market segment from which on it is ended, so that it can be given up.
    private static let leastRollBytes: UInt64 = 64 << 10

    private let spool: SpoolDirectory
    private let commits: GroupCommit
    private let ledger: LossLedger
    private let checkpoints: Checkpoints?
    private let keep: Int64
    private let log: Logger
    private var count: SegmentCount?
    /// Segments that could not be counted, or not be deleted: not tried again.
    private var spared: Set<String> = []
    /// Segments whose loss the ledger has, although they are still there.
    private var counted: Set<String> = []

    init(configuration: Configuration, spool: SpoolDirectory, commits: GroupCommit, ledger: LossLedger, log: Logger) {
        self.spool = spool
        self.commits = commits
        self.ledger = ledger
        self.log = log
        keep = configuration.duration("writer.keep")
        checkpoints = configuration.text("writer.checkpoints").map { Checkpoints(directory: $0, writer: spool.writer) }
    }

    private func path(_ name: SegmentName, _ table: TableRecorder) -> String { spool.path(of: name, table: table.schema.table) }

    // MARK: Loaded segments

    /// Deletes loaded segments that are older than the keep time.
    func retain(now: Int64) {
        let freed = removeLoaded(sealedBefore: now - keep, atLeast: .max)
        if freed > 0 { log.info("deleted loaded segments of \(freed) bytes, older than writer.keep") }
    }

    /// - Returns: bytes freed.
    private func removeLoaded(sealedBefore limit: Int64, atLeast wanted: UInt64) -> UInt64 {
        guard let checkpoints else { return 0 }
        var freed: UInt64 = 0
        // Market first: their rows are the ones that can best be done without, should ClickHouse lose what it confirmed.
        for table in commits.tables.reversed() {
            guard let checkpoint = checkpoints.checkpoint(of: table.schema.table) else { continue }
            for name in (try? spool.segments(of: table.schema.table)) ?? [] {
                if freed >= wanted { return freed }
                guard name.number < checkpoint.segmentNumber, !table.segments.isNewest(name), !spared.contains(path(name, table)),
                    let trailer = try? SegmentReader.trailer(of: File.openForReading(path(name, table))),
                    trailer.endSequence <= checkpoint.next, trailer.sealed <= limit
                else { break }
                do throws(IOFailure) {
                    try Directory.remove(path(name, table))
                    freed += trailer.fileBytes
                } catch {
                    log.error("cannot delete a loaded segment: \(error)")
                    spared.insert(path(name, table))
                    break
                }
            }
            try? Directory.sync(spool.directory(of: table.schema.table))
        }
        return freed
    }

    // MARK: Under pressure

    /// Does the next step towards so many bytes more of free room.
    ///
    /// - Parameter settle: makes the ledger durable; false if it is not.
    func step(wanted: UInt64, now: Int64, monotonic: Int64, settle: () -> Bool) -> Outcome {
        let freed = removeLoaded(sealedBefore: .max, atLeast: wanted)
        if freed > 0 {
            log.warning("the disk is short of room: deleted loaded segments of \(freed) bytes")
            return .freed(freed)
        }
        if let count {
            guard let outcome = count.outcome else { return .working }
            self.count = nil
            return giveUp(count, outcome, now: now, monotonic: monotonic, settle: settle)
        }
        for table in commits.tables where table.tableClass == .market {
            guard let name = candidate(table) else { continue }
            count = SegmentCount.begin(
                table: table.schema.table, name: name, path: path(name, table),
                symbolNames: MarketTable.Columns(table.schema).symbolNames)
            return .working
        }
        return roll(now: now) ? .working : .nothingLeft
    }

    /// The oldest segment of a table that may be given up.
    private func candidate(_ table: TableRecorder) -> SegmentName? {
        // The one that the loader may be sending is left alone: what is in ClickHouse must not be counted as lost.
        let busy = checkpoints?.checkpoint(of: table.schema.table)?.segmentNumber ?? 0
        for name in (try? spool.segments(of: table.schema.table)) ?? [] {
            guard !table.segments.isNewest(name), name.number != busy, !spared.contains(path(name, table)),
                let trailer = try? SegmentReader.trailer(of: File.openForReading(path(name, table))), trailer.rows > 0
            else { continue }
            return name
        }
        return nil
    }

    /// Puts a tombstone in a counted segment's place. The ledger is durable first: a loss that nobody knows of is worse than one that is
    /// recorded and then does not happen.
    private func giveUp(
        _ count: SegmentCount, _ outcome: SegmentCount.Outcome, now: Int64, monotonic: Int64, settle: () -> Bool
    ) -> Outcome {
        guard let table = commits.tables.first(where: { $0.schema.table == count.table }) else { return .working }
        let place = path(count.name, table)
        guard case .counted(let losses, let header, let end) = outcome else {
            if case .unreadable(let why) = outcome { log.error("a segment is kept although the disk is short of room: \(place): \(why)") }
            spared.insert(place)
            return .working
        }
        guard header.lost.isEmpty || header.isShed else {
            // It says that rows before it were lost by damage; that must stay to be seen.
            spared.insert(place)
            return .working
        }
        // Meanwhile the loader may have come to it.
        guard let size = try? File.openForReading(place).size(), candidate(table) == count.name else { return .working }
        let tombstone = Tombstone(replacing: header, end: end, sources: table.segments.durableSources, in: spool, now: now)
        do throws(IOFailure) {
            // What can fail for want of room comes before the ledger says that anything is lost.
            try commits.usingReserve { () throws(IOFailure) in try tombstone.prepare() }
            // A try that failed behind this point is counted already.
            if counted.insert(place).inserted {
                for (symbol, loss) in losses.sorted(by: { $0.key < $1.key }) {
                    ledger.note(
                        ChunkLoss(symbol: symbol, reason: LossReason.shed.text, count: loss.count, from: loss.from, to: loss.to),
                        of: count.table, sequences: header.firstSequence..<end, monotonic: monotonic)
                }
            }
            guard settle() else { return .working }
            try tombstone.finish()
        } catch {
            if !error.isNoSpace {
                log.error("a segment cannot be given up: \(error)")
                spared.insert(place)
            }
            return .working
        }
        let rows = losses.values.reduce(0) { $0 + $1.count }
        log.error(
            "the disk is short of room: gave up \(rows) rows that were not loaded, \(count.table)/\(count.name), \(size) bytes; \(LossLedger.table) has them by symbol"
        )
        return .freed(size)
    }

    /// Ends active market segments, so that the next step finds something.
    private func roll(now: Int64) -> Bool {
        var hasRolled = false
        for table in commits.tables where table.tableClass == .market && table.segments.activeBytes >= Self.leastRollBytes {
            do throws(IOFailure) {
                try table.segments.roll(now: now)
                hasRolled = true
            } catch {
                log.error("a segment cannot be ended to make room: \(error)")
            }
        }
        return hasRolled
    }
}

/// A segment without rows that stands for one that was given up (`docs/spool-format.md` §5).
struct Tombstone {
    private let segment: SegmentHeader
    private let header: SegmentHeader
    private let bytes: [UInt8]
    private let spool: SpoolDirectory

    /// - Parameters:
    ///   - segment: the header of the segment that goes.
    ///   - end: the sequence behind its last row.
    ///   - sources: what of each source is durable in the table.
    init(replacing segment: SegmentHeader, end: UInt64, sources: [SourcePosition], in spool: SpoolDirectory, now: Int64) {
        var header = segment
        header.firstSequence = end
        header.lostFrom = segment.isShed ? segment.lostFrom : segment.firstSequence
        header.isShed = true
        header.created = now
        header.sources = sources
        let start = header.encode()
        bytes = start + SegmentIndex.encode(entries: [], firstSequence: end, firstIngest: 0, sealed: now, at: UInt64(start.count))
        self.segment = segment
        self.header = header
        self.spool = spool
    }

    private var path: String { spool.path(of: header.name, table: header.table) }

    /// Writes the tombstone under a name that nobody reads. When this returns its bytes are durable.
    func prepare() throws(IOFailure) {
        try Directory.removeIfPresent(path + ".tmp")
        let file = try File.create(path + ".tmp")
        try file.write(bytes, at: 0)
        try file.sync()
    }

    /// Puts it in the segment's place. When this returns that is durable.
    func finish() throws(IOFailure) {
        let directory = spool.directory(of: header.table)
        try Directory.rename(path + ".tmp", to: path)
        // The name must be there for good before the other one goes.
        try Directory.sync(directory)
        // `spool-loader prune` may have been there first.
        try Directory.removeIfPresent(spool.path(of: segment.name, table: segment.table))
        try Directory.sync(directory)
    }
}
