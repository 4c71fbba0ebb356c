import CLZ4

/// LZ4 data frames as they are read (`docs/spool-format.md` §7), through liblz4.
public enum LZ4Frame {
    /// Decompresses exactly one whole frame and checks that it says what our frames say.
    ///
    /// - Parameters:
    ///   - frame: the bytes of the frame, no fewer and no more.
    ///   - contentBytes: the size that the chunk header promises.
    /// - Throws: `.malformed` for every frame that is not complete, not exact, or not of our settings.
    public static func decompress(_ frame: UnsafeRawBufferPointer, contentBytes: Int) throws(FormatError) -> [UInt8] {
        guard contentBytes >= 0, contentBytes <= FormatLimits.blockBytes else {
            throw .malformed("a block of \(contentBytes) bytes")
        }
        var context: OpaquePointer?
        guard LZ4F_isError(LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))) == 0 else {
            throw .malformed("liblz4 has no memory for a decompression context")
        }
        defer { LZ4F_freeDecompressionContext(context) }
        var position = 0
        try checkInfo(frame, contentBytes: contentBytes, context: context, position: &position)
        // One byte more than promised, so that a longer content shows.
        var produced = 0
        var failure: String?
        let content = [UInt8](unsafeUninitializedCapacity: contentBytes + 1) { output, count in
            while position < frame.count {
                var sourceBytes = frame.count - position
                var targetBytes = contentBytes + 1 - produced
                let hint = LZ4F_decompress(
                    context, output.baseAddress! + produced, &targetBytes, frame.baseAddress! + position, &sourceBytes, nil)
                position += sourceBytes
                produced += targetBytes
                if LZ4F_isError(hint) != 0 {
                    failure = String(cString: LZ4F_getErrorName(hint))
                    break
                }
                if hint == 0 {
                    if position != frame.count { failure = "the frame ends \(frame.count - position) bytes early" }
                    break
                }
                if sourceBytes == 0 && targetBytes == 0 {
                    failure = "more content than promised"
                    break
                }
                if position == frame.count { failure = "the frame is cut short" }
            }
            count = min(produced, contentBytes)
        }
        if let failure { throw .malformed("LZ4 frame: \(failure)") }
        guard produced == contentBytes else {
            throw .malformed("LZ4 frame: \(produced) bytes of content, the header says \(contentBytes)")
        }
        return content
    }

    private static func checkInfo(
        _ frame: UnsafeRawBufferPointer, contentBytes: Int, context: OpaquePointer?, position: inout Int
    ) throws(FormatError) {
        var info = LZ4F_frameInfo_t()
        var consumed = frame.count
        let result = LZ4F_getFrameInfo(context, &info, frame.baseAddress, &consumed)
        guard LZ4F_isError(result) == 0 else {
            throw .malformed("LZ4 frame: \(String(cString: LZ4F_getErrorName(result)))")
        }
        guard info.frameType == LZ4F_frame, info.contentChecksumFlag == LZ4F_contentChecksumEnabled, info.dictID == 0,
            info.contentSize == UInt64(contentBytes)
        else {
            throw .malformed("LZ4 frame: it must have a content checksum, no dictionary and a content size of \(contentBytes)")
        }
        position = consumed
    }
}
