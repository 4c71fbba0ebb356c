/// What is wrong with a file of `schemas/`, and where.
public struct SchemaError: Error, Equatable, Sendable, CustomStringConvertible {
    public let file: String
    /// Line in that file, from 1; 0 if the file as a whole is meant.
    public let line: Int
    public let reason: String

    public init(file: String, line: Int, reason: String) {
        self.file = file
        self.line = line
        self.reason = reason
    }

    public var description: String { line > 0 ? "\(file):\(line): \(reason)" : "\(file): \(reason)" }
}

/// The words of a DDL file, in order: identifiers, numbers, 'strings' and single punctuation marks; comments are passed over.
struct SQLTokens {
    enum Token: Equatable {
        case word(String)
        case number(String)
        case string(String)
        case mark(Character)
    }

    let file: String
    private let text: [Unicode.Scalar]
    private var tokens: [(token: Token, line: Int, place: Range<Int>)] = []
    private(set) var next = 0

    /// - Parameter line: the number of the text's first line in its file.
    init(_ text: String, file: String, line: Int = 1) throws(SchemaError) {
        self.file = file
        self.text = Array(text.unicodeScalars)
        try scan(self.text, line)
    }

    var isAtEnd: Bool { next == tokens.count }
    var peek: Token? { next < tokens.count ? tokens[next].token : nil }

    /// Goes on from a token.
    mutating func skip(to index: Int) { next = index }

    /// Number of tokens.
    var count: Int { tokens.count }

    subscript(index: Int) -> Token { tokens[index].token }

    /// The text as it stands there, from one token's beginning to the one before the other's end.
    func source(_ range: Range<Int>) -> String {
        guard !range.isEmpty else { return "" }
        return string(text[tokens[range.lowerBound].place.lowerBound..<tokens[range.upperBound - 1].place.upperBound])
    }

    /// The text with some tokens replaced; all else, comments too, stays as it is.
    func replacing(_ replacements: [(tokens: Range<Int>, text: String)]) -> String {
        var result = ""
        var done = 0
        for (range, replacement) in replacements.sorted(by: { $0.tokens.lowerBound < $1.tokens.lowerBound }) {
            let start = range.lowerBound < tokens.count ? tokens[range.lowerBound].place.lowerBound : text.count
            result += string(text[done..<start]) + replacement
            done = range.isEmpty ? start : tokens[range.upperBound - 1].place.upperBound
        }
        return result + string(text[done...])
    }

    func error(_ reason: String) -> SchemaError {
        let line = tokens.isEmpty ? 0 : tokens[min(max(next - 1, 0), tokens.count - 1)].line
        return SchemaError(file: file, line: line, reason: reason)
    }

    mutating func takeAny() throws(SchemaError) -> Token {
        guard next < tokens.count else { throw error("the statement ends too early") }
        defer { next += 1 }
        return tokens[next].token
    }

    /// Takes the mark if it is next.
    mutating func taken(_ mark: Character) -> Bool {
        guard peek == .mark(mark) else { return false }
        next += 1
        return true
    }

    /// Takes the keyword, in any case, if it is next.
    mutating func taken(keyword: String) -> Bool {
        guard case .word(let word)? = peek, word.uppercased() == keyword else { return false }
        next += 1
        return true
    }

    func isNext(keyword: String) -> Bool {
        guard case .word(let word)? = peek else { return false }
        return word.uppercased() == keyword
    }

    mutating func take(_ mark: Character) throws(SchemaError) {
        guard taken(mark) else { throw unexpected("\"\(mark)\"") }
    }

    mutating func take(keyword: String) throws(SchemaError) {
        guard taken(keyword: keyword) else { throw unexpected(keyword) }
    }

    mutating func takeWord(_ what: String) throws(SchemaError) -> String {
        guard case .word(let word)? = peek else { throw unexpected(what) }
        next += 1
        return word
    }

    mutating func takeString() throws(SchemaError) -> String {
        guard case .string(let text)? = peek else { throw unexpected("a 'string'") }
        next += 1
        return text
    }

    mutating func takeInteger() throws(SchemaError) -> Int {
        let sign = taken("-") ? "-" : ""
        guard case .number(let digits)? = peek, let value = Int(sign + digits) else { throw unexpected("a whole number") }
        next += 1
        return value
    }

    /// Passes over a balanced (...) group, if one is next.
    mutating func skipGroup() throws(SchemaError) {
        guard taken("(") else { return }
        var depth = 1
        while depth > 0 {
            switch try takeAny() {
            case .mark("("): depth += 1
            case .mark(")"): depth -= 1
            default: break
            }
        }
    }

    private func unexpected(_ wanted: String) -> SchemaError {
        let line = isAtEnd ? (tokens.last?.line ?? 0) : tokens[next].line
        let found =
            switch peek {
            case .word(let text), .number(let text): text
            case .string(let text): "'\(text)'"
            case .mark(let mark): "\"\(mark)\""
            case nil: "the end"
            }
        return SchemaError(file: file, line: line, reason: "expected \(wanted), found \(found)")
    }

    private mutating func scan(_ text: [Unicode.Scalar], _ firstLine: Int) throws(SchemaError) {
        var line = firstLine
        var index = 0
        func at(_ position: Int) -> Unicode.Scalar? { position < text.count ? text[position] : nil }
        while let scalar = at(index) {
            let start = index
            switch scalar {
            case "\n":
                line += 1
                index += 1
            case " ", "\t", "\r": index += 1
            case "-" where at(index + 1) == "-":
                while let other = at(index), other != "\n" {
                    _ = other
                    index += 1
                }
            case "/" where at(index + 1) == "*":
                index += 2
                while !(at(index) == "*" && at(index + 1) == "/") {
                    guard let other = at(index) else {
                        throw SchemaError(file: file, line: line, reason: "a comment is never closed")
                    }
                    if other == "\n" { line += 1 }
                    index += 1
                }
                index += 2
            case "'", "`":
                let opened = line
                var value = ""
                index += 1
                while let other = at(index), other != scalar {
                    if other == "\\", let escaped = at(index + 1) {
                        value.unicodeScalars.append(escaped)
                        index += 2
                        continue
                    }
                    if other == "\n" { line += 1 }
                    value.unicodeScalars.append(other)
                    index += 1
                }
                guard at(index) != nil else {
                    throw SchemaError(file: file, line: opened, reason: "a quoted text is never closed")
                }
                index += 1
                tokens.append((scalar == "'" ? .string(value) : .word(value), opened, start..<index))
            case _ where scalar.properties.isAlphabetic || scalar == "_":
                while let other = at(index), other.properties.isAlphabetic || other == "_" || ("0"..."9").contains(other) {
                    index += 1
                }
                tokens.append((.word(string(text[start..<index])), line, start..<index))
            case "0"..."9":
                while let other = at(index), ("0"..."9").contains(other) || other == "." { index += 1 }
                tokens.append((.number(string(text[start..<index])), line, start..<index))
            default:
                index += 1
                tokens.append((.mark(Character(scalar)), line, start..<index))
            }
        }
    }

    private func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var text = ""
        text.unicodeScalars.append(contentsOf: scalars)
        return text
    }
}
