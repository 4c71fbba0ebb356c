/// Where rows are published again.
protocol ReplayTarget: AnyObject {
    /// Publishes a row if there is room for it.
    ///
    /// - Returns: nil if there is none now.
    /// - Throws: `CommandFailure` if nothing can be published any more.
    func publish(_ row: RecordedRow) throws -> ReplayedRow?

    /// Sends and receives what can be now, and returns after so many nanoseconds, or earlier if something has moved.
    ///
    /// - Parameter others: descriptors whose input ends the wait.
    /// - Throws: `CommandFailure` if nothing can be published any more.
    func wait(_ nanoseconds: Int64, others: [Int32]) throws

    /// Whether rows can be published, as soon as there is room.
    var isReady: Bool { get }
    /// Why it is not, or why nothing moves.
    var trouble: String { get }

    /// Whether nothing that was published waits to be durable.
    var isDurable: Bool { get }
    /// Grows whenever something becomes durable, and says nothing else.
    var moved: UInt64 { get }
    /// Rows that the writer refused, as far as is known.
    var refused: UInt64 { get }
    /// Rows that found no room, or that the writer gave up under pressure.
    var droppedRows: UInt64 { get }
    /// What the writer said of the first of those that it refused.
    var refusals: [String] { get }
}

/// What became of a row.
enum ReplayedRow {
    case published
    /// There was no room, as for a producer that does not wait.
    case dropped
    /// It fits nowhere, and why.
    case unfit(String)
}
