/// One statement of a file of `schemas/`, with what its author says about it.
///
/// A file is one statement, or several of which each has a line `-- statement: TITLE` above it: nobody guesses where one ends. Other lines above
/// a statement that begin so are said to the migrator (`docs/migrations.md`):
///
/// ```sql
/// -- statement: the new layout takes over
/// -- needs: SELECT count() = 0 FROM ...        must answer 1 before the statement is sent
/// -- done if: SELECT ...                       answers 1 once the statement has happened; for those that must not be sent twice
/// -- for each: SELECT ...                      the statement is sent once for each line of the answer, in the place of {each}
/// -- derived: REASON                           nothing is recorded into the table; it is made from others
/// EXCHANGE TABLES a AND b
/// ```
///
/// A query may go on in lines that begin with `--` and four spaces.
public struct StatementBlock: Equatable, Sendable {
    /// The file's path or name, as it was given.
    public let file: String
    /// From 1, within the file.
    public let number: Int
    public let title: String
    /// Of the statement's first line in the file, from 1.
    public let line: Int
    /// The whole block as it stands in the file: reading it again gives the same statement.
    public let text: String
    /// The statement with its comments, without what the author says about it and without a semicolon at its end.
    public private(set) var sql: String
    /// Of the first line of ``sql``, which may be a comment.
    let sqlLine: Int
    public let derived: String?
    public let doneIf: String?
    public let forEach: String?
    public let needs: [String]

    /// What stands in the place of a value of `for each`.
    public static let eachPlace = "{each}"

    /// The words of the statement and of what is said about it: what makes it another statement if it is changed. Comments, spaces and the title
    /// are not among them.
    public let identity: String

    /// Without the directories.
    public var fileName: String { file.split(separator: "/").last.map(String.init) ?? file }

    /// Reads all blocks of a file.
    ///
    /// - Parameter name: goes into errors.
    public static func blocks(of text: String, file name: String) throws(SchemaError) -> [StatementBlock] {
        // Windows' end of a line is one character to Swift, and no "\n".
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }.map(String.init)
        let starts = lines.indices.filter { directive(lines[$0])?.kind == .statement }
        guard let first = starts.first else { return [try StatementBlock(lines[...], title: plainTitle(name), number: 1, file: name)] }
        if let early = lines[..<first].firstIndex(where: { !isBlank($0) && !$0.hasPrefix("--") }) {
            throw SchemaError(file: name, line: early + 1, reason: "text before the first line `-- statement:`")
        }
        var blocks: [StatementBlock] = []
        for (number, start) in starts.enumerated() {
            let end = number + 1 < starts.count ? starts[number + 1] : lines.count
            guard let title = directive(lines[start])?.text, !title.isEmpty else {
                throw SchemaError(file: name, line: start + 1, reason: "a statement needs a title: `-- statement: WHAT IT DOES`")
            }
            blocks.append(try StatementBlock(lines[start..<end], title: title, number: number + 1, file: name))
        }
        return blocks
    }

    private init(_ lines: ArraySlice<String>, title: String, number: Int, file: String) throws(SchemaError) {
        self.file = file
        text = Self.withoutBlankEnd(lines).joined(separator: "\n")
        self.title = title
        self.number = number
        var said: [(kind: Kind, text: String)] = []
        var body: [String] = []
        var firstLine: Int?
        for index in lines.indices {
            let line = lines[index]
            if firstLine == nil, let found = Self.directive(line) {
                if found.kind != .statement { said.append(found) }
            } else if firstLine == nil, let last = said.indices.last, line.hasPrefix("--    "), body.isEmpty {
                said[last].text += " " + Self.trimmed(String(line.dropFirst(2)))
            } else {
                if firstLine == nil, !Self.isBlank(line), !line.hasPrefix("--") { firstLine = index + 1 }
                if firstLine != nil || !body.isEmpty || !Self.isBlank(line) { body.append(line) }
            }
        }
        body = Array(Self.withoutBlankEnd(body[...]))
        self.line = firstLine ?? lines.startIndex + 1
        let start = (firstLine ?? lines.startIndex + 1) - (body.firstIndex { !$0.hasPrefix("--") && !Self.isBlank($0) } ?? 0)
        var tokens = try SQLTokens(body.joined(separator: "\n"), file: file, line: start)
        let isEnded = tokens.count > 0 && tokens[tokens.count - 1] == .mark(";")
        let count = tokens.count - (isEnded ? 1 : 0)
        for index in 0..<count where tokens[index] == .mark(";") {
            tokens.skip(to: index + 2)
            throw tokens.error("more than one statement; give each a line `-- statement: WHAT IT DOES` above it")
        }
        sqlLine = start
        sql = isEnded ? tokens.replacing([(count..<count + 1, "")]) : body.joined(separator: "\n")
        derived = try Self.single(.derived, of: said, tokens)
        doneIf = try Self.single(.doneIf, of: said, tokens)
        forEach = try Self.single(.forEach, of: said, tokens)
        needs = said.filter { $0.kind == .needs }.map(\.text)
        let words = SQLPhrase(tokens, 0..<count).text
        identity = ([words] + said.filter { $0.kind != .derived }.map { "\($0.kind.rawValue) \($0.text)" }).joined(separator: "\n")
        if (forEach != nil) != sql.contains(Self.eachPlace) {
            throw tokens.error("`-- for each:` and \(Self.eachPlace) belong together")
        }
    }

    /// The same statement with another TTL wherever it gives a table one.
    public func withTTL(_ ttl: SQLPhrase) throws(SchemaError) -> StatementBlock {
        var tokens = try SQLTokens(sql, file: file, line: sqlLine)
        var places: [(tokens: Range<Int>, text: String)] = []
        switch try SchemaStatement(self).kind {
        case .createTable(let table) where table.ttl != .nothing:
            if let place = TableDefinition.ttlClause(of: &tokens) { places.append((place, "TTL \(ttl)")) }
        case .alterTable:
            for (change, place) in try tokens.takeAlter().changes {
                if case .modifyTTL = change { places.append((place, "MODIFY TTL \(ttl)")) }
            }
        default: break
        }
        var copy = self
        if !places.isEmpty { copy.sql = tokens.replacing(places) }
        return copy
    }

    private enum Kind: String, CaseIterable {
        case statement = "-- statement:"
        case derived = "-- derived:"
        case doneIf = "-- done if:"
        case forEach = "-- for each:"
        case needs = "-- needs:"
    }

    private static func directive(_ line: String) -> (kind: Kind, text: String)? {
        guard let kind = Kind.allCases.first(where: { line.hasPrefix($0.rawValue) }) else { return nil }
        return (kind, trimmed(String(line.dropFirst(kind.rawValue.count))))
    }

    private static func single(_ kind: Kind, of said: [(kind: Kind, text: String)], _ tokens: SQLTokens) throws(SchemaError) -> String? {
        let found = said.filter { $0.kind == kind }
        guard found.count < 2 else { throw tokens.error("`\(kind.rawValue)` stands twice above one statement") }
        if let text = found.first?.text, text.isEmpty { throw tokens.error("`\(kind.rawValue)` says nothing") }
        return found.first?.text
    }

    /// `0010_market_bars_1s.sql` is about market_bars_1s.
    private static func plainTitle(_ name: String) -> String {
        let file = name.split(separator: "/").last.map(String.init) ?? name
        return file.hasSuffix(".sql") ? String(file.dropFirst(5).dropLast(4)) : file
    }

    private static func withoutBlankEnd(_ lines: ArraySlice<String>) -> ArraySlice<String> {
        var lines = lines
        while let last = lines.last, isBlank(last) { lines.removeLast() }
        return lines
    }

    private static func isBlank(_ line: String) -> Bool { line.allSatisfy { $0 == " " || $0 == "\t" || $0 == "\r" } }

    private static func trimmed(_ text: String) -> String {
        var text = Substring(text)
        while let first = text.first, first == " " || first == "\t" { text = text.dropFirst() }
        while let last = text.last, last == " " || last == "\t" || last == "\r" { text = text.dropLast() }
        return String(text)
    }
}
