/// Counts of durations by size, from which percentiles are computed: five buckets to each power of ten, so that a percentile is known up
/// to a factor of 1.6.
public struct Histogram: Equatable, Sendable {
    /// Upper ends of the buckets, seconds: 100 µs to 1,000 s.
    public static let bounds: [Double] =
        (-4...2).flatMap { power -> [Double] in
            let unit = power < 0 ? 1 / Double(tens[-power]) : Double(tens[power])
            return [1, 1.6, 2.5, 4, 6.3].map { rounded($0 * unit) }
        } + [1_000]

    private static let tens = [1, 10, 100, 1_000, 10_000]

    /// By bucket; what is above the last bound is in ``count`` alone.
    public private(set) var counts = [UInt64](repeating: 0, count: bounds.count)
    public private(set) var count: UInt64 = 0
    /// Seconds.
    public private(set) var sum = 0.0

    public init() {}

    /// - Parameters:
    ///   - seconds: less than nothing counts as nothing: clocks of two machines differ.
    ///   - times: for how many rows.
    public mutating func observe(_ seconds: Double, times: UInt64 = 1) {
        let seconds = max(seconds, 0)
        count += times
        sum += seconds * Double(times)
        // Thirty-six comparisons at most, and no logarithm.
        if let index = Self.bounds.firstIndex(where: { seconds <= $0 }) { counts[index] += times }
    }

    /// The duration below which a share of all lies, as a straight line through its bucket gives it; nil if there are none, or it is above the last bound.
    ///
    /// - Parameter share: from 0 to 1.
    public func quantile(_ share: Double) -> Double? {
        guard count > 0 else { return nil }
        let rank = share * Double(count)
        var below = 0.0
        for (index, found) in counts.enumerated() where found > 0 {
            if below + Double(found) >= rank {
                let from = index == 0 ? 0 : Self.bounds[index - 1]
                return from + (Self.bounds[index] - from) * max(0, rank - below) / Double(found)
            }
            below += Double(found)
        }
        return nil
    }

    public static func + (left: Histogram, right: Histogram) -> Histogram {
        var result = left
        for index in bounds.indices { result.counts[index] += right.counts[index] }
        result.count += right.count
        result.sum += right.sum
        return result
    }

    /// So that a bound is written as short as it is meant.
    private static func rounded(_ bound: Double) -> Double { (bound * 1e6).rounded() / 1e6 }
}
