/// A ClickHouse version, as far as it decides how the server is spoken to.
struct ServerVersion: Comparable {
    let year: Int
    let release: Int

    init(_ year: Int, _ release: Int) {
        self.year = year
        self.release = release
    }

    /// - Returns: nil if the text does not begin as versions do: `18.16.1`.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).prefix(2).map { Int($0) }
        guard parts.count == 2, let year = parts[0], let release = parts[1] else { return nil }
        self.init(year, release)
    }

    static func < (one: Self, two: Self) -> Bool { (one.year, one.release) < (two.year, two.release) }
}

/// How a server is spoken to: by its version, and by the setting `loader.wire`.
struct Dialect: Equatable {
    /// The setting `loader.wire`.
    enum Wire: String {
        case auto, lz4, plain
    }

    /// The first version that takes LZ4 frames over HTTP and dedup tokens for tables that are not replicated.
    private static let tokens = ServerVersion(22, 2)

    /// Rows are sent uncompressed, and types may be renamed where the bytes are the same (``PlainBody``).
    let isPlain: Bool
    /// Without tokens nothing in the server holds off a second copy: before a batch is sent again it must be certain that the first
    /// send has ended (``ClickHouse/askWhetherRunning(_:done:)``).
    let knowsTokens: Bool

    init(version: ServerVersion = tokens, wire: Wire = .auto) {
        knowsTokens = version >= Self.tokens
        isPlain = wire == .plain || wire == .auto && !knowsTokens
    }

    /// The aggregate function that counts different integers exactly. `groupBitmap` takes far less memory, and is younger than 18.16.
    var exactDistinct: String { knowsTokens ? "groupBitmap" : "uniqExact" }
}

/// Waits until an insert that may still be under way in a server without tokens has come to its end.
///
/// `system.processes` shows an insert only once the server has read the first megabyte of it, or all of it. So that it is not there proves
/// little at one moment. But a server that was there to ask for the body, and has been answering for a while since, has a thread that
/// reads what it was sent; and nothing more is sent, since the connection was reset (``HTTPRequest/endsForGood``).
struct Settling: Equatable {
    /// For how long the server must answer without showing the insert.
    static let quietTime: Int64 = 1_000_000_000
    /// How soon to ask again.
    static let askAgainAfter: Int64 = 100_000_000
    /// What the time between two answers counts for at most: the server may have been stopped, or away, for the rest of it.
    static let longestGap: Int64 = 2 * askAgainAfter

    private var quiet: Int64 = 0
    private var lastAnswer: Int64?

    /// Takes an answer.
    ///
    /// - Parameter now: nanoseconds of the monotonic clock, when the question was answered.
    /// - Returns: whether the insert is over: what there is of it now is all that there will be.
    mutating func isOver(isRunning: Bool, now: Int64) -> Bool {
        if isRunning {
            quiet = 0
            lastAnswer = nil
            return false
        }
        quiet += min(now - (lastAnswer ?? now), Self.longestGap)
        lastAnswer = now
        return quiet >= Self.quietTime
    }
}
