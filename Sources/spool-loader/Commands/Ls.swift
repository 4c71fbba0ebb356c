import ArgumentParser
import SpoolConfig
import SpoolIO

extension SpoolLoader {
    struct Ls: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List tables, or the segments of one table: rows, times, bytes, durable, loaded, lag.",
            discussion: "Sequences are those of the last row that is durable or loaded. LAG is the age of the oldest row not yet loaded.")
        @OptionGroup var common: CommonOptions
        @Flag(help: "Print JSON.")
        var json = false
        @Argument(help: "List the segments of this table.")
        var table: String?

        func run() throws {
            try reporting {
                let configuration = try common.configuration()
                let spool = try SpoolDirectory.open(configuration.required("spool"))
                let survey = SpoolSurvey(spool: spool, checkpoints: configuration.required("loader.checkpoints"))
                if let table {
                    guard try spool.tables().contains(table) else {
                        throw CommandFailure(
                            "the spool \(spool.path) has no table \(table); it has \(try spool.tables().joined(separator: ", "))", code: 64)
                    }
                    try list(try survey.segments(of: table))
                } else {
                    let now = Clock.now()
                    try list(try spool.tables().map { try survey.table($0, now: now) })
                }
            }
        }

        private func list(_ tables: [TableSummary]) throws {
            if json { return try printJSON(tables) }
            var text = TextTable(
                ["TABLE", "SEGMENTS", "ROWS", "FROM", "TO", "SIZE", "DURABLE", "LOADED", "LAG ROWS", "LAG"], numbers: [1, 2, 5, 6, 7, 8, 9])
            for table in tables {
                text.add([
                    table.table, "\(table.segments)", "\(table.rows)", String((table.earliest ?? "-").prefix(19)),
                    String((table.latest ?? "-").prefix(19)), byteText(table.bytes), "\(table.durableEnd - 1)",
                    table.loadedEnd.map { "\($0 - 1)" } ?? "-", table.lagRows.map { "\($0)" } ?? "-",
                    table.lagSeconds.map(durationText) ?? "-",
                ])
            }
            print(text.text, terminator: "")
            let problems = tables.flatMap { table in table.problems.map { "\(table.table): \($0)" } }
            for problem in problems { print("! \(problem)") }
            if !problems.isEmpty { throw ExitCode(1) }
        }

        private func list(_ segments: [SegmentSummary]) throws {
            if json { return try printJSON(segments) }
            var text = TextTable(["SEGMENT", "STATE", "ROWS", "FIRST", "LAST", "FROM", "TO", "SIZE"], numbers: [2, 3, 4, 7])
            for segment in segments {
                text.add([
                    segment.segment, String(segment.state.prefix { $0 != ":" }), "\(segment.rows)", "\(segment.firstSequence)",
                    segment.endSequence > segment.firstSequence ? "\(segment.endSequence - 1)" : "-",
                    String((segment.earliest ?? "-").prefix(19)),
                    String((segment.latest ?? "-").prefix(19)), byteText(segment.bytes),
                ])
            }
            print(text.text, terminator: "")
            for segment in segments where segment.state.hasPrefix("unreadable") { print("! \(segment.segment): \(segment.state)") }
            if segments.contains(where: { $0.state.hasPrefix("unreadable") }) { throw ExitCode(1) }
        }
    }
}
