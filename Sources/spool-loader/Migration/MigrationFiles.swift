import COpenSSL
import SpoolFormat

/// Which statement of which file: `0010_market_bars_1s.sql`, statement 2.
struct StatementID: Hashable, Comparable, CustomStringConvertible {
    let file: String
    /// From 1.
    let number: Int

    var description: String { "\(file), statement \(number)" }

    static func < (left: StatementID, right: StatementID) -> Bool { (left.file, left.number) < (right.file, right.number) }
}

/// A statement of the files, as the log knows it.
struct MigrationStatement: Equatable {
    let id: StatementID
    let block: StatementBlock
    /// SHA-256 of ``StatementBlock/identity``, in hex.
    let checksum: String

    init(_ block: StatementBlock) {
        self.block = block
        id = StatementID(file: block.fileName, number: block.number)
        checksum = sha256(Array(block.identity.utf8))
    }
}

/// The files of `schemas/` as a list of statements, in the order in which they are applied.
struct MigrationFiles {
    let statements: [MigrationStatement]
    /// What the database is like once all are applied.
    let model: SchemaModel

    /// Reads and checks all files; nothing is sent of a set of files that cannot be applied as a whole.
    ///
    /// - Parameter files: names with directories, so that errors name them, and their texts.
    init(_ files: [(name: String, text: String)]) throws(SchemaError) {
        var statements: [MigrationStatement] = []
        var model = SchemaModel()
        for file in files.sorted(by: { $0.name < $1.name }) {
            for block in try StatementBlock.blocks(of: file.text, file: file.name) {
                if let complaint = try SchemaStatement.complaintAboutRepeating(block) { throw complaint }
                try model.apply(block)
                statements.append(MigrationStatement(block))
            }
        }
        try model.checkComplete()
        // What the writer would not take is not made.
        for table in model.tables where table.derived == nil {
            _ = try table.schema()
            try Self.checkWindow(table, statements)
        }
        self.statements = statements
        self.model = model
    }

    /// What a table that a statement names is called once all are applied.
    func finalName(of table: String, behind statement: StatementID) -> String {
        var name = table
        for later in statements where statement < later.id {
            switch (try? SchemaStatement(later.block))?.kind {
            case .exchangeTables(let one, let other) where one == name || other == name: name = one == name ? other : one
            case .renameTable(name, let newName): name = newName
            default: break
            }
        }
        return name
    }

    /// The loader can do without tokens of inserts, by counting; but nobody gives up that net by a slip of the pen.
    private static func checkWindow(_ table: TableDefinition, _ statements: [MigrationStatement]) throws(SchemaError) {
        let name = "non_replicated_deduplication_window"
        guard let window = table.settings[name], Int(window) ?? 0 < 1 else { return }
        let block = statements.last { $0.block.sql.contains(name) }?.block
        throw SchemaError(
            file: block?.file ?? table.name, line: block?.line ?? 0,
            reason:
                "table \(table.name): \(name) = \(window), so ClickHouse would forget the tokens by which it knows a repeated insert; set it to 10000 (parts), or "
                + "higher")
    }
}

/// In hex.
func sha256(_ bytes: [UInt8]) -> String {
    var hash = [UInt8](repeating: 0, count: 32)
    var size: UInt32 = 0
    guard EVP_Digest(bytes, bytes.count, &hash, &size, EVP_sha256(), nil) == 1 else { preconditionFailure("libcrypto has no SHA-256") }
    return hash.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
