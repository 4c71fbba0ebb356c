import SpoolTesting
import Testing

@testable import spool_loader

/// Numbers and tables as people read them, and the waits between tries.
@Suite struct ReportTextTests {
    @Test func columnsAreAligned() {
        var table = TextTable(["TABLE", "ROWS", "RESULT"], numbers: [1])
        table.add(["fills", "7", "ok"])
        table.add(["positions_intraday", "1200", ""])
        #expect(
            table.text == """
                TABLE               ROWS  RESULT
                fills                  7  ok
                positions_intraday  1200

                """)
    }

    @Test(
        arguments: [
            (0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (1_536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (64 << 20, "64.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (1 << 40, "1.0 TiB"), (.max, "16777216.0 TiB"),
        ] as [(UInt64, String)])
    func bytes(count: UInt64, text: String) {
        #expect(byteText(count) == text)
    }

    @Test(
        arguments: [
            (0, "0.0 s"), (0.04, "0.0 s"), (1.5, "1.5 s"), (119.9, "119.9 s"), (120, "2.0 min"), (7_199, "120.0 min"), (7_200, "2.0 h"),
            (172_800, "2.0 d"),
            (8_640_000, "100.0 d"), (-0.5, "-0.5 s"), (-0.04, "0.0 s"), (-3, "-3.0 s"),
        ] as [(Double, String)])
    func durations(seconds: Double, text: String) {
        #expect(durationText(seconds) == text)
    }

    @Test func durationsOfAnySizeDoNotTrap() {
        for value in [Int64.max, .min] { #expect(!durationText(Double(value) / 1_000_000_000).isEmpty) }
    }

    @Test func waitsDoubleWithJitterUpToTheCap() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<50 {
            var backoff = Backoff(first: 200, cap: 3_000)
            for full in [200, 400, 800, 1_600, 3_000, 3_000, 3_000] as [Int64] {
                let wait = backoff.next(random: &random)
                #expect(wait >= full / 2 && wait <= full)
            }
            backoff.reset()
            #expect(backoff.next(random: &random) <= 200)
        }
    }

    @Test func waitsNeverOverflow() {
        var random = SeededRandom(seed: 2)
        var backoff = Backoff(first: .max / 2, cap: .max)
        var tiny = Backoff(first: 1, cap: 1)
        for _ in 0..<200 {
            #expect(backoff.next(random: &random) > 0)
            #expect((0...1).contains(tiny.next(random: &random)))
        }
        // A cap below the first wait does not shorten it.
        #expect(Backoff(first: 100, cap: 1).cap == 100)
    }

    @Test func waitsAreSpread() {
        var random = SeededRandom(seed: 3)
        let waits = Set(
            (0..<100).map { _ in
                var backoff = Backoff(first: 1_000_000, cap: 1_000_000)
                return backoff.next(random: &random)
            })
        #expect(waits.count > 90)
    }
}
