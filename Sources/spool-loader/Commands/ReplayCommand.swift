import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct ReplayCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay",
            abstract:
                "Publish recorded rows again, to a writer's socket or into its rings, at the speed at which they were recorded or another.",
            discussion: """
                Rows that were recorded as they happened come in the order and at the pace of their recording; imported ones, of which that says \
                nothing, by their event times (--order). Their times are moved so that the last \
                row's is the moment at which it is published; --recorded-times leaves them. Rows wait where there is no room. The spool is only \
                read, and its own writer is not accepted: its history would hold everything twice. Exit status 1 if rows were refused, could not \
                be read, or it was stopped; 74 if no writer takes them.
                """)
        enum Order: String, ExpressibleByArgument, CaseIterable { case auto, recorded, time }

        @OptionGroup var common: CommonOptions
        @Option(help: ArgumentHelp("Publish to this socket of a writer, as JSON lines.", valueName: "path"))
        var socket: String?
        @Option(help: ArgumentHelp("Publish into a ring in this directory that a writer watches.", valueName: "dir"))
        var rings: String?
        @Option(help: ArgumentHelp("Earliest event time to publish: RFC 3339, a date, or nanoseconds.", valueName: "time"))
        var since: EventTime?
        @Option(help: ArgumentHelp("Publish event times before this.", valueName: "time"))
        var until: EventTime?
        @Option(help: ArgumentHelp("1 as recorded, 10 ten times as fast, max as fast as rows are taken.", valueName: "factor"))
        var speed = ReplaySpeed.times(1)
        @Option(help: "recorded, time, or auto: recorded if most rows were recorded within a minute of their event times.")
        var order = Order.auto
        @Flag(help: "Leave the times as they were recorded.")
        var recordedTimes = false
        @Flag(help: "With --rings: drop what finds no room, and count it, as a trading thread does.")
        var dropWhenFull = false
        @Option(help: ArgumentHelp("With --rings: the ring's size, a power of two.", valueName: "size"))
        var ringSize = "4MiB"
        @Option(help: ArgumentHelp("The producer's name; two replays to one socket need two.", valueName: "name"))
        var client = "replay"
        @Option(help: ArgumentHelp("How long nothing may move before it is given up.", valueName: "duration"))
        var patience = "30s"
        @Flag(help: "Print JSON.")
        var json = false
        @Argument(help: ArgumentHelp("By default all tables.", valueName: "table"))
        var table: [String] = []

        func validate() throws {
            if (socket == nil) == (rings == nil) { throw ValidationError("say where to: either --socket or --rings") }
            if let since, let until, since.time >= until.time { throw ValidationError("--since is not before --until") }
            if dropWhenFull, rings == nil { throw ValidationError("--drop-when-full is for --rings; a socket's client waits") }
            if Quantity.bytes(ringSize) == nil { throw ValidationError("--ring-size \(ringSize): expected a size such as 4MiB") }
            guard let nanoseconds = Quantity.duration(patience), nanoseconds > 0 else {
                throw ValidationError("--patience \(patience): expected a duration such as 30s")
            }
        }

        func run() throws {
            try reporting {
                let spool = try SpoolDirectory.open(common.configuration().required("spool"))
                let known = try spool.tables()
                for name in table where !known.contains(name) {
                    throw CommandFailure(
                        "the spool \(spool.path) has no table \(name); it has \(known.joined(separator: ", "))", code: 64)
                }
                let rows = try RecordedRows(
                    of: spool, only: table, range: TimeRange(since: since, until: until) ?? .everything,
                    order: ReplayOrder(rawValue: order.rawValue))
                let stop = try StopSignal()
                var replay = Replay(
                    rows, to: try target(spool, rows.tables), speed: speed, patience: Quantity.duration(patience) ?? 0, stop: stop)
                let progress = Progress()
                var failure: (any Error)?
                do { try replay.run(movesTimes: !recordedTimes, progress: progress) } catch { failure = error }
                progress.finish()
                try show(replay.report)
                if let failure { throw failure }
                if !replay.report.isComplete || replay.report.refused > 0 || !replay.report.problems.isEmpty { throw ExitCode(1) }
            }
        }

        private func target(_ spool: SpoolDirectory, _ tables: [RecordedTable]) throws -> any ReplayTarget {
            let guardian = OwnWriter(spool)
            if let socket {
                return SocketTarget(path: socket, client: client, tables: tables) { descriptor throws(CommandFailure) in
                    try guardian.check(connection: descriptor, socket)
                }
            }
            return try RingTarget(
                directory: rings ?? "", producer: client, tables: tables, dataBytes: UInt64(clamping: Quantity.bytes(ringSize) ?? 0),
                waits: !dropWhenFull
            ) { path throws(CommandFailure) in try guardian.check(ring: path) }
        }

        private func show(_ report: ReplayReport) throws {
            if json { return try printJSON(report) }
            var text = TextTable(["TABLE", "ROWS", "FIRST", "LAST"], numbers: [1, 2, 3])
            for table in report.tables {
                text.add([
                    table.table, grouped(table.published), table.firstSequence.map { "\($0)" } ?? "-",
                    table.lastSequence.map { "\($0)" } ?? "-",
                ])
            }
            print(text.text, terminator: "")
            print(summary(report))
            for problem in report.problems { print("! \(problem)") }
        }

        private func summary(_ report: ReplayReport) -> String {
            var parts = ["\(grouped(report.published)) rows of \(secondsText(report.recordedSeconds)) in \(secondsText(report.seconds))"]
            if report.seconds > 0, report.published > 0 {
                parts.append("\(grouped(UInt64(Double(report.published) / max(report.seconds, 1e-9)))) rows/s")
            }
            parts.append(report.order == ReplayOrder.time.rawValue ? "by event time" : "as recorded")
            if case .times = speed, report.published > 0 { parts.append("at most \(secondsText(report.latestSeconds)) late") }
            if report.refused > 0 { parts.append("\(grouped(report.refused)) refused") }
            if report.dropped > 0 { parts.append("\(grouped(report.dropped)) dropped") }
            if report.ownRows > 0 { parts.append("\(grouped(report.ownRows)) of the recorder itself passed over") }
            if report.published > 0 { parts.append(report.isDurable ? "all durable" : "NOT ALL DURABLE") }
            if !report.isComplete { parts.append("NOT FINISHED") }
            return parts.joined(separator: ", ")
        }

        private func secondsText(_ seconds: Double) -> String {
            seconds >= 60 ? clockText(seconds) : "\((seconds * 1_000).rounded() / 1_000) s"
        }
    }
}
