import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// Who is told of rows that are not recorded.
protocol Losses: AnyObject {
    /// These accepted rows are given up.
    func note(_ chunks: [DroppedChunk], of table: TableRecorder)
    /// These losses are durable, in chunks that end before a sequence.
    func noteDurable(_ losses: [ChunkLoss], of table: TableRecorder, before end: UInt64)
}

/// Decides when tables are cut and synced, and keeps their troubles apart: a disk that takes nothing of one table is no reason to hold up another.
///
/// Audit tables always come first. What market tables need of the disk is done a round later, when audit rows are durable and their producers
/// are told.
final class GroupCommit {
    private static let retryDelay: Int64 = 200_000_000
    /// Bytes that a table may keep unsynced, whatever its policy: they stay in memory until they are, and must not fill the queue.
    private static let maxUnsyncedBytes = 8 << 20

    /// Undurable bytes of all tables of a class at which no more of its rows are kept.
    let queueLimits: [TableClass: Int]
    /// Audit before market, else as given.
    private(set) var tables: [TableRecorder] = []
    /// Room that audit tables may use when there is no other.
    var reserve: DiskReserve?
    /// Nobody where nothing may be given up.
    weak var losses: Losses?

    private let log: Logger
    private var isMarketRoundDue = false
    /// The errors that were named since the disk last took everything, and since when it does not.
    private var trouble: (since: Int64, named: Set<Int32>)?

    init(configuration: Configuration, log: Logger) {
        queueLimits = [.audit: configuration.bytes("writer.queue_audit"), .market: configuration.bytes("writer.queue_market")]
        self.log = log
    }

    func add(_ table: TableRecorder) {
        tables.append(table)
        tables = tables.filter { $0.tableClass == .audit } + tables.filter { $0.tableClass != .audit }
    }

    // MARK: Queues

    /// Bytes of a class that are in memory because they are not durable.
    func undurableBytes(_ tableClass: TableClass) -> Int {
        tables.reduce(0) { $0 + ($1.tableClass == tableClass ? $1.segments.undurableBytes : 0) }
    }

    /// The same as a share of what may be there.
    func queueUsage(_ tableClass: TableClass) -> Double {
        Double(undurableBytes(tableClass)) / Double(queueLimits[tableClass] ?? 1)
    }

    /// Whether no more audit rows can be kept, as of the last round: for callers that ask with every row.
    private(set) var isAuditFull = false

    /// Whether no more rows of the class can be kept until the disk takes some.
    func isFull(_ tableClass: TableClass) -> Bool { undurableBytes(tableClass) >= queueLimits[tableClass] ?? 0 }

    /// Why something does not become durable at present; nil if nothing is in the way.
    var blockedBy: IOFailure? { tables.lazy.compactMap { $0.failure?.error }.first }

    // MARK: Rounds

    /// Does what is due: cuts aged chunks, makes cut ones durable, seals aged segments.
    ///
    /// - Returns: whether anything became durable.
    func tick(monotonic: Int64) -> Bool {
        isAuditFull = isFull(.audit)
        let now = Clock.now()
        if isMarketRoundDue {
            isMarketRoundDue = false
            let moved = commit(where: { $0.tableClass == .market && $0.isDirty && $0.sync != .none }, now: now, monotonic: monotonic)
            dropOverflow(monotonic)
            return moved
        }
        var isAuditDue = false
        var isMarketDue = false
        for table in tables {
            // Tried again when its time comes; until then its rows gather in memory.
            if let failure = table.failure, monotonic < failure.retryAt { continue }
            if let since = table.gatheringSince, monotonic - since >= table.limits.age { table.cut(monotonic: monotonic) }
            guard isDue(table, now: now, monotonic: monotonic) else { continue }
            if table.tableClass == .audit { isAuditDue = true } else { isMarketDue = true }
        }
        guard isAuditDue || isMarketDue else {
            dropOverflow(monotonic)
            return false
        }
        // One round of syncs serves all: tables that would be due soon go along.
        for table in tables where table.failure == nil {
            if let since = table.gatheringSince, monotonic - since >= table.limits.age / 2 { table.cut(monotonic: monotonic) }
        }
        let moved = commit(
            where: { [self] in
                guard $0.tableClass == .audit || !isAuditDue else { return false }
                return isDue($0, now: now, monotonic: monotonic) || ($0.isDirty && $0.sync != .none)
            }, now: now, monotonic: monotonic)
        isMarketRoundDue = isAuditDue && tables.contains { $0.tableClass == .market && $0.isDirty && $0.failure == nil }
        dropOverflow(monotonic)
        return moved
    }

    private func isHeavy(_ table: TableRecorder) -> Bool {
        table.segments.undurableBytes >= min(Self.maxUnsyncedBytes, (queueLimits[table.tableClass] ?? 0) / 4)
    }

    private func isDue(_ table: TableRecorder, now: Int64, monotonic: Int64) -> Bool {
        if let failure = table.failure { return monotonic >= failure.retryAt }
        if (table.segments.sealDeadline ?? .max) <= now { return true }
        guard table.isDirty else { return false }
        switch table.sync {
        case .eachChunk: return true
        case .every(let time): return isHeavy(table) || monotonic - (table.dirtySince ?? monotonic) >= time
        case .none: return isHeavy(table)
        }
    }

    /// Nanoseconds of the monotonic clock at which ``tick(monotonic:)`` has something to do; nil if nothing waits.
    var nextDeadline: Int64? {
        if isMarketRoundDue { return 0 }
        var deadline: Int64?
        func consider(_ time: Int64) { deadline = min(deadline ?? .max, time) }
        for table in tables {
            if let failure = table.failure {
                consider(failure.retryAt)
                continue
            }
            if let since = table.gatheringSince { consider(since + table.limits.age) }
            if let seal = table.segments.sealDeadline { consider(Clock.monotonic() + max(0, seal - Clock.now())) }
            guard table.isDirty else { continue }
            switch table.sync {
            case .eachChunk: consider(0)
            case .every(let time): consider(isHeavy(table) ? 0 : (table.dirtySince ?? 0) + time)
            case .none: if isHeavy(table) { consider(0) }
            }
        }
        return deadline
    }

    /// Makes the rows of these tables durable that were taken so far.
    ///
    /// - Parameters:
    ///   - cutting: also those that are still gathered.
    ///   - mayRetry: whether a table that the disk did not take is tried again before its time.
    /// - Returns: whether all of it is durable; if not, ``blockedBy`` says why.
    @discardableResult
    func commit(where isMeant: (TableRecorder) -> Bool = { _ in true }, cutting: Bool, mayRetry: Bool = true) -> Bool {
        let monotonic = Clock.monotonic()
        // What the disk does not take anyway need not be cut into pieces.
        if cutting { for table in tables where isMeant(table) && (mayRetry || table.failure == nil) { table.cut(monotonic: monotonic) } }
        defer { isAuditFull = isFull(.audit) }
        return commit(where: isMeant, now: Clock.now(), monotonic: monotonic, mayRetry: mayRetry)
    }

    private func commit(where isMeant: (TableRecorder) -> Bool, now: Int64, monotonic: Int64, mayRetry: Bool = true) -> Bool {
        var isWhole = true
        for table in tables where isMeant(table) {
            if !mayRetry, table.failure != nil {
                isWhole = false
                continue
            }
            if !commit(table, now: now, monotonic: monotonic) { isWhole = false }
        }
        return isWhole
    }

    private func commit(_ table: TableRecorder, now: Int64, monotonic: Int64) -> Bool {
        while true {
            do throws(IOFailure) {
                try table.commit(now: now)
                if let (lost, end) = table.segments.takeDurableLosses() { losses?.noteDurable(lost, of: table, before: end) }
                if table.failure != nil { noteMended(table, monotonic) }
                return true
            } catch {
                // The reserve is for this moment: an audit row finds room that nothing else could take.
                if error.isNoSpace, table.tableClass == .audit, reserve?.giveBack(log: log) == true { continue }
                noteFailure(table, error, monotonic)
                return false
            }
        }
    }

    /// Does something small that in the end makes room, if need be with the room that is kept for audit rows.
    func usingReserve(_ work: () throws(IOFailure) -> Void) throws(IOFailure) {
        while true {
            do throws(IOFailure) {
                return try work()
            } catch {
                guard error.isNoSpace, reserve?.giveBack(log: log) == true else { throw error }
            }
        }
    }

    // MARK: Trouble

    private func noteFailure(_ table: TableRecorder, _ error: IOFailure, _ monotonic: Int64) {
        table.failure = (error, table.failure?.since ?? monotonic, monotonic + Self.retryDelay)
        var known = trouble ?? (since: monotonic, named: [])
        if known.named.insert(error.code).inserted {
            log.critical(
                "cannot write: \(error); what was taken is kept in memory and tried again\(error.isNoSpace ? "; make room on the disk" : "")",
                metadata: ["table": "\(table.schema.table)"])
        }
        trouble = known
    }

    private func noteMended(_ table: TableRecorder, _ monotonic: Int64) {
        table.failure = nil
        guard let trouble, !tables.contains(where: { $0.failure != nil }) else { return }
        log.notice("the disk takes rows again after \((monotonic - trouble.since) / 1_000_000) ms; no row that was kept is lost")
        self.trouble = nil
    }

    /// Market rows that the disk does not take must not fill the memory: those that have waited for longest go. Only where the loss is counted, and
    /// only rows that were offered to the disk: others it will take.
    private func dropOverflow(_ monotonic: Int64) {
        guard let losses else { return }
        while isFull(.market) {
            let refused = tables.filter { $0.market != nil && $0.failure != nil }
            guard let largest = refused.max(by: { $0.segments.undurableBytes < $1.segments.undurableBytes }) else { return }
            let dropped = largest.dropWaiting(monotonic: monotonic)
            if dropped.isEmpty { return }
            losses.note(dropped, of: largest)
        }
    }
}
