import CSystem
import Glibc
import Logging
import SpoolFormat
import SpoolIO

/// The program that is run for an alarm, with one JSON object on its standard input.
struct AlertCommand: Sendable {
    private static let patience: Int64 = 30_000_000_000
    /// Longer texts are cut: the object must fit into a pipe, so that a command that does not read holds nobody up.
    static let mostCharacters = 1_000

    private let command: String
    private let process: String
    private let log: Logger

    init(_ command: String, process: String, log: Logger) {
        self.command = command
        self.process = process
        self.log = log
    }

    func call(_ alarm: Alarms.Alarm) {
        if let problem = run(alarm) { log.error("the alert command \(command) \(problem)") }
    }

    func json(_ alarm: Alarms.Alarm) -> String {
        let table = alarm.table.map { "\"table\":\(RowText.quoted(Self.cut($0)))," } ?? ""
        return
            "{\"time\":\"\(rfc3339(alarm.at))\",\"process\":\(RowText.quoted(process)),\(table)\"alert\":\(RowText.quoted(Self.cut(alarm.text)))}\n"
    }

    private static func cut(_ text: String) -> String {
        let scalars = text.unicodeScalars
        return scalars.count <= mostCharacters ? text : String(String.UnicodeScalarView(scalars.prefix(mostCharacters))) + "..."
    }

    /// - Returns: what went wrong, if anything.
    private func run(_ alarm: Alarms.Alarm) -> String? {
        var input: [Int32] = [-1, -1]
        guard cp_pipe(&input) == 0 else { return "was not run: no pipe" }
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
            withCStrings(["COLDPATH_ALERT=\(Self.cut(alarm.text))", "PATH=/usr/local/bin:/usr/bin:/bin"]) { environment in
                posix_spawn(&pid, command, &actions, &attributes, arguments, environment)
            }
        }
        close(input[0])
        guard code == 0 else {
            close(input[1])
            return "was not run: \(String(cString: strerror(code)))"
        }
        let text = Array(json(alarm).utf8)
        _ = write(input[1], text, text.count)
        // It ends the object: a command that reads to the end goes on.
        close(input[1])
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
