import Glibc
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

@Suite struct BackfillSurveyTests {
    private func survey(_ spool: TestSpool, _ range: TimeRange = .everything, next: UInt64 = 1, liveFrom: UInt64? = nil) throws
        -> BackfillSurvey
    {
        try BackfillSurvey(of: spool.table, in: spool.spool, range: range, next: next, liveFrom: liveFrom)
    }

    /// Three sealed segments of two chunks with ten rows each, a day a chunk, and an active one with a chunk of five.
    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        for day in 0..<Int64(6) {
            try spool.chunk(10, at: TestSpool.start + day * TestSpool.day)
            if day % 2 == 1 { try spool.seal() }
        }
        try spool.chunk(5, at: TestSpool.start + 6 * TestSpool.day)
        return spool
    }

    @Test("all of a spool: every row that is durable, sealed or not")
    func everything() throws {
        let spool = try spool()
        let survey = try survey(spool)
        #expect(survey.rows == 65)
        #expect(survey.segments == 4)
        #expect(survey.earliest == "2026-01-02T03:04:05.000000000Z")
        #expect(survey.latest == "2026-01-08T03:04:05.000000004Z")
        #expect(!survey.isUpperBound && !survey.isGrowing && survey.problems.isEmpty)
        let files = try spool.segments().map { try File.openForReading(spool.path(of: $0)).size() }
        #expect(survey.bytes > 0 && survey.bytes < files.reduce(0, +))
    }

    @Test("of a range of times: whole segments, chunks of others, and chunks that lie partly in it as a whole")
    func ranges() throws {
        let spool = try spool()
        let start = TestSpool.start
        let days = try survey(spool, TimeRange(from: start + TestSpool.day, to: start + 4 * TestSpool.day))
        #expect(days.rows == 30)
        #expect(days.segments == 3)
        #expect(!days.isUpperBound)
        let within = try survey(spool, TimeRange(from: start + TestSpool.day + 5, to: start + 6 * TestSpool.day + 1))
        #expect(within.rows == 55)
        #expect(within.isUpperBound)
        #expect(within.earliest == "2026-01-03T03:04:05.000000005Z")
        #expect(within.latest == "2026-01-08T03:04:05.000000000Z")
        let before = try survey(spool, TimeRange(from: 0, to: start))
        #expect(before.rows == 0 && before.bytes == 0 && before.earliest == nil)
    }

    @Test("what earlier runs dealt with, and what belongs to a live loader, is left out")
    func bounds() throws {
        let spool = try spool()
        #expect(try survey(spool, next: 11).rows == 55)
        #expect(try survey(spool, next: 31, liveFrom: 51).rows == 20)
        #expect(try survey(spool, liveFrom: 1).rows == 0)
        #expect(try survey(spool, next: 66).rows == 0)
    }

    @Test("in any spool it counts the chunks that have a row in the range", arguments: Seeds.take(15))
    func model(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let spool = try TestSpool()
        var chunks: [(first: UInt64, min: Int64, max: Int64, rows: UInt64)] = []
        for _ in 0..<Int.random(in: 1...12, using: &random) {
            let rows = Int.random(in: 1...5, using: &random)
            let first = spool.end
            let times = (0..<rows).map { _ in TestSpool.start + Int64.random(in: 0..<1_000, using: &random) }
            for time in times { try spool.append(at: time) }
            try spool.commit()
            chunks.append((first, times.min()!, times.max()!, UInt64(rows)))
            if random.oneIn(3) { try spool.seal() }
        }
        for _ in 0..<20 {
            let ends = (0..<2).map { _ in Int64.random(in: -10..<1_010, using: &random) }.sorted()
            let range = random.oneIn(5) ? .everything : TimeRange(from: TestSpool.start + ends[0], to: TestSpool.start + ends[1])
            let next = random.oneIn(2) ? 1 : random.pick(chunks).first
            let live = random.oneIn(2) ? nil : random.pick(chunks).first
            let expected = chunks.filter { $0.first >= next && $0.first < live ?? .max && range.share(min: $0.min, max: $0.max) != .none }
            let survey = try survey(spool, range, next: next, liveFrom: live)
            #expect(survey.rows == expected.reduce(0) { $0 + $1.rows }, "seed \(seed)")
            #expect(survey.isUpperBound == expected.contains { range.share(min: $0.min, max: $0.max) == .some })
        }
    }

    @Test("a copy in progress says so: the mark's segment missing or short, one between missing")
    func growing() throws {
        for missing in [1, 3] {
            let spool = try spool()
            unlink(spool.path(of: try spool.segments()[missing]))
            let survey = try survey(spool)
            #expect(survey.isGrowing)
            #expect(survey.rows == (missing == 1 ? 45 : 60))
        }
        let spool = try spool()
        let active = spool.path(of: try spool.segments()[3])
        try spool.truncate(active, to: 40)
        #expect(try survey(spool).isGrowing)
        #expect(try survey(spool).rows == 60)
        try spool.truncate(active, to: 0)
        #expect(try survey(spool).isGrowing)
        let sealed = spool.path(of: try spool.segments()[2])
        try spool.truncate(sealed, to: try File.openForReading(sealed).size() - 1)
        #expect(try survey(spool).isGrowing)
        #expect(try survey(spool).rows == 60, "its chunks are there")
    }

    @Test("a damaged index or mark is a problem with a name, and the rest is counted")
    func damage() throws {
        let spool = try spool()
        let first = spool.path(of: try spool.segments()[0])
        let size = try File.openForReading(first).size()
        try spool.flip(first, at: size - 100)
        let range = TimeRange(from: TestSpool.start + 1, to: .max)
        #expect(try survey(spool, range).problems.count == 1)
        #expect(try survey(spool, range).rows == 45)
        try spool.flip(spool.markPath, at: 60)
        #expect(try survey(spool, range).problems.count >= 2)
    }
}
