import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// A partition of a table in ClickHouse, and the event times that it can have.
struct StoredPartition: Equatable {
    let table: String
    /// As `ALTER TABLE ... DROP PARTITION ID` takes it.
    let id: String
    /// Such as `2026-11-25`, `202611` or `('2026-11-25','BTCUSDT')`.
    let text: String
    let rows: UInt64
    let bytes: UInt64

    /// The first time behind all that it can have, in nanoseconds since the Unix epoch.
    ///
    /// - Returns: nil if its text is none of the rule.
    func end(_ rule: PartitionRule) -> Int64? {
        let words = text.split { !$0.isNumber && $0 != "-" }
        let date: CivilDate?
        switch rule {
        case .day: date = words.lazy.compactMap { CivilDate(String($0)) }.first
        case .month:
            date =
                words.lazy.compactMap { word in
                    word.utf8.count == 6 ? CivilDate("\(word.prefix(4))-\(word.suffix(2))-01") : nil
                }.first
        }
        return date.map { rule.range(around: CivilDate.nanoseconds(ofDay: $0.daysSinceEpoch)).to }
    }

    /// The day that its rows are of, as text; only for tables that are partitioned by the day.
    var day: String? {
        text.split { !$0.isNumber && $0 != "-" }.lazy.map(String.init).first { CivilDate($0) != nil }
    }

    /// Those that hold nothing but rows which `keep` does not keep at `now`, the oldest first. Pure.
    static func expired(_ partitions: [StoredPartition], rule: PartitionRule, keep: Retention, now: Int64) -> [StoredPartition] {
        let limit = keep.expired(at: now)
        return partitions.filter { partition in partition.end(rule).map { $0 - 1 <= limit } ?? false }.sorted { $0.text < $1.text }
    }
}

/// Drops what is older than its table is kept: whole partitions, and those of market_data only when their bars are proved to be complete.
final class Retain {
    static let aside = "market_data_expiring"
    /// A question: 1 if a run has set something aside and not ended.
    static let isAsideThere =
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = \(quotedString(aside)) FORMAT TSV"
    private static let mostTries = 3

    struct Dropped: Encodable, Equatable {
        let table: String
        let partition: String
        let rows: UInt64
        let bytes: UInt64
        /// Rows that came after the day's bars were made and its rows dropped.
        var isLate = false
        /// Why it stays; absent if it was dropped.
        var kept: String?
    }

    private let server: StatementServer
    private let rollUp: RollUp
    private let log: Logger
    /// Asked before each day: throws if this run is not alone any more.
    private let mustBeAlone: () throws -> Void

    /// - Parameter mustBeAlone: what two runs at once share is one table, in which each would take the other's day for its own.
    init(server: StatementServer, log: Logger, mustBeAlone: @escaping () throws -> Void = {}) {
        self.server = server
        self.log = log
        self.mustBeAlone = mustBeAlone
        rollUp = RollUp(server: server, log: log)
    }

    /// The partitions of a table.
    func partitions(of table: String) throws -> [StoredPartition] {
        let answer = try server.ask(
            """
            SELECT partition_id, hex(partition), sum(rows), sum(bytes_on_disk) FROM system.parts
            WHERE database = currentDatabase() AND table = \(quotedString(table)) AND active AND rows > 0 GROUP BY partition_id, partition FORMAT TSV
            """)
        return String(decoding: answer, as: UTF8.self).split(separator: "\n").compactMap { line in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 4, let text = textOfHex(fields[1]), let rows = UInt64(fields[2]), let bytes = UInt64(fields[3]) else {
                return nil
            }
            return StoredPartition(table: table, id: fields[0], text: text, rows: rows, bytes: bytes)
        }
    }

    /// Drops partitions that are expired.
    func drop(_ partitions: [StoredPartition]) throws -> [Dropped] {
        var dropped: [Dropped] = []
        for partition in partitions {
            try rollUp.change("ALTER TABLE \(quotedIdentifier(partition.table)) DROP PARTITION ID \(quotedString(partition.id))")
            dropped.append(Dropped(table: partition.table, partition: partition.text, rows: partition.rows, bytes: partition.bytes))
        }
        return dropped
    }

    /// The same for market_data: a day at a time, after its bars.
    func dropRolledUp(_ partitions: [StoredPartition]) throws -> [Dropped] {
        var dropped: [Dropped] = []
        for day in Set(partitions.compactMap(\.day)).sorted() {
            try mustBeAlone()
            dropped.append(try dropDay(day, partitions.filter { $0.day == day }))
        }
        return dropped
    }

    private func dropDay(_ day: String, _ partitions: [StoredPartition]) throws -> Dropped {
        let bytes = partitions.reduce(0) { $0 + $1.bytes }
        let rows = partitions.reduce(0) { $0 + $1.rows }
        for attempt in 0..<Self.mostTries {
            let state = try rollUp.survey().first { $0.day == day } ?? RollUpDay(day: day)
            if state.verdict == .late {
                // Their day was closed; its bars must not be replaced by bars of what came late.
                for partition in partitions { _ = try drop([partition]) }
                return Dropped(table: RollUp.source, partition: day, rows: rows, bytes: bytes, isLate: true)
            }
            if state.verdict == .vanished {
                return Dropped(
                    table: RollUp.source, partition: day, rows: rows, bytes: bytes,
                    kept:
                        "its bars are of \(state.rolledRows ?? 0) rows, and \(state.rawRows) are there: ClickHouse's own TTL, or somebody, has taken others; "
                        + "the bars stay, and the TTL takes the rest")
            }
            // As many rows as its bars are of need not be the same ones.
            if state.verdict != .current || attempt > 0 { _ = try rollUp.roll(day) }
            guard let rolled = try rollUp.rolled(day), try setAside(day, partitions, rolled) else { continue }
            return Dropped(table: RollUp.source, partition: day, rows: rolled.rows, bytes: bytes)
        }
        return Dropped(
            table: RollUp.source, partition: day, rows: rows, bytes: bytes,
            kept: "rows came each time that its bars were proved; the next run drops it")
    }

    /// Takes a day out of the table at one moment, looks once more whether these are the rows that the bars are of, and drops them. A row that came in
    /// between is so not dropped unseen.
    private func setAside(_ day: String, _ partitions: [StoredPartition], _ rolled: RollUp.Fingerprint) throws -> Bool {
        guard try barRows(day) == rolled.rows else { return false }
        try rollUp.change("CREATE TABLE IF NOT EXISTS \(Self.aside) AS \(RollUp.source)")
        for partition in partitions { try move(partition.id, from: RollUp.source, to: Self.aside) }
        // A roll-up that runs beside this may have made other bars since.
        guard try rollUp.fingerprint(day, of: Self.aside) == rolled, try barRows(day) == rolled.rows else {
            for partition in try self.partitions(of: Self.aside) { try move(partition.id, from: Self.aside, to: RollUp.source) }
            return false
        }
        try rollUp.note(day, "dropped", rolled, bars: 0)
        try rollUp.change("DROP TABLE IF EXISTS \(Self.aside)")
        return true
    }

    private func move(_ id: String, from: String, to: String) throws {
        try rollUp.change("ALTER TABLE \(from) MOVE PARTITION ID \(quotedString(id)) TO TABLE \(to)")
    }

    private func barRows(_ day: String) throws -> UInt64? {
        numbers(inLine: try server.ask("SELECT sum(rows) FROM \(RollUp.target) WHERE toDate(ts) = '\(day)' FORMAT TSV"))?.first
    }

    /// What a killed run has set aside: a day that it had proved is dropped, any other goes back.
    func finishEarlierRun() throws {
        try server.waitForEarlierRuns()
        guard try server.isTrue(Self.isAsideThere) else { return }
        let days = try rollUp.survey()
        for partition in try partitions(of: Self.aside) {
            if let day = partition.day, days.first(where: { $0.day == day })?.isDropped ?? false,
                try rollUp.fingerprint(day, of: Self.aside) == rollUp.rolled(day)
            {
                log.notice("\(day): its bars were proved by an earlier run, which ended before it dropped the rows; dropping them")
                continue
            }
            log.notice("\(partition.text): set aside by a run that ended in its middle; bringing it back")
            try move(partition.id, from: Self.aside, to: RollUp.source)
        }
        try rollUp.change("DROP TABLE IF EXISTS \(Self.aside)")
    }
}
