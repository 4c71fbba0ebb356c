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
    public private(set) var views: Set<String> = []

    public init() {}

    /// Reads all files' texts, in the order of their names.
    public init(_ files: [(name: String, text: String)]) throws(SchemaError) {
        for file in files.sorted(by: { $0.name < $1.name }) {
            for block in try StatementBlock.blocks(of: file.text, file: file.name) { try apply(block) }
        }
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
        case .createView(let name): views.insert(name)
        case .alterTable(let name, let changes):
            let index = try index(of: name)
            for change in changes { try tables[index].apply(change, file: block.fileName, error: error) }
        case .dropTable(let name): tables.remove(at: try index(of: name))
        case .dropView(let name): views.remove(name)
        case .exchangeTables(let first, let second):
            try exchange(try index(of: first), try index(of: second), error)
        case .renameTable(let name, let newName):
            let index = try index(of: name)
            guard self[newName] == nil else { throw error("table \(newName) is there already") }
            guard tables[index].derived != nil else {
                throw error("table \(name) is recorded into, and its rows lie in the spool under that name; it cannot be renamed")
            }
            tables[index].name = newName
        case .insert(let name): _ = try index(of: name)
        }
    }

    /// What is recorded under a name goes on being recorded under it, so it must fit.
    private mutating func exchange(_ first: Int, _ second: Int, _ error: (String) -> SchemaError) throws(SchemaError) {
        for (old, new) in [(first, second), (second, first)] where tables[old].derived == nil {
            for column in tables[old].columns where tables[new].columns.first(where: { $0.name == column.name })?.column != column.column {
                throw error(
                    "table \(tables[new].name) takes the place of \(tables[old].name), and differs from it in column \(column.name)")
            }
        }
        var (old, new) = (tables[first], tables[second])
        swap(&old.name, &new.name)
        swap(&old.derived, &new.derived)
        swap(&old.retired, &new.retired)
        (tables[first], tables[second]) = (new, old)
    }
}
