/// The statements of `schemas/` as a cluster needs them.
///
/// A table keeps its name and becomes a `ReplicatedMergeTree` on every server; beside it `NAME_all` reads all shards. So the loader goes on
/// inserting into `NAME`, on the replicas of one shard, where a token is certain, and whoever queries asks `NAME_all`.
public struct ClusterRendering: Sendable {
    public static let wholeSuffix = "_all"
    /// Tokens of inserts are remembered for a week: longer than an outage after which a repeat must still be recognised.
    private static let windowSeconds = 604_800

    private let cluster: String
    private let database: String

    public init(cluster: String, database: String) {
        self.cluster = cluster
        self.database = database
    }

    /// What a statement becomes, in the order in which it is to be sent. Each can be sent twice where the statement can.
    ///
    /// - Throws: for a statement that must be run on one server of each shard.
    public func statements(_ block: StatementBlock) throws(SchemaError) -> [String] {
        var tokens = try SQLTokens(block.sql, file: block.file, line: block.line)
        switch try SchemaStatement(block).kind {
        case .createTable(let table): return [try replicated(&tokens, table), whole(of: table.name)]
        case .createView(let name, _), .dropView(let name): return [onCluster(tokens, after: name)]
        case .alterTable(let name, _): return try altered(&tokens, name)
        case .dropTable(let name): return [dropWhole(of: name), onCluster(tokens, after: name)]
        case .exchangeTables, .renameTable:
            var statements = [tokens.replacing([(tokens.count..<tokens.count, " ON CLUSTER \(quotedIdentifier(cluster))")])]
            if case .renameTable(let old, let new) = try SchemaStatement(block).kind { statements += [dropWhole(of: old), whole(of: new)] }
            return statements
        case .insert:
            throw SchemaError(
                file: block.file, line: block.line,
                reason:
                    "rows are copied on each shard by itself, which --cluster does not do: run the statement on one replica of each shard, "
                    + "as docs/migrations.md says")
        }
    }

    private func replicated(_ tokens: inout SQLTokens, _ table: TableDefinition) throws(SchemaError) -> String {
        var changes = [afterName(tokens, table.name)]
        for index in 0..<tokens.count {
            guard case .word(let word) = tokens[index] else { continue }
            if word.uppercased() == "ENGINE", let change = engine(tokens, behind: index) { changes.append(change) }
            if word == "non_replicated_deduplication_window" {
                changes.append(
                    (index..<index + 1, "replicated_deduplication_window_seconds = \(Self.windowSeconds), replicated_deduplication_window"))
            }
        }
        return tokens.replacing(changes)
    }

    /// `MergeTree` and its kind, with the place in the keeper: `{uuid}` is the table's own, also once it has another name.
    private func engine(_ tokens: SQLTokens, behind index: Int) -> (Range<Int>, String)? {
        let place = index + 1 < tokens.count && tokens[index + 1] == .mark("=") ? index + 2 : index + 1
        guard place < tokens.count, case .word(let name) = tokens[place], name.hasSuffix("MergeTree") else { return nil }
        let arguments = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'"
        if place + 1 < tokens.count, tokens[place + 1] == .mark("(") {
            let isEmpty = place + 2 < tokens.count && tokens[place + 2] == .mark(")")
            return (place..<place + 2, "Replicated\(name)(\(arguments)\(isEmpty ? "" : ", ")")
        }
        return (place..<place + 1, "Replicated\(name)(\(arguments))")
    }

    private func whole(of table: String) -> String {
        "CREATE TABLE IF NOT EXISTS \(quotedIdentifier(table + Self.wholeSuffix)) ON CLUSTER \(quotedIdentifier(cluster)) AS \(quotedIdentifier(table))\n"
            + "ENGINE = Distributed(\(quotedString(cluster)), \(quotedString(database)), \(quotedString(table)), rand())"
    }

    private func dropWhole(of table: String) -> String {
        "DROP TABLE IF EXISTS \(quotedIdentifier(table + Self.wholeSuffix)) ON CLUSTER \(quotedIdentifier(cluster))"
    }

    /// The table that reads all shards has the columns, and nothing else of what can be altered.
    private func altered(_ tokens: inout SQLTokens, _ table: String) throws(SchemaError) -> [String] {
        let windows = (0..<tokens.count).filter { tokens[$0] == .word("non_replicated_deduplication_window") }
        let statement = tokens.replacing(
            [afterName(tokens, table)] + windows.map { ($0..<$0 + 1, "replicated_deduplication_window") })
        let columns = try tokens.takeAlter().changes.filter { Self.concernsColumns($0.change) }
        guard !columns.isEmpty else { return [statement] }
        let actions = columns.map { tokens.source($0.tokens) }.joined(separator: ", ")
        return [statement, "ALTER TABLE \(quotedIdentifier(table + Self.wholeSuffix)) ON CLUSTER \(quotedIdentifier(cluster)) \(actions)"]
    }

    private static func concernsColumns(_ change: TableChange) -> Bool {
        switch change {
        case .addColumn, .dropColumn, .renameColumn, .modifyColumn, .commentColumn: true
        case .modifyCodec, .modifyTTL, .modifySettings, .addElement, .dropElement, .materialize: false
        }
    }

    private func onCluster(_ tokens: SQLTokens, after name: String) -> String { tokens.replacing([afterName(tokens, name)]) }

    private func afterName(_ tokens: SQLTokens, _ name: String) -> (Range<Int>, String) {
        let index = (0..<tokens.count).first { tokens[$0] == .word(name) } ?? 0
        return (index..<index + 1, "\(quotedIdentifier(name)) ON CLUSTER \(quotedIdentifier(cluster))")
    }
}
