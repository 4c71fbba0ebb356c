/// A look at a TOML text before its parser has it, for what ends the process there (an assertion) instead of being refused: characters outside of texts
/// and comments that are not ASCII, and section headers without a name.
enum TOMLScan {
    /// What is wrong, and the line that it is on, from 1; nil if nothing is.
    static func complaint(about text: String) -> (line: Int, what: String)? {
        let scalars = Array(text.unicodeScalars)
        var line = 1
        var index = 0
        var isLineStart = true
        /// What the text that is being read ends with; nil outside of texts.
        var delimiter: [Unicode.Scalar]?
        while index < scalars.count {
            let scalar = scalars[index]
            if scalar == "\n" { line += 1 }
            // The parser would end at a zero, and leave out what follows.
            if scalar.value == 0 { return (line, "a character U+0") }
            if let end = delimiter {
                if scalar == "\\", end[0] == "\"" {
                    index += scalars[index...].dropFirst().first == "\n" ? 1 : 2
                    continue
                }
                if scalars[index...].starts(with: end) {
                    delimiter = nil
                    index += end.count
                    continue
                }
                // A text of one line that does not end: the parser says so.
                if scalar == "\n", end.count == 1 { delimiter = nil }
            } else if scalar == "\"" || scalar == "'" {
                let triple = [scalar, scalar, scalar]
                delimiter = scalars[index...].starts(with: triple) ? triple : [scalar]
                index += delimiter?.count ?? 1
                isLineStart = false
                continue
            } else if scalar == "#" {
                while index < scalars.count, scalars[index] != "\n", scalars[index].value != 0 { index += 1 }
                continue
            } else if !scalar.isASCII {
                let number = String(scalar.value, radix: 16, uppercase: true)
                return (line, "a character U+\(number) outside of texts and comments; names of settings and sections are ASCII")
            } else if scalar == "[", isLineStart, !hasName(scalars[(index + 1)...]) {
                return (line, "a section without a name; expected [writer], [loader] or [tables.NAME]")
            }
            if scalar == "\n" { isLineStart = true } else if scalar != " " && scalar != "\t" && scalar != "\r" { isLineStart = false }
            index += 1
        }
        return nil
    }

    /// Whether a name begins behind the bracket that opens a section's header.
    private static func hasName(_ rest: ArraySlice<Unicode.Scalar>) -> Bool {
        var rest = rest
        if rest.first == "[" { rest = rest.dropFirst() }
        guard let first = rest.first(where: { $0 != " " && $0 != "\t" }) else { return false }
        // What is no name at all is told as what it is.
        return !first.isASCII || (first.properties.isAlphabetic || ("0"..."9").contains(first) || "_-\"'".unicodeScalars.contains(first))
    }
}
