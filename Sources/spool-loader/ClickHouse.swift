import Logging
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

    private static let pingTimeout: Int64 = 2_000_000_000

    let http: HTTPClient
    let database: String
    let wire: Dialect.Wire
    private let servers: [ServerAddress]
    private let credentials: Credentials
    private let timeout: Int64
    private let log: Logger
    private var endpoints: Endpoints
    /// While an answer is handed out: who gave it.
    private var answering: Int?
    private var hasWarnedOfSharing = false

    /// - Throws: if a file that the configuration names cannot be used, or the credentials cannot be sent.
    init(configuration: Configuration, http: HTTPClient, log: Logger = Logger(label: "") { _ in SwiftLogNoOpLogHandler() }) throws {
        self.http = http
        self.log = log
        database = configuration.required("loader.database")
        wire = Dialect.Wire(rawValue: configuration.required("loader.wire")) ?? .auto
        timeout = configuration.duration("loader.timeout")
        servers = configuration.servers
        credentials = try Credentials(configuration)
        endpoints = Endpoints(
            names: servers.map(\.description), settle: configuration.duration("loader.settle"), now: Clock.monotonic())
        http.transport = try Transport(configuration)
        for warning in try configuration.checkConnection() { log.warning("\(warning)") }
    }

    /// The server in use; while an answer is handed out, the one that gave it.
    var url: String { endpoints.name(of: answering ?? endpoints.current) }

    /// The server in use, since when (monotonic clock), and why.
    var inUse: (url: String, since: Int64, why: String) { (endpoints.name, endpoints.since, endpoints.why) }

    /// Asks servers that are preferred over the one in use whether they answer again. To be called now and then; free of cost while the
    /// first server is in use.
    func tend(now: Int64) {
        for index in endpoints.pingsDue(at: now) { ping(index) }
        say(endpoints.settled(at: now))
    }

    /// When ``tend(now:)`` has something to do; nil if it has not.
    var nextTending: Int64? { endpoints.nextLook }

    /// Several servers must share their rows, or the rows would be spread and the loader would ask the wrong one.
    ///
    /// - Returns: what to warn of, the first time that there is something; nil else.
    func sharingWarning(engine: String) -> String? {
        let isShared = engine.hasPrefix("Replicated") || engine.hasPrefix("Shared") || engine == "Distributed"
        guard servers.count > 1, !isShared, !hasWarnedOfSharing else { return nil }
        hasWarnedOfSharing = true
        return
            "loader.url names \(servers.count) servers, and the table's engine is \(engine), which no other server shares; unless they are ways "
            + "to one and the same server, rows will be spread over them, and doubled: name one server only"
    }

    private func ping(_ index: Int) {
        let server = servers[index]
        let request = HTTPRequest(
            url: server.base + "/ping", headers: [], body: nil, timeout: min(timeout, Self.pingTimeout), maxAnswerBytes: 1_024,
            socketPath: server.socketPath)
        http.start(request) { [weak self] result in
            guard let self else { return }
            var isGood = false
            if case .answered(200, _, let body) = result { isGood = body.starts(with: Array("Ok.".utf8)) }
            endpoints.pinged(index, isGood: isGood, at: Clock.monotonic())
        }
    }

    /// Hands out an answer, and takes note of what it says about its server.
    private func finish(_ result: HTTPResult, of index: Int, _ answer: ServerAnswer, _ done: (ServerAnswer) -> Void) {
        let answer = answer.withoutSecrets(credentials.secrets)
        if answer.isRefusedUser { takeNewPassword() }
        answering = index
        done(answer)
        answering = nil
        let now = Clock.monotonic()
        if let why = ServerFault.text(of: result, answer) {
            say(endpoints.failed(index, why: why, at: now))
        } else if case .answered = result {
            say(endpoints.succeeded(index, at: now))
        }
    }

    /// A password that was changed on disk is taken as soon as the old one is refused.
    private func takeNewPassword() {
        do throws(ConfigFailure) {
            if try credentials.reread() {
                log.notice("ClickHouse refused the password; the file has another one now, which is used from here on")
            }
        } catch {
            log.error("ClickHouse refused the password, and no other is there: \(error)")
        }
    }

    private func say(_ notice: Endpoints.Notice?) {
        switch notice {
        case nil: break
        case .answersAgain(let name)?: log.notice("\(Endpoints.Notice.answersAgain(name))")
        case .moved?, .noneAnswers?: log.warning("\(notice.map(String.init(describing:)) ?? "")")
        }
    }

    /// A query whose answer is text or bytes.
    ///
    /// - Parameters:
    ///   - parameters: settings, and `query_id` if it is to be known; by default it is random.
    ///   - timeout: nanoseconds for which the server may be silent; by default `loader.timeout`.
    func query(_ sql: String, parameters: [String: String] = [:], timeout: Int64? = nil, done: @escaping (ServerAnswer) -> Void) {
        let index = endpoints.current
        let parameters = parameters.merging(["database": database]) { own, _ in own }
        var request = request(index, parameters, headers: [], body: BytesBody(Array(sql.utf8)), Self.maxQueryAnswer)
        request.timeout = timeout ?? request.timeout
        http.start(request) {
            [self] result in
            finish(result, of: index, ServerAnswer(result), done)
        }
    }

    /// The same, waiting for the answer; for commands. Servers that cannot be reached are passed over, each once.
    func query(_ sql: String) throws(CommandFailure) -> [UInt8] {
        var tried = 0
        while true {
            let url = url
            var answer: ServerAnswer?
            query(sql) { answer = $0 }
            while answer == nil { http.wait(milliseconds: 1_000) }
            tried += 1
            switch answer {
            case .ok(let body)?: return body
            case .unreachable? where tried < servers.count: continue
            default: throw CommandFailure("ClickHouse at \(url): \(answer?.problem ?? "")", code: 74)
            }
        }
    }

    /// Asks whether the server still works on a query: `1` or more in one line, or `0`. An insert that the server has not read up to its first
    /// megabyte does not show; see ``Settling``.
    func askWhetherRunning(_ queryID: String, done: @escaping (ServerAnswer) -> Void) {
        query(Self.questionWhetherRunning(queryID), done: done)
    }

    static func questionWhetherRunning(_ queryID: String) -> String {
        "SELECT count() FROM system.processes WHERE query_id = \(quotedString(queryID)) FORMAT TSV"
    }

    /// The same for all queries whose ids begin so.
    static func questionWhetherRunning(prefix: String) -> String {
        "SELECT count() FROM system.processes WHERE startsWith(query_id, \(quotedString(prefix))) FORMAT TSV"
    }

    /// Inserts Native blocks: LZ4-framed as they lie in a segment, or as ``PlainBody`` makes them.
    ///
    /// - Parameters:
    ///   - token: what ClickHouse deduplicates by. Where it knows no tokens it is the query's id, so that a repeat is refused with error 216 while
    ///     the first send still runs.
    ///   - dialect: how the server is spoken to.
    ///   - isPlain: whether the body is one of ``PlainBody``; nil if the dialect says so.
    func insert(
        _ body: any RequestBody, table: String, columns: [WireColumn], token: String, dialect: Dialect = Dialect(), isPlain: Bool? = nil,
        done: @escaping (ServerAnswer) -> Void
    ) {
        let names = columns.map { quotedIdentifier($0.name) }.joined(separator: ", ")
        var parameters = [
            "database": database,
            // The column list is explicit: ClickHouse fills what is not named, and a misspelt name, silently.
            "query": "INSERT INTO \(quotedIdentifier(table)) (\(names)) FORMAT Native",
            "insert_deduplicate": "1",
            "input_format_skip_unknown_fields": "0",
            "min_insert_block_size_rows": "\(Self.squashRows)",
            "min_insert_block_size_bytes": "\(Self.squashBytes)",
            "max_insert_block_size": "\(Self.squashRows)",
        ]
        if dialect.knowsTokens {
            parameters["insert_deduplication_token"] = token
            parameters["async_insert"] = "0"
            parameters["input_format_null_as_default"] = "0"
        } else {
            parameters["query_id"] = token
        }
        let index = endpoints.current
        var request = request(
            index, parameters,
            headers: ["Content-Encoding: \(isPlain ?? dialect.isPlain ? "gzip" : "lz4")", "Content-Type: application/octet-stream"],
            body: body,
            Self.maxInsertAnswer)
        request.endsForGood = !dialect.knowsTokens
        http.start(request) { [self] result in
            finish(result, of: index, ServerAnswer(result).toInsert, done)
        }
    }

    private func request(_ index: Int, _ parameters: [String: String], headers: [String], body: any RequestBody, _ maxAnswer: Int)
        -> HTTPRequest
    {
        let id = String(UInt64.random(in: .min ... .max), radix: 16) + String(UInt64.random(in: .min ... .max), radix: 16)
        let parameters = parameters.merging(["query_id": "coldpath-\(id)"]) { own, _ in own }
        let query = parameters.sorted { $0.key < $1.key }.map { "\($0.key)=\(percentEncoded($0.value))" }.joined(separator: "&")
        // Headers, not the URL: URLs end up in logs.
        return HTTPRequest(
            url: "\(servers[index].base)/?\(query)", headers: headers + credentials.headers, body: body, timeout: timeout,
            maxAnswerBytes: maxAnswer,
            socketPath: servers[index].socketPath, queryID: parameters["query_id"])
    }
}

/// As it stands in a URL.
func percentEncoded(_ text: String) -> String {
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
    /// ClickHouse has answered that it does not do this, so nothing of it has happened.
    let isRefusal: Bool

    init(_ description: String, code: Int32, isRefusal: Bool = false) {
        self.description = description
        self.code = code
        self.isRefusal = isRefusal
    }
}
