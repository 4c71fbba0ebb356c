import SpoolFormat

/// Days of which `retain` has dropped the rows, once their bars were proved. Rows of them that are not in ClickHouse are expired, whatever the TTL says.
struct DroppedDays {
    /// Days since 1970-01-01, as the partitions of chunks are numbered.
    private(set) var days: Set<Int32> = []

    init() {}

    /// - Parameter ask: puts a question to ClickHouse.
    /// - Throws: what `ask` does; `CommandFailure` for an answer that is none.
    init(of table: String, ask: (String) throws -> [UInt8]) throws {
        guard table == RollUp.source else { return }
        let exists = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = '\(RollUp.days)' FORMAT TSV"
        guard let count = numbers(inLine: try ask(exists))?.first, count > 0 else { return }
        let answer = try ask("SELECT toString(day) FROM \(RollUp.days) GROUP BY day HAVING argMax(state, at) = 'dropped' FORMAT TSV")
        for line in String(decoding: answer, as: UTF8.self).split(separator: "\n") {
            guard let date = CivilDate(String(line)) else {
                throw CommandFailure("ClickHouse answers a question about days with: \(line.prefix(200))", code: 74)
            }
            days.insert(Int32(date.daysSinceEpoch))
        }
    }

    /// Whether the rows of a chunk are of such a day.
    func hold(_ header: ChunkHeader) -> Bool { days.contains(header.partition) }

    /// Whether some of these event times can be of such a day.
    func touch(min: Int64, max: Int64) -> Bool {
        guard !days.isEmpty, min <= max else { return false }
        let nanoseconds = CivilDate.nanoseconds(ofDay: 1)
        return days.contains { $0 >= min / nanoseconds - 1 && $0 <= max / nanoseconds }
    }
}
