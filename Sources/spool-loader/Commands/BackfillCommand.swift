import ArgumentParser
import Logging
import SpoolConfig
import SpoolIO

extension SpoolLoader {
    struct BackfillCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "backfill",
            abstract: "Load rows of a spool, old or foreign or of some days only, that ClickHouse does not have.",
            discussion: """
                Each batch is asked for before it is sent, so nothing is loaded twice, whoever loaded it first. The spool is only read. \
                The same command goes on where it stopped. Exit status 1 if something could not be read, refused to come, or was \
                stopped.
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: ServerOptions
        @OptionGroup var definitions: SchemasOption
        @Option(help: ArgumentHelp("Load this table only; may be given several times.", valueName: "name"))
        var table: [String] = []
        @Option(help: ArgumentHelp("Earliest event time to load: RFC 3339, a date, or nanoseconds.", valueName: "time"))
        var since: EventTime?
        @Option(help: ArgumentHelp("Load event times before this.", valueName: "time"))
        var until: EventTime?
        @Option(
            help: ArgumentHelp("At most so many rows (100000) or bytes (20MiB) a second; may be given once for each.", valueName: "rate"))
        var rate: [RateLimit.Bound] = []
        @Option(help: ArgumentHelp("How long to wait for a part of the spool that is still being copied.", valueName: "duration"))
        var wait = Patience(nanoseconds: 600_000_000_000, text: "10m")
        @Flag(help: "Load days of market_data too that `retain` has dropped; its next run drops them again.")
        var droppedDays = false
        @Flag(help: "Show what would be loaded, and load nothing.")
        var plan = false
        @Flag(help: "Print JSON.")
        var json = false

        /// A duration on the command line.
        struct Patience: ExpressibleByArgument, CustomStringConvertible {
            let nanoseconds: Int64
            let description: String

            init(nanoseconds: Int64, text: String) {
                self.nanoseconds = nanoseconds
                description = text
            }

            init?(argument: String) {
                guard let nanoseconds = Quantity.duration(argument) else { return nil }
                self.init(nanoseconds: nanoseconds, text: argument)
            }
        }

        func validate() throws {
            if let since, let until, since.time >= until.time { throw ValidationError("--since is not before --until") }
            let kinds = rate.map { if case .rows = $0 { "rows" } else { "bytes" } }
            if Set(kinds).count < kinds.count { throw ValidationError("--rate is given twice for \(kinds[0])") }
        }

        func run() throws {
            try reporting {
                let backfill = try Backfill(
                    configuration: common.configuration(server.flags.merging(definitions.flags) { $1 }), tables: table,
                    range: TimeRange(since: since, until: until),
                    rate: RateLimit(rate), patience: wait.nanoseconds, loadsDropped: droppedDays)
                if plan { return try show(backfill.surveys()) }
                let screen = StatusLine()
                let log =
                    screen.isTerminal
                    ? Logger(label: "spool-loader") { _ in StatusLineLog(screen: screen) } : makeLogger("spool-loader")
                let (results, isComplete) = try backfill.run(progress: Progress(screen: screen), log: log)
                try show(results)
                if !isComplete { throw ExitCode(1) }
            }
        }

        private func show(_ surveys: [BackfillSurvey]) throws {
            if json { return try printJSON(surveys) }
            var text = TextTable(["TABLE", "ROWS", "SIZE", "SEGMENTS", "FROM", "TO", "NOTE"], numbers: [1, 2, 3])
            for survey in surveys {
                var notes: [String] = []
                if survey.next > 1 { notes.append("goes on at \(survey.next)") }
                if let from = survey.liveFrom { notes.append("up to \(from - min(from, 1)), the rest is the loader's") }
                if survey.isGrowing { notes.append("still being copied") }
                text.add([
                    survey.table, (survey.isUpperBound ? "<= " : "") + grouped(survey.rows), byteText(survey.bytes), "\(survey.segments)",
                    String((survey.earliest ?? "-").prefix(19)), String((survey.latest ?? "-").prefix(19)),
                    notes.joined(separator: "; "),
                ])
            }
            print(text.text, terminator: "")
            let problems = surveys.flatMap { survey in survey.problems.map { "! \(survey.table): \($0)" } }
            for problem in problems { print(problem) }
            if !problems.isEmpty { throw ExitCode(1) }
        }

        private func show(_ results: [BackfillResult]) throws {
            if json { return try printJSON(results) }
            var text = TextTable(["TABLE", "LOADED", "ALREADY THERE", "EXPIRED", "QUARANTINED", "RESULT"], numbers: [1, 2, 3, 4])
            for result in results {
                text.add([
                    result.table, grouped(result.loaded), grouped(result.present), grouped(result.expired), grouped(result.quarantined),
                    result.problem == nil ? "done" : "NOT FINISHED",
                ])
            }
            print(text.text, terminator: "")
            for result in results { if let problem = result.problem { print("! \(result.table): \(problem)") } }
        }
    }
}
