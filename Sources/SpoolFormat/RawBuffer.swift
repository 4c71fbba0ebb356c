#if canImport(Glibc)
    import Glibc
#endif

/// A growable region of bytes without reference counting, for the writer's hot loops. Its owner frees it.
public struct RawBuffer {
    // Written only here; usable from inline because the writer's hot loops are in another module.
    @usableFromInline internal var start: UnsafeMutableRawPointer
    @usableFromInline internal var used = 0
    @usableFromInline internal var room: Int

    @inlinable public var base: UnsafeMutableRawPointer { start }
    @inlinable public var count: Int { used }
    @inlinable public var capacity: Int { room }

    public init(capacity: Int) {
        room = max(capacity, 64)
        start = .allocate(byteCount: room, alignment: 16)
    }

    public func free() { start.deallocate() }

    /// The bytes so far; valid until the next append.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Makes room for `extra` more bytes.
    @inlinable @inline(__always)
    public mutating func reserve(_ extra: Int) {
        if _slowPath(capacity - count < extra) { grow(extra) }
    }

    /// Appends a trivial value as its bytes lie in memory, which on every supported machine is little endian.
    @inlinable @inline(__always)
    public mutating func append<Value: BitwiseCopyable>(_ value: Value) {
        reserve(MemoryLayout<Value>.size)
        base.storeBytes(of: value, toByteOffset: count, as: Value.self)
        used += MemoryLayout<Value>.size
    }

    @inlinable @inline(__always)
    public mutating func append(_ source: UnsafeRawPointer, count bytes: Int) {
        reserve(bytes)
        memcpy(base + count, source, bytes)
        used += bytes
    }

    public mutating func append(contentsOf source: some Collection<UInt8>) {
        for byte in source { append(byte) }
    }

    @inlinable
    public mutating func appendZeros(_ bytes: Int) {
        reserve(bytes)
        memset(base + count, 0, bytes)
        used += bytes
    }

    /// Appends an unsigned LEB128 number.
    @inlinable @inline(__always)
    public mutating func appendVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }

    /// The longest text whose varint length is one byte.
    public static let maxShortText = 127

    /// Appends a short text with its varint length.
    ///
    /// - Parameters:
    ///   - source: can be read up to the next multiple of sixteen bytes.
    ///   - bytes: at most ``maxShortText``.
    @inlinable @inline(__always)
    public mutating func appendShortText(_ source: UnsafeRawPointer, count bytes: Int) {
        reserve(bytes + 17)
        let target = start + used
        target.storeBytes(of: UInt8(truncatingIfNeeded: bytes), as: UInt8.self)
        // A call of memcpy takes longer than these two or three copies; what they bring too much is overwritten next.
        var offset = 0
        repeat {
            let word = source.loadUnaligned(fromByteOffset: offset, as: SIMD2<UInt64>.self)
            target.storeBytes(of: word, toByteOffset: 1 + offset, as: SIMD2<UInt64>.self)
            offset += 16
        } while offset < bytes
        used += bytes + 1
    }

    /// Takes bytes that the caller wrote itself behind `count`, within the capacity reserved.
    public mutating func extend(by bytes: Int) {
        precondition(bytes >= 0 && count + bytes <= capacity, "extended by \(bytes) of \(capacity - count) free bytes")
        used += bytes
    }

    /// Forgets the bytes from `count` on.
    @inlinable @inline(__always)
    public mutating func truncate(to count: Int) {
        precondition(count <= used, "truncate to \(count) of \(used) bytes")
        used = count
    }

    /// Forgets the first `bytes` and moves the others to the front.
    public mutating func dropFirst(_ bytes: Int) {
        precondition(bytes <= count, "drop \(bytes) of \(count) bytes")
        if bytes > 0 && bytes < count { memmove(base, base + bytes, count - bytes) }
        used -= bytes
    }

    @usableFromInline @inline(never)
    internal mutating func grow(_ extra: Int) {
        room = max(room * 2, used + extra)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 16)
        memcpy(larger, base, count)
        start.deallocate()
        start = larger
    }
}
