/// How large batches are and how soon one follows another.
///
/// Live, a batch is what came in while it lingered; behind, it is as large as the limits allow and the next one follows at once. When
/// ClickHouse says that a table has too many parts, batches become fewer and as large as one block may be, until some have gone well.
struct BatchPace {
    private let usual: BatchLimits
    /// Nanoseconds that a batch waits for more rows, since the one before was sent.
    private let linger: Int64
    /// Nanoseconds between any two batches; 0 in ordinary times.
    private(set) var spacing: Int64 = 0
    private var lastSend: Int64?

    private static let firstSpacing: Int64 = 1_000_000_000
    private static let mostSpacing: Int64 = 32_000_000_000

    init(limits: BatchLimits, linger: Int64) {
        usual = limits
        self.linger = linger
    }

    var limits: BatchLimits {
        guard spacing > 0 else { return usual }
        return BatchLimits(rows: max(usual.rows, BatchLimits.blockRows), bytes: max(usual.bytes, BatchLimits.memoryBytes))
    }

    /// When the next batch may leave, on the monotonic clock; nil for at once.
    ///
    /// - Parameter isFull: whether waiting would not make it larger.
    func earliest(isFull: Bool) -> Int64? {
        guard let lastSend else { return nil }
        let wait = isFull ? spacing : max(linger, spacing)
        return wait > 0 ? lastSend + wait : nil
    }

    mutating func sent(at now: Int64) { lastSend = now }

    mutating func tooManyParts() { spacing = spacing == 0 ? Self.firstSpacing : min(spacing * 2, Self.mostSpacing) }

    /// A batch has arrived.
    mutating func finished() { spacing = spacing > Self.firstSpacing ? spacing / 2 : 0 }
}
