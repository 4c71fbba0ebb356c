import SpoolFormat
import SpoolIO

/// What of a batch can be sent.
struct CheckedBatch {
    let body: any RequestBody
    /// CRC-32C of the body.
    let checksum: UInt32
    /// How many of the chunks are sound: those from the first damaged one on must not be sent.
    let sound: Int
    let error: FormatError?
}

/// Reads batches once through a fixed buffer and checks every data frame against its header: nothing is sent that was not checked, and no
/// batch is ever in memory as a whole.
///
/// The checksum of a data frame is part of that of the batch, so each byte is summed once.
final class BatchReader {
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 64)

    deinit { buffer.deallocate() }

    /// Checks a batch, and encodes it if it is a slice.
    ///
    /// - Throws: `IOFailure` where the bytes cannot be read.
    func check(_ batch: Batch) throws -> CheckedBatch {
        if let slice = batch.slice { return try check(slice, of: batch) }
        let file = batch.segment.reader.file
        var checksum: UInt32 = 0
        for (index, chunk) in batch.chunks.enumerated() {
            do {
                let head = try crcOfHeader(chunk, file)
                let data = try crcOfData(chunk, file)
                checksum = combineCRC32C(checksum, head, bytes: chunk.dataOffset - chunk.offset)
                checksum = combineCRC32C(checksum, data, bytes: chunk.end - chunk.dataOffset)
            } catch let error as FormatError {
                let end = index > 0 ? batch.chunks[index - 1].end : batch.from
                return CheckedBatch(
                    body: FileBody(file: file, from: batch.from, count: Int(end - batch.from)), checksum: checksum, sound: index,
                    error: error)
            }
        }
        return CheckedBatch(
            body: FileBody(file: file, from: batch.from, count: Int(batch.to - batch.from)), checksum: checksum, sound: batch.chunks.count,
            error: nil)
    }

    private func check(_ slice: Batch.Slice, of batch: Batch) throws -> CheckedBatch {
        let chunk = batch.chunks[0]
        do {
            let block = try batch.segment.reader.block(of: chunk)
            let bytes = try BlockSlice.frame(of: block, rows: slice.rows)
            return CheckedBatch(body: BytesBody(bytes), checksum: bytes.withUnsafeBytes { crc32c($0) }, sound: 1, error: nil)
        } catch let error as FormatError {
            return CheckedBatch(body: BytesBody([]), checksum: 0, sound: 0, error: error)
        }
    }

    /// The header again, from the very bytes that will be sent.
    private func crcOfHeader(_ chunk: LocatedChunk, _ file: File) throws -> UInt32 {
        let count = Int(chunk.dataOffset - chunk.offset)
        guard count <= buffer.count else { throw FormatError.malformed("a chunk header of \(count) bytes") }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        let have = try file.read(into: bytes, at: chunk.offset)
        guard have == count else { throw FormatError.truncated(need: count, have: have) }
        let (header, _) = try ChunkHeader.decode(UnsafeRawBufferPointer(bytes))
        guard header == chunk.header else { throw FormatError.malformed("the chunk header changed while it was read") }
        return crc32c(UnsafeRawBufferPointer(bytes))
    }

    private func crcOfData(_ chunk: LocatedChunk, _ file: File) throws -> UInt32 {
        var crc: UInt32 = 0
        var offset = chunk.dataOffset
        while offset < chunk.end {
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, Int(chunk.end - offset))])
            let have = try file.read(into: bytes, at: offset)
            guard have == bytes.count else {
                throw FormatError.truncated(need: chunk.header.dataBytes, have: Int(offset - chunk.dataOffset) + have)
            }
            crc = crc32c(UnsafeRawBufferPointer(bytes), continuing: crc)
            offset += UInt64(have)
        }
        guard crc == chunk.header.dataChecksum else {
            throw FormatError.checksum(what: "data frame", stored: chunk.header.dataChecksum, computed: crc)
        }
        return crc
    }
}
