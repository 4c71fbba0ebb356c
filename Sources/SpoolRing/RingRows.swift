/// Rows of one table in the drain's private copy of a ring's bytes.
///
/// Every row's record has been checked to lie within the copy, which may be read ``slack`` bytes beyond its last row.
public struct RingRows {
    /// Readable bytes behind the last row, so that short texts are copied by two moves.
    public static let slack = 32

    let base: UnsafeRawPointer
    /// Where each row begins, behind its record's word.
    let offsets: UnsafePointer<UInt32>
    public let count: Int

    public init(base: UnsafeRawPointer, offsets: UnsafePointer<UInt32>, count: Int) {
        self.base = base
        self.offsets = offsets
        self.count = count
    }

    /// Other rows of the same memory.
    public func places(_ offsets: UnsafePointer<UInt32>, count: Int) -> RingRows { RingRows(base: base, offsets: offsets, count: count) }
    public func dropFirst(_ rows: Int) -> RingRows { RingRows(base: base, offsets: offsets + rows, count: count - rows) }
    public func prefix(_ rows: Int) -> RingRows { RingRows(base: base, offsets: offsets, count: min(rows, count)) }

    @inline(__always)
    func row(_ index: Int) -> UnsafeRawPointer { base + Int(offsets[index]) }

    /// Bytes of a row: its fixed part and its tail.
    @inline(__always)
    func rowBytes(_ index: Int) -> Int { Int(row(index).loadUnaligned(fromByteOffset: -8, as: UInt32.self)) &- 8 }

    /// Where a row's record begins and ends, from the first byte of the copy.
    public func record(_ index: Int) -> (start: Int, end: Int) {
        let start = Int(offsets[index]) - 8
        return (start, start + 8 + rowBytes(index))
    }
}
