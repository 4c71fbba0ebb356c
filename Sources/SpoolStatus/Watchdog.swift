import Glibc
import SpoolIO

/// Tells a supervisor such as systemd that the process gets on (`WatchdogSec=`); nothing if none asks for it.
///
/// It is fed by the loop that does the work, and only while the work gets on: a process that lives and does nothing is ended and started again,
/// which neither loses nor doubles a row.
public struct Watchdog {
    /// Nanoseconds between two signs of life; nil if nobody waits for them.
    public let interval: Int64?
    /// When the next one is due, nanoseconds of the clock that never jumps; nil if nobody waits for it.
    public var nextFeed: Int64? { interval.map { _ in next } }
    private var next: Int64 = 0

    /// - Parameter environment: with `WATCHDOG_USEC`, and `WATCHDOG_PID` if it is meant for one process alone.
    public init(environment: [String: String], pid: Int32 = getpid()) {
        let isMeant = environment["WATCHDOG_PID"].map { $0 == "\(pid)" } ?? true
        guard isMeant, let text = environment["WATCHDOG_USEC"], let time = Int64(text), (1...86_400_000_000).contains(time) else {
            interval = nil
            return
        }
        // Four times as often as is asked for: one that comes late is not yet the end.
        interval = time * 1_000 / 4
    }

    /// To be called each time round the loop.
    ///
    /// - Parameter progresses: whether the work gets on, or a person knows why it does not.
    /// - Returns: whether a sign of life is due.
    public mutating func isDue(_ now: Int64, progresses: Bool) -> Bool {
        guard let interval, now >= next else { return false }
        // Also when none is given: who waits for the next time must not wait for one that is past.
        next = now + interval
        return progresses
    }

    /// The same, and gives it.
    public mutating func feed(_ now: Int64, progresses: Bool) {
        if isDue(now, progresses: progresses) { notifySupervisor("WATCHDOG=1") }
    }
}
