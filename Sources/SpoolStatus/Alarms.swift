import Glibc
import Logging
import SpoolIO
import Synchronization

/// How often a person was called, what for the last time, and a command that calls one.
///
/// Every critical log entry is an alarm. Nobody who raises one waits: the command runs on a thread of its own.
public final class Alarms: Sendable {
    public struct Summary: Equatable, Sendable {
        public var count: UInt64 = 0
        public var last = ""
        /// Nanoseconds since the Unix epoch.
        public var lastAt: Int64 = 0

        public init() {}
    }

    /// What the command is told.
    struct Alarm: Equatable {
        let text: String
        let table: String?
        /// Nanoseconds since the Unix epoch.
        let at: Int64
    }

    private struct State {
        var summary = Summary()
        /// Whether a command runs for them.
        var isHeard = false
        var waiting: [Alarm] = []
        var said: [String: Int64] = [:]
    }

    private static let mostWaiting = 64
    /// The same alarm runs the command again after that long.
    private static let again: Int64 = 60_000_000_000

    private let state = Mutex(State())
    private let process: String
    private let wake = WakePipe()

    /// - Parameter process: `spool-writer` or `spool-loader`.
    public init(process: String) {
        self.process = process
    }

    public var summary: Summary { state.withLock { $0.summary } }

    /// Runs this program for each alarm from now on: with one JSON object on its standard input, and the text in the environment variable
    /// `COLDPATH_ALERT`. It is ended after 30 s; an alarm that is raised again runs it at most once a minute.
    public func run(_ command: String, log: Logger) throws(IOFailure) {
        guard access(command, X_OK) == 0 else { throw IOFailure("run the alert command", command, errno) }
        state.withLock { $0.isHeard = true }
        let alert = AlertCommand(command, process: process, log: log)
        try DetachedThread.begin(for: "alert_command") { [self] in
            while true { alert.call(next()) }
        }
    }

    func raise(_ text: String, table: String?, now: Int64 = Clock.now()) {
        let isNew = state.withLock { state in
            state.summary.count += 1
            state.summary.last = text
            state.summary.lastAt = now
            guard state.isHeard else { return false }
            let key = "\(table ?? "")\t\(text)"
            if let last = state.said[key], now &- last < Self.again, now >= last { return false }
            if state.said.count >= Self.mostWaiting { state.said.removeAll() }
            state.said[key] = now
            // Of a flood the first are kept: what came first is nearer to the cause.
            if state.waiting.count < Self.mostWaiting { state.waiting.append(Alarm(text: text, table: table, at: now)) }
            return true
        }
        if isNew { wake.signal() }
    }

    /// Waits for one.
    private func next() -> Alarm {
        while true {
            if let alarm = state.withLock({ $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }) { return alarm }
            wake.wait()
        }
    }
}
