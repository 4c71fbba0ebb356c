/// Reads the DDL of `schemas/NNNN_name.sql`, the one source of truth for writer, loader and migrator.
public enum SchemaText {
    /// Reads all files' texts, in the order of their names.
    ///
    /// - Returns: the tables that events are recorded into, in the order of their creation.
    public static func tables(from files: [(name: String, text: String)]) throws(SchemaError) -> [TableSchema] {
        try SchemaModel(files).recorded()
    }
}

/// All tables as the files of `schemas/` leave them when each has been applied.
public struct SchemaModel: Equatable, Sendable {
    /// In the order of their creation.
    public private(set) var tables: [TableDefinition] = []
    /// What each view selects, by name.
    public private(set) var views: [String: String] = [:]
    /// Recorded tables that were renamed away, by the name under which their rows lie in the spool: another table must take it.
    private var awaited: [String: TableDefinition] = [:]

    public init() {}

    /// Reads all files' texts, in the order of their names.
    public init(_ files: [(name: String, text: String)]) throws(SchemaError) {
        for file in files.sorted(by: { $0.name < $1.name }) {
            for block in try StatementBlock.blocks(of: file.text, file: file.name) { try apply(block) }
        }
        try checkComplete()
    }

    /// - Throws: if rows are recorded under a name that no table has once all files are applied.
    public func checkComplete() throws(SchemaError) {
        guard let (name, table) = awaited.min(by: { $0.key < $1.key }) else { return }
        throw SchemaError(
            file: table.place.file, line: table.place.line,
            reason:
                "table \(name) is recorded into, and its rows lie in the spool under that name; it is renamed, and no other table takes its place"
        )
    }

    /// The tables that events are recorded into.
    ///
    /// - Throws: if one of them lacks what every recorded row needs.
    public func recorded() throws(SchemaError) -> [TableSchema] {
        var schemas: [TableSchema] = []
        for table in tables where table.derived == nil { schemas.append(try table.schema()) }
        return schemas
    }

    public subscript(table: String) -> TableDefinition? { tables.first { $0.name == table } }

    /// Applies a statement.
    ///
    /// - Throws: if it cannot be understood, does not fit what is there, or would make rows that are recorded already mean something else.
    public mutating func apply(_ block: StatementBlock) throws(SchemaError) {
        let statement = try SchemaStatement(block)
        func error(_ reason: String) -> SchemaError { SchemaError(file: block.file, line: block.line, reason: reason) }
        func index(of name: String) throws(SchemaError) -> Int {
            guard let index = tables.firstIndex(where: { $0.name == name }) else { throw error("no table \(name) yet") }
            return index
        }
        switch statement.kind {
        case .createTable(let table):
            guard self[table.name] == nil else { throw error("table \(table.name) is created twice") }
            tables.append(table)
        case .createView(let name, let query): views[name] = query
        case .alterTable(let name, let changes):
            let index = try index(of: name)
            for change in changes { try tables[index].apply(change, file: block.fileName, error: error) }
        case .dropTable(let name): tables.remove(at: try index(of: name))
        case .dropView(let name): views[name] = nil
        case .exchangeTables(let first, let second):
            try exchange(try index(of: first), try index(of: second), error)
        case .renameTable(let name, let newName): try rename(try index(of: name), to: newName, error)
        case .insert(let name): _ = try index(of: name)
        }
    }

    private mutating func rename(_ index: Int, to newName: String, _ error: (String) -> SchemaError) throws(SchemaError) {
        guard self[newName] == nil else { throw error("table \(newName) is there already") }
        var table = tables[index]
        if table.derived == nil {
            awaited[table.name] = table
            table.derived = "it was \(table.name)"
        } else if let before = awaited.removeValue(forKey: newName) {
            try Self.checkSuccession(of: table, after: before, error)
            table.derived = nil
            table.retired = before.retired
        }
        table.name = newName
        tables[index] = table
    }

    /// What is recorded under a name goes on being recorded under it, so it must fit.
    private static func checkSuccession(
        of new: TableDefinition, after old: TableDefinition, _ error: (String) -> SchemaError
    ) throws(SchemaError) {
        for column in old.columns where new.columns.first(where: { $0.name == column.name })?.column != column.column {
            throw error("table \(new.name) takes the place of \(old.name), and differs from it in column \(column.name)")
        }
        for column in new.columns {
            guard let fate = old.retired[column.name] else { continue }
            throw error(
                "table \(new.name) takes the place of \(old.name), and has a column \(column.name), which \(old.name) had before (\(fate.file)): old spools have "
                    + "rows with it, which would be taken for the new one's values; use another name")
        }
    }

    private mutating func exchange(_ first: Int, _ second: Int, _ error: (String) -> SchemaError) throws(SchemaError) {
        var (old, new) = (tables[first], tables[second])
        if old.derived == nil { try Self.checkSuccession(of: new, after: old, error) }
        if new.derived == nil { try Self.checkSuccession(of: old, after: new, error) }
        swap(&old.name, &new.name)
        swap(&old.derived, &new.derived)
        swap(&old.retired, &new.retired)
        (tables[first], tables[second]) = (new, old)
    }
}
