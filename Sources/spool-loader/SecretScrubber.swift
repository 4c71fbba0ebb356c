/// Takes a secret out of text that came from outside, in every way in which a text that was sent in a header may come back: as it is, percent-encoded
/// wholly or in part, in a page (`&amp;`), in JSON (`\\"`), or cleaned for a log.
struct SecretScrubber {
    private let secrets: [[UInt8]]

    init(_ secrets: [String]) {
        // The longest first: one may be a part of another.
        self.secrets = secrets.filter { !$0.isEmpty }.flatMap { [$0, plainLine($0, limit: .max)] }.map { Array($0.utf8) }.filter {
            !$0.isEmpty
        }
        .sorted { $0.count > $1.count }
    }

    func scrubbed(_ text: String) -> String {
        secrets.isEmpty ? text : String(decoding: secrets.reduce(Array(text.utf8)) { Self.scrub($0, of: $1) }, as: UTF8.self)
    }

    private static func scrub(_ text: [UInt8], of secret: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var index = 0
        while index < text.count {
            if let end = end(of: secret[...], in: text, at: index) {
                result += Array("***".utf8)
                index = end
            } else {
                result.append(text[index])
                index += 1
            }
        }
        return result
    }

    /// Where the secret ends if it begins at this place in some disguise.
    private static func end(of secret: ArraySlice<UInt8>, in text: [UInt8], at index: Int) -> Int? {
        guard let byte = secret.first else { return index }
        for form in formsOfBytes[Int(byte)] where text[index...].starts(with: form) {
            if let end = end(of: secret.dropFirst(), in: text, at: index + form.count) { return end }
        }
        return nil
    }

    private static let formsOfBytes = (UInt8.min ... .max).map(forms(of:))

    private static func forms(of byte: UInt8) -> [[UInt8]] {
        let digits = hexDigits(byte)
        var forms: [[UInt8]] = [[byte], Array("%\(digits)".utf8), Array("%\(digits.lowercased())".utf8)]
        switch byte {
        case UInt8(ascii: "&"): forms.append(Array("&amp;".utf8))
        case UInt8(ascii: "<"): forms.append(Array("&lt;".utf8))
        case UInt8(ascii: ">"): forms.append(Array("&gt;".utf8))
        case UInt8(ascii: "\""): forms += [Array("&quot;".utf8), Array("&#34;".utf8), Array("\\\"".utf8)]
        case UInt8(ascii: "'"): forms += [Array("&#39;".utf8), Array("&#x27;".utf8), Array("&apos;".utf8)]
        case UInt8(ascii: "\\"), UInt8(ascii: "/"): forms.append([UInt8(ascii: "\\"), byte])
        case UInt8(ascii: " "): forms.append([UInt8(ascii: "+")])
        default: break
        }
        return forms
    }

    private static func hexDigits(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return digits.count == 1 ? "0" + digits : digits
    }
}
