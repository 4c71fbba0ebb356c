import Glibc
import SpoolFormat

/// A chunk's header and place in a segment.
public struct LocatedChunk: Sendable {
    public let header: ChunkHeader
    /// Offset of the chunk header, in bytes.
    public let offset: UInt64
    /// Offset of the data frame.
    public let dataOffset: UInt64
    /// Offset after the data frame.
    public var end: UInt64 { dataOffset + UInt64(header.dataBytes) }
}

/// What stands at an offset of a segment (`docs/spool-format.md` §10).
public enum SegmentItem: Sendable {
    case chunk(LocatedChunk)
    /// The index frame: the segment is sealed.
    case index(SegmentIndex, offset: UInt64, end: UInt64)
    /// The limit is reached exactly.
    case end
    /// Fewer bytes than the frames there promise. Ordinary at the end of an active segment.
    case torn
    /// Nothing but zero bytes up to the limit.
    case zeros
    /// All bytes are there, and wrong.
    case damaged(FormatError)
}

/// What a walk over a segment meets.
public enum SegmentStep: Sendable {
    case chunk(LocatedChunk)
    /// Nothing can be read from this offset on up to the next chunk, and why.
    case damage(at: UInt64, String)
}

/// Reads a segment frame by frame. It never looks past the limit that the caller sets.
public struct SegmentReader {
    public let file: File
    public let header: SegmentHeader
    /// Where the first chunk begins.
    public let start: UInt64

    /// Opens a segment and reads its header.
    ///
    /// - Throws: `IOFailure`; `FormatError`, `.truncated` if even the header is not complete.
    public init(path: String) throws {
        try self.init(file: File.openForReading(path))
    }

    public init(file: File) throws {
        self.file = file
        let limit = try file.size()
        let (header, size) = try Self.frame(
            file, at: 0, limit: limit, Self.beginning(file, at: 0, limit: limit), SegmentHeader.frameSize, SegmentHeader.decode)
        self.header = header
        start = UInt64(size)
    }

    /// What stands at `offset`; data frames are not looked into.
    ///
    /// - Parameter limit: bytes of the segment that may be read.
    public func item(at offset: UInt64, limit: UInt64) throws(IOFailure) -> SegmentItem {
        guard offset < limit else { return .end }
        do {
            let begin = try Self.beginning(file, at: offset, limit: limit)
            if begin.withUnsafeBytes({ SegmentIndex.begins($0) }) {
                let (index, size) = try Self.frame(file, at: offset, limit: limit, begin, SegmentIndex.frameSize, SegmentIndex.decode)
                return .index(index, offset: offset, end: offset + UInt64(size))
            }
            let (header, size) = try Self.frame(file, at: offset, limit: limit, begin, ChunkHeader.frameSize, ChunkHeader.decode)
            let chunk = LocatedChunk(header: header, offset: offset, dataOffset: offset + UInt64(size))
            return chunk.end <= limit ? .chunk(chunk) : .torn
        } catch let error as FormatError {
            if try isZero(from: offset, to: limit) { return .zeros }
            return error.isTruncation ? .torn : .damaged(error)
        } catch let failure as IOFailure {
            throw failure
        } catch {
            preconditionFailure("\(error)")
        }
    }

    /// The bytes of a chunk's data frame, which match its checksum.
    public func data(of chunk: LocatedChunk) throws -> [UInt8] {
        let bytes = try file.read(chunk.header.dataBytes, at: chunk.dataOffset)
        try bytes.withUnsafeBytes { try ChunkCheck.checkBytes($0, header: chunk.header) }
        return bytes
    }

    /// Decodes a chunk, with every check.
    public func block(of chunk: LocatedChunk) throws -> NativeBlock {
        let bytes = try file.read(chunk.header.dataBytes, at: chunk.dataOffset)
        return try bytes.withUnsafeBytes { try ChunkCheck.decode($0, header: chunk.header, segment: header) }
    }

    /// The next offset after `offset` at which a whole chunk of this segment stands, or its index: where to go on after damage.
    public func resume(after offset: UInt64, limit: UInt64) throws(IOFailure) -> UInt64? {
        let window = 1 << 20
        var base = offset + 1
        while base < limit {
            let bytes = try file.read(Int(min(UInt64(window), limit - base)), at: base)
            // The four bytes 0x51 or 0x52, 0x2A, 0x4D, 0x18 begin our frames.
            for index in 0..<max(bytes.count - 3, 0)
            where bytes[index + 1] == 0x2A && bytes[index + 2] == 0x4D && bytes[index + 3] == 0x18
                && (bytes[index] == 0x51 || bytes[index] == 0x52)
            {
                let candidate = base + UInt64(index)
                switch try item(at: candidate, limit: limit) {
                case .chunk(let chunk) where belongs(chunk.header): return candidate
                case .index: return candidate
                default: break
                }
            }
            if bytes.count < window { return nil }
            base += UInt64(window - 3)
        }
        return nil
    }

    /// Goes from chunk to chunk, in the order of writing, and steps over what is damaged.
    ///
    /// - Parameter limit: bytes of the segment that may be read; where they end within a frame, that is damage.
    public func walk(limit: UInt64, _ visit: (SegmentStep) throws -> Void) throws {
        var offset = start
        while true {
            switch try item(at: offset, limit: limit) {
            case .chunk(let chunk):
                offset = chunk.end
                try visit(.chunk(chunk))
            case .index, .end, .zeros: return
            case .torn: return try visit(.damage(at: offset, "cut short"))
            case .damaged(let error):
                try visit(.damage(at: offset, "\(error)"))
                guard let next = try resume(after: offset, limit: limit) else { return }
                offset = next
            }
        }
    }

    /// The trailer at the end of the file; nil if the segment is not sealed.
    public static func trailer(of file: File) throws -> SegmentTrailer? {
        let size = try file.size()
        guard size >= UInt64(SegmentTrailer.bytes) else { return nil }
        let bytes = try file.read(SegmentTrailer.bytes, at: size - UInt64(SegmentTrailer.bytes))
        let trailer = try? bytes.withUnsafeBytes { try SegmentTrailer.decode($0) }
        return trailer?.fileBytes == size ? trailer : nil
    }

    private func belongs(_ chunk: ChunkHeader) -> Bool {
        chunk.table == header.table && chunk.writer == header.writer && chunk.segmentNumber == header.number
    }

    private func isZero(from offset: UInt64, to limit: UInt64) throws(IOFailure) -> Bool {
        var position = offset
        while position < limit {
            let bytes = try file.read(Int(min(1 << 20, limit - position)), at: position)
            guard bytes.allSatisfy({ $0 == 0 }) else { return false }
            if bytes.isEmpty { break }
            position += UInt64(bytes.count)
        }
        return true
    }

    /// What tells which frame it is and its size, and is the whole of most.
    private static func beginning(_ file: File, at offset: UInt64, limit: UInt64) throws(IOFailure) -> [UInt8] {
        try file.read(Int(min(512, limit - offset)), at: offset)
    }

    /// Reads one of our frames, whose beginning is there.
    private static func frame<Frame>(
        _ file: File, at offset: UInt64, limit: UInt64, _ begin: [UInt8],
        _ size: (UnsafeRawBufferPointer) throws(FormatError) -> Int,
        _ decode: (UnsafeRawBufferPointer) throws(FormatError) -> (Frame, frameSize: Int)
    ) throws -> (Frame, Int) {
        let available = limit - offset
        var bytes = begin
        let count = try bytes.withUnsafeBytes { try size($0) }
        guard UInt64(count) <= available else { throw FormatError.truncated(need: count, have: Int(available)) }
        if count > bytes.count { bytes = try file.read(count, at: offset) }
        return try bytes.withUnsafeBytes { try decode($0) }
    }
}
