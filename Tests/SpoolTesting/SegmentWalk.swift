import SpoolFormat

/// What a whole look at a segment's bytes finds.
public struct SegmentContents: Equatable, Sendable {
    public enum Ending: Equatable, Sendable {
        case sealed(SegmentIndex)
        /// The bytes end where a chunk ends.
        case open
        /// The bytes end within a frame.
        case torn(at: Int)
    }

    public let header: SegmentHeader
    public var chunks: [ChunkHeader] = []
    public var rows: [[Cell]] = []
    public var ending = Ending.open
}

/// Checks every byte of a segment with nothing but SpoolFormat, as a reader that never saw our other code would.
public enum SegmentWalk {
    /// - Throws: `FormatError` for everything that is damage; `.truncated` if not even the header is whole.
    public static func contents(of bytes: [UInt8]) throws -> SegmentContents {
        let (header, size) = try bytes.withUnsafeBytes { try SegmentHeader.decode($0) }
        var contents = SegmentContents(header: header)
        var offset = size
        var sequence = header.firstSequence
        var entries: [IndexEntry] = []
        while offset < bytes.count {
            let rest = bytes[offset...]
            do {
                if rest.withUnsafeBytes({ SegmentIndex.begins($0) }) {
                    let (index, size) = try rest.withUnsafeBytes { try SegmentIndex.decode($0) }
                    guard offset + size == bytes.count else { throw FormatError.malformed("bytes after the index") }
                    guard index.entries == entries, index.trailer.fileBytes == UInt64(bytes.count),
                        index.trailer.firstSequence == header.firstSequence, index.trailer.endSequence == sequence
                    else { throw FormatError.malformed("the index differs from the chunks") }
                    contents.ending = .sealed(index)
                    return contents
                }
                let (chunk, size) = try rest.withUnsafeBytes { try ChunkHeader.decode($0) }
                try chunk.check(against: header, expecting: sequence)
                let end = offset + size + chunk.dataBytes
                guard end <= bytes.count else { throw FormatError.truncated(need: end, have: bytes.count) }
                let block = try bytes[offset + size..<end].withUnsafeBytes {
                    try ChunkCheck.decode($0, header: chunk, segment: header)
                }
                entries.append(IndexEntry(offset: UInt64(offset), header: chunk))
                contents.chunks.append(chunk)
                contents.rows += block.allRows
                sequence = chunk.endSequence
                offset = end
            } catch let error as FormatError where error.isTruncation {
                contents.ending = .torn(at: offset)
                return contents
            }
        }
        return contents
    }
}
