/// What a server says of a table that it has, from `engine_full` of `system.tables`.
public struct TargetEngine: Equatable, Sendable {
    /// Such as `MergeTree` or `ReplicatedMergeTree`.
    public let engine: String
    /// After which rows can be gone; nil if the table has no TTL that we understand.
    public let retention: Retention?
    /// Values of the SETTINGS clause as text.
    public let settings: [String: String]
    private let partitioning: Partitioning

    private enum Partitioning: Equatable {
        case none
        case rule(PartitionRule, column: String)
        /// One that we do not know.
        case other
    }

    /// Whether rows of one of our partitions can belong to several of the table's.
    public func splits(_ rule: PartitionRule, of column: String) -> Bool {
        switch partitioning {
        case .none: false
        case .rule(let its, let itsColumn): itsColumn != column || (its == .day && rule == .month)
        case .other: true
        }
    }

    /// Reads the text leniently: the server wrote it, and only what concerns the loader is looked at.
    public init(_ text: String) {
        var engine = ""
        var retention: Retention?
        var settings: [String: String] = [:]
        var partitioning = Partitioning.none
        if var tokens = try? SQLTokens(text, file: "engine_full") {
            engine = (try? tokens.takeWord("an engine")) ?? ""
            while !tokens.isAtEnd {
                if tokens.taken(keyword: "PARTITION") {
                    _ = tokens.taken(keyword: "BY")
                    let rule = try? tokens.takePartitionRule()
                    partitioning = rule.map { .rule($0.0, column: $0.1) } ?? .other
                    // What follows would make it another one: `toDate(ts) % 7`.
                    if !tokens.isAtEnd, !["ORDER", "PRIMARY", "SAMPLE", "TTL", "SETTINGS"].contains(where: { tokens.isNext(keyword: $0) }) {
                        partitioning = .other
                    }
                } else if tokens.taken(keyword: "TTL") {
                    retention = tokens.takeTTL(until: ["SETTINGS"]).retention
                } else if tokens.taken(keyword: "SETTINGS") {
                    while let name = try? tokens.takeWord("a setting"), tokens.taken("="), let value = try? tokens.takeAny() {
                        switch value {
                        case .word(let text), .number(let text), .string(let text): settings[name] = text
                        case .mark: break
                        }
                        _ = tokens.taken(",")
                    }
                } else {
                    _ = try? tokens.takeAny()
                }
            }
        }
        self.engine = engine
        self.retention = retention
        self.settings = settings
        self.partitioning = partitioning
    }
}
