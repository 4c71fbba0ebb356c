import CLZ4
import CSystem

/// Writes LZ4 data frames (`docs/spool-format.md` §7), byte for byte as `LZ4F_compressFrame` of the same liblz4 does.
///
/// liblz4 compresses the blocks. The frame around them is made here because the checksum of the content inside liblz4 1.9.4
/// takes a third of all compression time, and its caller cannot bring another.
public final class LZ4FrameWriter {
    static let blockBytes = 64 << 10

    private static let magic: UInt32 = 0x184D_2204
    /// Version 01, content size, content checksum.
    private static let flags: UInt8 = 0b0100_1100
    /// Set where no block refers to one before it, as is the case for one block alone.
    private static let independentBlocks: UInt8 = 0b0010_0000
    /// Blocks of at most 64 KiB.
    private static let blockDescriptor: UInt8 = 4 << 4
    private static let headerBytes = 15
    /// Top bit of a block's size: the block lies as it is, since compressing it would gain nothing.
    private static let uncompressed: UInt32 = 1 << 31
    /// An empty block, and the content's checksum.
    private static let endBytes = 8

    /// liblz4's table of places seen, 16 KiB.
    private let state: UnsafeMutablePointer<LZ4_stream_t>

    public init() {
        guard let state = LZ4_createStream() else { fatalError("no memory for 16 KiB of liblz4's state") }
        self.state = state
    }

    deinit { LZ4_freeStream(state) }

    /// The most bytes that a frame of `count` bytes of content can take.
    public static func bound(_ count: Int) -> Int {
        headerBytes + count + (count + blockBytes - 1) / blockBytes * 4 + endBytes
    }

    /// Compresses `content` into one frame.
    ///
    /// - Parameters:
    ///   - content: at least one byte: a content size of 0 would say that it is unknown.
    ///   - output: at least ``bound(_:)`` bytes.
    /// - Returns: bytes of the frame.
    public func compress(_ content: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
        precondition(content.count > 0, "a frame without content")
        precondition(output.count >= Self.bound(content.count), "\(output.count) bytes for a frame of \(content.count) bytes of content")
        let source = content.baseAddress.unsafelyUnwrapped
        let target = output.baseAddress.unsafelyUnwrapped
        Self.putHeader(content.count, isIndependent: content.count <= Self.blockBytes, target)
        var written = Self.headerBytes
        // A fresh state for every frame: its bytes must depend on its content alone.
        LZ4_initStream(state, MemoryLayout<LZ4_stream_t>.size)
        var checksum = cp_xxh32_state()
        cp_xxh32_begin(&checksum)
        for offset in stride(from: 0, to: content.count, by: Self.blockBytes) {
            let block = UnsafeRawBufferPointer(start: source + offset, count: min(Self.blockBytes, content.count - offset))
            // Just before it is compressed: the second of the two reads it from the processor's cache.
            cp_xxh32_add(&checksum, block.baseAddress, block.count)
            written += putBlock(block, isOnly: block.count == content.count, target + written)
        }
        target.storeBytes(of: UInt32(0), toByteOffset: written, as: UInt32.self)
        target.storeBytes(of: cp_xxh32_end(&checksum).littleEndian, toByteOffset: written + 4, as: UInt32.self)
        return written + Self.endBytes
    }

    /// Puts `content` into one frame as it is, not compressed: bytes that no version of liblz4 can change.
    ///
    /// - Parameter content: at least one byte.
    /// - Returns: the frame, ``bound(_:)`` bytes.
    static func store(_ content: UnsafeRawBufferPointer) -> [UInt8] {
        precondition(content.count > 0, "a frame without content")
        let size = bound(content.count)
        return [UInt8](unsafeUninitializedCapacity: size) { room, count in
            let output = UnsafeMutableRawBufferPointer(room)
            guard let source = content.baseAddress, let target = output.baseAddress else { return }
            putHeader(content.count, isIndependent: true, target)
            var written = headerBytes
            for offset in stride(from: 0, to: content.count, by: blockBytes) {
                written += putStored(
                    UnsafeRawBufferPointer(start: source + offset, count: min(blockBytes, content.count - offset)), target + written)
            }
            target.storeBytes(of: UInt32(0), toByteOffset: written, as: UInt32.self)
            target.storeBytes(of: cp_xxh32(source, content.count).littleEndian, toByteOffset: written + 4, as: UInt32.self)
            count = written + endBytes
        }
    }

    private static func putHeader(_ contentBytes: Int, isIndependent: Bool, _ target: UnsafeMutableRawPointer) {
        target.storeBytes(of: Self.magic.littleEndian, as: UInt32.self)
        target.storeBytes(of: isIndependent ? Self.flags | Self.independentBlocks : Self.flags, toByteOffset: 4, as: UInt8.self)
        target.storeBytes(of: Self.blockDescriptor, toByteOffset: 5, as: UInt8.self)
        target.storeBytes(of: UInt64(contentBytes).littleEndian, toByteOffset: 6, as: UInt64.self)
        // The second byte of the checksum of what lies between the magic number and here.
        target.storeBytes(of: UInt8(truncatingIfNeeded: cp_xxh32(target + 4, 10) >> 8), toByteOffset: 14, as: UInt8.self)
    }

    /// - Returns: bytes of the block with its size.
    private func putBlock(_ block: UnsafeRawBufferPointer, isOnly: Bool, _ target: UnsafeMutableRawPointer) -> Int {
        let source = block.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: CChar.self)
        let room = (target + 4).assumingMemoryBound(to: CChar.self)
        let count = Int32(block.count)
        // A block must shrink by a byte at least, else 0 comes back. One block alone may use the smaller, faster table of places.
        let size =
            isOnly
            ? LZ4_compress_fast_extState(state, source, room, count, count - 1, 1)
            : LZ4_compress_fast_continue(state, source, room, count, count - 1, 1)
        guard size > 0 else { return Self.putStored(block, target) }
        target.storeBytes(of: UInt32(size).littleEndian, as: UInt32.self)
        return 4 + Int(size)
    }

    private static func putStored(_ block: UnsafeRawBufferPointer, _ target: UnsafeMutableRawPointer) -> Int {
        target.storeBytes(of: (UInt32(block.count) | uncompressed).littleEndian, as: UInt32.self)
        (target + 4).copyMemory(from: block.baseAddress.unsafelyUnwrapped, byteCount: block.count)
        return 4 + block.count
    }
}
