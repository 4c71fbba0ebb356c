import SpoolFormat

/// What became of a table's rows in one run of `backfill`.
struct BackfillResult: Encodable, Equatable {
    let table: String
    let loaded: UInt64
    /// Were in ClickHouse before.
    let present: UInt64
    /// Older than the table's TTL, or of days that `retain` has dropped.
    let expired: UInt64
    /// Cannot be read, or ClickHouse refuses them.
    let quarantined: UInt64
    /// Why the table was not finished; absent if it was.
    let problem: String?
}

/// One table of a backfill: the same lane as that of `run`, with an end.
final class BackfillLane {
    /// How many failures in a row end the command. With the longest wait between them some minutes.
    static let maxFailures = 12

    let loader: TableLoader
    /// Rows that an earlier loader found to be refused, and that are passed over.
    private let refusedBefore: UInt64
    /// Rows of days that `retain` has dropped, which are passed over too.
    private let dropped: UInt64
    private(set) var problem: String?
    private var waitingSince: Int64?

    init(loader: TableLoader, refusedBefore: UInt64, dropped: UInt64 = 0) {
        self.loader = loader
        self.dropped = dropped
        self.refusedBefore = refusedBefore
    }

    var isOver: Bool { problem != nil || loader.status == .drained }
    var hasFailedTooOften: Bool { problem == nil && loader.failures >= Self.maxFailures }

    /// - Parameter patience: how long to wait for a part of the spool that is promised and does not come, nanoseconds.
    func step(now: Int64, patience: Int64) {
        loader.step(now: now)
        if case .stopped(let why) = loader.status { problem = why }
        // Who runs a command is there to mend it.
        if loader.failures > 0, loader.needsPerson { problem = loader.lastProblem }
        guard loader.isWaitingForCopy else {
            // What is asked in between does not end the wait.
            if case .waiting = loader.status { return }
            waitingSince = nil
            return
        }
        waitingSince = waitingSince ?? now
        if let waitingSince, now - waitingSince >= patience {
            problem = "\(loader.lastProblem); waited \(durationText(Double(patience) / 1e9)) for them"
        }
    }

    /// Notes what has come to its end while the command was stopping.
    func stop() {
        loader.settle()
        if !isOver { problem = "stopped; the same command goes on from here" }
    }

    var result: BackfillResult {
        let tally = loader.tally
        return BackfillResult(
            table: loader.table, loaded: tally.loaded, present: tally.present, expired: tally.expired + dropped,
            quarantined: tally.quarantined + refusedBefore, problem: problem)
    }
}
