import Logging
import SpoolConfig
import SpoolIO
import SpoolStatus

/// What the loop does now and then for those who watch: figures for whoever asks over HTTP, a sign of life for the supervisor, a look at the clock.
final class WriterStatus {
    /// How old figures may be. Nanoseconds.
    private static let every: Int64 = 1_000_000_000

    private let server: StatusServer?
    private let alarms: Alarms
    private let log: Logger
    private let started = Double(Clock.now()) / 1e9
    private var watchdog: Watchdog
    private var clock = ClockWatch()
    private var nextAt: Int64 = 0

    init(configuration: Configuration, alarms: Alarms, log: Logger, environment: [String: String] = processEnvironment()) throws {
        server = try configuration.text("writer.metrics").map { try StatusServer(address: $0, setting: "writer.metrics") }
        self.alarms = alarms
        self.log = log
        watchdog = Watchdog(environment: environment)
    }

    /// When the supervisor expects a sign of life, on the clock that never jumps; nil if none does. Figures can wait for the loop.
    var nextDeadline: Int64? { watchdog.nextFeed }

    func tend(_ recorder: Recorder, connections: Int, rings: Int, monotonic: Int64) {
        // What the disk does not take is tried again, and people are told: starting anew would not help. A loop that hangs does not come here.
        watchdog.feed(monotonic, progresses: true)
        guard monotonic >= nextAt else { return }
        nextAt = monotonic + Self.every
        if let step = clock.look() {
            log.warning("the wall clock was set by \(step / 1_000_000) ms: event times and lags before and after it do not compare")
        }
        guard let server else { return }
        let process = ProcessFigures(started: started, version: coldpathVersion, clock: clock, alarms: alarms.summary)
        server.publish(recorder.figures(connections: connections, rings: rings, process: process, monotonic: monotonic), at: monotonic)
    }
}
