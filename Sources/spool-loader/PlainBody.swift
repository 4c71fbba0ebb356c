import SpoolFormat
import SpoolIO

/// A batch as servers before 22.2 take it: Native blocks that are not compressed, in a gzip stream of stored blocks (``StoredGzip``).
///
/// Such servers want the types in a block's header to be the table's to the letter, and know fewer of them. So a column is sent under the
/// type that the table has, where the bytes are the same (``TargetTable/sentTypes(_:)``), and a dictionary as the texts it stands for.
///
/// The chunks are decoded, with every check, twice: at first to know how long the body is, then one at a time as it is sent. Holds no more
/// than one decoded chunk.
final class PlainBody: RequestBody {
    let count: Int

    private let chunks: [LocatedChunk]
    /// The rows that are meant, if not all; then there is one chunk.
    private let rows: [Int]?
    private let reader: SegmentReader
    private let types: [String]
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
    ///   - types: the type of each column in the block's header.
    ///   - rows: numbers of the rows that are meant, in the one chunk; nil for all.
    /// - Throws: `FormatError` or `IOFailure` if a chunk cannot be read; `OversizedBatch` if the batch would not be one block.
    init(chunks: [LocatedChunk], reader: SegmentReader, types: [String], rows: [Int]? = nil) throws {
        precondition(rows == nil || chunks.count == 1, "rows of \(chunks.count) chunks")
        self.chunks = chunks
        self.reader = reader
        self.types = types
        self.rows = rows
        blockBytes = try chunks.map { try Self.block(of: $0, rows, reader, types).count }
        count = StoredGzip.count(pieces: blockBytes)
        try checkSize()
    }

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

    private static func block(of chunk: LocatedChunk, _ rows: [Int]?, _ reader: SegmentReader, _ types: [String]) throws -> PlainBlock {
        let block = try reader.block(of: chunk)
        guard let rows else { return PlainBlock(block, types: types) }
        return PlainBlock(
            try NativeBlock(try BlockSlice.block(of: block, rows: rows), columns: reader.header.columns), types: types)
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
            let block = try Self.block(of: chunk, rows, reader, types)
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
        let overhead = types.count { $0.contains("String") || $0.hasPrefix("Array") } * BatchLimits.overheadPerValue
        let memory = blockBytes.reduce(0, +) + rows * overhead
        if memory > ClickHouse.squashBytes { throw OversizedBatch(rows: rows, bytes: memory) }
    }
}

/// A batch that would be more than one block in ClickHouse once its dictionaries are written out.
struct OversizedBatch: Error, CustomStringConvertible {
    let rows: Int
    let bytes: Int

    var description: String {
        "\(rows) rows are \(bytes) bytes without their dictionaries, and one insert may have \(ClickHouse.squashBytes)"
    }
}

/// A Native block written anew, under other types.
private struct PlainBlock {
    private let block: NativeBlock
    private let types: [String]

    init(_ block: NativeBlock, types: [String]) {
        precondition(block.columns.count == types.count, "\(types.count) types for \(block.columns.count) columns")
        self.block = block
        self.types = types
    }

    /// Bytes of ``encoded()``.
    var count: Int {
        var sum = varintBytes(block.columns.count) + varintBytes(block.rows)
        for (column, type) in zip(block.columns, types) {
            for text in [column.name, type] { sum += varintBytes(text.utf8.count) + text.utf8.count }
            if isWrittenOut(column, type) {
                for row in 0..<block.rows {
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
        appendVarint(block.columns.count, to: &output)
        appendVarint(block.rows, to: &output)
        for (column, type) in zip(block.columns, types) {
            for text in [column.name, type] {
                appendVarint(text.utf8.count, to: &output)
                output += text.utf8
            }
            if isWrittenOut(column, type) {
                for row in 0..<block.rows {
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
