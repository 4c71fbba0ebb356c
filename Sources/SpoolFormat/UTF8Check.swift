/// The offset of the first byte that is not UTF-8 (no overlong forms, no surrogates, at most U+10FFFF); nil if all is.
public func invalidUTF8(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int? {
    var index = 0
    func continues(_ offset: Int) -> Bool { index + offset < count && bytes[index + offset] & 0xC0 == 0x80 }
    while index < count {
        let byte = bytes[index]
        switch byte {
        case 0..<0x80: index += 1
        case 0xC2...0xDF:
            guard continues(1) else { return index }
            index += 2
        case 0xE0...0xEF:
            guard continues(1), continues(2), byte != 0xE0 || bytes[index + 1] >= 0xA0, byte != 0xED || bytes[index + 1] < 0xA0
            else { return index }
            index += 3
        case 0xF0...0xF4:
            guard continues(1), continues(2), continues(3), byte != 0xF0 || bytes[index + 1] >= 0x90,
                byte != 0xF4 || bytes[index + 1] < 0x90
            else { return index }
            index += 4
        default: return index
        }
    }
    return nil
}

/// Whether all bytes are UTF-8.
public func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let start = bytes.baseAddress else { return true }
    return isASCII(bytes) || invalidUTF8(start.assumingMemoryBound(to: UInt8.self), bytes.count) == nil
}

/// Whether no byte has its high bit set.
public func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let start = bytes.baseAddress else { return true }
    let count = bytes.count
    // Four words at a time, and no way out of the loop: nearly all texts are ASCII to their end.
    var all: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    var offset = 0
    while offset &+ 32 <= count {
        all.0 |= start.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        all.1 |= start.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self)
        all.2 |= start.loadUnaligned(fromByteOffset: offset &+ 16, as: UInt64.self)
        all.3 |= start.loadUnaligned(fromByteOffset: offset &+ 24, as: UInt64.self)
        offset &+= 32
    }
    while offset < count {
        all.0 |= UInt64(start.load(fromByteOffset: offset, as: UInt8.self))
        offset &+= 1
    }
    return (all.0 | all.1 | all.2 | all.3) & 0x8080_8080_8080_8080 == 0
}
