import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct Last: ParsableCommand {
        enum Source: String, ExpressibleByArgument, CaseIterable { case both, clickhouse, spool }

        static let configuration = CommandConfiguration(
            abstract: "Print the last row of each position and account as of a time, from ClickHouse and the spool: where to start again.",
            discussion: """
                One JSON object a line, as `cat` prints it. Of both the newer row counts: the spool has what is not loaded yet, ClickHouse what is \
                pruned. If one of them cannot be had, the other answers alone, and it is said on standard error. Exit status 1 if a part of the spool \
                could not be read, 74 if neither could be asked.
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: ServerOptions
        @Option(help: ArgumentHelp("Rows with event times up to this; by default all that there are.", valueName: "time"))
        var asOf: EventTime?
        @Option(help: ArgumentHelp("How far back a row may lie.", valueName: "duration"))
        var within = "24h"
        @Option(help: ArgumentHelp("Ask only one of them: clickhouse or spool.", valueName: "which"))
        var source = Source.both
        @Option(help: ArgumentHelp("How long ClickHouse may take.", valueName: "duration"))
        var patience = "5s"
        @Option(help: ArgumentHelp("With one TABLE: the columns that tell its things apart.", valueName: "columns"))
        var by: String?
        @Option(help: ArgumentHelp("With --by: the column of the event time.", valueName: "column"))
        var time = "ts"
        @Argument(help: ArgumentHelp("By default positions_intraday and account_state.", valueName: "table"))
        var table: [String] = []

        func validate() throws {
            if Quantity.duration(within) == nil { throw ValidationError("--within \(within): expected a duration such as 24h") }
            if Quantity.duration(patience) == nil { throw ValidationError("--patience \(patience): expected a duration such as 5s") }
            if by != nil, table.count != 1 { throw ValidationError("--by needs exactly one table") }
        }

        func run() throws {
            try reporting {
                let configuration = try common.configuration(server.flags)
                let until = asOf?.time ?? SpoolFormat.EventTime.latest
                let from = (asOf?.time ?? Clock.now()).subtractingReportingOverflow(Quantity.duration(within) ?? 0)
                let times = (from.overflow ? .min : min(from.partialValue, until))...until
                var asked = try subjects().map { LastRows(of: $0, times: times) }
                var failures: [String] = []
                if source != .spool {
                    do { try askClickHouse(configuration, &asked) } catch { failures.append("\(error)") }
                }
                if source != .clickhouse {
                    do { try readSpool(configuration, &asked) } catch { failures.append("\(error)") }
                }
                for failure in failures { printToStandardError("spool-loader: \(failure)") }
                if failures.count == (source == .both ? 2 : 1) { throw ExitCode(74) }
                for rows in asked { for line in rows.lines { print(line) } }
                let problems = asked.flatMap(\.problems)
                for problem in problems { printToStandardError("spool-loader: \(problem)") }
                if !problems.isEmpty { throw ExitCode(1) }
            }
        }

        private func subjects() throws(CommandFailure) -> [LastRows.Subject] {
            if let by {
                let keys = by.split(separator: ",").map { $0.filter { $0 != " " } }
                return [LastRows.Subject(table: table[0], keys: keys, time: time)]
            }
            var subjects: [LastRows.Subject] = []
            for name in table {
                guard let subject = LastRows.Subject.usual.first(where: { $0.table == name }) else {
                    throw CommandFailure("table \(name): say with --by which columns tell its things apart", code: 64)
                }
                subjects.append(subject)
            }
            return subjects.isEmpty ? LastRows.Subject.usual : subjects
        }

        private func askClickHouse(_ configuration: Configuration, _ asked: inout [LastRows]) throws {
            let server = try ClickHouse(configuration: configuration, http: HTTPClient(), log: makeLogger("spool-loader"))
            let deadline = Clock.monotonic() + (Quantity.duration(patience) ?? 0)
            for index in asked.indices {
                var answer: ServerAnswer?
                server.query(asked[index].query, parameters: LastRows.settings) { answer = $0 }
                while answer == nil, Clock.monotonic() < deadline { server.http.wait(milliseconds: 20) }
                guard case .ok(let body)? = answer else {
                    throw CommandFailure("ClickHouse at \(server.url): \(answer?.problem ?? "no answer within \(patience)")", code: 74)
                }
                try asked[index].take(answer: body)
            }
        }

        private func readSpool(_ configuration: Configuration, _ asked: inout [LastRows]) throws {
            let spool = try SpoolDirectory.open(configuration.required("spool"))
            let known = try spool.tables()
            for index in asked.indices where known.contains(asked[index].subject.table) { try asked[index].take(spool) }
        }
    }
}
