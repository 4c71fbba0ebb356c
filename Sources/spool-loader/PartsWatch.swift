/// What to say of a table's parts, from one look at them to the next.
struct PartsWatch {
    /// What is to be told to people.
    enum Notice: Equatable {
        case warning(String)
        case alarm(String)
        case relief(String)
    }

    /// Nanoseconds.
    static let alarmAgain: Int64 = 60_000_000_000
    /// How far below a threshold it must fall before it counts as left: else one part more or less would be told each time.
    private static let slack = 0.8

    private(set) var level = PartsCrowding.Level.calm
    private var alarmed: Int64?

    /// Takes a look.
    ///
    /// - Parameters:
    ///   - crowding: nil if the table has no parts, or no limits.
    ///   - now: nanoseconds of the monotonic clock.
    mutating func seen(_ table: String, _ crowding: PartsCrowding?, _ merges: PartsAnswer.Merges?, at now: Int64) -> Notice? {
        let before = level
        let seen = crowding?.level ?? .calm
        if seen > level || (crowding?.share ?? 0) < level.from * Self.slack { level = seen }
        guard let crowding, level > .calm else {
            alarmed = nil
            return before > .calm ? .relief("\(table): merges keep up again; batches are as usual") : nil
        }
        let place = crowding.partition.map { " in partition \($0)" } ?? ""
        let text =
            "\(table) has \(crowding.parts) active parts\(place), and \(crowding.limitName) is \(crowding.limit): merges do not keep up ("
            + Self.text(merges) + "); its batches are fewer and larger until they do"
        if level == .critical {
            if let alarmed, now - alarmed < Self.alarmAgain { return nil }
            alarmed = now
            return .alarm(
                "\(text). See system.merges, and the CPU and disks of ClickHouse; run SYSTEM START MERGES if they were stopped; who else inserts "
                    + "into it, in small batches?")
        }
        alarmed = nil
        return level > before ? .warning(text) : nil
    }

    private static func text(_ merges: PartsAnswer.Merges?) -> String {
        guard let merges, merges.running > 0 else { return "none is running" }
        return "\(merges.running) running, the longest for \(merges.longestSeconds) s"
    }
}
