import Logging
import SpoolIO
import SpoolRing

/// Says which rows of rings were refused and why, but never more than a person can read: a producer that is wrong is wrong a million times a second.
final class RefusalLog {
    private static let linesPerWindow = 10
    private static let window: Int64 = 10_000_000_000

    private let log: Logger
    /// When the log was last told the time, and when the first line of this window was written.
    private var now: Int64 = 0
    private var windowBegan: Int64 = 0
    private var lines = 0
    private var silent: UInt64 = 0

    init(log: Logger) { self.log = log }

    func note(_ refusal: Refusal, ring: RingFile, position: UInt64) {
        if lines == 0 { windowBegan = now }
        if lines < Self.linesPerWindow {
            lines += 1
            let place = [refusal.table, refusal.field].compactMap { $0 }.joined(separator: ".")
            log.error("row refused: \(place): \(refusal.reason)", metadata: ["ring": "\(ring.path)", "position": "\(position)"])
        } else {
            silent += 1
        }
    }

    /// Call now and then: says how many were not named, and begins to name again.
    func tick(monotonic: Int64) {
        now = monotonic
        guard lines > 0, monotonic - windowBegan >= Self.window else { return }
        if silent > 0 { log.error("\(silent) more rows of rings were refused") }
        lines = 0
        silent = 0
    }
}
