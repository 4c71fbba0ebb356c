import Logging
import SpoolIO

/// Says what of a ring's rows was not recorded and why, but never more than a person can read: a producer that is wrong is wrong a million times
/// a second.
struct RefusalLog {
    private static let linesPerWindow = 10
    private static let window: Int64 = 10_000_000_000

    private let log: Logger
    private let ring: String
    /// When the log was last told the time, and when the first line of this window was written.
    private var now: Int64 = 0
    private var windowBegan: Int64 = 0
    private var lines = 0
    private var silent: UInt64 = 0
    /// Rows that found the ring full, by table, as they were last named.
    private var namedFull: [UInt64] = []
    private var fullNamedAt: Int64 = 0

    init(log: Logger, ring: String) {
        self.log = log
        self.ring = ring
    }

    mutating func note(_ refusal: Refusal, position: UInt64) {
        if lines == 0 { windowBegan = now }
        if lines < Self.linesPerWindow {
            lines += 1
            let place = [refusal.table, refusal.field].compactMap { $0 }.joined(separator: ".")
            log.error("row refused: \(place): \(refusal.reason)", metadata: ["ring": "\(ring)", "position": "\(position)"])
        } else {
            silent += 1
        }
    }

    /// Call now and then: says how many were not named, and begins to name again.
    mutating func tick(monotonic: Int64, isLast: Bool) {
        now = monotonic
        guard lines > 0, isLast || monotonic - windowBegan >= Self.window else { return }
        if silent > 0 { log.error("\(silent) more rows were refused", metadata: ["ring": "\(ring)"]) }
        lines = 0
        silent = 0
    }

    /// Rows that were never published, since there was no room: nobody else may be left to say so.
    mutating func noteFull(_ counts: [(table: String, rows: UInt64)], monotonic: Int64, isLast: Bool) {
        if namedFull.isEmpty { namedFull = counts.map { _ in 0 } }
        let more = zip(counts, namedFull).filter { $0.rows > $1 }
        guard !more.isEmpty, isLast || fullNamedAt == 0 || monotonic - fullNamedAt >= Self.window else { return }
        fullNamedAt = monotonic
        namedFull = counts.map(\.rows)
        let tables = more.map { "\($0.table) \($0.rows &- $1)" }.joined(separator: ", ")
        log.error(
            "the ring was full, and its producer could not publish rows: \(tables); make the ring larger, or find out what holds the writer up",
            metadata: ["ring": "\(ring)"])
    }
}
