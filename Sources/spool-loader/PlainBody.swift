import SpoolFormat
import SpoolIO

/// A batch that cannot go as it lies in the segment: Native blocks that are not compressed, in a gzip stream of stored blocks (``StoredGzip``).
///
/// Servers before 22.2 want the types in a block's header to be the table's to the letter, and know fewer of them. So a column is sent under
/// the type that the table has, where the bytes are the same (``TargetTable/sentTypes(_:)``), and a dictionary as the texts it stands for.
///
/// Into a table that was altered since the rows were recorded a column goes under its name of today, and one that was dropped not at all
/// (``ColumnFit``). The same batch always makes the same bytes, unless the table is altered once more.
///
/// The chunks are decoded, with every check, twice: at first to know how long the body is, then one at a time as it is sent. Holds no more
/// than one decoded chunk.
final class PlainBody: RequestBody {
    let count: Int

    private let chunks: [LocatedChunk]
    /// The rows that are meant, if not all; then there is one chunk.
    private let rows: [Int]?
    private let reader: SegmentReader
    private let sent: [WireColumn?]
    private let blockBytes: [Int]

    /// What was made and not given yet.
    private var ready: [UInt8] = []
    private var given = 0
    private var position = 0
    private var nextChunk = 0
    private var isFinished = false
    private var gzip = StoredGzip()

    /// Decodes and checks all chunks.
    ///
    /// - Parameters:
    ///   - columns: name and type of each of the segment's columns in the block's header; nil for one that is left out.
    ///   - rows: numbers of the rows that are meant, in the one chunk; nil for all.
    /// - Throws: `FormatError` or `IOFailure` if a chunk cannot be read; `OversizedBatch` if the batch would not be one block.
    init(chunks: [LocatedChunk], reader: SegmentReader, columns: [WireColumn?], rows: [Int]? = nil) throws {
        precondition(rows == nil || chunks.count == 1, "rows of \(chunks.count) chunks")
        self.chunks = chunks
        self.reader = reader
        sent = columns
        self.rows = rows
        blockBytes = try chunks.map { try Self.block(of: $0, rows, reader, columns).count }
        count = StoredGzip.count(pieces: blockBytes)
        try checkSize()
    }

    /// Those that the blocks have.
    var columns: [WireColumn] { sent.compactMap(\.self) }

    /// Gives the bytes in order only; `offset` 0 begins anew.
    func read(into room: UnsafeMutableRawBufferPointer, at offset: Int) throws -> Int {
        if offset == 0 { restart() }
        precondition(offset == position, "a plain body was read at \(offset), after \(position)")
        while given == ready.count, !isFinished { try prepare() }
        let taken = min(room.count, ready.count - given)
        ready.withUnsafeBytes { room.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[given..<given + taken])) }
        given += taken
        position += taken
        return taken
    }

    private static func block(
        of chunk: LocatedChunk, _ rows: [Int]?, _ reader: SegmentReader, _ columns: [WireColumn?]
    ) throws -> PlainBlock {
        let block = try reader.block(of: chunk)
        guard let rows else { return PlainBlock(block, as: columns) }
        return PlainBlock(try NativeBlock(try BlockSlice.block(of: block, rows: rows), columns: reader.header.columns), as: columns)
    }

    private func restart() {
        ready = []
        (given, position, nextChunk) = (0, 0, 0)
        isFinished = false
        gzip = StoredGzip()
    }

    private func prepare() throws {
        given = 0
        // Before the next chunk is decoded, so that two are never held.
        ready = []
        if nextChunk < chunks.count {
            let chunk = chunks[nextChunk]
            let block = try Self.block(of: chunk, rows, reader, sent)
            guard block.count == blockBytes[nextChunk] else {
                throw FormatError.malformed("the chunk at \(chunk.offset) changed while it was sent")
            }
            ready = gzip.append(block.encoded())
            nextChunk += 1
        } else {
            ready = gzip.finish()
            isFinished = true
        }
    }

    /// ClickHouse makes one block, and so one part, of no more than this; dictionaries grow when they are written out.
    private func checkSize() throws(OversizedBatch) {
        let rows = self.rows?.count ?? chunks.reduce(0) { $0 + $1.header.rows }
        let overhead = columns.count { $0.type.contains("String") || $0.type.hasPrefix("Array") } * BatchLimits.overheadPerValue
        let memory = blockBytes.reduce(0, +) + rows * overhead
        if memory > ClickHouse.squashBytes { throw OversizedBatch(rows: rows, bytes: memory, form: "without their dictionaries") }
    }
}

/// A batch that would be more than one block in ClickHouse, in the form that the table has.
struct OversizedBatch: Error, CustomStringConvertible {
    let rows: Int
    let bytes: Int
    /// Such as: without their dictionaries.
    let form: String

    var description: String { "\(rows) rows are \(bytes) bytes \(form), and one insert may have \(ClickHouse.squashBytes)" }
}

/// A Native block written anew, under other names and types, and without some columns.
private struct PlainBlock {
    private let rows: Int
    private let columns: [(values: NativeColumn, name: String, type: String)]

    init(_ block: NativeBlock, as sent: [WireColumn?]) {
        precondition(block.columns.count == sent.count, "\(sent.count) names for \(block.columns.count) columns")
        rows = block.rows
        columns = zip(block.columns, sent).compactMap { column, sent in sent.map { (column, $0.name, $0.type) } }
    }

    /// Bytes of ``encoded()``.
    var count: Int {
        var sum = varintBytes(columns.count) + varintBytes(rows)
        for (column, name, type) in columns {
            for text in [name, type] { sum += varintBytes(text.utf8.count) + text.utf8.count }
            if isWrittenOut(column, type) {
                for row in 0..<rows {
                    let length = column.string(row).count
                    sum += varintBytes(length) + length
                }
            } else {
                sum += column.data.count
            }
        }
        return sum
    }

    func encoded() -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(count)
        appendVarint(columns.count, to: &output)
        appendVarint(rows, to: &output)
        for (column, name, type) in columns {
            for text in [name, type] {
                appendVarint(text.utf8.count, to: &output)
                output += text.utf8
            }
            if isWrittenOut(column, type) {
                for row in 0..<rows {
                    let text = column.string(row)
                    appendVarint(text.count, to: &output)
                    output += text
                }
            } else {
                output += column.data
            }
        }
        return output
    }

    private func isWrittenOut(_ column: NativeColumn, _ type: String) -> Bool {
        column.isDictionary && type != ColumnType.dictionaryText
    }

    private func varintBytes(_ value: Int) -> Int { max(1, (UInt64.bitWidth - UInt64(value).leadingZeroBitCount + 6) / 7) }

    private func appendVarint(_ value: Int, to output: inout [UInt8]) {
        var rest = UInt64(value)
        while rest >= 0x80 {
            output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        output.append(UInt8(rest))
    }
}
