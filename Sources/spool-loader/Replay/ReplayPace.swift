import ArgumentParser

/// How much faster than it was recorded.
enum ReplaySpeed: Equatable, ExpressibleByArgument, CustomStringConvertible {
    case times(Double)
    /// As fast as rows are taken.
    case max

    /// `1`, `10x`, `0.5` or `max`.
    init?(argument: String) {
        if argument == "max" {
            self = .max
            return
        }
        let number = argument.hasSuffix("x") ? argument.dropLast() : argument[...]
        guard let factor = Double(number), factor.isFinite, factor >= 0.001, factor <= 1_000_000 else { return nil }
        self = .times(factor)
    }

    var description: String {
        switch self {
        case .times(let factor): factor == factor.rounded() ? "\(Int(factor))x" : "\(factor)x"
        case .max: "full speed"
        }
    }
}

/// When a row is due, on the clock that never jumps.
struct ReplayPace {
    private let speed: ReplaySpeed
    /// Event time of the beginning.
    private let first: Int64
    /// Of the clock.
    private let begun: Int64

    init(_ speed: ReplaySpeed, first: Int64, begun: Int64) {
        self.speed = speed
        self.first = first
        self.begun = begun
    }

    /// Nanoseconds of the clock; its beginning for rows that are due at once.
    func due(_ time: Int64) -> Int64 {
        guard case .times(let factor) = speed else { return begun }
        return begun + Self.scaled(from: first, to: time, by: factor)
    }

    /// By how much times must move so that the last row's is the moment at which it is due: none is in the future then, and all lie as far
    /// apart as they were recorded.
    ///
    /// - Parameter now: of the wall clock, nanoseconds since the Unix epoch.
    static func shift(_ span: ClosedRange<Int64>, _ speed: ReplaySpeed, now: Int64) -> Int64 {
        let lasts =
            switch speed {
            case .times(let factor): scaled(from: span.lowerBound, to: span.upperBound, by: factor)
            case .max: Int64(0)
            }
        let end = now.addingReportingOverflow(lasts)
        let shift = (end.overflow ? .max : end.partialValue).subtractingReportingOverflow(span.upperBound)
        return shift.overflow ? 0 : shift.partialValue
    }

    /// Exact at the recorded speed; a century is the most.
    private static func scaled(from: Int64, to: Int64, by factor: Double) -> Int64 {
        let century: Int64 = 3_155_760_000_000_000_000
        let (span, overflow) = to.subtractingReportingOverflow(from)
        guard !overflow else { return century }
        if factor == 1 { return min(span, century) }
        return Int64(min(Double(span) / factor, Double(century)))
    }
}
