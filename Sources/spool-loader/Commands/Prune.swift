import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct Prune: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete segments that are wholly loaded and older than the keep time.",
            discussion: """
                Oldest first, and never the newest segment of a table, the one that the checkpoint stands in, or one that is not sealed or \
                not wholly loaded. It may run while writer and loader run. Exit status 1 if something could not be deleted.
                """)
        @OptionGroup var common: CommonOptions
        @Option(help: ArgumentHelp("How long a segment stays after it was sealed; by default loader.keep.", valueName: "time"))
        var keep: String?
        @Option(help: ArgumentHelp("Prune this table only; may be given several times.", valueName: "name"))
        var table: [String] = []
        @Flag(help: "Only print what would be deleted.")
        var dryRun = false
        @Flag(help: "Also delete segments with rows in quarantine, which are nowhere else.")
        var withQuarantined = false
        @Flag(help: "Print JSON.")
        var json = false

        struct Report: Encodable {
            let table: String
            let dryRun: Bool
            /// Those that are deleted, or would be.
            let segments: [TablePruning.Segment]
            let rows: UInt64
            let bytes: UInt64
            /// The oldest segment that stays, and why; absent if there is none.
            let kept: String?
            let reason: String?
            let problem: String?
        }

        func run() throws {
            try reporting {
                let configuration = try common.configuration(["loader.keep": keep])
                let spool = try SpoolDirectory.open(configuration.required("spool"))
                let prunings = try plan(configuration, spool)
                if !dryRun { for pruning in prunings { try pruning.checkWritable() } }
                let reports = prunings.map(carryOut)
                if json { try printJSON(reports) } else { show(reports) }
                if reports.contains(where: { $0.problem != nil }) { throw ExitCode(1) }
            }
        }

        private func plan(_ configuration: Configuration, _ spool: SpoolDirectory) throws -> [TablePruning] {
            let checkpoints = configuration.required("loader.checkpoints")
            let known = try spool.tables()
            for name in table where !known.contains(name) {
                throw CommandFailure("the spool \(spool.path) has no table \(name); it has \(known.joined(separator: ", "))", code: 64)
            }
            var prunings: [TablePruning] = []
            for name in known where table.isEmpty || table.contains(name) {
                guard let checkpoint = try CheckpointStore.peek(directory: checkpoints, writer: spool.writer, table: name) else {
                    // A table that no loader has come to has nothing to delete; named on purpose, it is a mistake.
                    if table.isEmpty { continue }
                    throw noCheckpoint("\(checkpoints)/\(spool.writer)/\(name).checkpoint")
                }
                prunings.append(
                    try TablePruning(
                        spool: spool, table: name, checkpoint: checkpoint,
                        quarantined: try QuarantineList(directory: checkpoints, writer: spool.writer, table: name).outstandingRows(),
                        keep: configuration.duration("loader.keep"), now: Clock.now(), includesQuarantined: withQuarantined))
            }
            if prunings.isEmpty, !known.isEmpty { throw noCheckpoint("\(checkpoints)/\(spool.writer)") }
            return prunings
        }

        private func noCheckpoint(_ path: String) -> CommandFailure {
            CommandFailure(
                "there is no checkpoint \(path), so nothing says what is loaded: give the loader's directory with --checkpoints", code: 64)
        }

        private func carryOut(_ pruning: TablePruning) -> Report {
            let (segments, problem) = dryRun ? (pruning.segments, nil) : pruning.remove()
            return Report(
                table: pruning.table, dryRun: dryRun, segments: segments, rows: segments.reduce(0) { $0 + $1.rows },
                bytes: segments.reduce(0) { $0 + $1.bytes }, kept: pruning.kept?.segment, reason: pruning.kept?.reason, problem: problem)
        }

        private func show(_ reports: [Report]) {
            for report in reports {
                for segment in report.segments {
                    print(
                        "\(dryRun ? "would delete" : "deleted") \(report.table)/\(segment.segment): \(segment.rows) rows, \(byteText(segment.bytes))"
                    )
                }
            }
            var text = TextTable(["TABLE", "SEGMENTS", "ROWS", "SIZE", "FIRST THAT STAYS"], numbers: [1, 2, 3])
            for report in reports {
                let kept = report.kept.flatMap { kept in report.reason.map { "\(kept) (\($0))" } }
                text.add([report.table, "\(report.segments.count)", "\(report.rows)", byteText(report.bytes), kept ?? "-"])
            }
            print(text.text, terminator: "")
            for report in reports { if let problem = report.problem { print("! \(report.table): \(problem)") } }
        }
    }
}
