/// Whether a table's checkpoint stands still while there are rows to load.
struct Standstill: Equatable {
    /// From then on it is an alarm, and again each time it has gone on for as long. Nanoseconds.
    static let alarmAfter: Int64 = 60_000_000_000

    private var next: UInt64
    /// When the checkpoint last moved, or there was nothing to load.
    private var since: Int64
    private var nextAlarm: Int64
    /// Whether there was something to load at the last look.
    private var isStanding = false

    init(next: UInt64, at now: Int64) {
        self.next = next
        since = now
        nextAlarm = now + Self.alarmAfter
    }

    /// For how long it has been standing still, nanoseconds; 0 if there was nothing to load.
    func standing(at now: Int64) -> Int64 { isStanding ? now - since : 0 }

    /// Takes a look.
    ///
    /// - Parameters:
    ///   - next: the checkpoint.
    ///   - outstanding: rows to load.
    ///   - now: nanoseconds of the monotonic clock.
    /// - Returns: the new state, and for how many seconds it has been standing if that is to be said now.
    func seen(next: UInt64, outstanding: UInt64, at now: Int64) -> (Standstill, seconds: Int64?) {
        guard next == self.next, outstanding > 0 else { return (Standstill(next: next, at: now), nil) }
        var state = self
        state.isStanding = true
        guard now >= nextAlarm else { return (state, nil) }
        state.nextAlarm = now + Self.alarmAfter
        return (state, (now - since) / 1_000_000_000)
    }
}
