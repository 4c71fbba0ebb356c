import ArgumentParser
import Glibc
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct Migrate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bring ClickHouse's tables in line with schemas/.",
            discussion: """
                The files are applied in the order of their numbers, each statement once; what was applied is kept in ClickHouse, in table \
                coldpath_migrations. It may be killed at any moment, and goes on when it is run again. docs/migrations.md says how to write a file.
                """,
            subcommands: [Status.self, Plan.self, Apply.self])

        /// What all three take.
        struct Options: ParsableArguments {
            @OptionGroup var common: CommonOptions
            @OptionGroup var server: ServerOptions
            @Option(help: ArgumentHelp("Directory of the table definitions.", valueName: "dir"))
            var schemas: String?
            @Option(
                help: ArgumentHelp(
                    "Make the tables replicated, on every server of this cluster, with NAME_all to read all shards.", valueName: "name"))
            var cluster: String?

            func validate() throws {
                if cluster == "" {
                    throw ValidationError("--cluster needs a name; SELECT cluster FROM system.clusters has those that there are")
                }
            }

            /// - Parameter say: takes lines for people.
            func open(say: @escaping (String) -> Void = { _ in }) throws -> Opened {
                let configuration = try common.configuration(server.flags.merging(["schemas": schemas]) { $1 })
                let directory = configuration.required("schemas")
                let files = try MigrationFiles(try SchemaDirectory.files(directory).map { ("\(directory)/\($0.name)", $0.text) })
                let policy = try RetentionPolicy(model: files.model, configuration: configuration)
                let log = makeLogger("spool-loader")
                let server = try StatementServer(configuration: configuration, purpose: "migrate", log: log)
                try checkVersion(server)
                return Opened(
                    files: files, server: server,
                    migrator: Migrator(files: files, policy: policy, server: server, cluster: cluster, log: log, say: say))
            }

            /// Old servers know too little of what stands in the files.
            private func checkVersion(_ server: StatementServer) throws {
                let answer = String(decoding: try server.ask("SELECT version() FORMAT TSVRaw"), as: UTF8.self)
                let text = answer.prefix { !$0.isNewline }
                guard let version = ServerVersion(text), !Dialect(version: version).knowsTokens else { return }
                throw CommandFailure(
                    "ClickHouse at \(server.url) is \(text), and these tables need 22.2 or later; docs/clickhouse.md, \"Old servers\", says how to "
                        + "make tables for it by hand", code: 1)
            }
        }

        struct Opened {
            let files: MigrationFiles
            let server: StatementServer
            let migrator: Migrator
        }

        struct Apply: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Apply what is pending.",
                discussion: "Exit status 1 if ClickHouse or the log refuses, or if a table is not what the files say afterwards.")
            @OptionGroup var options: Options

            func run() throws {
                try reportingRefusals {
                    // A statement may take hours: each line at once, also into a pipe.
                    let opened = try options.open {
                        print($0)
                        fflush(nil)
                    }
                    let count = try opened.migrator.apply()
                    if count == 0 { print("nothing to do: all \(opened.files.statements.count) statements are applied") }
                    try opened.migrator.applyRetention()
                    let drift = try opened.migrator.drift(done: try opened.migrator.plan().steps)
                    drift.forEach(show)
                    if !drift.isEmpty { throw ExitCode(1) }
                }
            }
        }

        struct Plan: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Print the statements that apply would send, and what they will do to the tables that are there.")
            @OptionGroup var options: Options
            @Flag(help: "Print JSON.")
            var json = false

            struct Step: Encodable {
                let file: String
                let statement: Int
                let title: String
                /// An earlier run began it and did not say that it was done.
                let resumed: Bool
                let sql: [String]
                let effects: [String]
                let needs: [String]
                let doneIf: String?
                let forEach: String?
            }

            func run() throws {
                try reportingRefusals {
                    let opened = try options.open()
                    let steps = try self.steps(opened)
                    if json { return try printJSON(steps) }
                    if steps.isEmpty { print("nothing to do: all \(opened.files.statements.count) statements are applied") }
                    steps.forEach(show)
                }
            }

            private func steps(_ opened: Opened) throws -> [Step] {
                let live = try opened.migrator.live(withSizes: true)
                var model = SchemaModel()
                var steps: [Step] = []
                for step in try opened.migrator.plan().steps {
                    let block = step.statement.block
                    if step.reached != .done {
                        steps.append(
                            Step(
                                file: step.statement.id.file, statement: step.statement.id.number, title: block.title,
                                resumed: step.reached == .started, sql: try opened.migrator.statements(step.statement),
                                effects: StatementEffect.lines(try SchemaStatement(block), before: model, live: live), needs: block.needs,
                                doneIf: block.doneIf, forEach: block.forEach))
                    }
                    try model.apply(block)
                }
                return steps
            }

            private func show(_ step: Step) {
                print("\(step.file), statement \(step.statement): \(step.title)\(step.resumed ? " (was begun before)" : "")")
                for effect in step.effects { print("  * \(effect)") }
                for need in step.needs { print("  * waits until this is 1: \(need)") }
                if let query = step.doneIf { print("  * done if this is 1: \(query)") }
                if let query = step.forEach { print("  * once for each line of: \(query)") }
                for sql in step.sql {
                    for line in sql.split(separator: "\n", omittingEmptySubsequences: false) { print(line.isEmpty ? "" : "    \(line)") }
                    print("")
                }
            }
        }

        struct Status: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Say what is applied, what is pending, and where tables are not what the files say.",
                discussion: "Exit status 1 if something is pending or differs.")
            @OptionGroup var options: Options
            @Flag(help: "Print JSON.")
            var json = false

            struct Report: Encodable {
                let database: String
                let statements: [Statement]
                let drift: [Table]

                struct Statement: Encodable {
                    let file: String
                    let statement: Int
                    let title: String
                    /// `pending`, `planned`, `started` or `done`.
                    let state: String
                    let at: String?
                    let migrator: String?
                }

                struct Table: Encodable {
                    let table: String
                    let differences: [String]
                    let mends: [String]
                }
            }

            func run() throws {
                try reportingRefusals {
                    let opened = try options.open()
                    let report = try report(opened)
                    if json { try printJSON(report) } else { show(report) }
                    if !report.drift.isEmpty || report.statements.contains(where: { $0.state != "done" }) { throw ExitCode(1) }
                }
            }

            private func report(_ opened: Opened) throws -> Report {
                let plan = try opened.migrator.plan()
                var last: [StatementID: MigrationLog.Entry] = [:]
                for entry in try opened.migrator.entries() { last[entry.id] = entry }
                let drift = try opened.migrator.drift(done: plan.steps.filter { $0.reached == .done })
                return Report(
                    database: opened.server.clickHouse.database,
                    statements: plan.steps.map { step in
                        let entry = step.reached == nil ? nil : last[step.statement.id]
                        return Report.Statement(
                            file: step.statement.id.file, statement: step.statement.id.number, title: step.statement.block.title,
                            state: step.reached?.rawValue ?? "pending", at: entry?.at, migrator: entry?.migrator)
                    },
                    drift: drift.map {
                        Report.Table(table: $0.table, differences: $0.differences.map(\.text), mends: $0.differences.compactMap(\.mend))
                    })
            }

            private func show(_ report: Report) {
                var text = TextTable(["FILE", "#", "STATE", "AT", "BY", "WHAT"], numbers: [1])
                for row in report.statements {
                    text.add([row.file, "\(row.statement)", row.state, row.at ?? "-", row.migrator ?? "-", row.title])
                }
                print(text.text, terminator: "")
                let pending = report.statements.count { $0.state != "done" }
                print(pending == 0 ? "all applied" : "\(pending) pending: `spool-loader migrate plan` shows what they would do")
                for table in report.drift {
                    for difference in table.differences { print("! \(table.table): \(difference)") }
                    for mend in table.mends { print("    \(mend);") }
                }
                if report.drift.isEmpty { print("no table differs from the files") }
            }
        }
    }
}

/// A difference for people, with what would mend it.
private func show(_ drift: SchemaDrift) {
    for difference in drift.differences {
        print("! \(drift.table): \(difference.text)")
        if let mend = difference.mend { print("    \(mend);") }
    }
}

/// As ``reporting(_:)``; a refusal of the log is an exit status of 1.
private func reportingRefusals(_ work: () throws -> Void) throws {
    try reporting {
        do {
            try work()
        } catch let refusal as MigrationRefusal {
            throw CommandFailure("\(refusal)", code: 1)
        }
    }
}
