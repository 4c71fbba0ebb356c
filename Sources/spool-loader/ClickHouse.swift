import SpoolConfig
import SpoolFormat
import SpoolIO

/// ClickHouse's HTTP interface, as far as the loader uses it.
final class ClickHouse {
    /// One insert must become one block and so one part: these are ClickHouse's own limits for squashing, sent so that no
    /// profile of the server lowers them.
    static let squashRows = 1_048_449
    static let squashBytes = 268_402_944
    private static let maxQueryAnswer = 256 << 20
    private static let maxInsertAnswer = 64 << 10

    let http: HTTPClient
    let database: String
    private let urls: [String]
    private let user: String
    private let password: String?
    private let timeout: Int64
    private var current = 0

    init(configuration: Configuration, http: HTTPClient) throws {
        self.http = http
        database = configuration.required("loader.database")
        user = configuration.required("loader.user")
        timeout = configuration.duration("loader.timeout")
        urls = configuration.list("loader.url").map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
        for url in urls where !url.hasPrefix("http://") && !url.hasPrefix("https://") || url.contains("?") {
            throw ConfigFailure(description: "loader.url is \"\(url)\"; expected http://HOST:PORT or https://HOST:PORT")
        }
        guard !urls.isEmpty else { throw ConfigFailure(description: "loader.url names no server") }
        if let path = configuration.text("loader.password_file") {
            guard let text = try TextFile.read(path) else {
                throw ConfigFailure(description: "loader.password_file: there is no file \(path)")
            }
            password = String(text.prefix { !$0.isNewline })
        } else {
            password = nil
        }
    }

    var url: String { urls[current] }

    /// Takes the next server, after this one could not be reached.
    func useNextServer() { current = (current + 1) % urls.count }

    /// A query whose answer is text or bytes.
    func query(_ sql: String, done: @escaping (ServerAnswer) -> Void) {
        http.start(request(["database": database], headers: [], body: BytesBody(Array(sql.utf8)), Self.maxQueryAnswer)) {
            done(ServerAnswer($0))
        }
    }

    /// The same, waiting for the answer; for commands.
    func query(_ sql: String) throws(CommandFailure) -> [UInt8] {
        let request = request(["database": database], headers: [], body: BytesBody(Array(sql.utf8)), Self.maxQueryAnswer)
        let answer = ServerAnswer(http.perform(request))
        guard case .ok(let body) = answer else { throw CommandFailure("ClickHouse at \(url): \(answer.problem)", code: 74) }
        return body
    }

    /// Inserts LZ4-framed Native blocks as they lie in a segment.
    ///
    /// - Parameter token: what ClickHouse deduplicates by.
    func insert(
        _ body: any RequestBody, table: String, columns: [WireColumn], token: String, done: @escaping (ServerAnswer) -> Void
    ) {
        let names = columns.map { quotedIdentifier($0.name) }.joined(separator: ", ")
        let parameters = [
            "database": database,
            // The column list is explicit: ClickHouse fills what is not named, and a misspelt name, silently.
            "query": "INSERT INTO \(quotedIdentifier(table)) (\(names)) FORMAT Native",
            "insert_deduplication_token": token,
            "insert_deduplicate": "1",
            "async_insert": "0",
            "input_format_skip_unknown_fields": "0",
            "input_format_null_as_default": "0",
            "min_insert_block_size_rows": "\(Self.squashRows)",
            "min_insert_block_size_bytes": "\(Self.squashBytes)",
            "max_insert_block_size": "\(Self.squashRows)",
        ]
        let request = request(
            parameters, headers: ["Content-Encoding: lz4", "Content-Type: application/octet-stream"], body: body, Self.maxInsertAnswer)
        http.start(request) { result in
            let answer = ServerAnswer(result)
            // An insert has nothing to say: any text is an error that came after the status line.
            if case .ok(let text) = answer, !text.isEmpty {
                return done(.doubt("an answer where there should be none: \(String(decoding: text.prefix(200), as: UTF8.self))"))
            }
            done(answer)
        }
    }

    private func request(_ parameters: [String: String], headers: [String], body: any RequestBody, _ maxAnswer: Int) -> HTTPRequest {
        let query = parameters.sorted { $0.key < $1.key }.map { "\($0.key)=\(percentEncoded($0.value))" }.joined(separator: "&")
        // Headers, not the URL: URLs end up in logs.
        var all = headers + ["X-ClickHouse-User: \(user)"]
        if let password { all.append("X-ClickHouse-Key: \(password)") }
        return HTTPRequest(url: "\(url)/?\(query)", headers: all, body: body, timeout: timeout, maxAnswerBytes: maxAnswer)
    }
}

/// An SQL identifier in backquotes.
func quotedIdentifier(_ name: String) -> String { "`" + escaped(name, "`") + "`" }

/// An SQL string.
func quotedString(_ text: String) -> String { "'" + escaped(text, "'") + "'" }

private func escaped(_ text: String, _ quote: Unicode.Scalar) -> String {
    var result = String.UnicodeScalarView()
    // By scalars: a quote with an accent on it is another character to Swift, and a quote to ClickHouse.
    for scalar in text.unicodeScalars {
        if scalar == quote || scalar == "\\" { result.append("\\") }
        result.append(scalar)
    }
    return String(result)
}

private func percentEncoded(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), 0x30...0x39, UInt8(ascii: "-"),
            UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
            result.unicodeScalars.append(Unicode.Scalar(byte))
        default:
            let digits = String(byte, radix: 16, uppercase: true)
            result += "%" + (digits.count == 1 ? "0" : "") + digits
        }
    }
    return result
}

/// A command that cannot go on: what, where, what to do next; and the exit status.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String
    let code: Int32

    init(_ description: String, code: Int32) {
        self.description = description
        self.code = code
    }
}
