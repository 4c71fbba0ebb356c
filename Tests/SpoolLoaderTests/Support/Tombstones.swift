import SpoolFormat
import SpoolIO

extension TestSpool {
    /// Puts a tombstone in the place of a sealed segment, as the writer does.
    ///
    /// - Parameter removes: whether the segment itself goes; a crash may come before that.
    /// - Returns: the segment's bytes.
    @discardableResult
    func shed(_ name: SegmentName, removes: Bool = true) throws -> [UInt8] {
        let reader = try SegmentReader(path: path(of: name))
        guard let end = try SegmentReader.trailer(of: reader.file)?.endSequence else { preconditionFailure("\(name) is not sealed") }
        let old = try bytes(of: path(of: name))
        var header = reader.header
        header.lostFrom = header.isShed ? header.lostFrom : header.firstSequence
        header.firstSequence = end
        header.isShed = true
        header.sources = []
        let bytes = header.encode()
        let index = SegmentIndex.encode(entries: [], firstSequence: end, firstIngest: 0, sealed: now, at: UInt64(bytes.count))
        // As any segment: whoever sees the name sees all of it.
        try overwrite(path(of: header.name) + ".tmp", bytes + index)
        try Directory.rename(path(of: header.name) + ".tmp", to: path(of: header.name))
        if removes { try Directory.remove(path(of: name)) }
        return old
    }

    /// Lets the header of a segment that is there say that rows before it were given up. Their number is one that fits its bytes.
    func declareShed(from lostFrom: UInt64, by name: SegmentName) throws {
        var header = try SegmentReader(path: path(of: name)).header
        header.lostFrom = lostFrom
        header.isShed = true
        try overwrite(path(of: name), header.encode())
    }
}
