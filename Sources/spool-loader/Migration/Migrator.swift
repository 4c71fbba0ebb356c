import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// Brings a database to what the files of `schemas/` say, one statement after the other, so that it can be killed at any moment and begun again.
///
/// Before a statement is sent the log says that it is started, and after it that it is done. What was started and not finished is asked for
/// (`done if`) or sent again: every statement can be.
final class Migrator {
    /// How long a statement's `needs` may take to come true. Nanoseconds.
    private static let longestNeed: Int64 = 600_000_000_000
    private static let askNeedAgainAfter: Int64 = 1_000_000_000
    private static let mostLostAnswers = 5

    private let files: MigrationFiles
    private let policy: RetentionPolicy
    private let server: StatementServer
    private let cluster: String?
    private let log: Logger
    private let say: (String) -> Void
    private var lock: MigratorLock?
    private var nextEntry: UInt64 = 1

    /// - Parameters:
    ///   - policy: what the configuration says about TTLs goes before what the files say.
    ///   - say: takes a line for the person who waits.
    init(
        files: MigrationFiles, policy: RetentionPolicy, server: StatementServer, cluster: String?, log: Logger,
        say: @escaping (String) -> Void
    ) {
        self.files = files
        self.policy = policy
        self.server = server
        self.cluster = cluster
        self.log = log
        self.say = say
    }

    // MARK: Looking

    /// What is still to be done. Changes nothing.
    func plan() throws -> MigrationPlan {
        let entries = try entries()
        if let entry = entries.first, entry.cluster != cluster ?? "" { throw MigrationRefusal.otherCluster(cluster ?? "", entry) }
        return try MigrationPlan(files, entries)
    }

    func entries() throws(CommandFailure) -> [MigrationLog.Entry] {
        guard try server.isTrue(MigrationLog.existsQuery) else { return [] }
        return try MigrationLog.entries(try server.ask(MigrationLog.readQuery))
    }

    func live(withSizes: Bool = false) throws(CommandFailure) -> LiveTables {
        let tables = try server.ask(LiveTables.tablesQuery)
        guard withSizes else { return LiveTables(tables: tables) }
        return LiveTables(
            tables: tables, parts: try server.ask(LiveTables.partsQuery), columns: try server.ask(LiveTables.columnsQuery))
    }

    /// Where the tables are not what the files say once `done` of their statements have been applied.
    func drift(done: [MigrationPlan.Step]) throws -> [SchemaDrift] {
        var model = SchemaModel()
        for step in done { try model.apply(step.statement.block) }
        let live = try live()
        let tables = model.tables.map { table in
            guard let its = live.definitions[table.name] else {
                return SchemaDrift(table: table.name, [SchemaDrift.Difference("it is not in ClickHouse")])
            }
            return SchemaDrift(file: table, live: its, ttl: policy.ttl(of: table.name)?.phrase, isReplicated: cluster != nil)
        }
        return (tables + (try SchemaDrift.views(of: model, server))).filter { !$0.differences.isEmpty }
    }

    /// What is sent for a statement.
    func statements(_ statement: MigrationStatement) throws(SchemaError) -> [String] {
        let block = try configured(statement)
        guard let cluster else { return [block.sql] }
        return try ClusterRendering(cluster: cluster, database: server.clickHouse.database).statements(block)
    }

    /// The statement with the TTL that the configuration gives its table, if it gives one: by the file's own, ClickHouse would drop rows in the meantime. A table
    /// that will take another's name has its rows copied into it before.
    private func configured(_ statement: MigrationStatement) throws(SchemaError) -> StatementBlock {
        let table: String
        switch try SchemaStatement(statement.block).kind {
        case .createTable(let its): table = its.name
        case .alterTable(let name, _): table = name
        default: return statement.block
        }
        guard let ttl = policy.ttl(of: table) ?? policy.ttl(of: files.finalName(of: table, behind: statement.id)) else {
            return statement.block
        }
        return try statement.block.withTTL(ttl.phrase)
    }

    // MARK: Applying

    /// Does all that is pending.
    ///
    /// - Returns: how many statements were done.
    func apply() throws -> Int {
        // Before anything is sent: a file that cannot be rendered must not end a migration in its middle.
        for statement in files.statements { _ = try statements(statement) }
        let lock = try MigratorLock(server: server, cluster: cluster, log: log)
        self.lock = lock
        defer { lock.release() }
        try server.waitForEarlierRuns()
        // Its rows could not go back into a table that is another one by then.
        guard try !server.isTrue(Retain.isAsideThere) else {
            throw CommandFailure(
                "a table \(Retain.aside) is there: `spool-loader retain` has ended in its middle; run it again, then this", code: 1)
        }
        try change(MigrationLog.createQuery(cluster: cluster))
        let plan = try plan()
        nextEntry = (try entries().map(\.number).max() ?? 0) + 1
        try note(plan.pending.filter { $0.reached == nil }.map(\.statement), .planned)
        for step in plan.pending { try carryOut(step) }
        return plan.pending.count
    }

    /// Sets the TTLs that the configuration gives, on every server of a cluster, under the lock of a migration.
    func applyRetention() throws {
        let live = try live()
        for table in files.model.tables {
            guard let phrase = policy.ttl(of: table.name)?.phrase, let its = live.definitions[table.name], its.ttl != phrase else {
                continue
            }
            let lock = try MigratorLock(server: server, cluster: cluster, log: log)
            defer { lock.release() }
            try checkNothingExpires(its, by: phrase)
            try change("ALTER TABLE \(quotedIdentifier(table.name))\(MigrationLog.onCluster(cluster)) MODIFY TTL \(phrase)")
            say("\(table.name): its TTL is \(phrase) now, as the configuration says")
        }
    }

    /// ClickHouse drops what a TTL says is expired by itself, and asks nobody whether its bars are made.
    private func checkNothingExpires(_ table: TableDefinition, by ttl: SQLPhrase) throws {
        let now = Clock.now()
        guard let keep = ttl.retention, let rule = table.partition?.rule else { return }
        // What goes by the TTL that it has is not for this one to keep.
        if let its = table.retention, its.expired(at: now) >= keep.expired(at: now) { return }
        let expired = StoredPartition.expired(
            try Retain(server: server, log: log).partitions(of: table.name), rule: rule, keep: keep, now: now)
        guard let first = expired.first else { return }
        throw CommandFailure(
            "table \(table.name): by a TTL of \(ttl), ClickHouse would drop \(expired.count) partitions by itself, the oldest \(first.text); run "
                + "`spool-loader retain` first, then this again", code: 1)
    }

    private func checkNothingExpires(_ statement: MigrationStatement) throws {
        guard case .alterTable(let name, let changes) = try SchemaStatement(try configured(statement)).kind else { return }
        for case .modifyTTL(let ttl) in changes {
            if let table = try live().definitions[name] { try checkNothingExpires(table, by: ttl) }
        }
    }

    private func carryOut(_ step: MigrationPlan.Step) throws {
        let statement = step.statement
        let began = Clock.monotonic()
        let isThere = try statement.block.doneIf.map(server.isTrue) ?? false
        if !isThere {
            // What may have happened already, as a DROP, may have taken away what its needs ask about; they were met when it was started.
            if step.reached != .started || statement.block.doneIf != nil {
                for need in statement.block.needs { try wait(for: need, statement) }
            }
            try lock?.check()
            do {
                try checkNothingExpires(statement)
                if step.reached != .started { try note([statement], .started) }
                try run(statement)
            } catch let failure as CommandFailure {
                // What ClickHouse has refused at once is as if it had never been begun: its text may be mended.
                if failure.isRefusal, step.reached != .started, isOneRequest(statement) { try note([statement], .planned) }
                throw CommandFailure("\(statement.id) (\(statement.block.title)): \(failure)", code: failure.code)
            }
        }
        try note([statement], .done)
        let seconds = durationText(Double(Clock.monotonic() - began) / 1e9)
        say("applied \(statement.id): \(statement.block.title) (\(isThere ? "was there" : seconds))")
    }

    /// Whether it is sent once and changes all or nothing: an INSERT that fails in its middle may leave rows, and of several requests, or on a cluster, some may
    /// have been carried out.
    private func isOneRequest(_ statement: MigrationStatement) -> Bool {
        guard cluster == nil, statement.block.forEach == nil, let kind = try? SchemaStatement(statement.block).kind else { return false }
        if case .insert = kind { return false }
        return true
    }

    private func run(_ statement: MigrationStatement) throws {
        guard let forEach = statement.block.forEach else { return try send(statement, each: nil) }
        let values = String(decoding: try server.ask("\(forEach) FORMAT TSVRaw"), as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false
        )
        .dropLast().map(String.init)
        for (index, value) in values.enumerated() {
            try lock?.check()
            try send(statement, each: value)
            say("  \(statement.block.title): \(value) (\(index + 1) of \(values.count))")
        }
    }

    private func send(_ statement: MigrationStatement, each value: String?) throws {
        for sql in try statements(statement) {
            try change(
                value.map { sql.replacing(StatementBlock.eachPlace, with: String(quotedString($0).dropFirst().dropLast())) } ?? sql,
                doneIf: statement.block.doneIf)
        }
    }

    /// Sends a statement until it is known to be done.
    ///
    /// - Parameter isOwn: whether it is about the log, which holds texts of statements: those do not make it one for a cluster.
    private func change(_ sql: String, doneIf: String? = nil, isOwn: Bool = false) throws {
        var lastProblem = ""
        for attempt in 0..<Self.mostLostAnswers {
            // While no answer came, another migrator may have taken this one for dead.
            if attempt > 0 { try lock?.check() }
            let isDistributed = cluster != nil && !isOwn && sql.contains("ON CLUSTER")
            let parameters = isDistributed ? DistributedAnswer.settings : ["async_insert": "0"]
            let sent: StatementServer.Sent
            do throws(CommandFailure) {
                sent = try server.send(sql, parameters: parameters)
            } catch {
                // Of a send before that had no answer nobody knows what it did.
                throw attempt == 0 ? error : CommandFailure(error.description, code: error.code)
            }
            switch sent {
            case .done(let answer):
                if isDistributed, let problem = try DistributedAnswer(answer).problem { throw CommandFailure(problem, code: 74) }
                return
            case .doubt(let problem): lastProblem = problem
            }
            if let doneIf, try server.isTrue(doneIf) { return }
        }
        throw CommandFailure(
            "\(lastProblem); no answer came \(Self.mostLostAnswers) times: is there a proxy that ends silent connections? The same command goes on where it "
                + "stopped", code: 74)
    }

    private func note(_ statements: [MigrationStatement], _ state: MigrationLog.State) throws {
        guard !statements.isEmpty else { return }
        let entries = statements.map { statement in
            defer { nextEntry += 1 }
            return MigrationLog.Entry(
                number: nextEntry, at: "", id: statement.id, title: statement.block.title, state: state, checksum: statement.checksum,
                text: statement.block.text, migrator: lock?.sign.who ?? "", cluster: cluster ?? "")
        }
        try change(MigrationLog.insertQuery(entries), isOwn: true)
    }

    private func wait(for need: String, _ statement: MigrationStatement) throws {
        let deadline = Clock.monotonic() + Self.longestNeed
        var hasSaidSo = false
        while !(try server.isTrue(need)) {
            guard Clock.monotonic() < deadline else {
                throw CommandFailure(
                    "\(statement.id) (\(statement.block.title)) needs this to be 1, and it was 0 for \(Self.longestNeed / 60_000_000_000) min: \(need)",
                    code: 1)
            }
            if !hasSaidSo { say("  \(statement.block.title): waiting until this is 1: \(need)") }
            hasSaidSo = true
            try lock?.check()
            server.wait(Self.askNeedAgainAfter)
        }
    }
}
