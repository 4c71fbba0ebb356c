import SpoolFormat

/// What a statement will do to the tables that are there, for people who decide whether to run it now.
enum StatementEffect {
    /// - Parameter before: as the statements before it leave the tables.
    static func lines(_ statement: SchemaStatement, before: SchemaModel, live: LiveTables) -> [String] {
        switch statement.kind {
        case .createTable(let table): [created(table, live)]
        case .createView(let name, _): ["view \(name): stores nothing, and takes the place of one that is there"]
        case .dropView(let name): ["drops the view \(name); no rows"]
        case .alterTable(let name, let changes): changes.map { altered(name, $0, before[name], live.size(name)) }
        case .dropTable(let name): ["drops \(name) with \(amount(live.size(name))); they cannot be brought back from here"]
        case .exchangeTables(let one, let other):
            [
                "\(one) (\(amount(live.size(one)))) and \(other) (\(amount(live.size(other)))) trade their names at one moment; inserts that run go where they began"
            ]
        case .renameTable(let name, let newName): ["\(name) is called \(newName); its \(amount(live.size(name))) stay"]
        case .insert(let name): ["copies rows into \(name); takes as long as reading and writing them, and reads go on"]
        }
    }

    private static func created(_ table: TableDefinition, _ live: LiveTables) -> String {
        live.engines[table.name] == nil
            ? "creates \(table.name), empty" : "\(table.name) is there already, with \(amount(live.size(table.name))): stays as it is"
    }

    private static func altered(_ name: String, _ change: TableChange, _ table: TableDefinition?, _ size: LiveTables.Size) -> String {
        switch change {
        case .addColumn(let column, _):
            return
                "\(name).\(column.name): metadata only; \(size.rows) rows that are there show \(column.defaultValue == .nothing ? "null or nothing" : column.defaultValue.text)"
        case .dropColumn(let column):
            return
                "\(name).\(column): its values are deleted, \(byteText(size.columns[column] ?? 0)) of \(size.rows) rows; they cannot be brought back from here"
        case .renameColumn(let column, let newName):
            return
                "\(name).\(column) becomes \(newName): files of \(size.parts) parts are renamed; queries with the old name fail from then on"
        case .modifyColumn(let column):
            let old = table?.columns.first { $0.name == column.name }
            if let old, !rewrites(old, column) { return "\(name).\(column.name): metadata only" }
            return
                "\(name).\(column.name) becomes \(column.type): \(byteText(size.columns[column.name] ?? 0)) of \(size.rows) rows are rewritten (a mutation); inserts go on"
        case .modifyCodec(let column, let codec): return "\(name).\(column): new parts have \(codec), old ones once they are merged"
        case .commentColumn(let column, _): return "\(name).\(column): the comment only"
        case .modifyTTL(let ttl):
            let what = ttl == .nothing ? "keeps rows for ever" : "deletes rows by \(ttl)"
            return "\(name) \(what); the times of \(size.parts) parts are computed anew (a mutation), then what is older goes"
        case .modifySettings(let settings):
            return
                "\(name): \(settings.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)" }.joined(separator: ", ")); metadata only"
        case .addElement(let index, _): return "\(name): index \(index) for parts that are written from then on"
        case .dropElement(let index): return "\(name): index \(index) is deleted"
        case .materialize(let index): return "\(name): index \(index) is computed for \(amount(size)) (a mutation)"
        }
    }

    /// More cases of an enum, or another comment, change no byte of a part.
    private static func rewrites(_ old: ColumnDefinition, _ new: ColumnDefinition) -> Bool {
        guard let type = old.column?.type, let newType = new.column?.type, old.column?.isLowCardinality == new.column?.isLowCardinality
        else {
            return old.type != new.type
        }
        if type == newType { return false }
        switch (type.scalar, newType.scalar) {
        case (.enum8, .enum8), (.enum16, .enum16): return type.shape != newType.shape
        default: return true
        }
    }

    private static func amount(_ size: LiveTables.Size) -> String { "\(size.rows) rows, \(byteText(size.bytes))" }
}
