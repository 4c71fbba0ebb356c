import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// ClickHouse for commands that send statements: one request after the other, and something that is done beside them now and then.
final class StatementServer {
    enum Sent: Equatable {
        case done([UInt8])
        /// Nobody knows whether it was done. It runs no more.
        case doubt(String)
    }

    /// Failures in a row that a person need not mend.
    private static let maxFailures = 8
    private static let tickMilliseconds: Int32 = 100
    /// A statement may copy rows for hours and say nothing; that the server is there is seen by TCP's keepalive. Nanoseconds.
    private static let longestStatement: Int64 = 7 * 86_400_000_000_000
    private static let pauseBetweenLooks: Int64 = 500_000_000

    let clickHouse: ClickHouse
    private let log: Logger
    /// With which every comment of this run's requests begins, and those of all runs in this database.
    private let run: String
    private let database: String
    private let purpose: String
    private var requests = 0
    private var backoff: Backoff
    private var random = SystemRandomNumberGenerator()
    /// Called about ten times a second while an answer is waited for.
    var meanwhile: () -> Void = {}

    /// - Parameter purpose: the command, as the comments of its requests name it.
    init(configuration: Configuration, purpose: String, log: Logger) throws {
        clickHouse = try ClickHouse(configuration: configuration, http: HTTPClient(), log: log)
        database = "spool-loader \(purpose) \(clickHouse.database) "
        run = database + String(UInt64.random(in: .min ... .max), radix: 36) + " "
        self.purpose = purpose
        self.log = log
        backoff = Backoff(first: configuration.duration("loader.backoff"), cap: configuration.duration("loader.backoff_max"))
    }

    var url: String { clickHouse.url }

    /// A question: repeated while the server fails, since it changes nothing.
    func ask(_ sql: String) throws(CommandFailure) -> [UInt8] {
        while true {
            switch try exchange(sql, [:], comment: nil) {
            case .done(let answer): return answer
            case .doubt(let problem): try pause(for: problem)
            }
        }
    }

    /// A question whose answer is 1 for yes.
    func isTrue(_ sql: String) throws(CommandFailure) -> Bool {
        let answer = String(decoding: try ask(sql), as: UTF8.self)
        switch answer.filter({ !$0.isWhitespace }) {
        case "1", "true": return true
        case "0", "false": return false
        default:
            throw CommandFailure("a question that is to be answered by 1 or 0 was answered by \"\(answer.prefix(100))\": \(sql)", code: 74)
        }
    }

    /// Sends a statement that may change something, once; again only where it is certain that it changed nothing.
    ///
    /// - Throws: `CommandFailure` with ClickHouse's own words if it refuses.
    func send(_ sql: String, parameters: [String: String] = [:]) throws(CommandFailure) -> Sent {
        requests += 1
        return try exchange(sql, parameters, comment: run + String(requests))
    }

    /// - Parameter comment: by which a statement is found again among those that run; nil for a question, whose end nobody waits for. Servers
    ///   before 22.2, of which only questions are asked, know no such setting.
    private func exchange(_ sql: String, _ parameters: [String: String], comment: String?) throws(CommandFailure) -> Sent {
        let named = comment.map { parameters.merging(["log_comment": $0]) { own, _ in own } } ?? parameters
        while true {
            let answer = answer(to: sql, named, timeout: comment == nil ? nil : Self.longestStatement)
            switch answer {
            case .ok(let body):
                backoff.reset()
                return .done(body)
            case .unreachable: try pause(for: "ClickHouse at \(url): \(answer.problem)")
            case .doubt:
                let problem = "ClickHouse at \(url): \(answer.problem)"
                if let comment {
                    log.warning("\(problem); looking whether the statement still runs")
                    try waitForEnd(of: "Settings['log_comment'] = \(quotedString(comment))")
                }
                return .doubt(problem)
            case .exception(let code, let text):
                let problem = "ClickHouse at \(url): \(text)"
                switch answer.reactionToQuestion {
                case .retryNow, .backOff, .tooManyParts: try pause(for: problem)
                // 341 says that a column's type has changed already, and its values could not be rewritten.
                default: throw CommandFailure(problem, code: 74, isRefusal: code != 341)
                }
            }
        }
    }

    private func answer(to sql: String, _ parameters: [String: String] = [:], timeout: Int64? = nil) -> ServerAnswer {
        var answer: ServerAnswer?
        clickHouse.query(sql, parameters: parameters, timeout: timeout) { answer = $0 }
        while true {
            if let answer { return answer }
            clickHouse.http.wait(milliseconds: Self.tickMilliseconds)
            meanwhile()
        }
    }

    /// Waits for statements of runs of this command that were killed: ClickHouse goes on with what it was sent, and the same statement beside it could do its work
    /// twice.
    func waitForEarlierRuns() throws(CommandFailure) {
        try waitForEnd(
            of:
                "startsWith(Settings['log_comment'], \(quotedString(database))) AND NOT startsWith(Settings['log_comment'], \(quotedString(run)))",
            saying: "ClickHouse still works on a statement of an earlier \(purpose); waiting for its end")
    }

    /// Waits until the server works on no query of the kind.
    private func waitForEnd(of condition: String, saying text: String? = nil) throws(CommandFailure) {
        var hasSaidSo = false
        while true {
            let answer = answer(to: "SELECT count() FROM system.processes WHERE \(condition) FORMAT TSV")
            guard case .ok(let body) = answer, let found = numbers(inLine: body), found.count == 1 else {
                try pause(for: "ClickHouse at \(url): \(answer.problem)")
                continue
            }
            backoff.reset()
            if found[0] == 0 { return }
            if let text, !hasSaidSo { log.notice("\(text)") }
            hasSaidSo = true
            wait(Self.pauseBetweenLooks)
        }
    }

    private func pause(for problem: String) throws(CommandFailure) {
        if backoff.failures >= Self.maxFailures { throw CommandFailure("\(problem); the same command goes on where it stopped", code: 74) }
        let duration = backoff.next(random: &random)
        if backoff.failures == 1 { log.warning("\(problem); tries again") }
        wait(duration)
    }

    /// Waits so many nanoseconds.
    func wait(_ duration: Int64) {
        let until = Clock.monotonic() + duration
        while case let rest = until - Clock.monotonic(), rest > 0 {
            clickHouse.http.wait(milliseconds: min(Int32(clamping: rest / 1_000_000 + 1), Self.tickMilliseconds))
            meanwhile()
        }
    }
}
