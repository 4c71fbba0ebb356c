import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct RollUpCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rollup",
            abstract: "Make one-second bars of market_data, for each day whose rows are not those of its bars.",
            discussion: """
                A day's bars are computed whole and swapped in at one moment: it may be repeated, killed, and run beside itself. Exit status 1 if rows came \
                for a day whose rows were dropped before, or too fast to make bars of it.
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: ServerOptions
        @Option(help: ArgumentHelp("Make this day anew (YYYY-MM-DD, UTC); may be given several times.", valueName: "day"))
        var day: [String] = []
        @Flag(help: "Only say which days would be made.")
        var dryRun = false
        @Flag(help: "Print JSON.")
        var json = false

        func validate() throws {
            for text in day where CivilDate(text) == nil { throw ValidationError("--day \(text) is no day; write YYYY-MM-DD") }
        }

        func run() throws {
            try reporting {
                let configuration = try common.configuration(server.flags)
                let log = makeLogger("spool-loader")
                let rollUp = RollUp(server: try StatementServer(configuration: configuration, purpose: "rollup", log: log), log: log)
                let results = try work(rollUp)
                if json { try printJSON(results) } else { show(results) }
                if results.contains(where: { ["late", "moving", "vanished"].contains($0.outcome) }) { throw ExitCode(1) }
            }
        }

        private func work(_ rollUp: RollUp) throws -> [RollUp.Result] {
            let known = try rollUp.survey()
            let days = day.isEmpty ? known : day.map { wanted in known.first { $0.day == wanted } ?? RollUpDay(day: wanted) }
            if !dryRun { try rollUp.dropLeftovers() }
            var results: [RollUp.Result] = []
            for day in days {
                switch day.verdict {
                case .vanished where self.day.isEmpty:
                    results.append(RollUp.Result(day: day.day, rows: day.rawRows, bars: 0, outcome: "vanished"))
                case .late: results.append(RollUp.Result(day: day.day, rows: day.rawRows, bars: 0, outcome: "late"))
                case .current where self.day.isEmpty || day.isDropped: continue
                case .current, .needed, .vanished:
                    results.append(
                        dryRun
                            ? RollUp.Result(day: day.day, rows: day.rawRows, bars: 0, outcome: "would roll")
                            : try rollUp.roll(day.day, isForced: !self.day.isEmpty))
                }
            }
            return results
        }

        private func show(_ results: [RollUp.Result]) {
            if results.isEmpty { print("nothing to do: the bars of each day are those of its rows") }
            for result in results {
                switch result.outcome {
                case "rolled": print("\(result.day): \(result.bars) bars of \(result.rows) rows")
                case "would roll": print("\(result.day): would make bars of \(result.rows) rows")
                case "late":
                    print(
                        "! \(result.day): \(result.rows) rows came after the day's rows were dropped; its bars stay as they are, without these"
                    )
                case "vanished":
                    print(
                        "! \(result.day): only \(result.rows) rows are there, fewer than its bars are of: ClickHouse's TTL or somebody has taken the others; its bars stay"
                    )
                case "current": print("\(result.day): no rows")
                default: print("! \(result.day): rows come in too fast to make its bars; the next run does")
                }
            }
        }
    }
}
