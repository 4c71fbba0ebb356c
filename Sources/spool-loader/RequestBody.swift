import Glibc
import SpoolIO

/// What a request carries. libcurl asks for it piece by piece, so a body need not be in memory.
protocol RequestBody {
    /// Bytes in all.
    var count: Int { get }

    /// Writes the bytes from `offset` on into `room`.
    ///
    /// - Returns: how many were written: at least one, unless the body is over.
    /// - Throws: if they cannot be had; then the request is broken off.
    func read(into room: UnsafeMutableRawBufferPointer, at offset: Int) throws -> Int
}

/// Bytes in memory.
struct BytesBody: RequestBody {
    let bytes: [UInt8]
    var count: Int { bytes.count }

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func read(into room: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
        let taken = min(room.count, bytes.count - offset)
        bytes.withUnsafeBytes { room.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + taken])) }
        return taken
    }
}

/// A range of a file, read from the page cache straight into the buffer that libcurl sends from.
///
/// Not mapped: of a file that is cut short under a mapping the next touch is a SIGBUS, of a read it is an error.
struct FileBody: RequestBody {
    let file: File
    let from: UInt64
    let count: Int

    func read(into room: UnsafeMutableRawBufferPointer, at offset: Int) throws(IOFailure) -> Int {
        let wanted = min(room.count, count - offset)
        let taken = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<wanted]), at: from + UInt64(offset))
        guard taken > 0 || wanted == 0 else { throw IOFailure("read", file.path, EIO) }
        return taken
    }
}
