import SpoolTesting

@testable import SpoolFormat

/// What lies in a spool and in the checkpoints. Each is tried as it comes, and with its checksum put right: the checksum would else keep nearly every input out.
enum FormatFuzz {
    /// Frames of a segment, `docs/spool-format.md` §4 to §7.
    static func frames(_ bytes: UnsafeRawBufferPointer) {
        each(bytes, mended: 16) { bytes in
            _ = try? SegmentHeader.frameSize(bytes)
            if let (header, size) = try? SegmentHeader.decode(bytes) { precondition(size <= bytes.count && !header.table.isEmpty) }
            if let (header, size) = try? ChunkHeader.decode(bytes) {
                precondition(size <= bytes.count && header.endSequence >= header.firstSequence)
            }
            if let (index, _) = try? SegmentIndex.decode(bytes) { precondition(index.entries.count <= bytes.count) }
        }
    }

    /// The durable mark and the trailer, which have a size of their own.
    static func marks(_ bytes: UnsafeRawBufferPointer) {
        each(bytes, mended: 8) { bytes in _ = try? DurableMark.decode(bytes) }
        var copy = Array(bytes)
        if copy.count >= 76 { put(copy.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[..<72])) }, at: 72, in: &copy) }
        copy.withUnsafeBytes { _ = try? SegmentTrailer.decode($0) }
    }

    /// A slot of a checkpoint: text with its checksum behind it.
    static func checkpoint(_ bytes: UnsafeRawBufferPointer) {
        _ = try? Checkpoint.decode(Array(bytes))
        let checksum = crc32c(bytes)
        let digits = String(checksum, radix: 16)
        var slot = Array(bytes) + Array("crc32c \(String(repeating: "0", count: 8 - digits.count))\(digits)\n".utf8)
        guard slot.count < Checkpoint.slotBytes else { return }
        slot += [UInt8](repeating: UInt8(ascii: " "), count: Checkpoint.slotBytes - slot.count - 1) + [UInt8(ascii: "\n")]
        guard let checkpoint = try? Checkpoint.decode(slot) else { return }
        // What was read can be written and is the same.
        precondition((try? Checkpoint.decode(checkpoint.encode())) == checkpoint)
    }

    /// LZ4 frames, and Native blocks of columns of every type.
    static func blocks(_ bytes: UnsafeRawBufferPointer) {
        guard let choice = bytes.first else { return }
        let rest = bytes.rest
        if choice % 4 == 0 {
            _ = try? LZ4Frame.decompress(rest, contentBytes: Int(choice) * 257)
            return
        }
        let columns = choice % 4 == 1 ? Samples.mixed.wireColumns : Array(Samples.mixed.wireColumns.prefix(Int(choice / 4) % 8 + 1))
        guard let block = try? NativeBlock(Array(rest), columns: columns) else { return }
        for each in [block, block.moved(by: Int64(choice) << 55 | 1), block.moved(by: .min).leavingOut(["name", "ts"])] {
            var rows = JSONRows(each, table: "t")
            var text: [UInt8] = []
            for row in 0..<min(each.rows, 100) { rows.append(row, to: &text) }
        }
    }

    private static func each(_ bytes: UnsafeRawBufferPointer, mended offset: Int, _ decode: (UnsafeRawBufferPointer) -> Void) {
        decode(bytes)
        var copy = Array(bytes)
        guard copy.count >= offset + 4 else { return }
        // Of a frame that says how long it is, what it says.
        let size = offset == 16 ? Int(clamping: 8 + UInt64(copy[4]) + UInt64(copy[5]) << 8 + UInt64(copy[6]) << 16) : copy.count
        let covered = min(max(size, offset + 4), copy.count)
        put(copy.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[..<covered]), zeroing: offset) }, at: offset, in: &copy)
        copy.withUnsafeBytes(decode)
    }

    private static func put(_ value: UInt32, at offset: Int, in bytes: inout [UInt8]) {
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }
}
