/// A piece of SQL in one way of writing it, so that what a file says can be compared with what ClickHouse makes of it.
public struct SQLPhrase: Equatable, Sendable, CustomStringConvertible {
    /// The words with single spaces; `INTERVAL n DAY` as `toIntervalDay(n)`, names without quotes, no brackets around the whole or
    /// around an argument alone.
    public let text: String

    public var description: String { text }

    public static let nothing = SQLPhrase(text: "")

    private init(text: String) { self.text = text }

    /// - Parameter database: whose name goes from before the names of its tables: ClickHouse writes it there.
    public init(parsing text: String, database: String) throws(SchemaError) {
        let tokens = try SQLTokens(text, file: "")
        var places: [(tokens: Range<Int>, text: String)] = []
        for index in 0..<tokens.count where tokens[index] == .word(database) && index + 1 < tokens.count && tokens[index + 1] == .mark(".")
        {
            places.append((index..<index + 2, ""))
        }
        let bare = try SQLTokens(tokens.replacing(places), file: "")
        self.init(bare, 0..<bare.count)
    }

    /// Parts with commas between.
    init(parts: [SQLPhrase]) { text = parts.map(\.text).joined(separator: ", ") }

    static func += (left: inout SQLPhrase, right: SQLPhrase) {
        if right != .nothing { left = SQLPhrase(text: left == .nothing ? right.text : "\(left) \(right)") }
    }

    /// `toDateTime(column) + toIntervalDay(30)`.
    public init(ttlOf column: String, function: String, count: Int) { text = "toDateTime(\(column)) + \(function)(\(count))" }

    init(_ tokens: SQLTokens, _ range: Range<Int>) {
        var range = range
        while Self.isBracketed(tokens, range) { range = range.lowerBound + 1..<range.upperBound - 1 }
        let superfluous = Self.superfluousBrackets(tokens, range)
        var text = ""
        var last: SQLTokens.Token?
        var index = range.lowerBound
        while index < range.upperBound {
            guard !superfluous.contains(index) else {
                index += 1
                continue
            }
            let token = tokens[index]
            if let interval = Self.interval(tokens, index, range.upperBound) {
                text += (text.isEmpty || text.hasSuffix("(") ? "" : " ") + interval
                last = .mark(")")
                index += 3
                continue
            }
            if let last, Self.isSpaced(last, token) { text += " " }
            text += Self.text(of: token)
            last = token
            index += 1
        }
        self.text = text
    }

    /// Whether the column is among the words.
    func names(_ column: String) -> Bool {
        guard let tokens = try? SQLTokens(text, file: "") else { return false }
        return (0..<tokens.count).contains { tokens[$0] == .word(column) }
    }

    /// The parts between commas outside of all brackets.
    var parts: [SQLPhrase] {
        guard let tokens = try? SQLTokens(text, file: "") else { return [self] }
        var parts: [SQLPhrase] = []
        var depth = 0
        var start = 0
        for index in 0..<tokens.count {
            switch tokens[index] {
            case .mark("("): depth += 1
            case .mark(")"): depth -= 1
            case .mark(",") where depth == 0:
                parts.append(SQLPhrase(tokens, start..<index))
                start = index + 1
            default: break
            }
        }
        return parts + [SQLPhrase(tokens, start..<tokens.count)]
    }

    private static func isBracketed(_ tokens: SQLTokens, _ range: Range<Int>) -> Bool {
        guard range.count > 2, tokens[range.lowerBound] == .mark("("), tokens[range.upperBound - 1] == .mark(")") else { return false }
        var depth = 0
        for index in range.dropLast() {
            if tokens[index] == .mark("(") { depth += 1 }
            if tokens[index] == .mark(")") { depth -= 1 }
            if depth == 0 { return false }
        }
        return true
    }

    /// Brackets around one whole argument, as ClickHouse writes them around conditions: `if((a IN (1)), b, c)`.
    private static func superfluousBrackets(_ tokens: SQLTokens, _ range: Range<Int>) -> Set<Int> {
        var found: Set<Int> = []
        var open: [(index: Int, hasComma: Bool)] = []
        for index in range {
            switch tokens[index] {
            case .mark("("): open.append((index, false))
            case .mark(","): if let last = open.indices.last { open[last].hasComma = true }
            case .mark(")"):
                guard let (start, hasComma) = open.popLast() else { break }
                let begins = start > range.lowerBound && [.mark("("), .mark(",")].contains(tokens[start - 1])
                let ends = index + 1 < range.upperBound && [.mark(")"), .mark(",")].contains(tokens[index + 1])
                if begins, ends, !hasComma { found.formUnion([start, index]) }
            default: break
            }
        }
        return found
    }

    /// `INTERVAL n UNIT` is three words.
    private static func interval(_ tokens: SQLTokens, _ index: Int, _ end: Int) -> String? {
        guard index + 3 <= end, case .word(let word) = tokens[index], word.uppercased() == "INTERVAL",
            case .number(let count) = tokens[index + 1], case .word(let unit) = tokens[index + 2]
        else { return nil }
        return "toInterval\(unit.prefix(1).uppercased())\(unit.dropFirst().lowercased())(\(count))"
    }

    private static func isSpaced(_ last: SQLTokens.Token, _ next: SQLTokens.Token) -> Bool {
        switch (last, next) {
        case (_, .mark(",")), (_, .mark(")")), (.mark("("), _), (_, .mark(".")), (.mark("."), _): false
        case (.word, .mark("(")): false
        default: true
        }
    }

    private static func text(of token: SQLTokens.Token) -> String {
        switch token {
        case .word(let text), .number(let text): text
        case .mark(let mark): String(mark)
        case .string(let text): quotedString(text)
        }
    }
}
