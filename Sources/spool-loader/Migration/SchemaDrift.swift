import SpoolFormat

/// Where a table in ClickHouse is not what the files say.
struct SchemaDrift {
    struct Difference: Equatable {
        let text: String
        /// What would mend it, where that is one safe statement.
        let mend: String?

        init(_ text: String, mend: String? = nil) {
            self.text = text
            self.mend = mend
        }
    }

    let table: String
    let differences: [Difference]

    init(table: String, _ differences: [Difference]) {
        self.table = table
        self.differences = differences
    }

    /// - Parameters:
    ///   - file: as the files leave it.
    ///   - live: as ClickHouse has it.
    ///   - ttl: what its TTL is to be, if the configuration says so.
    ///   - isReplicated: whether it was made for a cluster.
    init(file: TableDefinition, live: TableDefinition, ttl: SQLPhrase? = nil, isReplicated: Bool = false) {
        table = file.name
        var found = Self.columns(file, live)
        found += Self.clauses(file, live, ttl ?? file.ttl, isReplicated)
        found += Self.settings(file, live, isReplicated)
        found += Self.elements(file, live)
        differences = found
    }

    private static func columns(_ file: TableDefinition, _ live: TableDefinition) -> [Difference] {
        let alter = "ALTER TABLE \(quotedIdentifier(file.name))"
        var found: [Difference] = []
        for column in file.columns {
            let name = quotedIdentifier(column.name)
            guard let other = live.columns.first(where: { $0.name == column.name }) else {
                found.append(Difference("column \(column.name) is not there"))
                continue
            }
            if !isSame(column, other) { found.append(Difference("column \(column.name) is \(other.type), in the files \(column.type)")) }
            if column.defaultValue != other.defaultValue {
                found.append(
                    Difference(
                        "column \(column.name) has the default \(shown(other.defaultValue)), in the files \(shown(column.defaultValue))"))
            }
            if !isSame(codec: column.codec, other.codec) {
                found.append(
                    Difference(
                        "column \(column.name) has \(shown(other.codec)), in the files \(shown(column.codec))",
                        mend: "\(alter) MODIFY COLUMN \(name) \(column.codec == .nothing ? "REMOVE CODEC" : column.codec.text)"))
            }
            if column.comment != other.comment {
                found.append(
                    Difference(
                        "column \(column.name) has another comment: \(other.comment)",
                        mend: "\(alter) COMMENT COLUMN \(name) \(quotedString(column.comment))"))
            }
        }
        for column in live.columns where !file.columns.contains(where: { $0.name == column.name }) {
            found.append(Difference("column \(column.name) (\(column.type)) is in no file"))
        }
        return found
    }

    private static func clauses(_ file: TableDefinition, _ live: TableDefinition, _ ttl: SQLPhrase, _ isReplicated: Bool) -> [Difference] {
        var found: [Difference] = []
        let engine = isReplicated ? "Replicated\(kind(file.engine))" : file.engine.text
        if isReplicated ? kind(live.engine) != engine : live.engine.text != engine {
            found.append(Difference("its engine is \(live.engine), in the files \(engine)"))
        }
        for (name, its, files) in [
            ("partitioned by", live.partitionBy, file.partitionBy), ("ordered by", live.orderBy, file.orderBy),
            (
                "keyed by", live.primaryKey == .nothing ? live.orderBy : live.primaryKey,
                file.primaryKey == .nothing ? file.orderBy : file.primaryKey
            ),
        ] where its != files {
            found.append(Difference("it is \(name) \(shown(its)), in the files \(shown(files))"))
        }
        if live.ttl != ttl {
            let mend = ttl == .nothing ? "REMOVE TTL" : "MODIFY TTL \(ttl)"
            found.append(
                Difference(
                    "its TTL is \(shown(live.ttl)), and should be \(shown(ttl))", mend: "ALTER TABLE \(quotedIdentifier(file.name)) \(mend)"
                ))
        }
        return found
    }

    private static func settings(_ file: TableDefinition, _ live: TableDefinition, _ isReplicated: Bool) -> [Difference] {
        file.settings.sorted { $0.key < $1.key }.compactMap { name, value in
            let name = isReplicated && name == "non_replicated_deduplication_window" ? "replicated_deduplication_window" : name
            guard live.settings[name] != value else { return nil }
            return Difference(
                "setting \(name) is \(live.settings[name] ?? "not set"), in the files \(value)",
                mend: "ALTER TABLE \(quotedIdentifier(file.name)) MODIFY SETTING \(name) = \(value)")
        }
    }

    private static func elements(_ file: TableDefinition, _ live: TableDefinition) -> [Difference] {
        var found: [Difference] = []
        for (name, element) in file.elements.sorted(by: { $0.key < $1.key }) where live.elements[name] != element {
            let its = live.elements[name].map { "is \($0)" } ?? "is not there"
            found.append(Difference("index \(name) \(its), in the files \(element)"))
        }
        for name in live.elements.keys.sorted() where file.elements[name] == nil { found.append(Difference("index \(name) is in no file")) }
        return found
    }

    private static func isSame(_ one: ColumnDefinition, _ other: ColumnDefinition) -> Bool {
        if one.type == other.type { return true }
        guard let type = one.column, let its = other.column, type.isLowCardinality == its.isLowCardinality else { return false }
        // ClickHouse names the cases of an enum in the order of their values.
        return type.type.holdsAll(of: its.type) && its.type.holdsAll(of: type.type)
    }

    /// ClickHouse adds what a codec's parameters are by default: `Delta` becomes `Delta(8)`.
    private static func isSame(codec file: SQLPhrase, _ live: SQLPhrase) -> Bool {
        file == live || withoutNumbers(file.text) == withoutNumbers(live.text) && !file.text.contains { $0.isNumber }
    }

    private static func withoutNumbers(_ text: String) -> String {
        text.split(separator: "(", omittingEmptySubsequences: false).enumerated().map { index, piece in
            let inner = piece.prefix { $0 != ")" }
            if index > 0, !inner.isEmpty, inner.allSatisfy(\.isNumber) { return String(piece.dropFirst(inner.count + 1)) }
            return index > 0 ? "(" + piece : String(piece)
        }.joined()
    }

    private static func kind(_ engine: SQLPhrase) -> String { String(engine.text.prefix { $0 != "(" }) }
    private static func shown(_ phrase: SQLPhrase) -> String { phrase == .nothing ? "none" : phrase.text }
}

extension SchemaDrift {
    /// Views that select something else than the files say. Servers that cannot write a query anew are not asked.
    static func views(of model: SchemaModel, _ server: StatementServer) throws -> [SchemaDrift] {
        guard !model.views.isEmpty, try server.isTrue(LiveTables.canFormatQuery) else { return [] }
        let live = LiveTables.views(try server.ask(LiveTables.viewsQuery))
        return try model.views.sorted { $0.key < $1.key }.map { name, query in
            let answer = String(decoding: try server.ask(LiveTables.formatQuery(query)), as: UTF8.self)
            guard let wanted = textOfHex(answer.filter { !$0.isWhitespace }) else {
                throw CommandFailure(
                    "ClickHouse at \(server.url) does not write the query of view \(name): \(answer.prefix(200))", code: 74)
            }
            let mend = "CREATE OR REPLACE VIEW \(quotedIdentifier(name)) AS \(wanted)"
            guard let its = live[name] else { return SchemaDrift(table: name, [Difference("the view is not in ClickHouse", mend: mend)]) }
            // ClickHouse copies what stands behind WITH to each part of a UNION, or puts it where it is named: not to be told from a change.
            if wanted.split(whereSeparator: { !$0.isLetter }).contains("WITH") { return SchemaDrift(table: name, []) }
            let database = server.clickHouse.database
            let isSame = try SQLPhrase(parsing: its, database: database) == SQLPhrase(parsing: wanted, database: database)
            return SchemaDrift(
                table: name, isSame ? [] : [Difference("the view selects something else than the files say: \(its)", mend: mend)])
        }
    }
}
