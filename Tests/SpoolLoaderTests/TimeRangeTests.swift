import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

@Suite struct TimeRangeTests {
    private let range = TimeRange(from: 10, to: 20)

    @Test(
        "what lies between two times is all, some or none of it in the range",
        arguments: [
            (10, 19, .all), (10, 20, .some), (9, 19, .some), (0, 30, .some), (12, 12, .all), (20, 30, .none), (0, 9, .none), (0, 10, .some),
            (19, 25, .some), (.max, .min, .none),
        ] as [(Int64, Int64, TimeRange.Share)])
    func shares(min: Int64, max: Int64, share: TimeRange.Share) {
        #expect(range.share(min: min, max: max) == share)
    }

    @Test("the range of everything has every time, the last one too, and no rows that there are not")
    func everything() {
        #expect(TimeRange.everything.share(min: .min, max: .max) == .all)
        #expect(TimeRange.everything.contains(.max))
        #expect(TimeRange.everything.share(min: .max, max: .min) == .none)
        #expect(!TimeRange(from: 0, to: .max - 1).contains(.max - 1))
    }

    @Test(
        "options give a range, open where one is not given",
        arguments: [
            ("2026-01-02", "2026-01-03T00:00:00Z", "2026-01-02--2026-01-03"),
            (nil, "1767323045123000000", "begin--2026-01-02T030405.123000000Z"),
            ("2026-01-02T03:04:05+09:00", nil, "2026-01-01T180405Z--end"),
        ] as [(String?, String?, String)])
    func options(since: String?, until: String?, name: String) throws {
        let range = TimeRange(since: since.flatMap(EventTime.init(argument:)), until: until.flatMap(EventTime.init(argument:)))
        #expect(range?.name == name)
    }

    @Test func noOptionsAreNoRange() {
        #expect(TimeRange(since: nil, until: nil) == nil)
        #expect(TimeRange.everything.name == "all")
    }

    @Test("the rows of a block in the range, in whatever order they came")
    func rows() throws {
        let spool = try TestSpool()
        for time: Int64 in [5, 1, 3, 2, 4] { try spool.append(at: TestSpool.start + time) }
        try spool.commit()
        let segment = try spool.segments()[0]
        let reader = try SegmentReader(path: spool.path(of: segment))
        let chunk = try spool.chunks(of: segment)[0]
        let block = try reader.block(of: chunk)
        func rows(_ from: Int64, _ to: Int64) -> [Int] {
            TimeRange(from: TestSpool.start + from, to: TestSpool.start + to).rows(of: block, eventTimeColumn: 0)
        }
        #expect(rows(2, 4) == [2, 3])
        #expect(rows(5, 9) == [0])
        #expect(rows(6, 9) == [])
        #expect(TimeRange.everything.rows(of: block, eventTimeColumn: 0) == [0, 1, 2, 3, 4])
        #expect(TimeRange(from: TestSpool.start + 1, to: TestSpool.start + 6).share(of: chunk.header) == .all)
        #expect(TimeRange(from: TestSpool.start + 1, to: TestSpool.start + 5).share(of: chunk.header) == .some)
    }
}
