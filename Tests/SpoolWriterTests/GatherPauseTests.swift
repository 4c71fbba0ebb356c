import Testing

@testable import spool_writer

@Suite struct GatherPauseTests {
    /// Lines of 400 bytes that come at a steady rate, looked at after the pause that each look asks for.
    ///
    /// - Parameter held: the most lines that the socket holds.
    /// - Returns: the pause that it comes to, and the lines that one look then takes.
    private func steady(linesPerSecond: Int64, held: Int64) -> (pause: UInt32, lines: Int64) {
        var elapsed: Int64 = 1_000_000_000
        var pause: UInt32 = 0
        var lines: Int64 = 1
        for _ in 0..<20 {
            pause = GatherPause.microseconds(bytes: Int(lines) * 400, lines: Int(lines), elapsed: elapsed)
            // A look itself, and what it does with the lines, takes 50 microseconds at least.
            elapsed = Int64(pause) * 1_000 + 50_000
            lines = max(1, min(held, linesPerSecond * elapsed / 1_000_000_000))
        }
        return (pause, lines)
    }

    @Test("few lines are left to gather for the longest pause")
    func slow() {
        #expect(steady(linesPerSecond: 1, held: 160).pause == 2_000)
        #expect(steady(linesPerSecond: 25_000, held: 160).pause == 2_000)
    }

    @Test(
        "faster lines get shorter pauses, in which no socket of the usual size fills",
        arguments: [40_000, 80_000, 150_000, 220_000] as [Int64])
    func fast(linesPerSecond: Int64) {
        let (pause, lines) = steady(linesPerSecond: linesPerSecond, held: 160)
        #expect(pause > 0 && pause < 2_000)
        #expect(lines >= 40 && lines < 100, "one wake-up for many, and room is left")
    }

    @Test("lines as fast as they can be sent get no pause, although at the first look the socket was full")
    func fastest() {
        #expect(steady(linesPerSecond: 1_000_000, held: 160).pause == 0)
    }

    @Test("batches get no pause, half a line gets one, and nothing at all none")
    func edges() {
        #expect(GatherPause.microseconds(bytes: 64 << 10, lines: 1, elapsed: 1_000_000_000) == 0)
        #expect(GatherPause.microseconds(bytes: 100, lines: 0, elapsed: 1_000) == 2_000)
        #expect(GatherPause.microseconds(bytes: 0, lines: 0, elapsed: 1_000_000_000) == 0)
        #expect(GatherPause.microseconds(bytes: 100, lines: 1, elapsed: -5) == 0)
        #expect(GatherPause.microseconds(bytes: 100, lines: 1, elapsed: .max) == 2_000)
    }
}
