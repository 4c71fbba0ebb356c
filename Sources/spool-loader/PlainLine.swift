/// Text that came from outside, as one clean line for a log: no control characters, nothing that turns the writing direction, at most
/// `limit` scalars.
func plainLine(_ text: String, limit: Int = 300) -> String {
    var scalars = String.UnicodeScalarView()
    var isAfterSpace = true
    for scalar in text.unicodeScalars {
        let shown: Unicode.Scalar
        switch scalar.properties.generalCategory {
        case .control where scalar.properties.isWhitespace, .spaceSeparator, .lineSeparator, .paragraphSeparator: shown = " "
        case .control, .format, .surrogate, .privateUse, .unassigned: shown = "\u{FFFD}"
        default: shown = scalar
        }
        if shown == " " && isAfterSpace { continue }
        isAfterSpace = shown == " "
        scalars.append(shown)
    }
    if scalars.last == " " { scalars.removeLast() }
    return scalars.count <= limit ? String(scalars) : String(String.UnicodeScalarView(scalars.prefix(max(limit - 1, 0)))) + "…"
}

/// Bytes that came from outside, for a log: as a line if they are text, else what they are.
func plainLine(bytes: [UInt8], limit: Int = 300) -> String {
    if let name = compressionName(magicOf: bytes) { return "\(bytes.count) bytes compressed with \(name), not shown" }
    let head = bytes.prefix(512)
    // Text may be cut within a character at the end of what was kept; anything else that is no text is binary.
    let odd = head.count { $0 < 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 || $0 == 0x7F }
    let text = String(decoding: head, as: UTF8.self)
    let broken = text.unicodeScalars.count { $0 == "\u{FFFD}" }
    guard odd * 10 <= head.count, broken * 10 <= max(head.count, 10) else {
        let shown = head.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
        return "\(bytes.count) bytes that are no text: \(shown)\(bytes.count > 8 ? " ..." : "")"
    }
    return plainLine(String(decoding: bytes, as: UTF8.self), limit: limit)
}

/// How bytes are compressed, by what they begin with; nil if they are not, or not in a way that can be told.
func compressionName(magicOf bytes: some Collection<UInt8>) -> String? {
    let magics: [([UInt8], String)] = [
        ([0x1F, 0x8B], "gzip"), ([0x28, 0xB5, 0x2F, 0xFD], "zstd"), ([0x04, 0x22, 0x4D, 0x18], "lz4"),
        ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "xz"), ([0x42, 0x5A, 0x68], "bzip2"), ([0x78, 0x9C], "deflate"), ([0x78, 0xDA], "deflate"),
    ]
    return magics.first { bytes.starts(with: $0.0) }?.1
}
