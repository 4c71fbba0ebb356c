import SpoolFormat

/// The tables as ClickHouse's own history of migrations makes them: what columns of old rows were called before, and which of them were dropped.
///
/// The history has each statement with its text, so nobody needs the files that it came from.
struct AppliedSchemas: Equatable {
    /// A statement that was done.
    struct Statement: Equatable {
        /// Without its directory.
        let file: String
        /// From 1, within the file.
        let number: Int
        let block: StatementBlock
    }

    /// Where ClickHouse keeps it.
    static let table = "coldpath_migrations"

    let model: SchemaModel
    /// In the order of files, and within them of statements.
    let done: [Statement]

    /// The query whose answer ``init(answer:)`` reads.
    static func query() -> String {
        // In hex: texts have tabs, line ends and whatever a server's settings would write in another way.
        "SELECT hex(file), statement, hex(text) FROM \(table) WHERE state = 'done' ORDER BY file, statement, entry FORMAT TSV"
    }

    /// - Throws: `SchemaError` for an answer that is none, or a history that cannot be understood.
    init(answer: [UInt8]) throws(SchemaError) {
        var model = SchemaModel()
        var done: [Statement] = []
        for (index, line) in String(decoding: answer, as: UTF8.self).split(separator: "\n").enumerated() {
            let statement = try Self.statement(line, index + 1)
            if let last = done.last, (last.file, last.number) == (statement.file, statement.number) {
                guard last.block.identity == statement.block.identity else {
                    throw SchemaError(
                        file: Self.table, line: 0, reason: "statement \(last.number) of \(last.file) was done twice, with different texts")
                }
                continue
            }
            try model.apply(statement.block)
            done.append(statement)
        }
        self.model = model
        self.done = done
    }

    /// What became of columns that the table had once, by their old names.
    func retired(_ table: String) -> [String: RetiredName] {
        guard let definition = model[table] else { return [:] }
        return definition.retired.keys.reduce(into: [:]) { $0[$1] = definition.current($1)?.name.map(RetiredName.renamed) ?? .dropped }
    }

    private static func statement(_ line: Substring, _ number: Int) throws(SchemaError) -> Statement {
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
        guard fields.count == 3, let file = text(hex: fields[0]), let statement = Int(fields[1]), statement > 0,
            let sql = text(hex: fields[2])
        else {
            throw SchemaError(file: table, line: 0, reason: "line \(number) of the answer is not a file, a number and a text")
        }
        let blocks = try StatementBlock.blocks(of: sql, file: file)
        guard blocks.count == 1 else {
            throw SchemaError(file: table, line: 0, reason: "statement \(statement) of \(file) is \(blocks.count) statements")
        }
        return Statement(file: file, number: statement, block: blocks[0])
    }

    private static func text(hex: Substring) -> String? {
        let digits = Array(hex.utf8)
        guard digits.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16) else { return nil }
            bytes.append(byte)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
