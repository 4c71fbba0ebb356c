import SpoolFormat

/// The tables of a database as they are now: definitions and sizes.
struct LiveTables {
    struct Size: Equatable {
        var rows: UInt64 = 0
        var bytes: UInt64 = 0
        var parts: UInt64 = 0
        /// Compressed, by column.
        var columns: [String: UInt64] = [:]
    }

    /// Those that can be understood.
    private(set) var definitions: [String: TableDefinition] = [:]
    /// Engine by name, of all tables and views.
    private(set) var engines: [String: String] = [:]
    private(set) var sizes: [String: Size] = [:]

    static let viewsQuery = """
        SELECT name, hex(formatQuerySingleLine(as_select)) FROM system.tables
        WHERE database = currentDatabase() AND engine = 'View' ORDER BY name FORMAT TSV
        """

    /// The query's words, as `viewsQuery` gives those of views.
    static func formatQuery(_ query: String) -> String { "SELECT hex(formatQuerySingleLine(\(quotedString(query)))) FORMAT TSV" }

    /// Servers before 23.10 do not know it: views cannot be compared there.
    static let canFormatQuery = "SELECT count() FROM system.functions WHERE name = 'formatQuerySingleLine' FORMAT TSV"

    static let tablesQuery =
        "SELECT name, engine, hex(create_table_query) FROM system.tables WHERE database = currentDatabase() ORDER BY name FORMAT TSV"

    static let partsQuery = """
        SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts
        WHERE database = currentDatabase() AND active GROUP BY table FORMAT TSV
        """

    static let columnsQuery = """
        SELECT table, column, sum(column_data_compressed_bytes) FROM system.parts_columns
        WHERE database = currentDatabase() AND active GROUP BY table, column FORMAT TSV
        """

    init() {}

    /// Reads the answers to the three queries; lines that are not what was asked for are passed over.
    init(tables: [UInt8], parts: [UInt8] = [], columns: [UInt8] = []) {
        for fields in Self.lines(tables) where fields.count == 3 {
            engines[fields[0]] = fields[1]
            if let text = textOfHex(fields[2]), let definition = try? TableDefinition(createQuery: text) {
                definitions[fields[0]] = definition
            }
        }
        for fields in Self.lines(parts) where fields.count == 4 {
            sizes[fields[0]] = Size(rows: UInt64(fields[1]) ?? 0, bytes: UInt64(fields[2]) ?? 0, parts: UInt64(fields[3]) ?? 0)
        }
        for fields in Self.lines(columns) where fields.count == 3 {
            sizes[fields[0], default: Size()].columns[fields[1]] = UInt64(fields[2])
        }
    }

    /// What each view selects, by name, of the answer to `viewsQuery`.
    static func views(_ answer: [UInt8]) -> [String: String] {
        lines(answer).reduce(into: [:]) { $0[$1[0]] = $1.count == 2 ? textOfHex($1[1]) : nil }
    }

    func size(_ table: String) -> Size { sizes[table] ?? Size() }

    private static func lines(_ answer: [UInt8]) -> [[String]] {
        String(decoding: answer, as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        }
    }
}
