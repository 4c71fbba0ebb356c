/// Some rows of a decoded block as a block of their own (`docs/spool-format.md` §13): what the loader sends when a chunk cannot go as it lies in the file.
public enum BlockSlice {
    /// One LZ4 frame of a Native block that has these rows and no others, with the same columns and types.
    ///
    /// The bytes depend on the values and rows alone: the blocks of the frame are not compressed, and texts stand in a dictionary
    /// in the order of their first use. So whoever makes the slice again has the same checksum.
    ///
    /// - Parameter rows: indices of rows, in ascending order and each once.
    /// - Throws: `.malformed` for no rows at all, and for rows that are not in the block or out of order.
    public static func frame(of block: NativeBlock, rows: some Collection<Int>) throws(FormatError) -> [UInt8] {
        try bytes(of: block, rows: rows) { LZ4FrameWriter.store($0) }
    }

    /// The same block without the frame around it.
    public static func block(of block: NativeBlock, rows: some Collection<Int>) throws(FormatError) -> [UInt8] {
        try bytes(of: block, rows: rows) { Array($0) }
    }

    private static func bytes(
        of block: NativeBlock, rows: some Collection<Int>, _ take: (UnsafeRawBufferPointer) -> [UInt8]
    ) throws(FormatError) -> [UInt8] {
        try check(rows, of: block)
        var output = RawBuffer(capacity: 4_096)
        defer { output.free() }
        output.appendVarint(UInt64(block.columns.count))
        output.appendVarint(UInt64(rows.count))
        for column in block.columns {
            for text in [column.name, column.typeText] {
                output.appendVarint(UInt64(text.utf8.count))
                output.append(contentsOf: text.utf8)
            }
            column.bytes.withUnsafeBytes { column.append(rows, from: $0, to: &output) }
        }
        return take(output.bytes)
    }

    private static func check(_ rows: some Collection<Int>, of block: NativeBlock) throws(FormatError) {
        // ClickHouse refuses a block without rows (code 49).
        guard !rows.isEmpty else { throw .malformed("a slice without rows") }
        var last = -1
        for row in rows {
            guard row > last else { throw .malformed("a slice with row \(row) behind row \(last)") }
            guard row < block.rows else { throw .malformed("a slice with row \(row) of a block of \(block.rows) rows") }
            last = row
        }
    }
}

extension NativeColumn {
    /// Appends these rows' marks and values as a block has them.
    fileprivate func append(_ rows: some Collection<Int>, from block: UnsafeRawBufferPointer, to output: inout RawBuffer) {
        if isDictionary { return appendDictionary(rows, from: block, to: &output) }
        switch type.shape {
        case .plain: break
        case .nullable: for row in rows { output.append(block[marks + row]) }
        case .array:
            var end: UInt64 = 0
            for row in rows {
                end += UInt64(elements(row).count)
                output.append(end)
            }
        }
        for row in rows { append(elements(row), from: block, to: &output) }
    }

    private func append(_ elements: Range<Int>, from block: UnsafeRawBufferPointer, to output: inout RawBuffer) {
        if let width = type.width {
            let start = values + elements.lowerBound * width
            return output.append(block[start..<start + elements.count * width])
        }
        for element in elements {
            output.appendVarint(UInt64(strings[element].count))
            output.append(block[strings[element]])
        }
    }

    private func appendDictionary(_ rows: some Collection<Int>, from block: UnsafeRawBufferPointer, to output: inout RawBuffer) {
        var names = NameDictionary()
        var indices = RawBuffer(capacity: rows.count * 4)
        defer {
            names.free()
            indices.free()
        }
        for row in rows {
            let text = UnsafeRawBufferPointer(rebasing: block[strings[row]])
            indices.append(text.baseAddress.map { names.index(of: $0, count: text.count) } ?? 0)
        }
        names.assemble(indices: indices.base, rows: rows.count, into: &output)
    }
}

extension RawBuffer {
    fileprivate mutating func append(_ slice: Slice<UnsafeRawBufferPointer>) {
        let source = UnsafeRawBufferPointer(rebasing: slice)
        if let base = source.baseAddress { append(base, count: source.count) }
    }
}
