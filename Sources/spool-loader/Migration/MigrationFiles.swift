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
        for table in model.tables where table.derived == nil { _ = try table.schema() }
        self.statements = statements
        self.model = model
    }
}

/// In hex.
func sha256(_ bytes: [UInt8]) -> String {
    var hash = [UInt8](repeating: 0, count: 32)
    var size: UInt32 = 0
    guard EVP_Digest(bytes, bytes.count, &hash, &size, EVP_sha256(), nil) == 1 else { preconditionFailure("libcrypto has no SHA-256") }
    return hash.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
