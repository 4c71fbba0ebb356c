import SpoolFormat

/// Segments that several tests look at.
public enum Samples {
    /// 2026-01-02T03:04:05Z.
    public static let time: Int64 = 1_767_323_045_000_000_000

    /// The table of the worked example (`docs/spool-format.md` §12).
    public static let demo = TableSchema(
        table: "demo", columns: [Column(name: "ts", type: ColumnType(.dateTime64)), Column(name: "px", type: ColumnType(.float64))],
        eventTimeColumn: 0, partitionRule: .day, retention: nil)

    /// The worked example.
    public static func workedExample() throws -> SegmentBuilder {
        var segment = SegmentBuilder(schema: demo, writer: "w1", created: time)
        try segment.append(
            chunk: [[.integer(Int128(time) + 1), .double(1.5)], [.integer(Int128(time) + 2), .double(2.5)]], ingest: time,
            sources: [SourcePosition(source: "socket:s", end: 2, complete: 2)])
        segment.seal(at: time)
        return segment
    }

    /// A table with a column of every shape.
    public static let mixed = TableSchema(
        table: "mixed",
        columns: [
            Column(name: "ts", type: ColumnType(.dateTime64)),
            Column(name: "name", type: ColumnType(.string)),
            Column(name: "size", type: ColumnType(.decimal(precision: 38, scale: 10), shape: .nullable)),
            Column(name: "levels", type: ColumnType(.float64, shape: .array)),
            Column(name: "side", type: try! ColumnType("Enum8('buy' = 1, 'sell' = 2)")),
            Column(name: "tag", type: ColumnType(.fixedString(bytes: 3), shape: .nullable)),
        ], eventTimeColumn: 0, partitionRule: .month, retention: nil)

    /// A sealed segment of ``mixed`` with three chunks of two partitions.
    public static func mixedSegment() throws -> SegmentBuilder {
        var segment = SegmentBuilder(
            schema: mixed, writer: "tokyo-1-5f0c9a3e", number: 7, firstSequence: 301_442, created: time,
            sources: [SourcePosition(source: "import:day", end: 12, complete: 9)])
        let month: Int128 = 31 * 86_400 * 1_000_000_000
        for chunk in 0..<3 {
            let start = Int128(time) + (chunk == 2 ? month : 0)
            let rows = (0..<3).map { mixedRow($0, chunk: chunk, start: start) }
            try segment.append(
                chunk: rows, ingest: time + Int64(chunk),
                sources: [SourcePosition(source: "socket:engine", end: UInt64(chunk * 3 + 3), complete: UInt64(chunk * 3))])
        }
        segment.seal(at: time + 9)
        return segment
    }

    private static func mixedRow(_ row: Int, chunk: Int, start: Int128) -> [Cell] {
        let time = Cell.integer(start + Int128(row))
        let size = row == 1 ? Cell.null : .integer(-12_345_678_901_234_567_890)
        let levels = (0..<row).map { Cell.double(Double($0) / 8) }
        let tag = row == 0 ? Cell.null : .text("a\(row)c")
        return [time, .text("Zürich \(chunk)"), size, .array(levels), .integer(Int128(row % 2 + 1)), tag]
    }
}
