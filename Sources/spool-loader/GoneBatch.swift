import SpoolFormat

/// What to do with a batch in flight whose bytes are not in the spool any more: the writer gave its segment up, or it was lost. It cannot
/// be sent again, so what ClickHouse has of it is all that there will be.
enum GoneBatch: Equatable {
    /// It had arrived.
    case loaded
    /// It had not: go on as the segments say.
    case absent
    /// A person must look.
    case stop(String)

    /// - Parameters:
    ///   - present: rows of the range in ClickHouse.
    ///   - distinct: different sequences among them.
    ///   - isDeclared: whether a segment's header says that all rows of the batch are gone.
    init(_ batch: InflightBatch, present: UInt64, distinct: UInt64, isDeclared: Bool) {
        if present == batch.rows, distinct == present {
            self = .loaded
        } else if present == 0, isDeclared {
            self = .absent
        } else {
            let why = isDeclared ? "its segment was given up" : "its segment is not in the spool, and no other one declares its rows gone"
            self = .stop(
                "the batch in flight, rows \(batch.firstSequence) to \(batch.endSequence - 1), cannot be sent again: \(why); ClickHouse has "
                    + "\(present) of its \(batch.rows) rows, \(distinct) different ones; `spool-loader audit` names those that are missing")
        }
    }
}
