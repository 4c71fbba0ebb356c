import Testing

@testable import spool_loader

@Suite struct ReplayPaceTests {
    private static let hour: Int64 = 3_600_000_000_000
    private static let first: Int64 = 1_767_323_045_000_000_000

    @Test("what a speed may be", arguments: [("1", ReplaySpeed.times(1)), ("10x", .times(10)), ("0.5", .times(0.5)), ("max", .max)])
    func speeds(_ text: String, _ speed: ReplaySpeed) {
        #expect(ReplaySpeed(argument: text) == speed)
    }

    @Test("and what not", arguments: ["", "x", "0", "-1", "1e9", "nan", "inf", "fast", "1 x", "MAX", "0.0001"])
    func noSpeeds(_ text: String) { #expect(ReplaySpeed(argument: text) == nil) }

    @Test("rows are due as far apart as they were recorded, divided by the speed")
    func due() {
        let once = ReplayPace(.times(1), first: Self.first, begun: 500)
        #expect(once.due(Self.first) == 500)
        #expect(once.due(Self.first + Self.hour + 1) == 500 + Self.hour + 1)
        #expect(ReplayPace(.times(10), first: Self.first, begun: 500).due(Self.first + Self.hour) == 500 + Self.hour / 10)
        #expect(ReplayPace(.times(0.5), first: Self.first, begun: 0).due(Self.first + Self.hour) == 2 * Self.hour)
        #expect(ReplayPace(.max, first: Self.first, begun: 500).due(Self.first + Self.hour) == 500)
        // Nothing overflows, whatever a forged spool says.
        #expect(ReplayPace(.times(0.001), first: .min, begun: 0).due(.max) > Self.hour)
        #expect(ReplayPace(.times(0.001), first: 0, begun: 0).due(.max) > Self.hour)
    }

    @Test("times move so that the last row's is the moment at which it is due, and none is later than now")
    func shift() {
        let span = Self.first...Self.first + Self.hour
        let now = Self.first + 30 * Self.hour
        // As recorded: the first row is of now.
        #expect(Self.first + ReplayPace.shift(span, .times(1), now: now) == now)
        #expect(span.upperBound + ReplayPace.shift(span, .times(4), now: now) == now + Self.hour / 4)
        #expect(span.upperBound + ReplayPace.shift(span, .max, now: now) == now)
        for speed in [ReplaySpeed.times(1), .times(3), .times(100), .max] {
            let pace = ReplayPace(speed, first: span.lowerBound, begun: now)
            let shift = ReplayPace.shift(span, speed, now: now)
            for time in stride(from: span.lowerBound, through: span.upperBound, by: Int(Self.hour / 7)) {
                #expect(time + shift <= pace.due(time))
            }
        }
        // Into the past as well: a spool of tomorrow.
        #expect(ReplayPace.shift(span, .max, now: Self.first) == -Self.hour)
        #expect(ReplayPace.shift(Int64.min...Int64.max, .times(0.001), now: now) < 0)
    }
}
