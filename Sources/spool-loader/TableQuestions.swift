import SpoolFormat
import SpoolIO

/// What the loader asks ClickHouse about a table's rows. They are found by who wrote them and their numbers.
struct TableQuestions {
    let table: String
    let writer: String
    /// Decides how event times are written.
    var target: TargetTable?

    private var rows: String {
        "FROM \(quotedIdentifier(table)) WHERE \(TableSchema.writerColumn) = \(quotedString(writer)) AND \(TableSchema.sequenceColumn)"
    }

    /// How many rows of a batch are there, and how many different ones.
    func count(of batch: Batch) -> String { "SELECT count(), uniqExact(\(TableSchema.sequenceColumn)) \(range(of: batch)) FORMAT TSV" }

    /// Which rows of a batch are there, in order.
    func sequences(of batch: Batch) -> String {
        "SELECT \(TableSchema.sequenceColumn) \(range(of: batch)) ORDER BY \(TableSchema.sequenceColumn) FORMAT RowBinary"
    }

    /// The same as ``count(of:)`` for a batch that is not in the spool any more.
    func count(of inflight: InflightBatch) -> String {
        """
        SELECT count(), uniqExact(\(TableSchema.sequenceColumn)) \(rows) >= \(inflight.firstSequence) \
        AND \(TableSchema.sequenceColumn) < \(inflight.endSequence) FORMAT TSV
        """
    }

    /// How many rows there are from a sequence on, how many different ones, and the first and the last.
    func extent(from sequence: UInt64) -> String {
        let column = TableSchema.sequenceColumn
        return "SELECT count(), uniqExact(\(column)), min(\(column)), max(\(column)) \(rows) >= \(sequence) FORMAT TSV"
    }

    /// The event time lets ClickHouse skip partitions.
    private func range(of batch: Batch) -> String {
        let header = batch.segment.reader.header
        let name = header.columns[header.eventTimeColumn].name
        let time = quotedIdentifier(name)
        func text(_ nanoseconds: Int64) -> String {
            target?.timeText(name, nanoseconds) ?? TargetTable.timeText(nanoseconds)
        }
        return """
            \(rows) >= \(batch.firstSequence) AND \(TableSchema.sequenceColumn) < \(batch.endSequence) \
            AND \(time) >= \(text(batch.minEventTime)) AND \(time) <= \(text(batch.maxEventTime))
            """
    }
}

/// The numbers of a TSV answer of exactly one line; nil if anything else stands there, such as an error that came late.
func numbers(inLine body: [UInt8]) -> [UInt64]? {
    guard body.last == 0x0A else { return nil }
    let fields = String(decoding: body.dropLast(), as: UTF8.self).split(separator: "\t", omittingEmptySubsequences: false)
    let numbers = fields.compactMap { UInt64($0) }
    return numbers.count == fields.count ? numbers : nil
}

/// What is wrong with an answer that ``numbers(inLine:)`` cannot read.
func noCount(_ body: [UInt8]) -> String { "an answer that is no count: \(body.isEmpty ? "nothing" : plainLine(bytes: body, limit: 100))" }

/// The UInt64 values of a RowBinary answer of one such column.
func sequences(_ body: [UInt8]) -> [UInt64] {
    body.withUnsafeBytes { raw in
        (0..<raw.count / 8).map { UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)) }
    }
}
