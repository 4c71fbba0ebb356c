/// Rows of a decoded block as text.
public enum RowText {
    /// One JSON object, as ``JSONRows`` writes it, with `spool_writer` and `spool_seq`. For many rows of a block ``JSONRows`` is faster.
    public static func json(_ block: NativeBlock, row: Int, table: String) -> String { object(block, row, table: table) }

    /// The values alone, for a message: one JSON object on one line. Each long text keeps only its beginning.
    ///
    /// - Parameter textLimit: characters that a text may have.
    public static func values(_ block: NativeBlock, row: Int, textLimit: Int = .max) -> String {
        object(block, row, table: nil, textLimit: textLimit)
    }

    private static func object(_ block: NativeBlock, _ row: Int, table: String?, textLimit: Int = .max) -> String {
        var rows = JSONRows(block, table: table)
        var bytes: [UInt8] = []
        rows.append(row, textLimit: textLimit, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// One line of comma-separated values (RFC 4180); arrays as JSON, nulls as nothing.
    public static func csv(_ block: NativeBlock, row: Int) -> String {
        block.columns.map { column in
            if column.isNull(row) { return "" }
            guard column.type.shape == .array else { return csvField(column.text(column.elements(row).lowerBound)) }
            var array: [UInt8] = []
            var rows = JSONRows(NativeBlock(rows: block.rows, columns: [column]))
            rows.append(row, column: 0, to: &array)
            return csvField(String(decoding: array, as: UTF8.self))
        }.joined(separator: ",")
    }

    /// The line of column names.
    public static func csvHeader(_ columns: [WireColumn]) -> String { columns.map { csvField($0.name) }.joined(separator: ",") }

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
