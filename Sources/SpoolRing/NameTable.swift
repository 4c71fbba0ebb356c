import CSpoolRing
import SpoolFormat

/// The names that a ring's producer has interned (`docs/ring.md` §5), each ready to be appended to a column: length, then bytes.
///
/// A private copy: once read, a name cannot be changed by anybody.
public final class NameTable {
    /// Bytes that may be read behind every cell, so that short ones are copied by two moves.
    static let slack = 32

    struct Cell {
        var offset: UInt32
        /// Bytes with the length in front; 0 for a name that is not UTF-8, which no row may use.
        var count: UInt32
    }

    private(set) var cells: RawBuffer
    private(set) var table: RawBuffer
    /// Names known, with the empty one that has id 0.
    public private(set) var count = 0
    /// Bytes of the longest cell.
    private(set) var longest = 1
    /// Where in the ring's region the next name begins.
    private var offset = 4

    public init() {
        cells = RawBuffer(capacity: 1_024)
        table = RawBuffer(capacity: 512)
        append(UnsafeRawBufferPointer(start: nil, count: 0))
    }

    deinit {
        cells.free()
        table.free()
    }

    /// The text of a name; nil if it is not UTF-8, or there is none with this id.
    func text(_ id: UInt32) -> UnsafeRawBufferPointer? {
        guard id < UInt32(count) else { return nil }
        let cell = table.base.loadUnaligned(fromByteOffset: Int(id) * 8, as: Cell.self)
        guard cell.count > 0 else { return nil }
        let lengthBytes = cell.count > 0x80 ? 2 : 1
        return UnsafeRawBufferPointer(start: cells.base + Int(cell.offset) + lengthBytes, count: Int(cell.count) - lengthBytes)
    }

    /// Reads the names that are new.
    public func refresh(from ring: RingFile) throws(RingDefect) {
        let known = try ring.nameCount()
        guard known >= count - 1 else { throw .corrupt("it has \(known) names, and had \(count - 1) before") }
        guard known > count - 1 else { return }
        var name = RawBuffer(capacity: Int(SPOOL_RING_MAX_NAME_BYTES))
        defer { name.free() }
        let end = ring.header.namesBytes
        while count - 1 < known {
            var length: UInt16 = 0
            guard offset + 2 <= end else { throw .corrupt("\(known) names do not fit in \(end) bytes") }
            try ring.copyNames(at: offset, count: 2, to: &length)
            guard length > 0, length <= UInt16(SPOOL_RING_MAX_NAME_BYTES), offset + 2 + Int(length) <= end else {
                throw .corrupt("name \(count) has \(length) bytes")
            }
            name.truncate(to: 0)
            name.reserve(Int(length))
            try ring.copyNames(at: offset + 2, count: Int(length), to: name.base)
            append(UnsafeRawBufferPointer(start: name.base, count: Int(length)))
            offset += 2 + Int(length)
        }
    }

    /// Adds a name as a ring's producer would: for tests and for names that come from elsewhere.
    public func append(_ name: UnsafeRawBufferPointer) {
        let start = cells.count
        var cell = Cell(offset: UInt32(start), count: 0)
        if isUTF8(name) {
            cells.appendVarint(UInt64(name.count))
            if let bytes = name.baseAddress { cells.append(bytes, count: name.count) }
            cell.count = UInt32(cells.count - start)
            longest = max(longest, Int(cell.count))
        }
        // Room behind the last cell; the next one is written over it.
        let end = cells.count
        cells.appendZeros(Self.slack)
        cells.truncate(to: end)
        table.append(cell)
        count += 1
    }
}
