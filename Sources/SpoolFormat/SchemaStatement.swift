/// A statement of `schemas/`, as far as anybody must understand it.
public struct SchemaStatement: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        case createTable(TableDefinition)
        /// A view over other tables; nothing is stored.
        case createView(String)
        case alterTable(String, [TableChange])
        case dropTable(String)
        case dropView(String)
        /// Two tables trade their names.
        case exchangeTables(String, String)
        case renameTable(String, to: String)
        /// Rows of other tables.
        case insert(String)
    }

    public let kind: Kind
    /// Whether it does nothing if it has happened already, so that it can be sent again after a crash.
    public let isRepeatable: Bool

    static let known =
        "expected CREATE TABLE, CREATE [OR REPLACE] VIEW, ALTER TABLE, EXCHANGE TABLES, RENAME TABLE, DROP TABLE, DROP VIEW, INSERT INTO ... SELECT"

    /// Reads a block's statement.
    ///
    /// - Throws: for a statement of another kind, or one that cannot be understood.
    public init(_ block: StatementBlock) throws(SchemaError) {
        var tokens = try SQLTokens(block.sql, file: block.file, line: block.sqlLine)
        (kind, isRepeatable) = try Self.read(&tokens, block)
        guard tokens.isAtEnd else { throw tokens.error("unexpected text after the statement") }
    }

    /// What is wrong with a statement that could neither be sent twice nor says how to see that it has happened; nil if nothing.
    public static func complaintAboutRepeating(_ block: StatementBlock) throws(SchemaError) -> SchemaError? {
        guard block.doneIf == nil, !(try SchemaStatement(block).isRepeatable) else { return nil }
        return SchemaError(
            file: block.file, line: block.line,
            reason:
                "a migration may be killed and begun again, and this statement must not be sent twice: write IF EXISTS or IF NOT EXISTS, or say above "
                + "it `-- done if: SELECT ...`, a query that answers 1 once it has happened")
    }

    private static func read(_ tokens: inout SQLTokens, _ block: StatementBlock) throws(SchemaError) -> (Kind, Bool) {
        if tokens.taken(keyword: "CREATE") { return try readCreate(&tokens, block) }
        if tokens.taken(keyword: "ALTER") {
            try tokens.take(keyword: "TABLE")
            let table = try tokens.takeWord("a table")
            let (changes, isRepeatable) = try tokens.takeChanges()
            return (.alterTable(table, changes.map(\.change)), isRepeatable)
        }
        if tokens.taken(keyword: "DROP") {
            let isView = tokens.taken(keyword: "VIEW")
            if !isView { try tokens.take(keyword: "TABLE") }
            let isGuarded = tokens.isNext(keyword: "IF")
            tokens.takeIfNotExists()
            let name = try tokens.takeWord("a name")
            _ = tokens.taken(keyword: "SYNC")
            return (isView ? .dropView(name) : .dropTable(name), isGuarded)
        }
        if tokens.taken(keyword: "EXCHANGE") {
            try tokens.take(keyword: "TABLES")
            let first = try tokens.takeWord("a table")
            try tokens.take(keyword: "AND")
            return (.exchangeTables(first, try tokens.takeWord("a table")), false)
        }
        if tokens.taken(keyword: "RENAME") {
            try tokens.take(keyword: "TABLE")
            let first = try tokens.takeWord("a table")
            try tokens.take(keyword: "TO")
            return (.renameTable(first, to: try tokens.takeWord("a table")), false)
        }
        if tokens.taken(keyword: "INSERT") {
            try tokens.take(keyword: "INTO")
            let table = try tokens.takeWord("a table")
            tokens.skip(to: tokens.count)
            // An insert that leaves out what is there already names the table again; nothing else could be sent twice.
            return (.insert(table), SQLPhrase(tokens, 0..<tokens.count).names(table, times: 2))
        }
        throw tokens.error(known)
    }

    private static func readCreate(_ tokens: inout SQLTokens, _ block: StatementBlock) throws(SchemaError) -> (Kind, Bool) {
        let isReplaced = tokens.taken(keyword: "OR")
        if isReplaced { try tokens.take(keyword: "REPLACE") }
        if tokens.taken(keyword: "VIEW") {
            let isGuarded = isReplaced || tokens.isNext(keyword: "IF")
            tokens.takeIfNotExists()
            let name = try tokens.takeWord("a view")
            try tokens.take(keyword: "AS")
            tokens.skip(to: tokens.count)
            return (.createView(name), isGuarded)
        }
        if tokens.isNext(keyword: "MATERIALIZED") {
            throw tokens.error(
                "a materialized view runs inside of every insert, and what it writes cannot be proved exact; make the rows from what is stored"
            )
        }
        let start = tokens.next
        _ = tokens.taken(keyword: "TABLE")
        let isGuarded = tokens.isNext(keyword: "IF")
        tokens.skip(to: start)
        return (.createTable(try TableDefinition(from: &tokens, isLive: false, derived: block.derived)), isGuarded)
    }
}

extension SQLPhrase {
    fileprivate func names(_ word: String, times: Int) -> Bool {
        guard let tokens = try? SQLTokens(text, file: "") else { return false }
        return (0..<tokens.count).count { tokens[$0] == .word(word) } >= times
    }
}
