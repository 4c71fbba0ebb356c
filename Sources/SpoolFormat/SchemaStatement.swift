/// A statement of `schemas/`, as far as anybody must understand it.
public struct SchemaStatement: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        case createTable(TableDefinition)
        /// A view over other tables; nothing is stored.
        case createView(String, query: String)
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
        let statement = try SchemaStatement(block)
        if statement.isRepeatable { return nil }
        if case .insert(let table) = statement.kind {
            return SchemaError(
                file: block.file, line: block.line,
                reason:
                    "an INSERT that breaks off leaves a part of its rows, and must not bring them again when it is sent again: leave out what is there, as in "
                    + "WHERE (spool_writer, spool_seq) NOT IN (SELECT spool_writer, spool_seq FROM \(table))")
        }
        guard block.doneIf == nil else { return nil }
        return SchemaError(
            file: block.file, line: block.line,
            reason:
                "a migration may be killed and begun again, and this statement must not be sent twice: write IF EXISTS or IF NOT EXISTS, or say above "
                + "it `-- done if: SELECT ...`, a query that answers 1 once it has happened")
    }

    private static func read(_ tokens: inout SQLTokens, _ block: StatementBlock) throws(SchemaError) -> (Kind, Bool) {
        if tokens.taken(keyword: "CREATE") { return try readCreate(&tokens, block) }
        if tokens.isNext(keyword: "ALTER") {
            let (table, changes, isRepeatable) = try tokens.takeAlter()
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
            let leavesOut = tokens.leavesOutRows(of: table)
            tokens.skip(to: tokens.count)
            return (.insert(table), leavesOut)
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
            let query = tokens.source(tokens.next..<tokens.count)
            tokens.skip(to: tokens.count)
            return (.createView(name, query: query), isGuarded)
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

extension SQLTokens {
    /// Whether a condition `NOT IN (SELECT ... FROM table ...)` stands behind.
    fileprivate func leavesOutRows(of table: String) -> Bool {
        func isWord(_ index: Int, _ text: String) -> Bool {
            guard index < count, case .word(let word) = self[index] else { return false }
            return word.uppercased() == text
        }
        for index in next..<count where isWord(index, "NOT") && isWord(index + 1, "IN") {
            var group = self
            group.skip(to: index + 2)
            guard (try? group.skipGroup()) != nil else { continue }
            if (index + 2..<group.next).contains(where: { isWord($0, "FROM") && $0 + 1 < count && self[$0 + 1] == .word(table) }) {
                return true
            }
        }
        return false
    }
}
