import CSystem

/// Little-endian fields read in order from bytes that come from outside: every read is checked.
package struct ByteReader {
    package let bytes: UnsafeRawBufferPointer
    package private(set) var offset: Int

    package init(_ bytes: UnsafeRawBufferPointer, at offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    package var remaining: Int { bytes.count - offset }

    package mutating func take<Value: FixedWidthInteger>(_: Value.Type = Value.self) throws(FormatError) -> Value {
        let size = MemoryLayout<Value>.size
        guard remaining >= size else { throw .truncated(need: offset + size, have: bytes.count) }
        defer { offset += size }
        return Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
    }

    package mutating func take(count: Int) throws(FormatError) -> UnsafeRawBufferPointer {
        guard count >= 0, remaining >= count else {
            // What a length claims may be any number.
            let (need, overflow) = offset.addingReportingOverflow(max(count, 0))
            throw .truncated(need: overflow ? .max : need, have: bytes.count)
        }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }

    /// A string of `text8`: one length byte, then UTF-8.
    package mutating func takeText8() throws(FormatError) -> String {
        try takeText(count: Int(take(UInt8.self)))
    }

    /// A string of `text16`: two length bytes, then UTF-8.
    package mutating func takeText16() throws(FormatError) -> String {
        try takeText(count: Int(take(UInt16.self)))
    }

    package mutating func takeText(count: Int) throws(FormatError) -> String {
        let raw = try take(count: count)
        guard let text = String(validating: raw, as: UTF8.self) else { throw .malformed("text is not UTF-8") }
        return text
    }

    /// An unsigned LEB128 number, as Native blocks count with.
    package mutating func takeVarint() throws(FormatError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let byte = try take(UInt8.self)
            guard shift < 63 || byte <= 1 else { throw .malformed("a varint is longer than 64 bits") }
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
        }
        throw .malformed("a varint is longer than 64 bits")
    }
}

/// Little-endian fields appended in order.
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func putText8(_ text: String) {
        precondition(text.utf8.count <= 255, "text8 of \(text.utf8.count) bytes")
        put(UInt8(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func putText16(_ text: String) {
        precondition(text.utf8.count <= 65_535, "text16 of \(text.utf8.count) bytes")
        put(UInt16(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func putZeros(to count: Int) {
        precondition(bytes.count <= count, "\(bytes.count) bytes do not fit in \(count)")
        bytes.append(contentsOf: repeatElement(0, count: count - bytes.count))
    }

    /// Overwrites a field that was put before, such as a checksum's place.
    mutating func patch<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        withUnsafeBytes(of: value.littleEndian) { source in
            for (index, byte) in source.enumerated() { bytes[offset + index] = byte }
        }
    }
}

/// CRC-32C of `bytes`, continuing from `seed`.
@inline(__always)
public func crc32c(_ bytes: UnsafeRawBufferPointer, continuing seed: UInt32 = 0) -> UInt32 {
    bytes.count == 0 ? seed : cp_crc32c(seed, bytes.baseAddress, bytes.count)
}

/// CRC-32C of bytes that follow each other, from the checksum of either part; `bytes` is the length of the second.
public func combineCRC32C(_ first: UInt32, _ second: UInt32, bytes: UInt64) -> UInt32 { cp_crc32c_combine(first, second, bytes) }

/// CRC-32C of `bytes` with the four bytes at `hole` counted as zeros: how a structure checks itself.
func crc32c(_ bytes: UnsafeRawBufferPointer, zeroing hole: Int) -> UInt32 {
    precondition(hole >= 0 && hole + 4 <= bytes.count, "checksum field at \(hole) of \(bytes.count) bytes")
    var crc = crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<hole]))
    crc = withUnsafeBytes(of: UInt32(0)) { crc32c($0, continuing: crc) }
    return crc32c(UnsafeRawBufferPointer(rebasing: bytes[(hole + 4)...]), continuing: crc)
}
