import ArgumentParser
import SpoolFormat

/// A time on the command line, nanoseconds since the Unix epoch.
struct EventTime: ExpressibleByArgument {
    let time: Int64

    init?(argument: String) {
        if let nanoseconds = Int64(argument) {
            time = nanoseconds
            return
        }
        let text = argument.count == 10 ? argument + "T00:00:00Z" : argument
        guard let time = TimestampText.parse(text) else { return nil }
        self.time = time
    }
}

/// A range of event times, nanoseconds since the Unix epoch.
struct TimeRange: Equatable {
    /// How much of a chunk or segment lies in the range.
    enum Share { case all, some, none }

    static let everything = TimeRange(from: .min, to: .max)

    let from: Int64
    /// The first time that does not belong to it.
    let to: Int64

    init(from: Int64, to: Int64) {
        self.from = from
        self.to = to
    }

    /// - Returns: nil if nothing is left out.
    init?(since: EventTime?, until: EventTime?) {
        guard since != nil || until != nil else { return nil }
        self.init(from: since?.time ?? .min, to: until?.time ?? .max)
    }

    func contains(_ time: Int64) -> Bool { time >= from && (time < to || to == .max) }

    /// The share of rows whose event times lie between these two; that of none if there are no rows, as `min > max` says.
    func share(min: Int64, max: Int64) -> Share {
        guard min <= max, max >= from, min < to || to == .max else { return .none }
        return contains(min) && contains(max) ? .all : .some
    }

    func share(of header: ChunkHeader) -> Share { share(min: header.minEventTime, max: header.maxEventTime) }

    /// The rows of a chunk that lie in the range.
    func rows(of block: NativeBlock, eventTimeColumn: Int) -> [Int] {
        let times = block.columns[eventTimeColumn]
        return (0..<block.rows).filter { contains(Int64(truncatingIfNeeded: times.integer($0))) }
    }

    /// For people, and as part of a file name: without colons, and fractions only where there are any.
    var name: String {
        if self == .everything { return "all" }
        return (from == .min ? "begin" : Self.name(of: from)) + "--" + (to == .max ? "end" : Self.name(of: to))
    }

    private static func name(of time: Int64) -> String {
        let text = rfc3339(time).replacing(".000000000Z", with: "Z")
        return text.replacing("T00:00:00Z", with: "").filter { $0 != ":" }
    }
}
