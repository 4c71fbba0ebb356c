/// How much of market data is recorded: a ladder that is climbed while there is too much, and left again when there is not.
///
/// Pure: the caller gives measurements and the time. It climbs fast, a rung each ``climbAfter``, and descends slowly, a rung each
/// ``descendAfter`` in which all was calm, so that it does not flap around a threshold.
struct Pressure: Equatable {
    enum Stage: Equatable {
        /// As configured.
        case none
        /// At most one row of a symbol in so many nanoseconds, and all trades.
        case interval(Int64)
        case tradesOnly
        case nothing

        var text: String {
            switch self {
            case .none: "all that is configured"
            case .interval(let time): "a row of a symbol each \(time / 1_000_000) ms, and trades"
            case .tradesOnly: "trades only"
            case .nothing: "nothing"
            }
        }
    }

    /// What the disk asks for at least.
    enum Floor: Int, Comparable {
        case none = 0
        case tradesOnly
        case nothing

        static func < (one: Floor, other: Floor) -> Bool { one.rawValue < other.rawValue }
    }

    static let intervals: [Int64] = [10, 20, 50, 100, 200, 500, 1_000].map { $0 * 1_000_000 }
    static let climbAfter: Int64 = 100_000_000
    static let descendAfter: Int64 = 2_000_000_000
    /// Shares of a queue's size above which it climbs, climbs two rungs, and below which it is calm.
    static let high = 0.5
    static let veryHigh = 0.9
    static let low = 0.2

    private static let tradesOnly = intervals.count + 1
    private static let nothing = intervals.count + 2

    /// 0: as configured.
    private(set) var rung = 0
    private var movedAt = Int64.min / 2
    private var calmSince: Int64?
    private var floor = Floor.none

    var stage: Stage {
        switch max(rung, Self.rung(of: floor)) {
        case 0: .none
        case Self.tradesOnly: .tradesOnly
        case Self.nothing...: .nothing
        case let rung: .interval(Self.intervals[rung - 1])
        }
    }

    private static func rung(of floor: Floor) -> Int {
        switch floor {
        case .none: 0
        case .tradesOnly: tradesOnly
        case .nothing: nothing
        }
    }

    /// - Parameters:
    ///   - usage: of the fullest queue of market rows, 0 to 1.
    ///   - now: nanoseconds of a clock that never jumps.
    mutating func update(usage: Double, floor: Floor, now: Int64) {
        self.floor = floor
        if usage >= Self.high {
            calmSince = nil
            guard now - movedAt >= Self.climbAfter, rung < Self.tradesOnly else { return }
            rung = min(rung + (usage >= Self.veryHigh ? 2 : 1), Self.tradesOnly)
            movedAt = now
        } else if usage < Self.low {
            let since = calmSince ?? now
            calmSince = since
            guard rung > 0, now - max(since, movedAt) >= Self.descendAfter else { return }
            rung -= 1
            movedAt = now
        } else {
            // Between the thresholds nothing moves.
            calmSince = nil
        }
    }
}
