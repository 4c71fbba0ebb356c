import SpoolFormat
import SpoolIO

/// What a replay did.
struct ReplayReport: Encodable, Equatable {
    struct Table: Encodable, Equatable {
        let table: String
        var published: UInt64 = 0
        var firstSequence: UInt64?
        var lastSequence: UInt64?

        private enum CodingKeys: String, CodingKey {
            case table, published
            case firstSequence = "first_sequence"
            case lastSequence = "last_sequence"
        }

        mutating func add(_ sequence: UInt64) {
            published += 1
            firstSequence = min(firstSequence ?? sequence, sequence)
            lastSequence = max(lastSequence ?? sequence, sequence)
        }

        /// One for each table, whatever states its schema had; none for those of which nothing was published.
        static func joined(_ all: [Table]) -> [Table] {
            var tables: [Table] = []
            for table in all where table.published > 0 {
                guard let index = tables.firstIndex(where: { $0.table == table.table }) else {
                    tables.append(table)
                    continue
                }
                tables[index].published += table.published
                tables[index].firstSequence = [tables[index].firstSequence, table.firstSequence].compactMap(\.self).min()
                tables[index].lastSequence = [tables[index].lastSequence, table.lastSequence].compactMap(\.self).max()
            }
            return tables.sorted { $0.table < $1.table }
        }
    }

    var tables: [Table] = []
    /// `recorded` or `time`.
    var order = ""
    /// Rows that were handed over.
    var published: UInt64 = 0
    /// Of those, what the writer refused, as far as it has told.
    var refused: UInt64 = 0
    /// Rows that found no room, or that the writer gave up under pressure.
    var dropped: UInt64 = 0
    /// Rows that are too long for the ring.
    var unfit: UInt64 = 0
    /// Rows of the recorder itself, passed over.
    var ownRows: UInt64 = 0
    /// Between the first row and the last, as recorded.
    var recordedSeconds = 0.0
    /// From the first row to the last.
    var seconds = 0.0
    /// By how much a row came later than it was due, at most.
    var latestSeconds = 0.0
    /// By how much times were moved, nanoseconds.
    var shiftNanoseconds: Int64 = 0
    /// Whether all that was published is durable or was refused.
    var isDurable = false
    /// Whether the range was published to its end.
    var isComplete = false
    var problems: [String] = []

    private enum CodingKeys: String, CodingKey {
        case tables, order, published, refused, dropped, unfit, seconds, problems
        case ownRows = "own_rows"
        case recordedSeconds = "recorded_seconds"
        case latestSeconds = "late_seconds_max"
        case shiftNanoseconds = "shift_nanoseconds"
        case isDurable = "durable"
        case isComplete = "complete"
    }
}

/// Publishes recorded rows again, each when it is due.
struct Replay {
    private static let problemLimit = 20
    /// Rows between two looks at the clock at full speed.
    private static let stride = 256

    private var rows: RecordedRows
    private let target: any ReplayTarget
    private let speed: ReplaySpeed
    /// How long nothing may move before it is given up. Nanoseconds.
    private let patience: Int64
    private let stop: StopSignal
    private(set) var report = ReplayReport()
    /// What was published of each of the rows' tables.
    private var counts: [ReplayReport.Table]
    /// When the last row is due; nil at full speed.
    private var end: Int64?
    private var movedAt: Int64 = 0
    private var moved: UInt64 = 0

    init(_ rows: RecordedRows, to target: any ReplayTarget, speed: ReplaySpeed, patience: Int64, stop: StopSignal) {
        self.rows = rows
        self.target = target
        self.speed = speed
        self.patience = patience
        self.stop = stop
        report.order = rows.order.rawValue
        counts = rows.tables.map { ReplayReport.Table(table: $0.name) }
    }

    /// - Throws: `CommandFailure` if the writer cannot be reached, or takes nothing any more; ``report`` then says how far it came.
    mutating func run(movesTimes: Bool, progress: Progress) throws {
        guard let span = rows.span else {
            report.isDurable = true
            report.isComplete = true
            return
        }
        report.recordedSeconds = Double(span.upperBound.subtractingReportingOverflow(span.lowerBound).partialValue) / 1e9
        progress.update {
            $0.allRows = rows.rows
            $0.hasBytes = false
        }
        movedAt = Clock.monotonic()
        while !target.isReady, !stop.isAsked { try pause(until: .max) }
        // Only now is it known when the first row goes.
        if movesTimes { rows.shift = ReplayPace.shift(span, speed, now: Clock.now()) }
        report.shiftNanoseconds = rows.shift
        // Opened before the clock starts: the first row is not to be late for it.
        let first = try rows.next()
        let begun = Clock.monotonic()
        let pace = ReplayPace(speed, first: span.lowerBound, begun: begun)
        end = speed == .max ? nil : pace.due(span.upperBound)
        defer { summarize(begun) }
        if let first { try publish(first, pace, progress) } else { report.isComplete = true }
        report.seconds = Double(Clock.monotonic() - begun) / 1e9
        progress.update {
            $0.rows = report.published
            if report.isComplete { $0.allRows = report.published }
        }
        while !target.isDurable { try pause(until: .max) }
        report.isDurable = true
    }

    private mutating func publish(_ first: RecordedRow, _ pace: ReplayPace, _ progress: Progress) throws {
        var now = Clock.monotonic()
        var untilLook = Self.stride
        var next: RecordedRow? = first
        while let row = next {
            let due = pace.due(row.time)
            untilLook -= 1
            if untilLook == 0 || due > now {
                untilLook = Self.stride
                now = Clock.monotonic()
                show(row, progress, now)
                if stop.isAsked { return }
            }
            while true {
                while due > now {
                    try pause(until: due)
                    now = Clock.monotonic()
                    show(row, progress, now)
                    if stop.isAsked { return }
                }
                if take(try target.publish(row), row) { break }
                // Without room: what waits must become durable first.
                try pause(until: .max)
                now = Clock.monotonic()
                show(row, progress, now)
                if stop.isAsked { return }
            }
            if case .times = speed { report.latestSeconds = max(report.latestSeconds, Double(now - due) / 1e9) }
            next = try rows.next()
        }
        report.isComplete = true
    }

    /// - Returns: whether the row is dealt with.
    private mutating func take(_ result: ReplayedRow?, _ row: RecordedRow) -> Bool {
        switch result {
        case nil: return false
        case .published?:
            report.published += 1
            counts[row.table].add(row.sequence)
        case .dropped?: break
        case .unfit(let why)?:
            report.unfit += 1
            note("\(rows.tables[row.table].name) \(row.sequence): \(why)")
        }
        return true
    }

    private mutating func note(_ problem: String) {
        if report.problems.count < Self.problemLimit { report.problems.append(problem) }
    }

    /// Waits for something to move, or until then.
    private mutating func pause(until due: Int64) throws {
        let before = Clock.monotonic()
        let hour: Int64 = 3_600_000_000_000
        // While something waits to be durable, or for a writer, patience is short; a gap in what was recorded may be long.
        let isIdle = target.isReady && target.isDurable
        try target.wait(min(due - before, isIdle ? hour : 100_000_000), others: stop.descriptors)
        let now = Clock.monotonic()
        if target.moved != moved || isIdle {
            moved = target.moved
            movedAt = now
        }
        guard now - movedAt <= patience else {
            throw CommandFailure("nothing has moved for \(Double(patience) / 1e9) s: \(target.trouble)", code: 74)
        }
    }

    private func show(_ row: RecordedRow, _ progress: Progress, _ now: Int64) {
        progress.update(now: now) {
            $0.rows = report.published
            $0.label = String(rfc3339(row.time).prefix(19)) + "Z"
            $0.secondsLeft = end.map { max(0, Double($0 - now) / 1e9) }
        }
    }

    private mutating func summarize(_ begun: Int64) {
        if !report.isComplete { report.seconds = Double(Clock.monotonic() - begun) / 1e9 }
        report.refused = target.refused
        report.dropped = target.droppedRows
        report.ownRows = rows.ownRows
        report.tables = ReplayReport.Table.joined(counts)
        for problem in rows.problems + target.refusals { note(problem) }
    }
}
