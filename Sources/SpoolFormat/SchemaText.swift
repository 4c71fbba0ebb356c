/// Reads the DDL of `schemas/NNNN_name.sql`, the one source of truth for writer and loader.
///
/// One statement a file: `CREATE TABLE` (the whole of it is understood as far as the recorder needs it and the rest is
/// passed over) or `ALTER TABLE ... ADD COLUMN`, applied in the order of the files' numbers.
public enum SchemaText {
    /// Reads all files' texts, in the order of their names.
    ///
    /// - Returns: the tables, in the order of their creation.
    public static func tables(from files: [(name: String, text: String)]) throws(SchemaError) -> [TableSchema] {
        var tables: [Definition] = []
        for file in files.sorted(by: { $0.name < $1.name }) {
            var tokens = try SQLTokens(file.text, file: file.name)
            if tokens.taken(keyword: "CREATE") {
                let table = try Definition(from: &tokens)
                guard !tables.contains(where: { $0.name == table.name }) else {
                    throw tokens.error("table \(table.name) is created twice")
                }
                tables.append(table)
            } else if tokens.taken(keyword: "ALTER") {
                try alter(&tables, with: &tokens)
            } else {
                throw tokens.error("expected CREATE TABLE or ALTER TABLE ... ADD COLUMN")
            }
            _ = tokens.taken(";")
            guard tokens.isAtEnd else { throw tokens.error("more than one statement in a file") }
        }
        var schemas: [TableSchema] = []
        for table in tables { schemas.append(try table.schema()) }
        return schemas
    }

    private static func alter(_ tables: inout [Definition], with tokens: inout SQLTokens) throws(SchemaError) {
        try tokens.take(keyword: "TABLE")
        let name = try tokens.takeWord("a table")
        guard let index = tables.firstIndex(where: { $0.name == name }) else { throw tokens.error("no table \(name) yet") }
        repeat {
            try tokens.take(keyword: "ADD")
            try tokens.take(keyword: "COLUMN")
            if tokens.taken(keyword: "IF") {
                try tokens.take(keyword: "NOT")
                try tokens.take(keyword: "EXISTS")
            }
            let column = try tokens.takeColumn()
            guard !tables[index].columns.contains(where: { $0.name == column.name }) else {
                throw tokens.error("column \(column.name) is there already")
            }
            if tokens.taken(keyword: "AFTER") {
                let before = try tokens.takeWord("a column")
                guard let place = tables[index].columns.firstIndex(where: { $0.name == before }) else {
                    throw tokens.error("no column \(before)")
                }
                tables[index].columns.insert(column, at: place + 1)
            } else {
                tables[index].columns.append(column)
            }
        } while tokens.taken(",")
    }
}

/// What a server says of a table that it has, from `engine_full` of `system.tables`.
public struct TargetEngine: Equatable, Sendable {
    /// Such as `MergeTree` or `ReplicatedMergeTree`.
    public let engine: String
    /// nil if the table has no TTL that we understand.
    public let retention: Retention?
    /// Values of the SETTINGS clause as text.
    public let settings: [String: String]
    private let partitioning: Partitioning

    private enum Partitioning: Equatable {
        case none
        case rule(PartitionRule, column: String)
        /// One that we do not know.
        case other
    }

    /// Whether rows of one of our partitions can belong to several of the table's.
    public func splits(_ rule: PartitionRule, of column: String) -> Bool {
        switch partitioning {
        case .none: false
        case .rule(let its, let itsColumn): itsColumn != column || (its == .day && rule == .month)
        case .other: true
        }
    }

    /// Reads the text leniently: the server wrote it, and only what concerns the loader is looked at.
    public init(_ text: String) {
        var engine = ""
        var retention: Retention?
        var settings: [String: String] = [:]
        var partitioning = Partitioning.none
        if var tokens = try? SQLTokens(text, file: "engine_full") {
            engine = (try? tokens.takeWord("an engine")) ?? ""
            while !tokens.isAtEnd {
                if tokens.taken(keyword: "PARTITION") {
                    _ = tokens.taken(keyword: "BY")
                    let rule = try? tokens.takePartitionRule()
                    partitioning = rule.map { .rule($0.0, column: $0.1) } ?? .other
                    // What follows would make it another one: `toDate(ts) % 7`.
                    if !tokens.isAtEnd, !["ORDER", "PRIMARY", "SAMPLE", "TTL", "SETTINGS"].contains(where: { tokens.isNext(keyword: $0) }) {
                        partitioning = .other
                    }
                } else if tokens.taken(keyword: "TTL") {
                    retention = (try? tokens.takeRetention())?.1
                } else if tokens.taken(keyword: "SETTINGS") {
                    while let name = try? tokens.takeWord("a setting"), tokens.taken("="), let value = try? tokens.takeAny() {
                        switch value {
                        case .word(let text), .number(let text), .string(let text): settings[name] = text
                        case .mark: break
                        }
                        _ = tokens.taken(",")
                    }
                } else {
                    _ = try? tokens.takeAny()
                }
            }
        }
        self.engine = engine
        self.retention = retention
        self.settings = settings
        self.partitioning = partitioning
    }
}

/// A `CREATE TABLE` statement, as far as it concerns us.
private struct Definition {
    let name: String
    let file: SchemaError
    var columns: [Column]
    let partition: (rule: PartitionRule, column: String)
    let retention: (column: String, keep: Retention)?

    init(from tokens: inout SQLTokens) throws(SchemaError) {
        try tokens.take(keyword: "TABLE")
        if tokens.taken(keyword: "IF") {
            try tokens.take(keyword: "NOT")
            try tokens.take(keyword: "EXISTS")
        }
        name = try tokens.takeWord("a table name")
        file = tokens.error("")
        guard NameRule.isTable(name) else {
            throw tokens.error("table name \(name): a-z, 0-9 and _, at most \(FormatLimits.tableNameBytes)")
        }
        columns = try Self.columns(from: &tokens)
        (partition, retention) = try Self.clauses(of: name, from: &tokens)
    }

    private static func columns(from tokens: inout SQLTokens) throws(SchemaError) -> [Column] {
        var columns: [Column] = []
        try tokens.take("(")
        repeat {
            if tokens.taken(keyword: "INDEX") || tokens.taken(keyword: "PROJECTION") || tokens.taken(keyword: "CONSTRAINT") {
                try skipElement(&tokens)
                continue
            }
            let column = try tokens.takeColumn()
            guard !columns.contains(where: { $0.name == column.name }) else {
                throw tokens.error("column \(column.name) stands twice")
            }
            columns.append(column)
        } while tokens.taken(",")
        try tokens.take(")")
        return columns
    }

    private static func skipElement(_ tokens: inout SQLTokens) throws(SchemaError) {
        while let token = tokens.peek, token != .mark(","), token != .mark(")") {
            if token == .mark("(") { try tokens.skipGroup() } else { _ = try tokens.takeAny() }
        }
    }

    private static func clauses(
        of table: String, from tokens: inout SQLTokens
    ) throws(SchemaError) -> ((PartitionRule, String), (String, Retention)?) {
        var partition: (PartitionRule, String)?
        var retention: (String, Retention)?
        while let token = tokens.peek, token != .mark(";") {
            if tokens.taken(keyword: "PARTITION") {
                try tokens.take(keyword: "BY")
                partition = try tokens.takePartitionRule()
            } else if tokens.taken(keyword: "TTL") {
                retention = try tokens.takeRetention()
            } else if token == .mark("(") {
                try tokens.skipGroup()
            } else {
                _ = try tokens.takeAny()
            }
        }
        guard let partition else {
            throw tokens.error("table \(table) has no PARTITION BY: write toDate(column) or toYYYYMM(column) of its event time")
        }
        return (partition, retention)
    }

    func schema() throws(SchemaError) -> TableSchema {
        func fail(_ reason: String) -> SchemaError { SchemaError(file: file.file, line: file.line, reason: reason) }
        let events = columns.filter { $0.name != TableSchema.writerColumn && $0.name != TableSchema.sequenceColumn }
        for (name, type) in [(TableSchema.writerColumn, "String"), (TableSchema.sequenceColumn, "UInt64")] {
            guard columns.first(where: { $0.name == name })?.type.wireText == type else {
                throw fail("table \(self.name) needs a column \(name) of type \(type): every row carries who wrote it and its number")
            }
        }
        guard columns.count <= FormatLimits.columns else { throw fail("more than \(FormatLimits.columns) columns") }
        guard let time = events.firstIndex(where: { $0.name == partition.column }), events[time].type == ColumnType(.dateTime64)
        else {
            throw fail("table \(name) is partitioned by \(partition.column): that must be a column of type DateTime64(9, 'UTC')")
        }
        if let retention, retention.column != partition.column {
            throw fail("table \(name): its TTL is on \(retention.column), its partitions on \(partition.column); use one column")
        }
        return TableSchema(
            table: name, columns: events, eventTimeColumn: time, partitionRule: partition.rule, retention: retention?.keep,
            isWriterLowCardinality: columns.contains { $0.name == TableSchema.writerColumn && $0.isLowCardinality })
    }
}

extension SQLTokens {
    /// `name Type [DEFAULT literal] [CODEC(...)] [COMMENT '...'] [TTL ...]`
    fileprivate mutating func takeColumn() throws(SchemaError) -> Column {
        let name = try takeWord("a column name")
        let isLowCardinality = peek == .word("LowCardinality")
        let type = try takeType()
        var defaultText: String?
        while let token = peek, token != .mark(","), token != .mark(")"), token != .mark(";") {
            if taken(keyword: "DEFAULT") {
                defaultText = try takeLiteral(of: name)
            } else if taken(keyword: "CODEC") {
                try skipGroup()
            } else if taken(keyword: "COMMENT") {
                _ = try takeString()
            } else if taken(keyword: "NOT") {
                try take(keyword: "NULL")
            } else if case .word(let word) = token, word.uppercased() == "AFTER" {
                break
            } else {
                _ = try takeAny()
                throw error("column \(name): only DEFAULT literal, CODEC(...) and COMMENT '...' can follow the type")
            }
        }
        if defaultText != nil, type.shape == .array { throw error("column \(name): an Array cannot have a DEFAULT") }
        return Column(name: name, type: type, defaultText: defaultText, isLowCardinality: isLowCardinality)
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

    fileprivate mutating func takePartitionRule() throws(SchemaError) -> (PartitionRule, String) {
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

    /// `toDateTime(column) + INTERVAL n UNIT [DELETE]`, or the column itself.
    fileprivate mutating func takeRetention() throws(SchemaError) -> (String, Retention) {
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
            let unit = try takeWord("a unit such as DAY").lowercased()
            guard let unit = Retention.Unit(rawValue: unit) else { throw error("TTL unit \(unit)") }
            keep = Retention(count: count, unit: unit)
        } else {
            let function = try takeWord("INTERVAL n UNIT")
            guard function.hasPrefix("toInterval"),
                let unit = Retention.Unit(rawValue: function.dropFirst("toInterval".count).lowercased())
            else { throw error("TTL + \(function): use INTERVAL n UNIT") }
            try take("(")
            keep = Retention(count: try takeInteger(), unit: unit)
            try take(")")
        }
        guard keep.isCountable else {
            throw error("TTL of \(keep.count) \(keep.unit): ClickHouse counts up to 2106, so at most \(Retention.maxYears) years")
        }
        _ = taken(keyword: "DELETE")
        return (column, keep)
    }
}
