import SpoolFormat
import SpoolIO

/// What of a batch is to be sent.
struct MissingRows {
    var body: [UInt8] = []
    /// Their numbers within the only chunk of the batch.
    var rows: [Int] = []
    var sequences = SequenceSet()
    /// The latest event time among them.
    var latest = Int64.min
    /// Rows that are not sent since they are older than the table's TTL.
    var expired: UInt64 = 0
    /// Rows that are there.
    var present: UInt64 = 0
}

/// What ends the work on one table and not on the others: a person must look.
struct ProblemOfTable: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Brings rows that ClickHouse lacks to it, one insert after the other, for commands that ask before they send.
final class BatchSender {
    private let table: String
    private let server: RequeueServer
    /// Directory of the table definitions, to name the migration that is missing.
    private let schemas: String
    private var target: TargetTable?
    /// ClickHouse's history of migrations; nil if it has none, or was not asked for it.
    private var applied: AppliedSchemas?
    /// Where it was asked for: servers may differ, also in what they know.
    private var targetURL = ""
    /// Whether it is known that no insert of an earlier run is about to begin in a server without tokens.
    private var hasSettled = false

    init(table: String, server: RequeueServer, schemas: String) {
        self.table = table
        self.server = server
        self.schemas = schemas
    }

    /// Looks at the table in ClickHouse.
    func askTarget() throws {
        applied = nil
        target = try server.insist { server in
            self.targetURL = server.url
            guard let target = TargetTable(answer: try server.query(TargetTable.query(self.table)), wire: server.wire) else {
                throw ProblemOfTable(self.missingMigration.textOfMissing(self.table))
            }
            return target
        }
    }

    private func currentTarget() throws -> TargetTable {
        if targetURL != server.url { try askTarget() }
        guard let target else { preconditionFailure("a batch of a table that was not asked for") }
        return target
    }

    private var missingMigration: MissingMigration { MissingMigration(directory: schemas, applied: applied) }

    /// How the batch's columns go into the table.
    ///
    /// - Throws: `ProblemOfTable` if they do not.
    @discardableResult
    func sentColumns(_ batch: Batch) throws -> SentColumns {
        let target = try currentTarget()
        let columns = batch.segment.reader.header.columns
        var fit = ColumnFit(columns, in: target, retired: applied?.retired(table))
        if fit == .askHistory {
            let history = try askWhatWasApplied()
            applied = history
            fit = ColumnFit(columns, in: target, retired: history.retired(table))
        }
        switch fit {
        case .sent(let columns): return columns
        case .unfit(let complaint): throw ProblemOfTable(missingMigration.text(complaint, of: table))
        case .askHistory: preconditionFailure("the history was asked for and is not known")
        }
    }

    private func askWhatWasApplied() throws -> AppliedSchemas {
        let answer = try server.insist { try $0.query(AppliedSchemas.query()) }
        do throws(SchemaError) {
            return try AppliedSchemas(answer: answer)
        } catch {
            throw ProblemOfTable("rows have columns that the table has not, and what became of them cannot be read: \(error)")
        }
    }

    /// The latest event time that is older than the table's TTL.
    var expiry: Int64 { target?.engine.retention?.expired(at: Clock.now()) ?? .min }

    /// Sends rows until they are there, or ClickHouse refuses them.
    ///
    /// - Parameter before: rows of the batch that were there, and different ones among them.
    /// - Returns: also why they were refused; nil if they are there.
    func send(
        _ missing: MissingRows, of batch: Batch, before: (rows: UInt64, distinct: UInt64)
    ) throws -> (loaded: UInt64, expired: UInt64, refusal: String?) {
        let rows = missing.sequences.count
        // An earlier run may have been killed on the way.
        var machine = BatchMachine(resuming: rows, attempt: 0)
        // The token names the bytes that are sent.
        let checksum = missing.body.withUnsafeBytes { crc32c($0) }
        var refusal: String?
        var settling: Settling? = Settling()
        var isResumed = true
        let header = batch.segment.reader.header
        func token(_ attempt: Int) -> String {
            batch.inflight(checksum: checksum, attempt: attempt).token(writer: header.writer, table: table)
        }
        while true {
            switch machine.action() {
            case .send(let attempt):
                if let refusal { return (0, 0, refusal) }
                let target = try currentTarget()
                let columns = try sentColumns(batch)
                let body = try body(of: missing, batch, columns)
                machine.sendBegins()
                let answer = try server.insert(
                    body, table: table, columns: columns.columns.compactMap(\.self), token: token(attempt), dialect: target.dialect,
                    isPlain: columns.isRewritten)
                settling = answer.leavesInsertOpen ? Settling() : nil
                isResumed = false
                switch answer {
                case .ok: machine.sendSucceeded(isTokenCertain: target.hasCertainTokens)
                case .unreachable:
                    machine.sendNeverLeft()
                    try server.failed(answer)
                case .exception where answer.reaction.concernsRows:
                    machine.sendDoubtful()
                    refusal = answer.problem
                case .exception, .doubt:
                    machine.sendDoubtful()
                    // The table may have been altered since it was asked for.
                    if answer.reaction == .refreshSchema { targetURL = "" }
                    try server.failed(answer)
                }
            case .count:
                if let last = settling, !(try currentTarget()).dialect.knowsTokens {
                    try waitUntilOver(token(machine.attempt), last, isKnownToBeQuiet: isResumed && hasSettled)
                    hasSettled = true
                }
                settling = nil
                let now = try count(batch)
                machine.counted(
                    present: now.rows - min(before.rows, now.rows), distinct: now.distinct - min(before.distinct, now.distinct),
                    isWhollyExpired: missing.latest <= expiry)
            case .compare:
                let absent = missing.sequences.subtracting(try sequences(batch)).count
                // Which of them expired on the way matters only if all can have.
                machine.compared(missing: absent, expired: missing.latest <= expiry ? absent : 0)
            case .divide: preconditionFailure("a refusal that the machine was not told of")
            case .finish(let loaded, let expired):
                server.succeeded()
                return (loaded, expired, nil)
            case .stop(let why): throw ProblemOfTable("rows \(batch.firstSequence) to \(batch.endSequence - 1): \(why)")
            }
        }
    }

    /// In the form that the server takes.
    private func body(of missing: MissingRows, _ batch: Batch, _ columns: SentColumns) throws -> any RequestBody {
        guard columns.isRewritten else { return BytesBody(missing.body) }
        do {
            return try PlainBody(
                chunks: batch.chunks, reader: batch.segment.reader, columns: columns.columns, rows: missing.rows)
        } catch let problem as OversizedBatch {
            throw ProblemOfTable("rows \(missing.sequences.text()): \(problem); send them to ClickHouse 22.2 or later")
        }
    }

    /// Waits until the last insert under a token has ended in a server where nothing holds off a second one.
    ///
    /// - Parameter isKnownToBeQuiet: an insert would have begun by now, if there was one.
    private func waitUntilOver(_ token: String, _ last: Settling, isKnownToBeQuiet: Bool) throws {
        var settling = last
        while true {
            let isRunning = try server.insist { server in
                let body = try server.query(ClickHouse.questionWhetherRunning(token))
                guard let found = numbers(inLine: body), found.count == 1 else { throw self.noCount(body) }
                return found[0] > 0
            }
            if settling.isOver(isRunning: isRunning, now: Clock.monotonic()) || (isKnownToBeQuiet && !isRunning) { return }
            try server.pause(Settling.askAgainAfter)
        }
    }

    // MARK: Questions

    private func noCount(_ body: [UInt8]) -> CommandFailure { CommandFailure(spool_loader.noCount(body), code: 74) }

    private func questions(_ batch: Batch) -> TableQuestions {
        TableQuestions(table: table, writer: batch.segment.reader.header.writer, target: target)
    }

    /// Rows of the batch that are there, and different ones among them.
    func count(_ batch: Batch) throws -> (rows: UInt64, distinct: UInt64) {
        try server.insist { server in
            let body = try server.query(self.questions(batch).count(of: batch))
            guard let numbers = numbers(inLine: body), numbers.count == 2 else { throw self.noCount(body) }
            return (numbers[0], numbers[1])
        }
    }

    /// Which rows of the batch are there.
    func sequences(_ batch: Batch) throws -> SequenceSet {
        try server.insist { server in
            let body = try server.query(self.questions(batch).sequences(of: batch))
            return SequenceSet(spool_loader.sequences(body).map { $0..<$0 + 1 })
        }
    }
}
