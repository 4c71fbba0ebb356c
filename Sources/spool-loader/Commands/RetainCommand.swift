import ArgumentParser
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct RetainCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "retain",
            abstract: "Drop partitions whose rows are all older than their table is kept; of market_data after its bars are proved.",
            discussion: """
                How long a table is kept says its TTL in schemas/, or `retention` of its section [tables.NAME]. Look at --dry-run first. Exit status 1 if \
                something expired could not be dropped.
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: ServerOptions
        @Option(help: ArgumentHelp("Directory of the table definitions.", valueName: "dir"))
        var schemas: String?
        @Option(help: ArgumentHelp("This table only; may be given several times.", valueName: "name"))
        var table: [String] = []
        @Flag(help: "Only say what would be dropped.")
        var dryRun = false
        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            try reporting {
                let configuration = try common.configuration(server.flags.merging(["schemas": schemas]) { $1 })
                let model = try SchemaModel(try SchemaDirectory.files(configuration.required("schemas")))
                let policy = try RetentionPolicy(model: model, configuration: configuration)
                for name in table where model[name] == nil {
                    throw CommandFailure(
                        "the schemas have no table \(name); they have \(model.tables.map(\.name).joined(separator: ", "))", code: 64)
                }
                let log = makeLogger("spool-loader")
                let server = try StatementServer(configuration: configuration, purpose: "retain", log: log)
                // The migrator's lock: of two at once, each would take what the other has set aside for its own, and no table may change meanwhile.
                let lock = dryRun ? nil : try MigratorLock(server: server, cluster: nil, log: log)
                defer { lock?.release() }
                let results = try work(model, policy, server, Retain(server: server, log: log) { try lock?.check() })
                sayOtherTTLs(model, policy, LiveTables(tables: try server.ask(LiveTables.tablesQuery)), log)
                if json { try printJSON(results) } else { show(results) }
                if results.contains(where: { $0.kept != nil }) { throw ExitCode(1) }
            }
        }

        private func work(_ model: SchemaModel, _ policy: RetentionPolicy, _ server: StatementServer, _ retain: Retain) throws -> [Retain
            .Dropped]
        {
            let live = LiveTables(tables: try server.ask(LiveTables.tablesQuery))
            let names = model.tables.map(\.name).filter { table.isEmpty || table.contains($0) }
            if names.contains(RollUp.source) { try checkBarsView(model, server) }
            if !dryRun, names.contains(RollUp.source) { try retain.finishEarlierRun() }
            let now = Clock.now()
            var results: [Retain.Dropped] = []
            for name in names {
                // By what the table is, not by what it should be.
                guard let keep = policy.keep(of: name), let rule = live.definitions[name]?.partition?.rule else { continue }
                let expired = StoredPartition.expired(try retain.partitions(of: name), rule: rule, keep: keep, now: now)
                if dryRun {
                    results += expired.map { Retain.Dropped(table: name, partition: $0.text, rows: $0.rows, bytes: $0.bytes) }
                } else if !RetentionPolicy.rolledUp.contains(name) {
                    results += try retain.drop(expired)
                } else if rule == .day {
                    results += try retain.dropRolledUp(expired)
                } else {
                    results += expired.map {
                        Retain.Dropped(
                            table: name, partition: $0.text, rows: $0.rows, bytes: $0.bytes,
                            kept: "the table is not partitioned by the day, so its bars cannot be proved a partition at a time")
                    }
                }
            }
            return results
        }

        /// Until ClickHouse knows it too, `audit` takes rows that this drops for missing ones.
        private func sayOtherTTLs(_ model: SchemaModel, _ policy: RetentionPolicy, _ live: LiveTables, _ log: Logger) {
            for name in model.tables.map(\.name) where table.isEmpty || table.contains(name) {
                guard let ttl = policy.ttl(of: name)?.phrase, let its = live.definitions[name]?.ttl, its != ttl else { continue }
                log.notice(
                    "table \(name): its TTL in ClickHouse is \(its), by the configuration \(ttl); run `spool-loader migrate apply` to set it"
                )
            }
        }

        /// Bars prove a day only if they are what the files say that bars are.
        private func checkBarsView(_ model: SchemaModel, _ server: StatementServer) throws {
            let name = RollUp.target + "_of"
            guard let drift = try SchemaDrift.views(of: model, server).first(where: { $0.table == name && !$0.differences.isEmpty }) else {
                return
            }
            throw CommandFailure(
                "\(drift.differences[0].text); so bars may not be what they should. `spool-loader migrate status` says how to mend it; then make the days' bars anew "
                    + "(`spool-loader rollup --day`), and run this again", code: 1)
        }

        private func show(_ results: [Retain.Dropped]) {
            for result in results {
                let text = "\(result.table) \(result.partition): \(result.rows) rows, \(byteText(result.bytes))"
                if let kept = result.kept {
                    print("! \(text): kept: \(kept)")
                } else {
                    print(
                        "\(dryRun ? "would drop" : "dropped") \(text)\(result.isLate ? ", which came after its bars were made and are not in them" : "")"
                    )
                }
            }
            var text = TextTable(["TABLE", "PARTITIONS", "ROWS", dryRun ? "WOULD FREE" : "FREED"], numbers: [1, 2, 3])
            for table in Set(results.map(\.table)).sorted() {
                let its = results.filter { $0.table == table && $0.kept == nil }
                text.add([table, "\(its.count)", "\(its.reduce(0) { $0 + $1.rows })", byteText(its.reduce(0) { $0 + $1.bytes })])
            }
            print(results.isEmpty ? "nothing is expired\n" : text.text, terminator: "")
        }
    }
}
