import Testing

@testable import spool_loader

/// How near tables are to too many parts, and what is said of it.
@Suite struct PartsWatchTests {
    private static let second: Int64 = 1_000_000_000

    private func crowding(_ lines: String..., table: String = "fills") -> PartsCrowding? {
        let limits = [
            "limit\tparts_to_delay_insert\t\t1000\t", "limit\tparts_to_throw_insert\t\t3000\t", "limit\tmax_parts_in_total\t\t100000\t",
        ]
        return PartsAnswer(Array((limits + lines).joined(separator: "\n").utf8)).crowding[table]
    }

    @Test func theFullestPartitionIsComparedWithTheServersLimit() {
        #expect(
            crowding("parts\tfills\t202611\t600\t700")
                == PartsCrowding(parts: 600, partition: "202611", limit: 1000, limitName: "parts_to_delay_insert"))
    }

    @Test func theTablesOwnSettingIsWhatCounts() {
        let engine =
            "engine\tfills\t\t\tMergeTree PARTITION BY toYYYYMM(ts) ORDER BY ts SETTINGS parts_to_delay_insert = 20, index_granularity = 8192"
        #expect(crowding(engine, "parts\tfills\t202611\t10\t10")?.share == 0.5)
    }

    @Test func aTableThatRefusesBeforeItDelaysIsMeasuredByThat() {
        let engine = "engine\tfills\t\t\tMergeTree ORDER BY ts SETTINGS parts_to_delay_insert = 0, parts_to_throw_insert = 10"
        #expect(crowding(engine, "parts\tfills\tall\t9\t9")?.limitName == "parts_to_throw_insert")
    }

    @Test func manyPartitionsCountAsAWhole() {
        let found = crowding("parts\tfills\t202611\t60\t80000")
        #expect(found?.partition == nil && found?.limitName == "max_parts_in_total" && found?.level == .critical)
    }

    @Test func withoutLimitsOrPartsNothingIsKnown() {
        #expect(PartsAnswer(Array("parts\tfills\tall\t9\t9".utf8)).crowding.isEmpty)
        #expect(crowding("parts\torders\tall\t900\t900") == nil)
    }

    @Test(arguments: [
        "", "\n\n", "parts", "parts\tfills\t1\tmany\t2", "limit\tparts_to_delay_insert\t\t-5\t", "\u{0}\t\t\t\t", "merges\tfills\t\t\t",
    ])
    func anAnswerThatIsNoneSaysNothing(_ text: String) { #expect(crowding(text) == nil) }

    @Test(arguments: [
        (second: 100.0, asked: 100.2, answered: 100.3, offset: 0.0), (100, 101.5, 101.6, -0.5), (100, 99.0, 99.5, 0.5),
        (100, 99.9, 100.1, 0),
    ])
    func clocksAreComparedAsFarAsWholeSecondsTell(_ second: Double, _ asked: Double, _ answered: Double, _ offset: Double) throws {
        let answer = PartsAnswer(Array("clock\t\t\t\(Int(second))\t".utf8))
        #expect(abs(try #require(answer.clockOffset(asked: asked, answered: answered)) - offset) < 1e-9)
        #expect(PartsAnswer([]).clockOffset(asked: 0, answered: 0) == nil)
    }

    // MARK: What is said

    private func notices(_ looks: [(second: Int64, parts: Int)]) -> [String] {
        var watch = PartsWatch()
        return looks.compactMap { look in
            let crowding = PartsCrowding(parts: look.parts, partition: "p", limit: 100, limitName: "parts_to_delay_insert")
            switch watch.seen("fills", crowding, PartsAnswer.Merges(running: 2, longestSeconds: 9), at: look.second * Self.second) {
            case .warning?: return "warning \(look.parts)"
            case .alarm?: return "alarm \(look.parts)"
            case .relief?: return "relief \(look.parts)"
            case nil: return nil
            }
        }
    }

    @Test func itWarnsOnceAlarmsEachMinuteAndTellsWhenItIsOver() {
        #expect(notices([(0, 10), (10, 49), (20, 50), (30, 60), (40, 70)]) == ["warning 50"])
        #expect(notices([(0, 80), (10, 85), (59, 90), (60, 95), (70, 20), (80, 10)]) == ["alarm 80", "alarm 95", "relief 20"])
    }

    @Test func aCountThatSwingsAroundAThresholdIsToldOnce() {
        #expect(notices((0..<20).map { (Int64($0 * 10), $0 % 2 == 0 ? 51 : 45) }) == ["warning 51"])
    }

    @Test func theAlarmNamesTableNumbersAndWhatToDo() {
        var watch = PartsWatch()
        let crowding = PartsCrowding(parts: 823, partition: "2026-11-25", limit: 1000, limitName: "parts_to_delay_insert")
        guard case .alarm(let text)? = watch.seen("market_data", crowding, nil, at: 0) else {
            Issue.record("no alarm")
            return
        }
        #expect(text.contains("market_data has 823 active parts in partition 2026-11-25, and parts_to_delay_insert is 1000"))
        #expect(text.contains("none is running") && text.contains("SYSTEM START MERGES"))
    }
}
