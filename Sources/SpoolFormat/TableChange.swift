/// One action of an `ALTER TABLE`.
public enum TableChange: Equatable, Sendable {
    case addColumn(ColumnDefinition, Place)
    case dropColumn(String)
    case renameColumn(String, to: String)
    case modifyColumn(ColumnDefinition)
    /// Its type stays as it is.
    case modifyCodec(String, SQLPhrase)
    case commentColumn(String, String)
    case modifyTTL(SQLPhrase)
    case modifySettings([String: String])
    case addElement(String, SQLPhrase)
    case dropElement(String)
    /// Rewrites data that are there; the definition stays as it is.
    case materialize(String)

    /// Where an added column comes to stand.
    public enum Place: Equatable, Sendable {
        case last
        case first
        case after(String)
    }
}

extension SQLTokens {
    static let knownChanges =
        "ADD COLUMN, DROP COLUMN, RENAME COLUMN, MODIFY COLUMN, COMMENT COLUMN, MODIFY TTL, REMOVE TTL, MODIFY SETTING, ADD INDEX, DROP INDEX, "
        + "MATERIALIZE INDEX"

    /// A whole `ALTER TABLE`.
    mutating func takeAlter() throws(SchemaError) -> (
        table: String, changes: [(change: TableChange, tokens: Range<Int>)], isRepeatable: Bool
    ) {
        try take(keyword: "ALTER")
        try take(keyword: "TABLE")
        let table = try takeWord("a table")
        let (changes, isRepeatable) = try takeChanges()
        return (table, changes, isRepeatable)
    }

    private static let actionWords: Set<String> = ["ADD", "COMMENT", "DROP", "MATERIALIZE", "MODIFY", "REMOVE", "RENAME"]

    /// The actions of an ALTER with where each of them stands.
    ///
    /// - Returns: also whether the statement can be sent twice.
    private mutating func takeChanges() throws(SchemaError) -> (changes: [(change: TableChange, tokens: Range<Int>)], isRepeatable: Bool) {
        var changes: [(TableChange, Range<Int>)] = []
        var isRepeatable = true
        repeat {
            let start = next
            let (change, isGuarded) = try takeChange()
            changes.append((change, start..<next))
            isRepeatable = isRepeatable && isGuarded
        } while taken(",")
        return (changes, isRepeatable)
    }

    private mutating func takeChange() throws(SchemaError) -> (TableChange, isGuarded: Bool) {
        if taken(keyword: "ADD") { return try takeAddition() }
        if taken(keyword: "DROP") {
            let isColumn = taken(keyword: "COLUMN")
            if !isColumn { try take(keyword: "INDEX") }
            let isGuarded = takenIfExists()
            let name = try takeWord("a name")
            return (isColumn ? .dropColumn(name) : .dropElement(name), isGuarded)
        }
        if taken(keyword: "RENAME") {
            try take(keyword: "COLUMN")
            let isGuarded = takenIfExists()
            let name = try takeWord("a column")
            try take(keyword: "TO")
            return (.renameColumn(name, to: try takeWord("a column name")), isGuarded)
        }
        if taken(keyword: "COMMENT") {
            try take(keyword: "COLUMN")
            _ = takenIfExists()
            let name = try takeWord("a column")
            return (.commentColumn(name, try takeString()), true)
        }
        if taken(keyword: "REMOVE") {
            try take(keyword: "TTL")
            return (.modifyTTL(.nothing), true)
        }
        if taken(keyword: "MATERIALIZE") {
            try take(keyword: "INDEX")
            return (.materialize(try takeWord("an index")), true)
        }
        if taken(keyword: "MODIFY") { return (try takeModification(), true) }
        throw error("this action of ALTER TABLE is not known here; known are \(Self.knownChanges)")
    }

    private mutating func takeAddition() throws(SchemaError) -> (TableChange, isGuarded: Bool) {
        let isColumn = taken(keyword: "COLUMN")
        if !isColumn { try take(keyword: "INDEX") }
        var isGuarded = false
        if taken(keyword: "IF") {
            try take(keyword: "NOT")
            try take(keyword: "EXISTS")
            isGuarded = true
        }
        guard isColumn else {
            let name = try takeWord("an index name")
            let element = try takeElement(kind: "INDEX")
            if taken(keyword: "AFTER") { _ = try takeWord("an index") } else { _ = taken(keyword: "FIRST") }
            return (.addElement(name, element), isGuarded)
        }
        let column = try takeColumnDefinition()
        if taken(keyword: "AFTER") { return (.addColumn(column, .after(try takeWord("a column"))), isGuarded) }
        return (.addColumn(column, taken(keyword: "FIRST") ? .first : .last), isGuarded)
    }

    private mutating func takeModification() throws(SchemaError) -> TableChange {
        if taken(keyword: "TTL") { return .modifyTTL(takeTTL(orActions: Self.actionWords)) }
        // A comma may be the next setting's or the next action's: let the whole rest be settings.
        if taken(keyword: "SETTING") { return .modifySettings(try takeSettings()) }
        try take(keyword: "COLUMN")
        _ = takenIfExists()
        let start = next
        let name = try takeWord("a column")
        if isNext(keyword: "CODEC") {
            let begin = next
            _ = taken(keyword: "CODEC")
            try skipGroup()
            return .modifyCodec(name, SQLPhrase(self, begin..<next))
        }
        skip(to: start)
        return .modifyColumn(try takeColumnDefinition())
    }

    private mutating func takenIfExists() -> Bool {
        guard taken(keyword: "IF") else { return false }
        return taken(keyword: "EXISTS")
    }
}

extension TableDefinition {
    /// Applies a change.
    ///
    /// - Throws: `error` with the reason if it does not fit, or if rows that are recorded already would be misunderstood.
    mutating func apply(_ change: TableChange, file: String, error: (String) -> SchemaError) throws(SchemaError) {
        func index(of name: String) throws(SchemaError) -> Int {
            guard let index = columns.firstIndex(where: { $0.name == name }) else { throw error("no column \(name)") }
            return index
        }
        switch change {
        case .addColumn(let column, let place):
            try checkNew(column.name, error)
            if derived == nil, column.column?.isRequired ?? false {
                throw error(
                    "column \(column.name) is added without a value for the rows that are there: give it DEFAULT literal, or make it Nullable"
                )
            }
            switch place {
            case .last: columns.append(column)
            case .first: columns.insert(column, at: 0)
            case .after(let before): columns.insert(column, at: try index(of: before) + 1)
            }
        case .dropColumn(let name):
            let index = try index(of: name)
            try checkFree(name, error)
            columns.remove(at: index)
            retired[name] = RetiredColumn(newName: nil, file: file)
        case .renameColumn(let name, let newName):
            let index = try index(of: name)
            try checkFree(name, error)
            try checkNew(newName, error)
            columns[index] = columns[index].renamed(newName)
            retired[name] = RetiredColumn(newName: newName, file: file)
        case .modifyColumn(let column):
            let index = try index(of: column.name)
            if derived == nil, let old = columns[index].column?.type, let new = column.column?.type, !new.holdsAll(of: old) {
                throw error(
                    "column \(column.name): \(new.wireText) does not hold every value of \(old.wireText), so values would change; add a column under a "
                        + "new name instead")
            }
            columns[index] = columns[index].modified(by: column)
        case .modifyCodec(let name, let codec):
            let index = try index(of: name)
            columns[index] = columns[index].with(codec: codec)
        case .commentColumn(let name, let comment):
            let index = try index(of: name)
            columns[index] = columns[index].with(comment: comment)
        case .modifyTTL(let phrase): ttl = phrase
        case .modifySettings(let changed): settings.merge(changed) { $1 }
        case .addElement(let name, let element):
            guard elements.updateValue(element, forKey: name) == nil else { throw error("index \(name) is there already") }
        case .dropElement(let name):
            guard elements.removeValue(forKey: name) != nil else { throw error("no index \(name)") }
        case .materialize(let name):
            guard elements[name] != nil else { throw error("no index \(name)") }
        }
    }

    private func checkNew(_ name: String, _ error: (String) -> SchemaError) throws(SchemaError) {
        if columns.contains(where: { $0.name == name }) { throw error("column \(name) is there already") }
        if let fate = retired[name] {
            throw error(
                "column \(name) was there before (\(fate.file)): old spools have rows with it, which would be taken for the new one's values; use another name"
            )
        }
    }

    private func checkFree(_ name: String, _ error: (String) -> SchemaError) throws(SchemaError) {
        if isKey(name) { throw error("column \(name) belongs to the table's keys, partitions or TTL, and must stay") }
        if name == TableSchema.writerColumn || name == TableSchema.sequenceColumn {
            throw error("column \(name) is part of every row's name, and must stay")
        }
    }
}

extension ColumnDefinition {
    /// ClickHouse leaves what a `MODIFY COLUMN` does not name.
    fileprivate func modified(by change: ColumnDefinition) -> ColumnDefinition {
        let defaultText = change.column?.defaultText ?? column?.defaultText
        return ColumnDefinition(
            name: name, type: change.type,
            column: change.column.map {
                Column(name: name, type: $0.type, defaultText: defaultText, isLowCardinality: $0.isLowCardinality)
            },
            defaultValue: change.defaultValue == .nothing ? defaultValue : change.defaultValue,
            codec: change.codec == .nothing ? codec : change.codec, comment: change.comment.isEmpty ? comment : change.comment)
    }

    fileprivate func with(codec: SQLPhrase? = nil, comment: String? = nil) -> ColumnDefinition {
        ColumnDefinition(
            name: name, type: type, column: column, defaultValue: defaultValue, codec: codec ?? self.codec,
            comment: comment ?? self.comment)
    }
}
