import SpoolTesting
import Testing

@testable import spool_loader

@Suite struct RateLimitTests {
    private static let second: Int64 = 1_000_000_000

    @Test(
        "a rate is rows, or bytes with a unit",
        arguments: [
            ("100000", .rows(100_000)), ("100000/s", .rows(100_000)), ("20MiB", .bytes(20 << 20)), ("20MiB/s", .bytes(20 << 20)),
            ("1MB", .bytes(1_000_000)), ("5B", .bytes(5)), ("0", nil), ("-3", nil), ("0MiB", nil), ("fast", nil), ("", nil),
            ("10rows", nil),
        ] as [(String, RateLimit.Bound?)])
    func bounds(text: String, bound: RateLimit.Bound?) {
        #expect(RateLimit.Bound(argument: text) == bound)
    }

    @Test("a batch goes at once, and the next one when the allowance has caught up with it")
    func batches() {
        var limit = RateLimit([.rows(100)])
        #expect(limit.wait(now: 7) == 0)
        limit.take(rows: 250, bytes: 1 << 40, now: 7)
        #expect(limit.wait(now: 7) == 5 * Self.second / 2)
        #expect(limit.wait(now: 7 + Self.second) == 3 * Self.second / 2)
        #expect(limit.wait(now: 7 + 5 * Self.second / 2) == 0)
        #expect(limit.wait(now: 0) == 5 * Self.second / 2, "a clock that goes back gives nothing")
    }

    @Test("what was not used for hours allows a second's worth, not hours' worth")
    func idle() {
        var limit = RateLimit([.bytes(1_000)])
        limit.take(rows: 1, bytes: 1, now: 0)
        limit.take(rows: 1, bytes: 1_500, now: 7_200 * Self.second)
        #expect(limit.wait(now: 7_200 * Self.second) == Self.second / 2)
    }

    @Test("of two bounds the stricter one counts")
    func both() {
        var limit = RateLimit([.rows(10), .bytes(1_000)])
        limit.take(rows: 10, bytes: 5_000, now: 0)
        #expect(limit.wait(now: 0) == 5 * Self.second)
        limit.take(rows: 90, bytes: 0, now: 0)
        #expect(limit.wait(now: 0) == 10 * Self.second)
    }

    @Test("batches become small enough for the rate")
    func limits() {
        let limits = RateLimit([.rows(1_000), .bytes(1 << 40)]).limits(BatchLimits(rows: 500_000, bytes: 32 << 20))
        #expect(limits.rows == 1_000)
        #expect(limits.bytes == 32 << 20)
        #expect(RateLimit([]).limits(BatchLimits(rows: 5, bytes: 6)).rows == 5)
        #expect(RateLimit([]).wait(now: 1) == 0)
    }

    @Test(
        "over any stretch no more goes than rate and one batch allow, and a sender that waits as told loses nothing",
        arguments: Seeds.take(20))
    func average(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let rate = Int64.random(in: 1...1_000_000, using: &random)
        var limit = RateLimit([.rows(rate)])
        var now: Int64 = 0
        var sent: UInt64 = 0
        var last: UInt64 = 0
        for _ in 0..<200 {
            now += limit.wait(now: now)
            last = UInt64.random(in: 1...UInt64(rate) * 3, using: &random)
            limit.take(rows: last, bytes: 0, now: now)
            sent += last
        }
        let ideal = Double(sent - last) / Double(rate)
        #expect(abs(Double(now) / 1e9 - ideal) < 0.001 + ideal * 1e-6)
    }

    @Test("numbers at the ends of their types do no harm")
    func extremes() {
        var limit = RateLimit([.rows(1), .bytes(.max)])
        limit.take(rows: .max, bytes: .max, now: .max)
        #expect(limit.wait(now: .max) > 0)
        #expect(limit.wait(now: .max) <= Int64(1e18))
    }
}
