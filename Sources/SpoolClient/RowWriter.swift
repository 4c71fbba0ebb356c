public import CSpoolRing

/// One row on its way into a ring. Only generated code uses it: sizes first, then `claim`, then values, then `commit`.
///
/// It all inlines into the generated `publish`, and what is left are the stores of the values.
@frozen public struct RowWriter {
    @usableFromInline let ring: UnsafeMutablePointer<spool_ring>
    @usableFromInline let table: Int32
    /// Of the row: the fixed part, and what is known so far of the tail.
    @usableFromInline var bytes: UInt64
    @usableFromInline var row: UnsafeMutableRawPointer
    @usableFromInline var end: UInt32
    @usableFromInline var isEncodable = true
    @usableFromInline var isForeign = false

    @inlinable @inline(__always)
    public init(_ ring: borrowing Ring, key: UInt64, rowBytes: UInt32) {
        self.ring = ring.handle
        table = spool_ring_find_table(ring.handle, key)
        bytes = UInt64(rowBytes)
        end = rowBytes
        row = UnsafeMutableRawPointer(ring.handle)
    }

    // MARK: Sizes

    @inlinable @inline(__always)
    public mutating func reserve(_ text: Text) { bytes &+= UInt64(truncatingIfNeeded: text.count) }
    @inlinable @inline(__always)
    public mutating func reserve(_ text: Text?) { if let text { reserve(text) } }
    @inlinable @inline(__always)
    public mutating func reserve<Value: FixedValue>(_ values: [Value]) {
        bytes &+= UInt64(truncatingIfNeeded: values.count &* MemoryLayout<Value.Stored>.size)
    }
    @inlinable @inline(__always)
    public mutating func reserve(_ texts: [String]) {
        for text in texts { bytes &+= UInt64(truncatingIfNeeded: 8 &+ text.utf8.count) }
    }

    /// The id of a name, or that its text must stand in the row.
    @inlinable @inline(__always)
    public mutating func id(of name: Name) -> UInt32 {
        if _fastPath((name.word ^ ring.pointee.name_token) &>> 31 == 0) { return UInt32(truncatingIfNeeded: name.word) }
        // The empty text, which columns with a default have, has the id 0 in every ring.
        if name.word == 0, name.count == 0 { return 0 }
        let id = Self.resolve(name, in: ring)
        if id == Self.foreign { isForeign = true }
        if id == spoolNameInline { bytes &+= UInt64(truncatingIfNeeded: 4 &+ name.count) }
        return id
    }
    @inlinable @inline(__always)
    public mutating func id(of name: Name?) -> UInt32 { name.map { id(of: $0) } ?? 0 }

    /// Of a name that another ring interned; no name has this id.
    @inlinable @inline(__always) static var foreign: UInt32 { .max }

    // Static, and values only: if it knew the writer's address, the writer would have to lie in memory.
    @usableFromInline @inline(never)
    static func resolve(_ name: Name, in ring: UnsafeMutablePointer<spool_ring>) -> UInt32 {
        guard name.word == 0 else { return foreign }
        return spool_ring_intern(ring, name.base, UInt32(clamping: name.count))
    }

    /// Notes a text that must fit into a `FixedString`.
    @inlinable @inline(__always)
    public mutating func check(_ text: Text, fits width: Int) { isEncodable = isEncodable && text.count <= width }
    @inlinable @inline(__always)
    public mutating func check(_ text: Text?, fits width: Int) { if let text { check(text, fits: width) } }

    // MARK: Claim and commit

    @inlinable @inline(__always)
    public mutating func claim() -> Bool {
        guard _fastPath(table >= 0 && isEncodable && !isForeign) else { return false }
        guard let row = spool_row_claim(ring, UInt32(bitPattern: table), bytes) else { return false }
        self.row = UnsafeMutableRawPointer(row)
        return true
    }

    /// Why ``claim()`` gave nothing.
    @inline(never)
    public func refusal() -> Publication {
        if table < 0 { return .noTable }
        if isForeign { return .foreignName }
        if !isEncodable {
            _ = spool_ring_make_room(ring, UInt32(bitPattern: table), .max)
            return .tooLong
        }
        return spool_row_refused(ring, bytes) == Int32(SPOOL_TOO_LONG) ? .tooLong : .full
    }

    @inlinable @inline(__always)
    public func commit() -> Publication {
        spool_row_commit(ring, UInt32(bitPattern: table), row.assumingMemoryBound(to: UInt8.self), bytes)
        return .accepted
    }

    // MARK: Values

    @inlinable @inline(__always)
    public func put<Value: FixedValue>(_ value: Value, at offset: Int) {
        row.storeBytes(of: value.stored, toByteOffset: offset, as: Value.Stored.self)
    }
    @inlinable @inline(__always)
    public func put<Value: FixedValue>(_ value: Value?, at offset: Int, null: Int) {
        row.storeBytes(of: value == nil ? 1 : 0, toByteOffset: null, as: UInt8.self)
        if let value { put(value, at: offset) }
    }

    @inlinable @inline(__always)
    public mutating func put(_ text: Text, at slot: Int) {
        putSlot(slot, count: text.count)
        let to = (row + Int(end)).assumingMemoryBound(to: UInt8.self)
        text.withBytes { spool_copy(to, $0.baseAddress, UInt32(truncatingIfNeeded: $0.count)) }
        end &+= UInt32(truncatingIfNeeded: text.count)
    }
    @inlinable @inline(__always)
    public mutating func put(_ text: Text?, at slot: Int, null: Int) {
        row.storeBytes(of: text == nil ? 1 : 0, toByteOffset: null, as: UInt8.self)
        if let text { put(text, at: slot) } else { putSlot(slot, count: 0) }
    }

    @inlinable @inline(__always)
    public mutating func put(_ name: Name, id: UInt32, at offset: Int) {
        row.storeBytes(of: id, toByteOffset: offset, as: UInt32.self)
        if _slowPath(id == spoolNameInline) { end = Self.putInline(name, in: row, at: offset, end: end) }
    }
    @inlinable @inline(__always)
    public mutating func put(_ name: Name?, id: UInt32, at offset: Int, null: Int) {
        row.storeBytes(of: name == nil ? 1 : 0, toByteOffset: null, as: UInt8.self)
        if let name { put(name, id: id, at: offset) } else { row.storeBytes(of: 0, toByteOffset: offset, as: UInt32.self) }
    }

    @usableFromInline @inline(never)
    static func putInline(_ name: Name, in row: UnsafeMutableRawPointer, at offset: Int, end: UInt32) -> UInt32 {
        row.storeBytes(of: spoolNameInline + end, toByteOffset: offset, as: UInt32.self)
        row.storeBytes(of: UInt32(name.count), toByteOffset: Int(end), as: UInt32.self)
        if let base = name.base { (row + Int(end) + 4).copyMemory(from: base, byteCount: name.count) }
        return end + UInt32(4 + name.count)
    }

    /// A `FixedString`, padded with zeros.
    @inlinable @inline(__always)
    public func put(_ text: Text, at offset: Int, width: Int) {
        let to = (row + offset).assumingMemoryBound(to: UInt8.self)
        text.withBytes { spool_copy(to, $0.baseAddress, UInt32(truncatingIfNeeded: $0.count)) }
        (to + text.count).initialize(repeating: 0, count: width &- text.count)
    }
    @inlinable @inline(__always)
    public func put(_ text: Text?, at offset: Int, width: Int, null: Int) {
        row.storeBytes(of: text == nil ? 1 : 0, toByteOffset: null, as: UInt8.self)
        if let text { put(text, at: offset, width: width) }
    }

    @inlinable @inline(__always)
    public mutating func put<Value: FixedValue>(_ values: [Value], at slot: Int) {
        putSlot(slot, count: values.count)
        var to = row + Int(end)
        for value in values {
            to.storeBytes(of: value.stored, as: Value.Stored.self)
            to += MemoryLayout<Value.Stored>.size
        }
        end &+= UInt32(truncatingIfNeeded: values.count &* MemoryLayout<Value.Stored>.size)
    }
    @inlinable @inline(__always)
    public mutating func put(_ texts: [String], at slot: Int) {
        putSlot(slot, count: texts.count)
        var slot = Int(end)
        end &+= UInt32(truncatingIfNeeded: texts.count &* 8)
        for text in texts {
            put(Text(text), at: slot)
            slot &+= 8
        }
    }

    @inlinable @inline(__always)
    func putSlot(_ slot: Int, count: Int) {
        row.storeBytes(of: UInt64(end) | UInt64(truncatingIfNeeded: count) &<< 32, toByteOffset: slot, as: UInt64.self)
    }
}
