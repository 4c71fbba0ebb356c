import ArgumentParser
import Glibc
import SpoolConfig
import SpoolIO

/// Where `status` and `top` ask.
struct MonitorOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where the writer serves its status.", valueName: "host:port"))
    var writerMetrics: String?
    @Option(help: ArgumentHelp("Where the loader serves its status.", valueName: "host:port"))
    var loaderMetrics: String?

    var flags: [String: String?] { ["writer.metrics": writerMetrics, "loader.metrics": loaderMetrics] }

    /// Whether colours are wanted: by a terminal, and not declined (https://no-color.org).
    static var wantsColor: Bool {
        let environment = processEnvironment()
        return isatty(STDOUT_FILENO) == 1 && (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
    }

    /// Whether the locale has more than ASCII.
    static var isUnicode: Bool {
        let environment = processEnvironment()
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty } ?? ""
        return locale.uppercased().contains("UTF-8") || locale.uppercased().contains("UTF8")
    }
}

extension SpoolLoader {
    struct StatusCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "Print once what `top` shows: tables, durable, loaded, lag, queues, disk, the last alarms.",
            discussion: """
                Tables are read from the spool and the checkpoints. What only the processes know is asked of them, where writer.metrics and \
                loader.metrics are set. Exit status 1 if a process says that it is not well, does not answer, or rows are set aside.
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var monitor: MonitorOptions
        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            try reporting {
                let snapshot = try StatusCollector(configuration: try common.configuration(monitor.flags)).take()
                if json {
                    try printJSON(snapshot)
                } else {
                    let isTerminal = isatty(STDOUT_FILENO) == 1
                    let view = StatusView(
                        width: isTerminal ? StatusLine(descriptor: STDOUT_FILENO).width : 160, hasColor: MonitorOptions.wantsColor,
                        isUnicode: MonitorOptions.isUnicode)
                    print(view.lines(snapshot).joined(separator: "\n"))
                }
                if !snapshot.isWell { throw ExitCode(1) }
            }
        }
    }

    struct Top: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show live what goes on: rates, queues, durable, loaded, lag, disk, the last alarms.",
            discussion: "Keys: q quits, s sorts by name, rate, lag or size, r reverses, p pauses, space looks at once.")
        @OptionGroup var common: CommonOptions
        @OptionGroup var monitor: MonitorOptions
        @Option(help: ArgumentHelp("Seconds between two looks, 0.2 to 60.", valueName: "seconds"))
        var every = 1.0

        func validate() throws {
            guard (0.2...60).contains(every) else { throw ValidationError("--every must be 0.2 to 60 seconds") }
        }

        func run() throws {
            try reporting {
                let collector = try StatusCollector(configuration: try common.configuration(monitor.flags))
                let stopSignal = try StopSignal()
                let screen = try TerminalScreen()
                // The terminal is put in order however this ends.
                defer { withExtendedLifetime(screen) {} }
                try watch(collector, screen, stopSignal)
            }
        }

        private func watch(_ collector: StatusCollector, _ screen: TerminalScreen, _ stopSignal: StopSignal) throws {
            let color = MonitorOptions.wantsColor
            let unicode = MonitorOptions.isUnicode
            var history = RateHistory()
            var order = StatusView.Order.name
            var isReversed = false
            var isPaused = false
            var snapshot = try collector.take()
            history.add(snapshot)
            var next = Clock.monotonic() + Int64(every * 1e9)
            while !stopSignal.isAsked {
                let size = screen.size
                let view = StatusView(width: size.width, hasColor: color, isUnicode: unicode, order: order, isReversed: isReversed)
                let keys =
                    "q quit  s sort: \(order.rawValue)  r \(isReversed ? "in order" : "reverse")  p \(isPaused ? "go on (paused)" : "pause")"
                let lines = view.lines(snapshot, rates: history.rates, rows: size.height - 2)
                let gap = max(0, size.height - 1 - lines.count)
                screen.draw(lines + Array(repeating: "", count: gap) + [String(keys.prefix(size.width))])
                switch screen.key(within: next - Clock.monotonic(), or: stopSignal.descriptors) {
                case UInt8(ascii: "q")?, UInt8(ascii: "Q")?: return
                case UInt8(ascii: "s")?: order = order.next
                case UInt8(ascii: "r")?: isReversed.toggle()
                case UInt8(ascii: "p")?: isPaused.toggle()
                case UInt8(ascii: " ")?: next = 0
                default: break
                }
                guard Clock.monotonic() >= next else { continue }
                next = Clock.monotonic() + Int64(every * 1e9)
                if isPaused { continue }
                snapshot = try collector.take()
                history.add(snapshot)
            }
        }
    }
}
