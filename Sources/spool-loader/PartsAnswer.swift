import SpoolFormat

/// How near a table is to the number of parts at which ClickHouse slows inserts down, and then refuses them.
struct PartsCrowding: Equatable {
    enum Level: Int, Comparable {
        case calm, crowded, critical

        static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }

        /// Shares of the limit from which on it is this.
        var from: Double {
            switch self {
            case .calm: 0
            case .crowded: 0.5
            case .critical: 0.8
            }
        }
    }

    /// Active parts: of the fullest partition, or of the whole table, whichever is nearer to its limit.
    let parts: Int
    /// The fullest partition; nil if it is the table as a whole.
    let partition: String?
    let limit: Int
    /// ClickHouse's name for the limit.
    let limitName: String

    var share: Double { Double(parts) / Double(limit) }
    var level: Level { share >= Level.critical.from ? .critical : share >= Level.crowded.from ? .crowded : .calm }
}

/// What ClickHouse says of the parts of the tables that are loaded.
///
/// Each insert makes a part, and merges make fewer of them. When they do not keep up, ClickHouse at first delays inserts and then refuses them;
/// batches that are fewer and larger, in time, keep it from coming to that.
struct PartsAnswer: Equatable {
    struct Merges: Equatable {
        var running = 0
        var longestSeconds = 0
    }

    private(set) var crowding: [String: PartsCrowding] = [:]
    private(set) var merges: [String: Merges] = [:]
    /// ClickHouse's clock, whole seconds since the Unix epoch.
    private(set) var serverSecond: Double?

    /// By how much ClickHouse's clock is ahead of ours at least, seconds; 0 if the two may be equal, as far as whole seconds tell; nil if it is not known.
    ///
    /// - Parameters:
    ///   - asked: our clock before the question, seconds since the Unix epoch.
    ///   - answered: and after its answer.
    func clockOffset(asked: Double, answered: Double) -> Double? {
        guard let second = serverSecond else { return nil }
        return second > answered ? second - answered : min(0, second + 1 - asked)
    }

    /// The query whose answer ``init(_:)`` reads; it costs the server a look at a list in its memory.
    static func query(_ tables: [String]) -> String {
        let names = tables.map(quotedString).joined(separator: ", ")
        return """
            SELECT kind, label, place, number, more FROM (
                SELECT 'limit' AS kind, name AS label, '' AS place, value AS number, '' AS more FROM system.merge_tree_settings
                WHERE name IN ('parts_to_delay_insert', 'parts_to_throw_insert', 'max_parts_in_total')
                UNION ALL
                SELECT 'engine' AS kind, name AS label, '' AS place, '' AS number, engine_full AS more FROM system.tables
                WHERE database = currentDatabase() AND name IN (\(names))
                UNION ALL
                SELECT 'parts' AS kind, table AS label, argMax(partition, parts) AS place, toString(max(parts)) AS number,
                    toString(sum(parts)) AS more
                FROM (
                    SELECT table, partition, count() AS parts FROM system.parts
                    WHERE database = currentDatabase() AND table IN (\(names)) AND active GROUP BY table, partition
                ) GROUP BY table
                UNION ALL
                SELECT 'clock' AS kind, '' AS label, '' AS place, toString(toUInt32(now())) AS number, '' AS more
                UNION ALL
                SELECT 'merges' AS kind, table AS label, '' AS place, toString(count()) AS number, toString(toUInt64(max(elapsed))) AS more
                FROM system.merges WHERE database = currentDatabase() AND table IN (\(names)) GROUP BY table
            ) FORMAT TSVRaw
            """
    }

    /// Reads leniently: what is not understood is not known.
    init(_ answer: [UInt8]) {
        var common: [String: Int] = [:]
        var own: [String: [String: String]] = [:]
        var counts: [String: (partition: String, most: Int, all: Int)] = [:]
        for line in String(decoding: answer, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 5 else { continue }
            switch fields[0] {
            case "limit": common[fields[1]] = Int(fields[3])
            case "engine": own[fields[1]] = TargetEngine(fields[4]).settings
            case "parts": if let most = Int(fields[3]), let all = Int(fields[4]) { counts[fields[1]] = (fields[2], most, all) }
            case "clock": serverSecond = Double(fields[3])
            case "merges": merges[fields[1]] = Merges(running: Int(fields[3]) ?? 0, longestSeconds: Int(fields[4]) ?? 0)
            default: break
            }
        }
        for (table, count) in counts {
            func limit(_ name: String) -> Int? {
                let value = own[table]?[name].flatMap(Int.init) ?? common[name] ?? 0
                return value > 0 ? value : nil
            }
            var found: [PartsCrowding] = []
            // Refused before it is delayed: a server may be set so.
            for name in ["parts_to_delay_insert", "parts_to_throw_insert"] {
                guard let limit = limit(name) else { continue }
                found.append(PartsCrowding(parts: count.most, partition: count.partition, limit: limit, limitName: name))
            }
            if let limit = limit("max_parts_in_total") {
                found.append(PartsCrowding(parts: count.all, partition: nil, limit: limit, limitName: "max_parts_in_total"))
            }
            crowding[table] = found.max { $0.share < $1.share }
        }
    }
}
