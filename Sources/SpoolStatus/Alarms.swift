import CSystem
import Glibc
import Logging
import SpoolFormat
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
        var command: String?
        var waiting: [Alarm] = []
        var said: [String: Int64] = [:]
    }

    private static let mostWaiting = 64
    /// The same alarm runs the command again after that long.
    private static let again: Int64 = 60_000_000_000

    private let state = Mutex(State())
    private let process: String
    private let wake: FileDescriptorPair

    /// - Parameter process: `spool-writer` or `spool-loader`.
    public init(process: String) {
        self.process = process
        wake = FileDescriptorPair()
    }

    public var summary: Summary { state.withLock { $0.summary } }

    /// Runs this program for each alarm from now on: with one JSON object on its standard input, and the text in the environment variable
    /// `COLDPATH_ALERT`. It is ended after 30 s; an alarm that is raised again runs it at most once a minute.
    public func run(_ command: String, log: Logger) throws(IOFailure) {
        guard access(command, X_OK) == 0 else { throw IOFailure("run the alert command", command, errno) }
        state.withLock { $0.command = command }
        let worker = Worker(alarms: self, log: log)
        try DetachedThread.begin(for: "alert_command") { worker.run() }
    }

    func raise(_ text: String, table: String?, now: Int64 = Clock.now()) {
        let isNew = state.withLock { state in
            state.summary.count += 1
            state.summary.last = text
            state.summary.lastAt = now
            guard state.command != nil else { return false }
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

    fileprivate func next() -> (Alarm, command: String)? {
        while true {
            let found = state.withLock { state -> (Alarm, command: String)? in
                guard !state.waiting.isEmpty, let command = state.command else { return nil }
                return (state.waiting.removeFirst(), command)
            }
            if let found { return found }
            wake.wait()
        }
    }

    fileprivate func json(_ alarm: Alarm) -> String {
        let table = alarm.table.map { "\"table\":\(RowText.quoted($0))," } ?? ""
        return
            "{\"time\":\"\(rfc3339(alarm.at))\",\"process\":\(RowText.quoted(process)),\(table)\"alert\":\(RowText.quoted(alarm.text))}\n"
    }
}

/// A pipe that one thread waits at and others wake it through.
private final class FileDescriptorPair: Sendable {
    private let ends: (read: Int32, write: Int32)

    init() {
        var pair: [Int32] = [-1, -1]
        _ = cp_pipe(&pair)
        // A full pipe wakes as well as one more byte in it.
        if pair[1] >= 0 { _ = fcntl(pair[1], F_SETFL, O_NONBLOCK) }
        ends = (pair[0], pair[1])
    }

    deinit {
        if ends.read >= 0 { close(ends.read) }
        if ends.write >= 0 { close(ends.write) }
    }

    func signal() {
        var byte: UInt8 = 0
        _ = write(ends.write, &byte, 1)
    }

    func wait() {
        var bytes = [UInt8](repeating: 0, count: 64)
        if read(ends.read, &bytes, bytes.count) <= 0 { usleep(100_000) }
    }
}

/// The thread that runs the command, one alarm after the other.
private final class Worker: Sendable {
    private static let patience: Int64 = 30_000_000_000

    private let alarms: Alarms
    private let log: Logger

    init(alarms: Alarms, log: Logger) {
        self.alarms = alarms
        self.log = log
    }

    func run() {
        while let (alarm, command) = alarms.next() {
            if let problem = call(command, alarm) { log.error("the alert command \(command) \(problem)") }
        }
    }

    /// - Returns: what went wrong, if anything.
    private func call(_ command: String, _ alarm: Alarms.Alarm) -> String? {
        var input: [Int32] = [-1, -1]
        guard cp_pipe(&input) == 0 else { return "was not run: no pipe" }
        defer { close(input[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO)
        // Signals are as a new process expects them, whatever this one holds back.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        var pid: pid_t = 0
        let code = withCStrings([command]) { arguments in
            withCStrings(["COLDPATH_ALERT=\(alarm.text)", "PATH=/usr/local/bin:/usr/bin:/bin"]) { environment in
                posix_spawn(&pid, command, &actions, &attributes, arguments, environment)
            }
        }
        close(input[0])
        guard code == 0 else { return "was not run: \(String(cString: strerror(code)))" }
        // Less than a pipe holds, so that a command that does not read holds nobody up.
        let text = Array(alarms.json(alarm).utf8.prefix(4_096))
        _ = write(input[1], text, text.count)
        close(input[1])
        input[1] = -1
        return wait(pid)
    }

    private func wait(_ pid: pid_t) -> String? {
        let until = Clock.monotonic() + Self.patience
        var status: Int32 = 0
        while Clock.monotonic() < until {
            let ended = waitpid(pid, &status, WNOHANG)
            if ended == pid {
                return status == 0 ? nil : "ended with \(status & 0x7F == 0 ? "status \(status >> 8 & 0xFF)" : "signal \(status & 0x7F)")"
            }
            if ended < 0, errno != EINTR { return "cannot be waited for" }
            usleep(20_000)
        }
        kill(-pid, SIGKILL)
        _ = waitpid(pid, &status, 0)
        return "was ended: it took more than 30 s"
    }

    private func withCStrings<Result>(_ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result) -> Result {
        let copies: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
        defer { for copy in copies { free(copy) } }
        return body(copies)
    }
}

/// Passes entries on to another log, and raises an alarm for each critical one.
struct AlarmLog: LogHandler {
    var inner: any LogHandler
    let alarms: Alarms

    var logLevel: Logger.Level {
        get { inner.logLevel }
        set { inner.logLevel = newValue }
    }
    var metadata: Logger.Metadata {
        get { inner.metadata }
        set { inner.metadata = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { inner[metadataKey: key] }
        set { inner[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        if event.level == .critical {
            alarms.raise("\(event.message)", table: (event.metadata?["table"] ?? metadata["table"]).map { "\($0)" })
        }
        inner.log(event: event)
    }
}

/// A logger to standard error, one line an entry, whose critical entries raise alarms.
public func makeLogger(_ label: String, alarms: Alarms) -> Logger {
    var logger = Logger(label: label) { AlarmLog(inner: StreamLogHandler.standardError(label: $0), alarms: alarms) }
    logger.logLevel = .info
    return logger
}
