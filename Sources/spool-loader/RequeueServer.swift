import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// A stop was asked for: the command ends, and the same command goes on later.
struct RequeueStopped: Error {}

/// ClickHouse for a command that does one thing after the other: waits for answers, and between failures.
final class RequeueServer {
    /// How many failures in a row end the command. With the longest wait between them some minutes.
    private static let maxFailures = 12
    private static let tickMilliseconds: Int32 = 100

    private let server: ClickHouse
    private let log: Logger
    private var backoff: Backoff
    private var random = SystemRandomNumberGenerator()
    private let stopSignal: StopSignal

    init(configuration: Configuration, stopSignal: StopSignal, log: Logger) throws {
        server = try ClickHouse(configuration: configuration, http: HTTPClient(), log: log)
        self.stopSignal = stopSignal
        self.log = log
        backoff = Backoff(first: configuration.duration("loader.backoff"), cap: configuration.duration("loader.backoff_max"))
    }

    var url: String { server.url }
    var wire: Dialect.Wire { server.wire }

    /// Does it again, with waits between, while the server fails.
    ///
    /// - Throws: the failure itself once it has lasted; errors of other kinds at once.
    func insist<Answer>(_ work: (RequeueServer) throws -> Answer) throws -> Answer {
        while true {
            do {
                return try work(self)
            } catch let failure as CommandFailure {
                try failed(failure.description)
            }
        }
    }

    func query(_ sql: String) throws -> [UInt8] {
        var answer: ServerAnswer?
        server.query(sql) { answer = $0 }
        let answered = try wait { answer }
        guard case .ok(let body) = answered else {
            throw CommandFailure("ClickHouse at \(url): \(answered.problem)", code: 74)
        }
        return body
    }

    /// Inserts once.
    func insert(
        _ body: any RequestBody, table: String, columns: [WireColumn], token: String, dialect: Dialect, isPlain: Bool
    ) throws -> ServerAnswer {
        var answer: ServerAnswer?
        server.insert(body, table: table, columns: columns, token: token, dialect: dialect, isPlain: isPlain) { answer = $0 }
        return try wait { answer }
    }

    /// Waits before the insert is sent again.
    ///
    /// - Throws: `CommandFailure` once it has failed for long.
    func failed(_ answer: ServerAnswer) throws { try failed("ClickHouse at \(url): \(answer.problem)") }

    /// A batch is done: failures before it are over. Only then, since an insert that is refused for ever would else be tried for ever: the
    /// questions between are answered.
    func succeeded() { backoff.reset() }

    /// - Throws: `RequeueStopped` if a stop was asked for.
    func checkStop() throws {
        if stopSignal.isAsked { throw RequeueStopped() }
    }

    /// Waits so many nanoseconds.
    func pause(_ duration: Int64) throws {
        let until = Clock.monotonic() + duration
        while case let rest = until - Clock.monotonic(), rest > 0 {
            try checkStop()
            server.http.wait(
                milliseconds: min(Int32(clamping: rest / 1_000_000 + 1), Self.tickMilliseconds), descriptors: stopSignal.descriptors)
        }
        try checkStop()
    }

    private func failed(_ problem: String) throws {
        if backoff.failures >= Self.maxFailures { throw CommandFailure("\(problem); the same command goes on where it stopped", code: 74) }
        let wait = backoff.next(random: &random)
        if backoff.failures == 1 || backoff.failures % 4 == 0 { log.warning("\(problem); tries again") }
        try pause(wait)
    }

    /// Waits for an answer. A stop lets it come for a while.
    private func wait(_ answer: () -> ServerAnswer?) throws -> ServerAnswer {
        var deadline: Int64?
        while true {
            if let answer = answer() { return answer }
            server.http.wait(milliseconds: Self.tickMilliseconds, descriptors: stopSignal.descriptors)
            if stopSignal.isAsked {
                let limit = deadline ?? Clock.monotonic() + StopSignal.grace
                deadline = limit
                if Clock.monotonic() > limit { throw RequeueStopped() }
            }
        }
    }
}
