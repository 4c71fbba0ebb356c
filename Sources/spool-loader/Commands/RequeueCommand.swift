import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct RequeueCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "requeue",
            abstract: "Bring quarantined rows to ClickHouse, after their cause is mended; with --plan, list them.",
            discussion: """
                Rows that ClickHouse refused are sent again; chunks that could not be read are read again, for their file may have been \
                restored. What is there already is not sent. Exit status 1 if rows remain in quarantine.
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: ServerOptions
        @OptionGroup var definitions: SchemasOption
        @Option(help: ArgumentHelp("Rows of this table only; may be given several times.", valueName: "name"))
        var table: [String] = []
        @Flag(help: "List what is in quarantine and why, and send nothing.")
        var plan = false
        @Flag(help: "Print JSON.")
        var json = false

        /// An entry of a quarantine list, for people and programs.
        struct Listed: Encodable {
            let table: String
            let rows: UInt64
            let sequences: String
            let segment: String
            let offset: UInt64
            let reason: String
            /// The row as one JSON object; empty if it is not known.
            let values: String
        }

        func run() throws {
            try reporting {
                let configuration = try common.configuration(server.flags.merging(definitions.flags) { $1 })
                let spool = try SpoolDirectory.open(configuration.required("spool"))
                let known = try spool.tables()
                for name in table where !known.contains(name) {
                    throw CommandFailure("the spool \(spool.path) has no table \(name); it has \(known.joined(separator: ", "))", code: 64)
                }
                let checkpoints = configuration.required("loader.checkpoints")
                let lists = known.filter { table.isEmpty || table.contains($0) }.map {
                    ($0, QuarantineList(directory: checkpoints, writer: spool.writer, table: $0))
                }
                if plan { return try show(try lists.flatMap { try Self.listed($0, $1) }) }
                try requeue(lists, spool, configuration)
            }
        }

        private func requeue(_ lists: [(table: String, list: QuarantineList)], _ spool: SpoolDirectory, _ configuration: Configuration)
            throws
        {
            let log = makeLogger("spool-loader")
            let connection = try RequeueServer(configuration: configuration, stopSignal: try StopSignal(), log: log)
            var results: [RequeueTable.Result] = []
            do {
                for (name, list) in lists where try !list.outstanding().isEmpty {
                    let lock = try File.openForWriting(list.path + ".lock")
                    guard try lock.lock() else { throw CommandFailure("\(lock.path): another requeue is running", code: 74) }
                    try withExtendedLifetime(lock) {
                        let requeued = RequeueTable(
                            table: name, spool: spool, list: list, server: connection, schemas: configuration.required("schemas"), log: log)
                        results.append(try requeued.run())
                    }
                }
            } catch is RequeueStopped {
                printToStandardError("spool-loader: stopped; the same command goes on from here")
                throw ExitCode(1)
            }
            try show(results)
            if results.contains(where: { $0.remaining > 0 || !$0.problems.isEmpty }) { throw ExitCode(1) }
        }

        private static func listed(_ table: String, _ list: QuarantineList) throws -> [Listed] {
            try list.outstanding().compactMap { entry, rows in
                switch entry {
                case .damaged(let place, let reason):
                    Listed(
                        table: table, rows: rows.count, sequences: rows.text(), segment: place.segment.fileName, offset: place.offset,
                        reason: reason, values: "")
                case .refused(let place, let refusal):
                    Listed(
                        table: table, rows: rows.count, sequences: rows.text(), segment: place.segment.fileName, offset: place.offset,
                        reason: "ClickHouse refuses: \(refusal.code) \(refusal.name): \(refusal.text)", values: refusal.values)
                case .requeued: nil
                }
            }
        }

        private func show(_ entries: [Listed]) throws {
            if json { return try printJSON(entries) }
            for entry in entries {
                print("\(entry.table): rows \(entry.sequences), segment \(entry.segment) at \(entry.offset): \(entry.reason)")
                if !entry.values.isEmpty { print("  \(entry.values)") }
            }
            if entries.isEmpty { print("nothing is in quarantine") }
        }

        private func show(_ results: [RequeueTable.Result]) throws {
            if json { return try printJSON(results) }
            if results.isEmpty { return print("nothing is in quarantine") }
            var text = TextTable(["TABLE", "LOADED", "ALREADY THERE", "EXPIRED", "REMAINING"], numbers: [1, 2, 3, 4])
            for result in results {
                text.add([
                    result.table, grouped(result.loaded), grouped(result.present), grouped(result.expired), grouped(result.remaining),
                ])
            }
            print(text.text, terminator: "")
            for result in results { for problem in result.problems { print("! \(result.table): \(problem)") } }
        }
    }
}
