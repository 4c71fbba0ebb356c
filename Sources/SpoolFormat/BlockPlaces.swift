/// Where every value of a block lies: what a loop over rows needs of ``NativeColumn``, without a reference to count.
public struct BlockPlaces: Sendable {
    /// Offsets are in the block's bytes.
    public struct Column: Sendable {
        public let shape: ColumnType.Shape
        /// Of the null map or of the array ends.
        @usableFromInline let marks: Int
        @usableFromInline let values: Int
        /// Bytes of a value; 0 for a `String`.
        public let width: Int
        /// In ``BlockPlaces/strings``.
        @usableFromInline let index: Int

        @inlinable public func isNull(_ row: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
            shape == .nullable && bytes[marks + row] == 1
        }

        /// The values of a row: one, or those of its array.
        @inlinable public func elements(_ row: Int, _ bytes: UnsafeRawBufferPointer) -> Range<Int> {
            guard shape == .array else { return row..<row + 1 }
            return (row == 0 ? 0 : mark(row - 1, bytes))..<mark(row, bytes)
        }

        @inlinable func mark(_ row: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
            Int(truncatingIfNeeded: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: marks + row * 8, as: UInt64.self)))
        }

        /// Where values of fixed width lie, one behind the other.
        @inlinable public func place(of elements: Range<Int>) -> Range<Int> {
            values + elements.lowerBound * width..<values + elements.upperBound * width
        }
    }

    public let columns: [Column]
    /// Of the texts of each column.
    @usableFromInline let strings: [[Range<Int>]]

    public init(_ block: NativeBlock) {
        columns = block.columns.enumerated().map { index, column in
            Column(
                shape: column.type.shape, marks: column.marks, values: column.values, width: column.type.width ?? 0, index: index)
        }
        strings = block.columns.map(\.strings)
    }

    /// Where the bytes of a `String` lie.
    @inlinable public func string(_ element: Int, of column: Column) -> Range<Int> { strings[column.index][element] }
}
