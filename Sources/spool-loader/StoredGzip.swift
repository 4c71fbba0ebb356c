/// A gzip stream whose deflate blocks are all stored: nothing is compressed, but a body that was cut short is seen.
///
/// ClickHouse 18.16 takes a body that ends before its `Content-Length`, between two Native blocks, for a complete one, and keeps the rows that
/// came. A gzip stream without its end is an error there, and its checksum is checked.
struct StoredGzip {
    private static let header: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF]
    private static let largestBlock = 65_535
    private static let blockHeader = 5
    /// The last block, which is empty, then the checksum and the size of the content.
    private static let ending = blockHeader + 8

    private var checksum: UInt32 = 0
    private var contentBytes: UInt32 = 0
    private var hasBegun = false

    /// Bytes of the whole stream for content that is appended in pieces of these sizes.
    static func count(pieces: [Int]) -> Int {
        header.count + ending + pieces.reduce(0) { $0 + $1 + ($1 + largestBlock - 1) / largestBlock * blockHeader }
    }

    /// The stream's bytes for the next piece of the content.
    mutating func append(_ piece: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(Self.header.count + piece.count + (piece.count / Self.largestBlock + 1) * Self.blockHeader)
        begin(&output)
        var offset = 0
        while offset < piece.count {
            let size = min(Self.largestBlock, piece.count - offset)
            Self.appendBlockHeader(size, isLast: false, to: &output)
            output += piece[offset..<offset + size]
            offset += size
        }
        checksum = piece.withUnsafeBytes { CRC32.update(checksum, $0) }
        contentBytes &+= UInt32(truncatingIfNeeded: piece.count)
        return output
    }

    /// The stream's last bytes.
    mutating func finish() -> [UInt8] {
        var output: [UInt8] = []
        begin(&output)
        Self.appendBlockHeader(0, isLast: true, to: &output)
        for value in [checksum, contentBytes] { withUnsafeBytes(of: value.littleEndian) { output += $0 } }
        return output
    }

    private mutating func begin(_ output: inout [UInt8]) {
        if !hasBegun { output += Self.header }
        hasBegun = true
    }

    private static func appendBlockHeader(_ size: Int, isLast: Bool, to output: inout [UInt8]) {
        output.append(isLast ? 1 : 0)
        for value in [UInt16(size), ~UInt16(size)] { withUnsafeBytes(of: value.littleEndian) { output += $0 } }
    }
}

/// The checksum of gzip (RFC 1952), eight bytes at a time.
enum CRC32 {
    /// Eight tables of 256: what a byte does to the checksum that stands so many bytes before the end.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            tables[byte] = (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
        }
        for index in 256..<8 * 256 { tables[index] = tables[index - 256] >> 8 ^ tables[Int(tables[index - 256] & 0xFF)] }
        return tables
    }()

    /// The checksum of what `checksum` is of, with `bytes` behind it; 0 is that of nothing.
    static func update(_ checksum: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        tables.withUnsafeBufferPointer { tables in
            var value = ~checksum
            var offset = 0
            while offset + 8 <= bytes.count {
                let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ UInt64(value)
                value = 0
                for place in 0..<8 { value ^= tables[(7 &- place) &* 256 &+ Int(truncatingIfNeeded: word >> UInt64(place &* 8) & 0xFF)] }
                offset += 8
            }
            while offset < bytes.count {
                value = value >> 8 ^ tables[Int((value ^ UInt32(bytes[offset])) & 0xFF)]
                offset += 1
            }
            return ~value
        }
    }
}
