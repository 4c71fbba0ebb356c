/// How long the loop lets lines gather before it looks again.
///
/// A wake-up costs as much as ten lines, so a stream of single lines is best left to gather for a while. But a unix socket holds few
/// of them: with the usual send buffer of 208 KiB some 160 short lines, after which their producer stands still. So the faster they
/// come, the shorter the pause; and none if they come so fast that the loop has enough to do anyway.
enum GatherPause {
    static let longestMicroseconds: Int64 = 2_000
    static let shortestMicroseconds: Int64 = 250
    /// Lines to gather: many for one wake-up, few for a socket.
    static let lines: Int64 = 64
    /// Microseconds between two rounds that count as long.
    private static let maxElapsed: Int64 = 1_000_000_000
    /// What came in so many bytes at once was sent in batches, or had waited: there is nothing to gather for.
    static let belowBytes = 64 << 10

    /// - Parameters:
    ///   - bytes: what came in this round.
    ///   - lines: how many lines of it.
    ///   - elapsed: nanoseconds since the round before it began.
    /// - Returns: the pause in microseconds; 0 for none.
    static func microseconds(bytes: Int, lines: Int, elapsed: Int64) -> UInt32 {
        guard bytes > 0, bytes < belowBytes else { return 0 }
        guard lines > 0 else { return UInt32(longestMicroseconds) }
        // The time in which so many lines come, at the rate at which these came.
        let pause = min(min(max(elapsed / 1_000, 0), maxElapsed) * Self.lines / Int64(lines), longestMicroseconds)
        return pause < shortestMicroseconds ? 0 : UInt32(pause)
    }
}
