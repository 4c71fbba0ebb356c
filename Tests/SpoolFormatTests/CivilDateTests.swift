import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct CivilDateTests {
    @Test("every day from 1600 to 2400 follows the one before it by the calendar's rules")
    func bruteForce() {
        var date = CivilDate(year: 1600, month: 1, day: 1)
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        // 370 years with 89 leap days lie before 1970.
        var day = -(370 * 365 + 90)
        while date.year < 2400 {
            guard CivilDate(day: day) == date, date.daysSinceEpoch == day, date.exists else {
                Issue.record("day \(day) is \(CivilDate(day: day)), expected \(date), which is day \(date.daysSinceEpoch)")
                return
            }
            let isLeap = date.year % 4 == 0 && (date.year % 100 != 0 || date.year % 400 == 0)
            let length = lengths[date.month - 1] + (isLeap && date.month == 2 ? 1 : 0)
            guard !CivilDate(year: date.year, month: date.month, day: length + 1).exists else {
                Issue.record("\(date.year)-\(date.month)-\(length + 1) exists")
                return
            }
            if date.day < length {
                date = CivilDate(year: date.year, month: date.month, day: date.day + 1)
            } else if date.month < 12 {
                date = CivilDate(year: date.year, month: date.month + 1, day: 1)
            } else {
                date = CivilDate(year: date.year + 1, month: 1, day: 1)
            }
            day += 1
        }
    }

    @Test("known dates have their days")
    func known() {
        #expect(CivilDate(year: 1970, month: 1, day: 1).daysSinceEpoch == 0)
        #expect(CivilDate(year: 1969, month: 12, day: 31).daysSinceEpoch == -1)
        #expect(CivilDate(year: 2000, month: 2, day: 29).daysSinceEpoch == 11_016)
        #expect(CivilDate(year: 2149, month: 6, day: 6).daysSinceEpoch == 65_535)
        #expect(!CivilDate(year: 2026, month: 13, day: 1).exists)
        #expect(!CivilDate(year: 2026, month: 0, day: 1).exists)
        #expect(!CivilDate(year: 2026, month: 1, day: 0).exists)
    }

    @Test("a partition's range holds exactly the times of that partition", arguments: [PartitionRule.day, .month], Seeds.take(5))
    func partitionRange(rule: PartitionRule, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            let time = Int64.random(in: 0...3_786_912_000_000_000_000, using: &random)
            let (from, to) = rule.range(around: time)
            #expect(from <= time && time < to)
            let partition = rule.partition(of: time)
            #expect(rule.partition(of: from) == partition && rule.partition(of: to - 1) == partition, "\(time)")
            #expect(rule.partition(of: from - 1) != partition && rule.partition(of: to) != partition, "\(time)")
        }
    }

    @Test("partitions have the values of toDate and toYYYYMM")
    func partitions() {
        #expect(PartitionRule.day.partition(of: Samples.time) == 20_455)
        #expect(PartitionRule.month.partition(of: Samples.time) == 202_601)
        #expect(PartitionRule.month.partition(of: 0) == 197_001)
    }

    @Test(
        "RFC 3339 has nine digits and Z",
        arguments: [
            (0, "1970-01-01T00:00:00.000000000Z"), (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_827_696_000_000_007, "2000-02-29T12:34:56.000000007Z"),
            (Int64.max, "2262-04-11T23:47:16.854775807Z"), (Int64.min, "1677-09-21T00:12:43.145224192Z"),
        ])
    func text(time: Int64, text: String) {
        #expect(rfc3339(time) == text)
    }

    private func time(_ year: Int, _ month: Int, _ day: Int) -> Int64 {
        CivilDate.nanoseconds(ofDay: CivilDate(year: year, month: month, day: day).daysSinceEpoch)
    }

    @Test(
        "a row expires when its retention has passed, never a day earlier",
        arguments: [
            (90, Retention.Unit.day), (1, .month), (6, .month), (1, .year), (7, .year), (3, .week), (48, .hour), (90, .minute),
            (30, .second),
        ])
    func expiry(count: Int, unit: Retention.Unit) {
        // ClickHouse adds to the event time; a month's end stays within its month.
        func end(of event: Int64) -> Int64 {
            let day = CivilDate.day(of: event)
            let rest = event - CivilDate.nanoseconds(ofDay: day)
            let date = CivilDate(day: day)
            switch unit {
            case .month, .year:
                let months = date.year * 12 + date.month - 1 + count * (unit == .year ? 12 : 1)
                var last = CivilDate(year: months / 12, month: months % 12 + 1, day: date.day)
                while !last.exists { last = CivilDate(year: last.year, month: last.month, day: last.day - 1) }
                return CivilDate.nanoseconds(ofDay: last.daysSinceEpoch) + rest
            case .week: return event + Int64(count) * 604_800_000_000_000
            case .day: return event + Int64(count) * 86_400_000_000_000
            case .hour: return event + Int64(count) * 3_600_000_000_000
            case .minute: return event + Int64(count) * 60_000_000_000
            case .second: return event + Int64(count) * 1_000_000_000
            }
        }
        let retention = Retention(count: count, unit: unit)
        for day in 0..<1_500 {
            let now = time(2024, 1, 1) + Int64(day) * 86_400_000_000_000 + 12_345
            let limit = retention.expired(at: now)
            #expect(end(of: limit) <= now, "at \(rfc3339(now)) the limit is \(rfc3339(limit))")
            #expect(end(of: limit + 4 * 86_400_000_000_000) > now, "at \(rfc3339(now)) the limit is \(rfc3339(limit))")
        }
    }

    @Test("a retention that reaches before all times expires nothing")
    func farBack() {
        #expect(Retention(count: Int.max, unit: .week).expired(at: 0) == .min)
        #expect(Retention(count: 500_000, unit: .day).expired(at: .min) == .min)
    }
}
