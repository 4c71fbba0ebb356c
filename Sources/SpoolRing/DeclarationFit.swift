import SpoolFormat

/// Which column of the schema each declared one is, and which it is not: names may be older than the schema, and so may types
/// (`docs/evolution.md`).
struct DeclarationFit {
    struct Match {
        let column: DeclaredColumn
        let type: ColumnType
        /// nil if the type is the schema's.
        let widening: Widening?
    }

    /// For each column of the schema what is declared; nil for one that the producer leaves out.
    private(set) var matches: [Match?]
    /// Declared columns that were dropped.
    private(set) var ignored: [String] = []
    /// What is declared as it once was, for people.
    private(set) var older: [String] = []

    init(_ declared: DeclaredTable, schema: TableSchema) throws(RowPlan.Mismatch) {
        matches = Array(repeating: nil, count: schema.columns.count)
        var names: Set<String> = []
        for column in declared.columns where !names.insert(column.name).inserted {
            throw RowPlan.Mismatch("column \(column.name) is declared twice", .mend)
        }
        let unknown = names.filter { schema.column(named: $0) == nil && schema.retired[$0] != .dropped }
        if let name = unknown.min() { throw RowPlan.Mismatch("the schema has no column \(name)", .newer) }
        for column in declared.columns {
            if let index = schema.column(named: column.name) {
                try take(column, as: index, of: schema, rowBytes: declared.rowBytes)
            } else {
                // Nobody reads its values, but a producer that is wrong about them is wrong about others.
                _ = try Self.type(of: column, maxBytes: Self.maxTypeBytes, rowBytes: declared.rowBytes) { "it was dropped" }
                ignored.append(column.name)
            }
        }
        for (column, match) in zip(schema.columns, matches) where match == nil && column.isRequired {
            throw RowPlan.Mismatch("column \(column.name) is not declared; it has no default", .regenerate)
        }
    }

    /// Enough for any honest enum; to read more would only cost time.
    private static let maxTypeBytes = 16 << 10

    private mutating func take(_ found: DeclaredColumn, as index: Int, of schema: TableSchema, rowBytes: Int) throws(RowPlan.Mismatch) {
        let column = schema.columns[index]
        if let other = matches[index]?.column.name {
            throw RowPlan.Mismatch("columns \(other) and \(found.name) are declared, and are one by now: \(column.name)", .regenerate)
        }
        let target = column.type
        // An older type is not longer, except for an enum that has become a text.
        let maxBytes = max(2 * target.wireText.utf8.count + 64, target.scalar == .string ? Self.maxTypeBytes : 0)
        let type = try Self.type(of: found, maxBytes: maxBytes, rowBytes: rowBytes) { "the schema has \(target.wireText)" }
        var widening: Widening?
        if type != target {
            let difference = "column \(found.name) is declared as \(printable(found.type, limit: 200)), the schema has \(target.wireText)"
            guard target.holdsAll(of: type) else {
                throw RowPlan.Mismatch(difference, type.holdsAll(of: target) ? .newer : .regenerate)
            }
            widening = Widening(from: type, to: target)
            guard widening != nil else { throw RowPlan.Mismatch("\(difference); a ring's values are not converted to that", .regenerate) }
            older.append("\(found.name) was \(printable(found.type, limit: 60)) and is \(printable(target.wireText, limit: 60))")
        }
        if found.name != column.name { older.append("\(found.name) is \(column.name) by now") }
        matches[index] = Match(column: found, type: type, widening: widening)
    }

    // MARK: One declaration by itself

    /// The type of a declaration that does not contradict itself or its row.
    private static func type(
        of found: DeclaredColumn, maxBytes: Int, rowBytes: Int, context: () -> String
    ) throws(RowPlan.Mismatch) -> ColumnType {
        guard found.type.utf8.count <= maxBytes else {
            throw RowPlan.Mismatch("column \(found.name) is declared as \(printable(found.type, limit: 40)), \(context())", .regenerate)
        }
        let type: ColumnType
        do {
            type = try ColumnType(found.type)
        } catch {
            throw RowPlan.Mismatch("column \(found.name): \(error.reason)", .mend)
        }
        try checkLayout(found, type, rowBytes: rowBytes)
        return type
    }

    private static func checkLayout(_ found: DeclaredColumn, _ type: ColumnType, rowBytes: Int) throws(RowPlan.Mismatch) {
        let isText = type.scalar == .string
        let fits: Bool =
            switch found.storage {
            case .fixed: type.shape != .array && !isText
            case .string, .name: type.shape != .array && isText
            case .array: type.shape == .array
            }
        guard fits else {
            throw RowPlan.Mismatch(
                "column \(found.name): storage \(found.storage) does not hold \(printable(found.type, limit: 200))", .mend)
        }
        guard (found.nullOffset != nil) == (type.shape == .nullable) else {
            throw RowPlan.Mismatch("column \(found.name): a null byte belongs to Nullable columns, and to them only", .mend)
        }
        let bytes =
            switch found.storage {
            case .fixed: type.width ?? 0
            case .string, .array: 8
            case .name: 4
            }
        guard found.offset + bytes <= rowBytes, (found.nullOffset ?? 0) < rowBytes else {
            throw RowPlan.Mismatch("column \(found.name) lies outside of the row's \(rowBytes) bytes", .mend)
        }
    }
}
