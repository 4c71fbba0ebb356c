import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// The ladder of market data: how it is climbed and left.
struct PressureTests {
    private static let ms: Int64 = 1_000_000

    @Test("a full queue coarsens sampling step by step, up to trades only and never beyond")
    func climbs() {
        var pressure = Pressure()
        var stages: [Pressure.Stage] = []
        for step in 0..<20 {
            pressure.update(usage: 0.6, floor: .none, now: Int64(step) * 100 * Self.ms)
            if stages.last != pressure.stage { stages.append(pressure.stage) }
        }
        #expect(stages == Pressure.intervals.map { .interval($0) } + [.tradesOnly])
    }

    @Test("a queue that is nearly full climbs two steps at once")
    func climbsFaster() {
        var pressure = Pressure()
        pressure.update(usage: 0.95, floor: .none, now: 0)
        #expect(pressure.stage == .interval(Pressure.intervals[1]))
    }

    @Test("it climbs no faster than its pace however often it is asked")
    func pace() {
        var pressure = Pressure()
        for time in 0..<99 { pressure.update(usage: 1, floor: .none, now: Int64(time) * Self.ms) }
        #expect(pressure.rung == 2)
    }

    @Test("it descends a step only after a long calm, and a moment without calm begins it anew")
    func descends() {
        var pressure = Pressure()
        pressure.update(usage: 0.6, floor: .none, now: 0)
        #expect(pressure.rung == 1)
        pressure.update(usage: 0.1, floor: .none, now: 100 * Self.ms)
        pressure.update(usage: 0.1, floor: .none, now: 2_000 * Self.ms)
        #expect(pressure.rung == 1)
        pressure.update(usage: 0.3, floor: .none, now: 2_050 * Self.ms)
        pressure.update(usage: 0.1, floor: .none, now: 2_100 * Self.ms)
        pressure.update(usage: 0.1, floor: .none, now: 4_000 * Self.ms)
        #expect(pressure.rung == 1)
        pressure.update(usage: 0.1, floor: .none, now: 4_100 * Self.ms)
        #expect(pressure.stage == .none)
    }

    @Test("between the thresholds nothing moves, so it does not flap around either", arguments: Seeds.take(4))
    func hysteresis(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var pressure = Pressure()
        for step in 0..<3 { pressure.update(usage: 0.6, floor: .none, now: Int64(step) * 100 * Self.ms) }
        let rung = pressure.rung
        for step in 3..<10_000 {
            let usage = Double.random(in: Pressure.low..<Pressure.high, using: &random)
            pressure.update(usage: usage, floor: .none, now: Int64(step) * 100 * Self.ms)
            #expect(pressure.rung == rung)
        }
    }

    @Test("what the disk asks for holds whatever the queue says, and ends with it")
    func floor() {
        var pressure = Pressure()
        pressure.update(usage: 0, floor: .tradesOnly, now: 0)
        #expect(pressure.stage == .tradesOnly)
        pressure.update(usage: 0, floor: .nothing, now: 1)
        #expect(pressure.stage == .nothing)
        pressure.update(usage: 0, floor: .none, now: 2)
        #expect(pressure.stage == .none)
    }

    @Test("thresholds of the disk are entered at once, and left some way below")
    func diskThresholds() {
        var thresholds = DiskThresholds(warn: 0.7, shed: 0.8, emergency: 0.9)
        var levels: [DiskLevel] = []
        for ratio in [0.5, 0.7, 0.69, 0.681, 0.679, 0.95, 0.89, 0.879, 0.781, 0.779, 0.1] {
            thresholds.update(ratio)
            levels.append(thresholds.level)
        }
        #expect(levels == [.ok, .warn, .warn, .warn, .ok, .emergency, .emergency, .shed, .shed, .warn, .ok])
    }

    @Test("how much must go is counted as df counts")
    func excess() {
        let usage = DiskUsage(total: 1_000, available: 150, free: 200)
        #expect(usage.used == 800)
        #expect(abs(usage.ratio - 800.0 / 950.0) < 1e-9)
        #expect(usage.excess(over: 0.8) == 40)
        #expect(usage.excess(over: 0.9) == 0)
    }
}
