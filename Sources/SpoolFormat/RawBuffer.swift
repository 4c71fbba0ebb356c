#if canImport(Glibc)
    import Glibc
#endif

/// A growable region of bytes without reference counting, for the writer's hot loops. Its owner frees it.
public struct RawBuffer {
    public private(set) var base: UnsafeMutableRawPointer
    public private(set) var count = 0
    public private(set) var capacity: Int

    public init(capacity: Int) {
        self.capacity = max(capacity, 64)
        base = .allocate(byteCount: self.capacity, alignment: 16)
    }

    public func free() { base.deallocate() }

    /// The bytes so far; valid until the next append.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Makes room for `extra` more bytes.
    @inline(__always)
    public mutating func reserve(_ extra: Int) {
        if _slowPath(capacity - count < extra) { grow(extra) }
    }

    /// Appends a trivial value as its bytes lie in memory, which on every supported machine is little endian.
    @inline(__always)
    public mutating func append<Value: BitwiseCopyable>(_ value: Value) {
        reserve(MemoryLayout<Value>.size)
        base.storeBytes(of: value, toByteOffset: count, as: Value.self)
        count += MemoryLayout<Value>.size
    }

    @inline(__always)
    public mutating func append(_ source: UnsafeRawPointer, count bytes: Int) {
        reserve(bytes)
        memcpy(base + count, source, bytes)
        count += bytes
    }

    public mutating func append(contentsOf source: some Collection<UInt8>) {
        for byte in source { append(byte) }
    }

    public mutating func appendZeros(_ bytes: Int) {
        reserve(bytes)
        memset(base + count, 0, bytes)
        count += bytes
    }

    /// Appends an unsigned LEB128 number.
    @inline(__always)
    public mutating func appendVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }

    /// Takes bytes that the caller wrote itself behind `count`, within the capacity reserved.
    public mutating func extend(by bytes: Int) {
        precondition(bytes >= 0 && count + bytes <= capacity, "extended by \(bytes) of \(capacity - count) free bytes")
        count += bytes
    }

    /// Forgets the bytes from `count` on.
    @inline(__always)
    public mutating func truncate(to count: Int) {
        precondition(count <= self.count, "truncate to \(count) of \(self.count) bytes")
        self.count = count
    }

    /// Forgets the first `bytes` and moves the others to the front.
    public mutating func dropFirst(_ bytes: Int) {
        precondition(bytes <= count, "drop \(bytes) of \(count) bytes")
        if bytes > 0 && bytes < count { memmove(base, base + bytes, count - bytes) }
        count -= bytes
    }

    @inline(never)
    private mutating func grow(_ extra: Int) {
        capacity = max(capacity * 2, count + extra)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
        memcpy(larger, base, count)
        base.deallocate()
        base = larger
    }
}
