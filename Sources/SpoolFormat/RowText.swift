/// Rows of a decoded block as text.
public enum RowText {
    /// One JSON object, in the form that `spool-writer` reads (but for floats that are infinite or no number, which are null), with `spool_writer` and `spool_seq` added.
    public static func json(_ block: NativeBlock, row: Int, table: String) -> String {
        var text = "{\"table\":\(quoted(table))"
        for column in block.columns {
            text += ",\(quoted(column.name)):\(json(column, row))"
        }
        return text + "}"
    }

    /// The values alone, for a message: one JSON object on one line. Each long text keeps only its beginning.
    ///
    /// - Parameter textLimit: characters that a text may have.
    public static func values(_ block: NativeBlock, row: Int, textLimit: Int = .max) -> String {
        "{" + block.columns.map { "\(quoted($0.name)):\(json($0, row, textLimit: textLimit))" }.joined(separator: ",") + "}"
    }

    /// One line of comma-separated values (RFC 4180); arrays as JSON, nulls as nothing.
    public static func csv(_ block: NativeBlock, row: Int) -> String {
        block.columns.map { column in
            if column.isNull(row) { return "" }
            return csvField(column.type.shape == .array ? json(column, row) : column.text(column.elements(row).lowerBound))
        }.joined(separator: ",")
    }

    /// The line of column names.
    public static func csvHeader(_ columns: [WireColumn]) -> String { columns.map { csvField($0.name) }.joined(separator: ",") }

    private static func json(_ column: NativeColumn, _ row: Int, textLimit: Int = .max) -> String {
        if column.isNull(row) { return "null" }
        let values = column.elements(row).map { element in
            // JSON has no word for what is not a number: null, as ClickHouse itself writes it.
            if column.isNotFinite(element) { return "null" }
            let text = column.text(element)
            if column.isBareInJSON { return text }
            return quoted(text.utf8.count <= textLimit ? text : text.prefix(textLimit) + "...")
        }
        return column.type.shape == .array ? "[\(values.joined(separator: ","))]" : values[0]
    }

    private static func csvField(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 == 0x22 || $0 == 0x2C || $0 == 0x0A || $0 == 0x0D }) else { return text }
        var quoted = String.UnicodeScalarView()
        // By scalars: a quote with an accent on it is another character to Swift, and a quote to whoever reads the file.
        for scalar in text.unicodeScalars {
            if scalar == "\"" { quoted.append(scalar) }
            quoted.append(scalar)
        }
        return "\"\(String(quoted))\""
    }

    /// A JSON string.
    public static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
