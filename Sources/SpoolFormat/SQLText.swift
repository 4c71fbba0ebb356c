/// An SQL identifier in backquotes.
public func quotedIdentifier(_ name: String) -> String { "`" + escaped(name, "`") + "`" }

/// An SQL string.
public func quotedString(_ text: String) -> String { "'" + escaped(text, "'") + "'" }

private func escaped(_ text: String, _ quote: Unicode.Scalar) -> String {
    var result = String.UnicodeScalarView()
    // By scalars: a quote with an accent on it is another character to Swift, and a quote to ClickHouse.
    for scalar in text.unicodeScalars {
        if scalar == quote || scalar == "\\" { result.append("\\") }
        result.append(scalar)
    }
    return String(result)
}
