/// A table as `CREATE TABLE` and what was altered since define it: everything that ClickHouse keeps of it.
///
/// The same reader takes the files of `schemas/` and what a server answers for a table (`create_table_query`), so the two can be compared.
public struct TableDefinition: Equatable, Sendable {
    public internal(set) var name: String
    public internal(set) var columns: [ColumnDefinition]
    /// Indexes, projections and constraints: what stands behind the name.
    public internal(set) var elements: [String: SQLPhrase]
    /// With its arguments, such as `MergeTree`.
    public internal(set) var engine: SQLPhrase
    public internal(set) var partitionBy: SQLPhrase
    public internal(set) var orderBy: SQLPhrase
    public internal(set) var primaryKey: SQLPhrase
    public internal(set) var ttl: SQLPhrase
    public internal(set) var settings: [String: String]
    /// Why nothing is recorded into it; nil for the tables that events go to.
    public internal(set) var derived: String?
    /// What became of columns that it had: their names are never used again, so that rows of an old spool can be understood.
    public internal(set) var retired: [String: RetiredColumn] = [:]
    /// Where it is created.
    let place: SchemaError

    /// A column that there is no more.
    public struct RetiredColumn: Equatable, Sendable {
        /// Its name now; nil if it was dropped.
        public let newName: String?
        /// The file that says so.
        public let file: String
    }

    /// Reads what a server answers for a table: `create_table_query` of `system.tables`.
    ///
    /// - Throws: if it is no table that can be understood.
    public init(createQuery text: String) throws(SchemaError) {
        var tokens = try SQLTokens(text, file: "create_table_query")
        try tokens.take(keyword: "CREATE")
        self = try TableDefinition(from: &tokens, isLive: true, derived: nil)
    }

    /// - Parameter isLive: whether it is the answer of a server, which names a database and may have any type.
    init(from tokens: inout SQLTokens, isLive: Bool, derived: String?) throws(SchemaError) {
        try tokens.take(keyword: "TABLE")
        tokens.takeIfNotExists()
        var name = try tokens.takeWord("a table name")
        if isLive, tokens.taken(".") { name = try tokens.takeWord("a table name") }
        place = tokens.error("")
        guard isLive || NameRule.isTable(name) else {
            throw tokens.error("table name \(name): a-z, 0-9 and _, at most \(FormatLimits.tableNameBytes)")
        }
        if isLive, tokens.taken(keyword: "UUID") { _ = try tokens.takeString() }
        self.name = name
        self.derived = derived
        columns = []
        elements = [:]
        (engine, partitionBy, orderBy, primaryKey, ttl) = (.nothing, .nothing, .nothing, .nothing, .nothing)
        settings = [:]
        try takeElements(&tokens, isLenient: isLive || derived != nil)
        try takeClauses(&tokens)
    }

    private mutating func takeElements(_ tokens: inout SQLTokens, isLenient: Bool) throws(SchemaError) {
        try tokens.take("(")
        repeat {
            if let kind = ["INDEX", "PROJECTION", "CONSTRAINT"].first(where: { tokens.isNext(keyword: $0) }) {
                _ = tokens.taken(keyword: kind)
                let element = try tokens.takeWord("a name")
                elements[element] = try tokens.takeElement(kind: kind)
                continue
            }
            let column = try tokens.takeColumnDefinition(isLenient: isLenient)
            guard !columns.contains(where: { $0.name == column.name }) else {
                throw tokens.error("column \(column.name) stands twice")
            }
            columns.append(column)
        } while tokens.taken(",")
        try tokens.take(")")
    }

    private mutating func takeClauses(_ tokens: inout SQLTokens) throws(SchemaError) {
        while let token = tokens.peek, token != .mark(";") {
            if tokens.taken(keyword: "ENGINE") {
                _ = tokens.taken("=")
                engine = tokens.takePhrase(until: Self.clauseWords)
            } else if tokens.taken(keyword: "PARTITION") {
                try tokens.take(keyword: "BY")
                partitionBy = tokens.takePhrase(until: Self.clauseWords)
            } else if tokens.taken(keyword: "ORDER") {
                try tokens.take(keyword: "BY")
                orderBy = tokens.takePhrase(until: Self.clauseWords)
            } else if tokens.taken(keyword: "PRIMARY") {
                try tokens.take(keyword: "KEY")
                primaryKey = tokens.takePhrase(until: Self.clauseWords)
            } else if tokens.taken(keyword: "TTL") {
                ttl = tokens.takeTTL(until: Self.clauseWords)
            } else if tokens.taken(keyword: "SETTINGS") {
                settings = try tokens.takeSettings()
            } else {
                _ = try tokens.takeAny()
            }
        }
    }

    /// Where the TTL of a whole `CREATE TABLE` stands.
    static func ttlClause(of tokens: inout SQLTokens) -> Range<Int>? {
        tokens.skip(to: 0)
        while !tokens.isAtEnd {
            let start = tokens.next
            if tokens.taken(keyword: "TTL") {
                _ = tokens.takeTTL(until: clauseWords)
                return start..<tokens.next
            }
            // In brackets stand columns, of which one may be called so.
            if tokens.peek == .mark("("), (try? tokens.skipGroup()) != nil { continue }
            tokens.skip(to: start + 1)
        }
        return nil
    }

    private static let clauseWords: Set<String> = ["ENGINE", "PARTITION", "ORDER", "PRIMARY", "SAMPLE", "TTL", "SETTINGS", "COMMENT"]

    // MARK: What it says

    /// How rows are told apart into partitions: a day or a month of a time column, alone or before others. nil if in another way.
    public var partition: (rule: PartitionRule, column: String)? {
        guard let first = partitionBy.parts.first, var tokens = try? SQLTokens(first.text, file: ""),
            let rule = try? tokens.takePartitionRule(), tokens.isAtEnd
        else { return nil }
        return rule
    }

    /// How long rows are kept by its TTL; nil if for ever, or by a TTL that is not understood.
    public var retention: Retention? { ttl.retention }

    /// Whether a column decides where its rows lie, so that it can be neither dropped nor renamed.
    func isKey(_ column: String) -> Bool { [partitionBy, orderBy, primaryKey, ttl].contains { $0.names(column) } }

    /// What the column of that name has become.
    ///
    /// - Returns: nil if the table never had it; a name of nil if it was dropped.
    public func current(_ name: String) -> (name: String?, file: String)? {
        if columns.contains(where: { $0.name == name }) { return (name, "") }
        guard let fate = retired[name] else { return nil }
        // Names are never used twice, so this ends.
        return (fate.newName.flatMap { current($0)?.name }, fate.file)
    }

    /// How events go into it.
    ///
    /// - Throws: if it lacks what every recorded row needs.
    public func schema() throws(SchemaError) -> TableSchema {
        func fail(_ reason: String) -> SchemaError { SchemaError(file: place.file, line: place.line, reason: reason) }
        guard partitionBy != .nothing else {
            throw fail("table \(name) has no PARTITION BY: write toDate(column) or toYYYYMM(column) of its event time")
        }
        let all = columns.compactMap(\.column)
        let events = all.filter { $0.name != TableSchema.writerColumn && $0.name != TableSchema.sequenceColumn }
        for (name, type) in [(TableSchema.writerColumn, "String"), (TableSchema.sequenceColumn, "UInt64")] {
            guard all.first(where: { $0.name == name })?.type.wireText == type else {
                throw fail(
                    "table \(self.name) needs a column \(name) of type \(type): every row carries who wrote it and its number. If nothing is to be "
                        + "recorded into it, say `-- derived: WHY` above the statement")
            }
        }
        guard columns.count <= FormatLimits.columns else { throw fail("more than \(FormatLimits.columns) columns") }
        var clause = try SQLTokens(partitionBy.parts.first?.text ?? "", file: place.file, line: place.line)
        let partition = try clause.takePartitionRule()
        guard let time = events.firstIndex(where: { $0.name == partition.1 }), events[time].type == ColumnType(.dateTime64) else {
            throw fail("table \(name) is partitioned by \(partition.1): that must be a column of type DateTime64(9, 'UTC')")
        }
        let deletions = try ttl.deletions(file: place.file, line: place.line)
        if let other = deletions.first(where: { $0.column != partition.1 }) {
            throw fail("table \(name): its TTL is on \(other.column), its partitions on \(partition.1); use one column")
        }
        for column in events {
            if let complaint = column.complaintAboutDefault {
                throw fail("table \(name): column \(column.name): DEFAULT \(column.defaultText ?? ""): \(complaint)")
            }
        }
        return TableSchema(
            table: name, columns: events, eventTimeColumn: time, partitionRule: partition.0,
            retention: Retention.soonest(deletions.map(\.keep)),
            isWriterLowCardinality: all.contains { $0.name == TableSchema.writerColumn && $0.isLowCardinality },
            retired: retired.keys.reduce(into: [:]) { $0[$1] = current($1)?.name.map(RetiredName.renamed) ?? .dropped })
    }
}

/// One column of a ``TableDefinition``.
public struct ColumnDefinition: Equatable, Sendable {
    public let name: String
    /// As the file or the server writes it.
    public let type: SQLPhrase
    /// As far as events can have it; nil for another type.
    public let column: Column?
    public let defaultValue: SQLPhrase
    /// Such as `CODEC(DoubleDelta, LZ4)`.
    public let codec: SQLPhrase
    public let comment: String

    func renamed(_ name: String) -> ColumnDefinition {
        ColumnDefinition(
            name: name, type: type,
            column: column.map { Column(name: name, type: $0.type, defaultText: $0.defaultText, isLowCardinality: $0.isLowCardinality) },
            defaultValue: defaultValue, codec: codec, comment: comment)
    }
}

extension SQLTokens {
    mutating func takeIfNotExists() {
        guard taken(keyword: "IF") else { return }
        _ = taken(keyword: "NOT")
        _ = taken(keyword: "EXISTS")
    }

    /// Everything up to one of the words, a `,` or a `)` that closes what was open before, or the end.
    mutating func takePhrase(until words: Set<String> = [], stopsAtComma: Bool = false) -> SQLPhrase {
        let start = next
        var depth = 0
        while let token = peek {
            if depth == 0 {
                if case .word(let word) = token, words.contains(word.uppercased()) { break }
                if token == .mark(";") || token == .mark(")") || (stopsAtComma && token == .mark(",")) { break }
            }
            if token == .mark("(") { depth += 1 }
            if token == .mark(")") { depth -= 1 }
            skip(to: next + 1)
        }
        return SQLPhrase(self, start..<next)
    }

    /// All parts of a TTL. `DELETE` is left out: a part does so anyway.
    ///
    /// - Parameter actions: words that begin something else behind a comma.
    mutating func takeTTL(until words: Set<String> = [], orActions actions: Set<String> = []) -> SQLPhrase {
        var parts: [SQLPhrase] = []
        while true {
            parts.append(takePhrase(until: words.union(["DELETE"]), stopsAtComma: true))
            if taken(keyword: "DELETE") { parts[parts.count - 1] += takePhrase(until: words, stopsAtComma: true) }
            guard peek == .mark(",") else { break }
            if next + 1 < count, case .word(let word) = self[next + 1], actions.contains(word.uppercased()) { break }
            skip(to: next + 1)
        }
        return SQLPhrase(parts: parts)
    }

    /// An index, projection or constraint behind its name.
    mutating func takeElement(kind: String) throws(SchemaError) -> SQLPhrase {
        let start = next
        while let token = peek, token != .mark(","), token != .mark(")"), token != .mark(";") {
            if token == .mark("(") { try skipGroup() } else { _ = try takeAny() }
            if isNext(keyword: "AFTER") || isNext(keyword: "FIRST") { break }
        }
        guard next > start else { throw error("\(kind) without anything behind its name") }
        return SQLPhrase(self, start..<next)
    }

    mutating func takeSettings() throws(SchemaError) -> [String: String] {
        var settings: [String: String] = [:]
        repeat {
            let name = try takeWord("a setting")
            try take("=")
            switch try takeAny() {
            case .word(let text), .number(let text), .string(let text): settings[name] = text
            case .mark: throw error("setting \(name): expected a value")
            }
        } while taken(",")
        return settings
    }

    /// `name Type [DEFAULT literal] [CODEC(...)] [COMMENT '...']`
    ///
    /// - Parameter isLenient: any type and any clause will do.
    mutating func takeColumnDefinition(isLenient: Bool = false) throws(SchemaError) -> ColumnDefinition {
        let name = try takeWord("a column name")
        return try takeColumnRest(name, isLenient: isLenient)
    }

    private mutating func takeColumnRest(_ name: String, isLenient: Bool) throws(SchemaError) -> ColumnDefinition {
        let start = next
        let isLowCardinality = peek == .word("LowCardinality")
        var type: ColumnType?
        if isLenient {
            var attempt = self
            type = try? attempt.takeType()
            _ = try takeWord("a column type")
            try skipGroup()
        } else {
            type = try takeType()
        }
        let phrase = SQLPhrase(self, start..<next)
        var defaultText: String?
        var defaultValue = SQLPhrase.nothing
        var codec = SQLPhrase.nothing
        var comment = ""
        while let token = peek, token != .mark(","), token != .mark(")"), token != .mark(";") {
            let begin = next
            if taken(keyword: "DEFAULT") {
                if isLenient {
                    var attempt = self
                    defaultText = try? attempt.takeLiteral(of: name)
                    defaultValue = takePhrase(until: ["CODEC", "COMMENT", "TTL", "AFTER", "FIRST"], stopsAtComma: true)
                } else {
                    defaultText = try takeLiteral(of: name)
                    defaultValue = SQLPhrase(self, begin + 1..<next)
                }
            } else if taken(keyword: "CODEC") {
                try skipGroup()
                codec = SQLPhrase(self, begin..<next)
            } else if taken(keyword: "COMMENT") {
                comment = try takeString()
            } else if taken(keyword: "NOT") {
                try take(keyword: "NULL")
            } else if isNext(keyword: "AFTER") || isNext(keyword: "FIRST") {
                break
            } else {
                _ = try takeAny()
                if isLenient { continue }
                throw error("column \(name): only DEFAULT literal, CODEC(...) and COMMENT '...' can follow the type")
            }
        }
        if !isLenient, defaultText != nil, type?.shape == .array { throw error("column \(name): an Array cannot have a DEFAULT") }
        return ColumnDefinition(
            name: name, type: phrase,
            column: type.map { Column(name: name, type: $0, defaultText: defaultText, isLowCardinality: isLowCardinality) },
            defaultValue: defaultValue, codec: codec, comment: comment)
    }

    private mutating func takeLiteral(of column: String) throws(SchemaError) -> String {
        let sign = taken("-") ? "-" : ""
        switch try takeAny() {
        case .string(let text) where sign.isEmpty: return text
        case .number(let text): return sign + text
        case .word("true") where sign.isEmpty: return "true"
        case .word("false") where sign.isEmpty: return "false"
        default: throw error("column \(column): the writer fills defaults itself, so DEFAULT must be a literal")
        }
    }

    mutating func takePartitionRule() throws(SchemaError) -> (PartitionRule, String) {
        let function = try takeWord("toDate or toYYYYMM")
        let rule: PartitionRule
        switch function {
        case "toDate": rule = .day
        case "toYYYYMM": rule = .month
        default: throw error("PARTITION BY \(function): toDate(column) and toYYYYMM(column) are supported")
        }
        try take("(")
        let column = try takeWord("a column")
        try take(")")
        return (rule, column)
    }

    /// `toDateTime(column) + INTERVAL n UNIT`, or the column itself.
    mutating func takeRetention() throws(SchemaError) -> (String, Retention) {
        let word = try takeWord("toDateTime(column)")
        var column = word
        if taken("(") {
            guard word == "toDateTime" || word == "toDate" else { throw error("TTL on \(word)(...): use toDateTime(column)") }
            column = try takeWord("a column")
            try take(")")
        }
        try take("+")
        let keep: Retention
        if taken(keyword: "INTERVAL") {
            let count = try takeInteger()
            keep = Retention(count: count, unit: try takeUnit())
        } else {
            let function = try takeWord("INTERVAL n UNIT")
            guard function.hasPrefix("toInterval") else { throw error("TTL + \(function): use INTERVAL n UNIT") }
            let name = function.dropFirst("toInterval".count).lowercased()
            guard let unit = Retention.Unit(rawValue: name) else { throw error("TTL unit \(name)") }
            try take("(")
            keep = Retention(count: try takeInteger(), unit: unit)
            try take(")")
        }
        guard keep.isCountable else {
            throw error("TTL of \(keep.count) \(keep.unit): ClickHouse counts up to 2106, so at most \(Retention.maxYears) years")
        }
        return (column, keep)
    }

    private mutating func takeUnit() throws(SchemaError) -> Retention.Unit {
        let unit = try takeWord("a unit such as DAY").lowercased()
        guard let unit = Retention.Unit(rawValue: unit) else { throw error("TTL unit \(unit)") }
        return unit
    }
}
