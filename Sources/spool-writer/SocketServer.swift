import CSystem
import Glibc
import Logging
import SpoolFormat
import SpoolIO
import SpoolStatus

/// The loop of `spool-writer run`: one thread, one `poll`, all producers.
final class SocketServer {
    /// Longest wait, so that nothing is ever overslept for long.
    private static let maxWait: Int64 = 1_000_000_000
    /// Between two rounds of a stop.
    private static let stopWait: Int64 = 20_000_000
    /// How long producers may go on to send, and to read their answers, once a stop was asked for.
    private static let stopGrace: Int64 = 2_000_000_000

    /// How long the listener rests after it could not accept. Nanoseconds.
    private static let acceptPause: Int64 = 1_000_000_000

    /// In one round, so that who is not let in and comes again and again holds nobody up.
    private static let mostRefusals = 16

    /// Descriptors that are polled before those of the connections: the stop, the listener, the rings' directory.
    private static let fixedDescriptors = 3

    private let recorder: Recorder
    private let listener: Int32
    private let path: String
    private let stop: Int32
    private let maxConnections: Int
    private let rule: ConnectionRule
    private var refusals: RepeatedLog
    private let log: Logger
    private let rings: RingSet?
    /// Never sleeps.
    private let isBusy: Bool
    private let status: StatusPublisher?
    private var connections: [Connection] = []
    private var acceptAgainAt: Int64 = 0

    /// Listens at `path`; SIGTERM and SIGINT stop the loop.
    init(
        recorder: Recorder, path: String, maxConnections: Int, rule: ConnectionRule = .open, rings: RingSet? = nil, isBusy: Bool = false,
        status: StatusPublisher? = nil, log: Logger
    ) throws(IOFailure) {
        self.recorder = recorder
        self.rings = rings
        self.isBusy = isBusy
        self.status = status
        self.path = path
        self.maxConnections = maxConnections
        self.rule = rule
        refusals = RepeatedLog(log)
        self.log = log
        stop = cp_stop_signals()
        guard stop >= 0 else { throw IOFailure("signalfd", path, errno) }
        listener = try LocalSocket.listen(at: path)
    }

    deinit {
        close(listener)
        close(stop)
    }

    /// Serves until a stop is asked for. When it returns everything that producers were told is accepted is durable, and
    /// every segment is sealed.
    func run() throws(IOFailure) {
        var stopAt: Int64?
        var roundBefore = Clock.monotonic()
        while true {
            let wait = isBusy ? 0 : stopAt == nil ? self.wait() : Self.stopWait
            var polled = descriptors(accepting: stopAt == nil)
            _ = cp_poll(&polled, polled.count, wait)
            if stopAt == nil, polled[0].revents != 0 {
                stopAt = Clock.monotonic() + Self.stopGrace
                log.notice("stopping: taking what producers have sent")
                notifySupervisor("STOPPING=1")
                try? Directory.removeIfPresent(path)
            }
            if polled[2].revents != 0 { rings?.directoryChanged() }
            let round = Clock.monotonic()
            let (received, lines) = serve(polled)
            let drained = rings?.drain(monotonic: Clock.monotonic()) ?? 0
            // Refusals first: once the lines behind them are durable, a producer that was not told would never hear of them.
            for connection in connections { connection.sendAnswers() }
            let moved = recorder.tick(monotonic: Clock.monotonic())
            answer(progressed: moved || received + drained > 0)
            rings?.publish()
            // What the disk does not take is tried again, and people are told: starting anew would not help. A loop that hangs does not come here.
            status?.tend(now: round, progresses: true) {
                recorder.figures(connections: connections.count, rings: rings?.count ?? 0, process: $0, monotonic: round)
            }
            if let stopAt {
                // Nothing new in a whole round, or no more patience.
                if received + drained == 0 || Clock.monotonic() >= stopAt { break }
            } else if !isBusy && drained == 0 {
                let pause = GatherPause.microseconds(bytes: received, lines: lines, elapsed: round - roundBefore)
                if pause > 0 { usleep(pause) }
            }
            roundBefore = round
        }
        try finish()
    }

    /// Ends an older connection of a producer that comes back under its name.
    ///
    /// - Returns: false if the older one is still alive.
    func release(_ name: String, for newcomer: Connection, _ recorder: Recorder) -> Bool {
        for other in connections where other !== newcomer && other.source.name == name {
            // All that it sent before it went away comes first.
            if !other.drainToEnd(recorder, self) { return false }
        }
        return true
    }

    private func descriptors(accepting: Bool) -> [pollfd] {
        let listens = accepting && connections.count < maxConnections && Clock.monotonic() >= acceptAgainAt
        var polled = [
            pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
            pollfd(fd: listens ? listener : -1, events: Int16(POLLIN), revents: 0),
            pollfd(fd: rings?.watch ?? -1, events: Int16(POLLIN), revents: 0),
        ]
        for connection in connections {
            var events: Int32 = 0
            if !connection.inputEnded { events |= POLLIN }
            if connection.hasAnswers { events |= POLLOUT }
            polled.append(pollfd(fd: events == 0 ? -1 : connection.descriptor, events: Int16(events), revents: 0))
        }
        return polled
    }

    /// How long the loop may sleep, in nanoseconds.
    /// Tells those who are not let in, and the log now and then.
    private func refuse(_ descriptor: Int32, _ why: String) {
        let line = Array("{\"error\":\(RowText.quoted(why))}\n".utf8)
        _ = line.withUnsafeBytes { LocalSocket.send(descriptor, $0) }
        close(descriptor)
        refusals.say(.warning, "a connection was refused: \(why)")
    }

    private func wait() -> Int64 {
        let monotonic = Clock.monotonic()
        var wait = Self.maxWait
        if let deadline = recorder.nextDeadline { wait = min(wait, deadline - monotonic) }
        if let rings { wait = min(wait, rings.wait(monotonic: monotonic)) }
        if let status { wait = min(wait, status.nextDeadline - monotonic) }
        return max(0, wait)
    }

    /// Reads from everyone who has something.
    ///
    /// - Returns: bytes received, and the lines that ended in them.
    private func serve(_ polled: [pollfd]) -> (bytes: Int, lines: Int) {
        var received = 0
        var lines = 0
        for (index, connection) in connections.enumerated()
        where index + Self.fixedDescriptors < polled.count && polled[index + Self.fixedDescriptors].fd >= 0 {
            let events = Int32(polled[index + Self.fixedDescriptors].revents)
            if events & (POLLIN | POLLHUP | POLLERR) != 0, !connection.inputEnded {
                let before = connection.lineCount
                received += connection.receive(into: recorder, server: self)
                lines += connection.lineCount - before
            }
        }
        if polled[1].revents != 0 {
            acceptWaiting()
        }
        return (received, lines)
    }

    private func acceptWaiting() {
        let before = connections.count
        var refused = 0
        while connections.count < maxConnections, refused < Self.mostRefusals, let descriptor = LocalSocket.accept(listener) {
            let user = LocalSocket.peerUser(of: descriptor)
            if let why = rule.refusal(of: user, others: connections.map(\.user)) {
                refused += 1
                refuse(descriptor, why)
            } else {
                connections.append(Connection(descriptor: descriptor, user: user))
            }
        }
        if refused > 0 { return }
        if connections.count == maxConnections {
            log.warning("\(maxConnections) connections, the most that writer.connections allows: further producers wait")
        } else if connections.count == before {
            // No descriptors left, most likely: asking again at once would only burn the processor.
            acceptAgainAt = Clock.monotonic() + Self.acceptPause
            log.warning("cannot accept a connection (is the limit of open files too low?); tries again in a second")
        }
    }

    private func answer(progressed: Bool) {
        for connection in connections {
            if progressed || connection.inputEnded { connection.answerProgress() }
            connection.sendAnswers()
        }
        connections.removeAll { $0.isDone }
    }

    private func finish() throws(IOFailure) {
        // Once more around; what producers publish from here on waits in their rings for the next writer.
        _ = rings?.drain(monotonic: Clock.monotonic())
        try recorder.finish()
        rings?.publish()
        rings?.report(monotonic: Clock.monotonic(), isLast: true)
        let deadline = Clock.monotonic() + Self.stopGrace
        repeat {
            for connection in connections {
                connection.answerProgress()
                connection.sendAnswers()
            }
            guard connections.contains(where: \.hasAnswers) else { break }
            usleep(1_000)
        } while Clock.monotonic() < deadline
    }
}
