import SpoolConfig
import SpoolFormat
import SpoolTesting
import Testing

@testable import spool_loader

@Suite struct RetentionPolicyTests {
    private func model() throws -> SchemaModel {
        let files = try Bytes.list(Repository.schemas).filter { $0.hasSuffix(".sql") }
        return try SchemaModel(files.map { ($0, try Bytes.text("\(Repository.schemas)/\($0)")) })
    }

    private func policy(_ own: [String: String] = [:]) throws -> RetentionPolicy {
        try RetentionPolicy(model: model()) { own[$0] ?? "auto" }
    }

    @Test("the shipped tables are kept as their TTLs say; market_data a week less, so that its bars are proved first")
    func shipped() throws {
        let policy = try policy()
        #expect(policy.keep(of: "market_data") == Retention(count: 90, unit: .day))
        #expect(policy.keep(of: "orders") == Retention(count: 7, unit: .year))
        #expect(policy.keep(of: "market_bars_1s") == Retention(count: 5, unit: .year))
        #expect(policy.keep(of: "market_bars_days") == nil && policy.keep(of: "nothing") == nil)
        #expect(policy.ttl(of: "market_data") == nil)
    }

    @Test("the configuration decides, and the server's TTL follows it")
    func configured() throws {
        let policy = try policy(["market_data": "30d", "orders": "2y", "system_events": "6w", "fills": "12mo"])
        #expect(policy.keep(of: "market_data") == Retention(count: 30, unit: .day))
        for (table, ttl) in [
            ("market_data", "toDateTime(ts_exchange) + toIntervalDay(37)"), ("orders", "toDateTime(ts_intent) + toIntervalYear(2)"),
            ("system_events", "toDateTime(ts) + toIntervalWeek(6)"), ("fills", "toDateTime(ts_exchange) + toIntervalMonth(12)"),
        ] { #expect(policy.ttl(of: table)?.phrase.text == ttl) }
    }

    @Test(
        "less than a year of audit rows is refused, and what ClickHouse cannot count",
        arguments: [
            ("orders", "364d"), ("fills", "11mo"), ("risk_decisions", "51w"), ("guardrail_transitions", "1d"),
            ("positions_intraday", "11mo"), ("account_state", "52w"), ("orders", "17y"), ("market_data", "0d"), ("market_data", "30"),
            ("market_data", "d"),
            ("market_data", "30 d"),
            ("market_data", "-3d"), ("market_data", "99999d"), ("market_data", ""),
        ])
    func refused(table: String, text: String) throws {
        let model = try model()
        let failure = #expect(throws: ConfigFailure.self) { try RetentionPolicy(model: model) { $0 == table ? text : "auto" } }
        #expect(failure?.description.contains(table) == true)
    }

    @Test("a file that would keep audit rows too short is refused like a setting")
    func file() throws {
        var files = [("0001_orders.sql", try Bytes.text("\(Repository.schemas)/0002_orders.sql"))]
        files.append(("0002_short.sql", "ALTER TABLE orders MODIFY TTL toDateTime(ts_intent) + INTERVAL 30 DAY"))
        let model = try SchemaModel(files)
        #expect(throws: ConfigFailure.self) { try RetentionPolicy(model: model) { _ in "auto" } }
    }
}

@Suite struct StoredPartitionTests {
    private func partition(_ text: String) -> StoredPartition { StoredPartition(table: "t", id: text, text: text, rows: 1, bytes: 1) }

    /// Noon of 2026-11-26.
    private let now = CivilDate.nanoseconds(ofDay: CivilDate(year: 2026, month: 11, day: 26).daysSinceEpoch) + 43_200_000_000_000

    @Test("a day is expired when its last moment is, alone or with a symbol")
    func days() {
        let texts = ["2026-10-25", "2026-10-26", "2026-10-27", "('2026-10-25','BTCUSDT')", "('2026-10-27','')", "all", "2026-13-01"]
        let expired = StoredPartition.expired(texts.map(partition), rule: .day, keep: Retention(count: 30, unit: .day), now: now)
        // 30 days before noon of the 26th of November is noon of the 27th of October.
        #expect(expired.map(\.text) == ["('2026-10-25','BTCUSDT')", "2026-10-25", "2026-10-26"])
    }

    @Test("a month is expired when its last day is, over leap years and ends of years")
    func months() {
        let texts = ["201910", "201911", "201912", "202402", "202511", "(201910,'x')"]
        #expect(
            StoredPartition.expired(texts.map(partition), rule: .month, keep: Retention(count: 7, unit: .year), now: now).map(\.text) == [
                "(201910,'x')", "201910",
            ])
        #expect(
            StoredPartition.expired(texts.map(partition), rule: .month, keep: Retention(count: 1, unit: .year), now: now).map(\.text) == [
                "(201910,'x')", "201910", "201911", "201912", "202402",
            ])
        #expect(partition("202402").end(.month) == CivilDate.nanoseconds(ofDay: CivilDate(year: 2024, month: 3, day: 1).daysSinceEpoch))
        #expect(partition("202612").end(.month) == CivilDate.nanoseconds(ofDay: CivilDate(year: 2027, month: 1, day: 1).daysSinceEpoch))
        #expect(partition("('2026-11-25','A-1')").day == "2026-11-25")
    }

    @Test(
        "texts that are no days are none",
        arguments: ["2026-02-29", "2026-11-31", "2026-1-01", "26-11-01", "2026-11-01x", "", "2026/11/01", "1969-12-31"])
    func noDay(text: String) {
        #expect(CivilDate(text) == nil)
    }
}

@Suite struct RetentionMarginTests {
    /// The server's TTL must never come before `retain` does, whatever months and years are meant: else days go whose bars nobody has proved.
    @Test(arguments: ["30d", "6w", "1mo", "18mo", "24mo", "60mo", "2y", "5y"]) func theServersTTLIsBehindRetain(_ text: String) throws {
        let keep = try #require(RetentionPolicy.parse(text))
        let whole = Retention(count: RetentionPolicy.mostDays(keep) + RetentionPolicy.margin, unit: .day)
        for day in stride(from: 0, to: 1_500, by: 1) {
            let now = CivilDate.nanoseconds(ofDay: 20_454 + day)
            let behind = keep.expired(at: now) - whole.expired(at: now)
            #expect(behind >= 7 * 86_400_000_000_000, "\(text), day \(day)")
        }
    }
}

@Suite struct RollUpDayTests {
    @Test(
        "a day is made anew if its bars are not of its rows, and never once its rows were dropped",
        arguments: [
            (0 as UInt64, 0 as UInt64, nil as UInt64?, false, "current"), (5, 0, nil, false, "needed"), (5, 5, 5, false, "current"),
            (6, 5, 5, false, "needed"),
            (4, 5, 5, false, "vanished"), (0, 5, 5, false, "current"), (0, 4, 5, false, "vanished"), (5, 4, 5, false, "needed"),
            (0, 5, 5, true, "current"), (1, 5, 5, true, "late"),
            (5, 5, 5, true, "late"),
        ])
    func verdicts(raw: UInt64, bars: UInt64, rolled: UInt64?, isDropped: Bool, expected: String) {
        let day = RollUpDay(day: "2026-11-25", rawRows: raw, barRows: bars, rolledRows: rolled, isDropped: isDropped)
        #expect("\(day.verdict)".hasPrefix(expected))
    }
}
