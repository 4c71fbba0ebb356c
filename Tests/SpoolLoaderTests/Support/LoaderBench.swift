import Glibc
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

@testable import spool_loader

/// Opens what a lock guards, after another holder in this process let go of it.
///
/// While another test starts a process, that one has all our descriptors for a moment, and so the lock.
func openedAgain<Opened>(_ open: () throws -> Opened) throws -> Opened {
    let deadline = Clock.monotonic() + 2_000_000_000
    while true {
        do {
            return try open()
        } catch let failure as CommandFailure where failure.description.contains("another loader has") && Clock.monotonic() < deadline {
            usleep(1_000)
        }
    }
}

/// One table's loader with a spool and a server, run step by step as `Loader` does.
final class LoaderBench {
    let spool: TestSpool
    let server: FakeClickHouse
    let http = HTTPClient()
    private(set) var loader: TableLoader
    private let settings: Configuration

    init(_ spool: TestSpool, _ server: FakeClickHouse, once: Bool = true, _ more: [String: String] = [:]) throws {
        self.spool = spool
        self.server = server
        settings = try configuration(
            [
                "spool": spool.path, "loader.checkpoints": spool.checkpoints, "loader.url": server.url, "loader.linger": "0ms",
                "loader.inflight": "1",
                "loader.backoff": "1ms", "loader.backoff_max": "5ms", "loader.timeout": "2s",
            ].merging(more) { $1 })
        let (settings, http) = (settings, http)
        loader = try openedAgain { try Self.make(spool, settings, http, once) }
    }

    private static func make(_ spool: TestSpool, _ settings: Configuration, _ http: HTTPClient, _ once: Bool) throws -> TableLoader {
        var log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        log.logLevel = .critical
        return try TableLoader(
            table: spool.table, spool: spool.spool, configuration: settings, server: ClickHouse(configuration: settings, http: http),
            log: log,
            once: once)
    }

    /// Steps until everything is loaded, or the loader stops or waits for a copy.
    ///
    /// - Parameter steps: at most so many.
    /// - Returns: whether it came to such an end.
    @discardableResult
    func run(steps: Int = 2_000) -> Bool {
        for _ in 0..<steps {
            loader.step(now: Clock.monotonic())
            switch loader.status {
            case .drained: return true
            case .stopped: return true
            case .waiting where loader.isWaitingForCopy: return true
            default: http.wait(milliseconds: 2)
            }
        }
        return false
    }

    /// Ends as if killed: what runs comes to its end in the server, and nothing of it is noted here.
    func die() { while !http.isIdle { http.wait(milliseconds: 1) } }

    var stopReason: String? { if case .stopped(let why) = loader.status { why } else { nil } }
    var checkpoint: Checkpoint { loader.checkpoint }
    func savedCheckpoint() throws -> Checkpoint? {
        try CheckpointStore.peek(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table)
    }
}
