import Logging
import SpoolFormat
import SpoolIO

/// What is known of one day of market_data and its bars. Pure.
struct RollUpDay: Equatable {
    /// `2026-11-25`.
    let day: String
    /// Rows of market_data.
    var rawRows: UInt64 = 0
    /// Sum of the bars' rows.
    var barRows: UInt64 = 0
    /// What the newest entry of market_bars_days says; nil if there is none.
    var rolledRows: UInt64?
    var isDropped = false

    enum Verdict: Equatable {
        /// Its bars are those of its rows.
        case current
        case needed(String)
        /// Its rows were dropped after its bars were proved; those that are there came later, and must not make bars of their own.
        case late
        /// Fewer rows are there than its bars are of, and nobody has noted that they were dropped: ClickHouse's own TTL takes them, or `retain` has them aside.
        /// The bars are more than could be made now.
        case vanished
    }

    var verdict: Verdict {
        if isDropped { return rawRows == 0 ? .current : .late }
        guard let rolledRows else { return rawRows == 0 ? .current : .needed("no bars yet") }
        // The bars stay for years after the rows.
        if rawRows == 0, barRows == rolledRows { return .current }
        if rawRows < rolledRows { return .vanished }
        if rolledRows != rawRows { return .needed("\(rawRows) rows, and its bars are of \(rolledRows)") }
        return barRows == rawRows ? .current : .needed("its bars count \(barRows) rows of \(rawRows)")
    }
}

/// Makes market_bars_1s out of market_data, a day at a time, whole: computed beside and swapped in at one moment. So it may be killed, repeated and run
/// twice at once.
final class RollUp {
    static let source = "market_data"
    static let target = "market_bars_1s"
    static let days = "market_bars_days"
    private static let stagingPrefix = "market_bars_1s_staging_"
    /// A staging table that old is of a run that was killed. Seconds.
    private static let staleAfter = 86_400
    /// How often a day is made anew because rows came in meanwhile, before it is left to the next run.
    private static let mostTries = 5

    /// What a day's rows are, by name.
    struct Fingerprint: Equatable {
        let rows: UInt64
        let names: UInt64
    }

    struct Result: Encodable, Equatable {
        let day: String
        let rows: UInt64
        let bars: UInt64
        /// `rolled`, `current`, `late`, `vanished`, or `moving` for a day whose rows keep coming.
        let outcome: String
    }

    private let server: StatementServer
    private let log: Logger

    init(server: StatementServer, log: Logger) {
        self.server = server
        self.log = log
    }

    /// Days that have rows or an entry, the oldest first.
    func survey() throws -> [RollUpDay] {
        var found: [String: RollUpDay] = [:]
        func each(_ sql: String, _ take: (inout RollUpDay, [String]) -> Void) throws {
            for line in String(decoding: try server.ask(sql + " FORMAT TSV"), as: UTF8.self).split(separator: "\n") {
                let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
                guard let day = fields.first, day.utf8.count == 10 else {
                    throw CommandFailure("ClickHouse at \(server.url) answers a question about days with: \(line.prefix(200))", code: 74)
                }
                take(&found[day, default: RollUpDay(day: day)], fields)
            }
        }
        try each(
            """
            SELECT extract(partition, '[0-9]{4}-[0-9]{2}-[0-9]{2}') AS day, sum(rows) FROM system.parts
            WHERE database = currentDatabase() AND table = '\(Self.source)' AND active AND rows > 0 GROUP BY day
            """
        ) { $0.rawRows = UInt64($1[1]) ?? 0 }
        try each("SELECT toString(toDate(ts)) AS day, sum(rows) FROM \(Self.target) GROUP BY day") { $0.barRows = UInt64($1[1]) ?? 0 }
        try each("SELECT toString(day), argMax(raw_rows, at), argMax(state, at) FROM \(Self.days) GROUP BY day") {
            $0.rolledRows = UInt64($1[1])
            $0.isDropped = $1[2] == "dropped"
        }
        return found.values.sorted { $0.day < $1.day }
    }

    /// Makes a day's bars. Bars of more rows are not replaced by those of fewer ones, and never by none.
    ///
    /// - Parameter isForced: whether a person asked for this day: then those of fewer rows are made as well.
    func roll(_ day: String, isForced: Bool = false) throws -> Result {
        for _ in 0..<Self.mostTries {
            let before = try fingerprint(day, of: Self.source)
            // Looked at here and not only in the survey: `retain` may have set the day aside since.
            if let known = try rolled(day), before.rows == 0 || before.rows < known.rows && !isForced {
                return Result(day: day, rows: before.rows, bars: 0, outcome: "vanished")
            }
            guard before.rows > 0 else { return Result(day: day, rows: 0, bars: 0, outcome: "current") }
            let staging = try stagingTable()
            defer { drop(staging) }
            guard let made = try compute(day, into: staging), try fingerprint(day, of: Self.source) == before, made.rows == before.rows
            else { continue }
            try change("ALTER TABLE \(Self.target) REPLACE PARTITION '\(day)' FROM \(staging)")
            try note(day, "rolled", before, bars: made.bars)
            return Result(day: day, rows: before.rows, bars: made.bars, outcome: "rolled")
        }
        log.warning("\(day): rows came in each of \(Self.mostTries) times that its bars were made; the next run makes them")
        return Result(day: day, rows: 0, bars: 0, outcome: "moving")
    }

    func fingerprint(_ day: String, of table: String) throws -> Fingerprint {
        let answer = try server.ask(
            "SELECT count(), groupBitXor(cityHash64(spool_writer, spool_seq)) FROM \(table) WHERE toDate(ts_exchange) = '\(day)' FORMAT TSV"
        )
        guard let found = numbers(inLine: answer), found.count == 2 else {
            throw CommandFailure(
                "ClickHouse at \(server.url) does not count the rows of \(day): \(String(decoding: answer.prefix(200), as: UTF8.self))",
                code: 74)
        }
        return Fingerprint(rows: found[0], names: found[1])
    }

    /// The fingerprint that the day's newest entry has; nil if there is none.
    func rolled(_ day: String) throws -> Fingerprint? {
        let answer = try server.ask(
            "SELECT argMax(raw_rows, at), argMax(raw_names, at) FROM \(Self.days) WHERE day = '\(day)' HAVING count() > 0 FORMAT TSV")
        guard let found = numbers(inLine: answer), found.count == 2 else { return nil }
        return Fingerprint(rows: found[0], names: found[1])
    }

    func note(_ day: String, _ state: String, _ fingerprint: Fingerprint, bars: UInt64) throws {
        try change(
            "INSERT INTO \(Self.days) (day, at, state, raw_rows, raw_names, bars) VALUES ('\(day)', now64(6), '\(state)', \(fingerprint.rows), \(fingerprint.names), \(bars))"
        )
    }

    /// Takes away what killed runs have left.
    func dropLeftovers() throws {
        let answer = try server.ask(
            """
            SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, '\(Self.stagingPrefix)')
            AND toUInt64OrZero(extract(name, '_([0-9]+)_[0-9a-z]+$')) < toUnixTimestamp(now()) - \(Self.staleAfter) FORMAT TSVRaw
            """)
        for name in String(decoding: answer, as: UTF8.self).split(separator: "\n") { drop(String(name)) }
    }

    // MARK: Steps

    private func stagingTable() throws -> String {
        let name = "\(Self.stagingPrefix)\(Clock.now() / 1_000_000_000)_\(String(UInt64.random(in: .min ... .max), radix: 36))"
        try change("CREATE TABLE IF NOT EXISTS \(name) AS \(Self.target)")
        return name
    }

    /// - Returns: how many bars, and of how many rows; nil if nobody knows whether all of them are there.
    private func compute(_ day: String, into staging: String) throws -> (bars: UInt64, rows: UInt64)? {
        let insert = "INSERT INTO \(staging) SELECT * FROM \(Self.target)_of(day = '\(day)')"
        guard case .done = try server.send(insert, parameters: ["async_insert": "0"]) else { return nil }
        guard let found = numbers(inLine: try server.ask("SELECT count(), sum(rows) FROM \(staging) FORMAT TSV")), found.count == 2 else {
            return nil
        }
        return (found[0], found[1])
    }

    /// Sends what may be sent twice, until it was answered.
    func change(_ sql: String) throws {
        for _ in 0..<Self.mostTries {
            if case .done = try server.send(sql, parameters: ["async_insert": "0"]) { return }
        }
        throw CommandFailure("ClickHouse at \(server.url) does not answer: \(sql.prefix(100))", code: 74)
    }

    private func drop(_ table: String) {
        do {
            try change("DROP TABLE IF EXISTS \(table)")
        } catch {
            log.warning("cannot drop \(table), a run after tomorrow will: \(error)")
        }
    }
}
