/// When a table's chunks are made durable.
public enum SyncPolicy: Equatable, Sendable {
    /// As soon as a chunk is cut.
    case eachChunk
    /// At the latest so many nanoseconds after a chunk was cut; sooner where others are synced anyway.
    case every(Int64)
    /// Only where it must be: a segment ends, memory or a ring fills up.
    case none

    /// `each chunk`, `every 250ms`, `none`.
    public init?(_ text: String) {
        switch text {
        case "each chunk": self = .eachChunk
        case "none": self = .none
        default:
            guard text.hasPrefix("every "), let time = Quantity.duration(String(text.dropFirst(6))), time >= 1_000_000,
                time <= 60_000_000_000
            else { return nil }
            self = .every(time)
        }
    }

    /// What `auto` stands for.
    static func usual(_ tableClass: TableClass) -> SyncPolicy {
        switch tableClass {
        case .audit: .eachChunk
        case .market: .every(1_000_000_000)
        }
    }
}

extension Configuration {
    public func syncPolicy(of table: String) -> SyncPolicy {
        SyncPolicy(text("writer.sync", table: table)) ?? .usual(tableClass(of: table))
    }
}
