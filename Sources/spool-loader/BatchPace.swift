/// How large batches are and how soon one follows another.
///
/// Live, a batch is what came in while it lingered; behind, it is as large as the limits allow and the next one follows at once. When
/// ClickHouse says that a table has too many parts, batches become fewer and as large as one block may be, until some have gone well; when it is
/// seen that they come near (``PartsWatch``), until they do not.
struct BatchPace {
    private let usual: BatchLimits
    /// Nanoseconds that a batch waits for more rows, since the one before was sent.
    private let linger: Int64
    /// Nanoseconds between any two batches; 0 in ordinary times.
    private(set) var spacing: Int64 = 0
    /// How near the table is to too many parts.
    var crowding = PartsCrowding.Level.calm
    private var lastSend: Int64?

    private static let firstSpacing: Int64 = 1_000_000_000
    private static let mostSpacing: Int64 = 32_000_000_000

    init(limits: BatchLimits, linger: Int64) {
        usual = limits
        self.linger = linger
    }

    /// While parts are many, rows are still in ClickHouse before the lag is an alarm.
    private var leastSpacing: Int64 {
        switch crowding {
        case .calm: spacing
        case .crowded: max(spacing, Self.firstSpacing)
        case .critical: max(spacing, 3 * Self.firstSpacing)
        }
    }

    var limits: BatchLimits {
        guard leastSpacing > 0 else { return usual }
        return BatchLimits(rows: max(usual.rows, BatchLimits.blockRows), bytes: max(usual.bytes, BatchLimits.memoryBytes))
    }

    /// When the next batch may leave, on the monotonic clock; nil for at once.
    ///
    /// - Parameter isFull: whether waiting would not make it larger.
    func earliest(isFull: Bool) -> Int64? {
        guard let lastSend else { return nil }
        let wait = isFull ? leastSpacing : max(linger, leastSpacing)
        return wait > 0 ? lastSend + wait : nil
    }

    mutating func sent(at now: Int64) { lastSend = now }

    mutating func tooManyParts() { spacing = spacing == 0 ? Self.firstSpacing : min(spacing * 2, Self.mostSpacing) }

    /// A batch has arrived.
    mutating func finished() { spacing = spacing > Self.firstSpacing ? spacing / 2 : 0 }
}
