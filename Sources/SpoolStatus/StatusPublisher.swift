import Logging
import SpoolConfig
import SpoolIO

/// What the loop of a process does now and then for those who watch: figures for whoever asks over HTTP, a sign of life for the supervisor, a look
/// at the clock.
public final class StatusPublisher {
    /// How old figures may be. Nanoseconds.
    private static let every: Int64 = 1_000_000_000

    private let server: StatusServer?
    private let alarms: Alarms
    private let log: Logger
    private let version: String
    private let started = Double(Clock.now()) / 1e9
    private var watchdog: Watchdog
    private var clock = ClockWatch()
    private var nextAt: Int64 = 0

    /// - Parameters:
    ///   - setting: the address to serve at; nobody is served if it is not set.
    ///   - environment: in which a supervisor says that it waits for signs of life.
    public init(
        configuration: Configuration, setting: String, version: String, alarms: Alarms, log: Logger,
        environment: [String: String] = processEnvironment()
    ) throws {
        server = try configuration.text(setting).map { try StatusServer(address: $0, setting: setting) }
        self.version = version
        self.alarms = alarms
        self.log = log
        watchdog = Watchdog(environment: environment)
    }

    /// When ``tend(now:progresses:page:)`` is to be called at the latest, on the clock that never jumps.
    public var nextDeadline: Int64 { min(watchdog.nextFeed ?? .max, server == nil ? .max : nextAt) }

    /// To be called each time round the loop.
    ///
    /// - Parameters:
    ///   - now: on the clock that never jumps.
    ///   - progresses: whether the work gets on; if not, the supervisor is to start the process anew.
    ///   - page: what is served from now on; asked for once a second, and only if somebody is served.
    public func tend(now: Int64, progresses: Bool, page: (ProcessFigures) -> any StatusPage) {
        watchdog.feed(now, progresses: progresses)
        guard now >= nextAt else { return }
        nextAt = now + Self.every
        if let step = clock.look() {
            log.warning("the wall clock was set by \(step / 1_000_000) ms: times and lags before and after it do not compare")
        }
        guard let server else { return }
        server.publish(page(ProcessFigures(started: started, version: version, clock: clock, alarms: alarms.summary)), at: now)
    }
}
