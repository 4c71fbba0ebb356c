import CCurl
import Glibc
import SpoolIO

/// One HTTP request: a POST, since ClickHouse takes a GET as read-only; a GET only without a body.
struct HTTPRequest {
    var url: String
    /// `Name: value` each.
    var headers: [String]
    var body: (any RequestBody)?
    /// Longest time in which no byte moves, nanoseconds; see ``Movement``.
    var timeout: Int64
    /// Most bytes of an answer that are kept.
    var maxAnswerBytes: Int
    /// Path of the unix socket to connect to, whatever host the URL names.
    var socketPath: String?
    /// The query id that the request carries; an answer that names another one is not this request's.
    var queryID: String?
    /// Whether nothing of the body may reach the server later than the request ends here. The server is asked before the body is sent
    /// (`Expect: 100-continue`), so one that hangs gets none of it; and the connection serves this request only and is reset at its end,
    /// so the kernel sends nothing on after a timeout or the death of this process.
    var endsForGood = false
}

/// What became of a request.
enum HTTPResult {
    /// The exchange ended cleanly: the whole answer is here. Header names are in lower case.
    case answered(status: Int, headers: [String: String], body: [UInt8])
    /// No connection came about, or none that took anything: not one byte of the body was handed out, so no server has the request.
    case unreachable(String, Outcome)
    /// The connection broke, timed out or answered nonsense: the server may have done anything.
    case broken(String, Outcome)
    /// Broken off from this side, for a reason that the server has no part in. It may have done anything.
    case abandoned(String)
}

/// Tells a request that moves slowly from one that stands still. Pure.
///
/// A request is given up when no byte of its body or of its answer has moved for the timeout, which is also what the server has for its answer once it
/// has the whole body. A large batch over a slow line is not cut off: each kilobyte that has moved earns time, at a rate that only a peer
/// that trickles on purpose falls short of.
struct Movement {
    /// Bytes a second below which a request, on the whole, does not count as moving.
    static let leastRate: Int64 = 16_384

    let timeout: Int64
    let began: Int64
    private(set) var moved: Int64 = 0
    private var last: Int64

    init(timeout: Int64, now: Int64) {
        self.timeout = timeout
        began = now
        last = now
    }

    mutating func move(_ bytes: Int, at now: Int64) {
        guard bytes > 0 else { return }
        moved += Int64(bytes)
        last = now
    }

    /// When it is given up unless something moves.
    var deadline: Int64 {
        let earned = (moved / Self.leastRate).multipliedReportingOverflow(by: 1_000_000_000)
        let whole = began.addingReportingOverflow(timeout).partialValue.addingReportingOverflow(earned.partialValue)
        return min(last + timeout, earned.overflow || whole.overflow ? .max : whole.partialValue)
    }

    func problem(at now: Int64) -> String? {
        guard now >= deadline else { return nil }
        let limit = "\(Double(timeout / 100_000_000) / 10) s"
        return now >= last + timeout
            ? "timed out: nothing was sent or received for \(limit) (loader.timeout)"
            : "timed out: fewer than \(Self.leastRate) bytes a second moved, for more than \(limit) (loader.timeout)"
    }
}

/// libcurl's multi interface on one thread: many requests at once, connections kept alive.
final class HTTPClient {
    private let multi: UnsafeMutableRawPointer
    private var transfers: [UnsafeMutableRawPointer: Transfer] = [:]
    /// Servers whose answers name their query, and how many in a row did not.
    private var naming: [String: Int] = [:]
    /// So many answers without a query id in a row say that there is a server or a proxy now that gives none.
    private static let maxUnnamed = 3
    /// How connections are made from now on.
    var transport = Transport()
    private static let connectTimeoutMilliseconds = 5_000
    /// ClickHouse closes idle connections after 3 seconds (before 2022) or 10: older ones are not used again.
    private static let maxIdleSeconds = 2
    /// What libcurl asks of a body at a time, and so what it gives to one send.
    private static let uploadBufferBytes = 256 << 10
    /// Together with a piece of that size this must leave within the timeout even at ``Movement/leastRate``.
    private static let maxUnsentBytes: UInt32 = 256 << 10

    init() {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        guard let multi = curl_multi_init() else { preconditionFailure("curl_multi_init: no memory") }
        self.multi = multi
    }

    deinit {
        for handle in transfers.keys {
            curl_multi_remove_handle(multi, handle)
            curl_easy_cleanup(handle)
        }
        curl_multi_cleanup(multi)
    }

    var isIdle: Bool { transfers.isEmpty }

    /// Starts a request; `done` is called from ``wait(milliseconds:descriptors:)``.
    func start(_ request: HTTPRequest, done: @escaping (HTTPResult) -> Void) {
        guard let handle = curl_easy_init() else { return done(.unreachable("curl_easy_init: no memory", .refused)) }
        let transfer = Transfer(request, mustBeNamed: naming[request.server] != nil, done)
        transfers[handle] = transfer
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        request.url.withCString { _ = cp_curl_set_pointer(handle, CURLOPT_URL, $0) }
        "http,https".withCString { _ = cp_curl_set_pointer(handle, CURLOPT_PROTOCOLS_STR, $0) }
        if let body = request.body {
            _ = cp_curl_set_long(handle, CURLOPT_POST, 1)
            _ = cp_curl_set_size(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
            _ = cp_curl_set_long(handle, CURLOPT_UPLOAD_BUFFERSIZE, Self.uploadBufferBytes)
        }
        // A read function without a seek function: where a kept-alive connection dies under a request, libcurl would otherwise
        // send the body again by itself, and one "success" could be the second of two sends.
        _ = cp_curl_set_pointer(handle, CURLOPT_READDATA, context)
        _ = cp_curl_set_sink(handle, CURLOPT_READFUNCTION) { room, size, count, context in
            guard let room, let context else { return Int(CURL_READFUNC_ABORT) }
            return Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().give(room, size * count)
        }
        // One request a connection at a time. HTTP/2 would let libcurl repeat requests in ways of its own.
        _ = cp_curl_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        transport.apply(to: handle, socketPath: request.socketPath)
        _ = cp_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, transfer.errorText)
        _ = cp_curl_limit_unsent(handle, Self.maxUnsentBytes)
        _ = cp_curl_set_long(handle, CURLOPT_MAXAGE_CONN, Self.maxIdleSeconds)
        if request.endsForGood {
            _ = cp_curl_set_long(handle, CURLOPT_FRESH_CONNECT, 1)
            _ = cp_curl_set_long(handle, CURLOPT_FORBID_REUSE, 1)
            _ = cp_curl_reset_on_close(handle)
            // Never sent without the server's word: the request times out first.
            _ = cp_curl_set_long(handle, CURLOPT_EXPECT_100_TIMEOUT_MS, Int(request.timeout / 1_000_000) + 60_000)
        }
        _ = cp_curl_set_pointer(handle, CURLOPT_HTTPHEADER, transfer.headers)
        // A signal for a timeout would hit whatever thread comes first.
        _ = cp_curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
        _ = cp_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, Self.connectTimeoutMilliseconds)
        _ = cp_curl_set_long(handle, CURLOPT_TCP_KEEPALIVE, 1)
        _ = cp_curl_set_pointer(handle, CURLOPT_WRITEDATA, context)
        _ = cp_curl_set_sink(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            return Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().take(bytes, size * count)
        }
        _ = cp_curl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        _ = cp_curl_set_sink(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            return Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().takeHeader(bytes, size * count)
        }
        curl_multi_add_handle(multi, handle)
    }

    /// Waits until something moves on a transfer or a descriptor, or the time is over, and finishes what is done.
    func wait(milliseconds: Int32, descriptors: [Int32] = []) {
        var running: Int32 = 0
        curl_multi_perform(multi, &running)
        // What became of it may call for the next request at once: then only a look at the descriptors, no sleep.
        let milliseconds = finishDone() ? 0 : min(milliseconds, millisecondsToDeadline())
        var extra = descriptors.map { curl_waitfd(fd: $0, events: Int16(CURL_WAIT_POLLIN), revents: 0) }
        curl_multi_poll(multi, &extra, UInt32(extra.count), milliseconds, nil)
        curl_multi_perform(multi, &running)
        finishDone()
        endOverdue()
    }

    /// Lets what is under way come to its end, for so many nanoseconds at most.
    func finish(within time: Int64) {
        let deadline = Clock.monotonic() + time
        while !isIdle && Clock.monotonic() < deadline { wait(milliseconds: 50) }
    }

    /// Runs one request to its end.
    func perform(_ request: HTTPRequest) -> HTTPResult {
        var result: HTTPResult?
        start(request) { result = $0 }
        while true {
            if let result { return result }
            wait(milliseconds: 1_000)
        }
    }

    private func millisecondsToDeadline() -> Int32 {
        guard let deadline = transfers.values.map(\.movement.deadline).min() else { return .max }
        return Int32(clamping: max(0, deadline - Clock.monotonic()) / 1_000_000 + 1)
    }

    /// Gives up what does not move any more.
    private func endOverdue() {
        let now = Clock.monotonic()
        let overdue = transfers.compactMap { handle, transfer in transfer.movement.problem(at: now).map { (handle, transfer, $0) } }
        for (handle, transfer, problem) in overdue {
            let text = transfer.isWithheld ? transfer.withheld(problem) : problem
            end(handle, transfer.isUntouched ? .unreachable(text, .timeout) : .broken(text, .timeout))
        }
    }

    private func end(_ handle: UnsafeMutableRawPointer, _ result: HTTPResult) {
        curl_multi_remove_handle(multi, handle)
        curl_easy_cleanup(handle)
        transfers.removeValue(forKey: handle)?.done(result)
    }

    /// - Returns: whether a transfer ended.
    @discardableResult
    private func finishDone() -> Bool {
        var left: Int32 = 0
        var hasEnded = false
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else { continue }
            let code = cp_curl_message_result(message)
            end(handle, outcome(of: handle, code))
            hasEnded = true
        }
        return hasEnded
    }

    private func outcome(of handle: UnsafeMutableRawPointer, _ code: CURLcode) -> HTTPResult {
        guard let transfer = transfers[handle] else { preconditionFailure("a transfer that nobody started ended") }
        if code == CURLE_OK {
            var status = 0
            _ = cp_curl_get_long(handle, CURLINFO_RESPONSE_CODE, &status)
            // libcurl calls it success too if an answer comes, and the connection ends, while it still sends.
            guard transfer.isWhollySent || status != 200 else {
                return .broken("a success before the whole request was sent", .misplaced)
            }
            if transfer.name == .ours { naming[transfer.server] = 0 }
            guard transfer.isWhole || status != 200 else { return .broken("an answer whose end cannot be told", .noEnd) }
            return .answered(status: status, headers: transfer.answerHeaders, body: transfer.answer)
        }
        switch transfer.name {
        case .others(let id): return .broken("an answer to another request: \(id)", .misplaced)
        case .missing:
            naming[transfer.server, default: 0] += 1
            if naming[transfer.server, default: 0] >= Self.maxUnnamed { naming[transfer.server] = nil }
            return .broken("an answer that does not say to which request it belongs, as this server's others do", .misplaced)
        case .ours, .unknown: break
        }
        var verified = 0
        _ = cp_curl_get_long(handle, CURLINFO_SSL_VERIFYRESULT, &verified)
        let problem = ConnectionProblem(code: code, detail: transfer.detail, verified: verified)
        let text =
            switch code {
            // It tried to send the body again by itself, which it cannot.
            case CURLE_SEND_FAIL_REWIND: "the connection ended before an answer came"
            case CURLE_OUT_OF_MEMORY where transfer.isWhollySent: "a header that is too long"
            default: problem.description
            }
        let cause = Outcome(code, isUntouched: transfer.isUntouched, isAdvised: problem.isAdvised)
        switch code {
        // The code alone proves nothing: when a kept-alive connection dies under a request that the server has taken, libcurl
        // connects anew, and reports the failure of that; and it calls an answer that is no HTTP an unsupported protocol.
        case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_URL_MALFORMAT,
            CURLE_UNSUPPORTED_PROTOCOL, CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_CERTPROBLEM, CURLE_PROXY, CURLE_OPERATION_TIMEDOUT:
            return transfer.isUntouched ? .unreachable(text, cause) : .broken(text, cause)
        default:
            // A proxy that refuses to connect: the server never heard of it.
            var connectStatus = 0
            _ = cp_curl_get_long(handle, CURLINFO_HTTP_CONNECTCODE, &connectStatus)
            if transfer.isUntouched, connectStatus >= 300 { return .unreachable(text, Outcome(status: connectStatus)) }
            if transfer.isWithheld { return .unreachable(transfer.withheld(text), cause) }
            if let problem = transfer.bodyProblem { return .abandoned(problem) }
            if transfer.isOverlong {
                return .broken("an answer of more than \(transfer.maxAnswerBytes) bytes or \(Transfer.maxHeaders) headers", .overlong)
            }
            return .broken(text, cause)
        }
    }
}

/// What a running request owns: its body must not move while libcurl sends it.
private final class Transfer {
    private let body: (any RequestBody)?
    private let asksFirst: Bool
    private var sent = 0
    private(set) var movement: Movement
    /// Where libcurl writes what exactly failed.
    let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    let headers: UnsafeMutablePointer<curl_slist>?
    let done: (HTTPResult) -> Void
    let maxAnswerBytes: Int
    var detail: String { String(cString: errorText) }
    private(set) var answer: [UInt8] = []
    private(set) var answerHeaders: [String: String] = [:]
    private(set) var isOverlong = false
    private(set) var bodyProblem: String?
    private var headerLines = 0
    private var hasWholeHead = false
    private var status = 0
    private let queryID: String?
    private let mustBeNamed: Bool
    let server: String
    /// Whose answer it is, as far as that is said. A server or a proxy that has once sent one answer too many would else be one behind for ever on
    /// that connection, and the success of one insert be taken for that of the next.
    enum Name: Equatable {
        case unknown, ours, missing
        case others(String)
    }
    private(set) var name = Name.unknown
    var isWhollySent: Bool { sent == body?.count ?? 0 }
    static let maxHeaders = 200

    /// Nothing of the body was given to libcurl, so no server can have it.
    var isUntouched: Bool { sent == 0 }

    /// Nothing of the body was sent, since the server did not ask for it.
    var isWithheld: Bool { asksFirst && isUntouched && bodyProblem == nil && !isOverlong }

    func withheld(_ problem: String) -> String { "\(problem), before anything of the rows was sent" }

    /// Whether the answer said where it ends, and ended there: one that ends with the connection may be cut short.
    var isWhole: Bool {
        guard hasWholeHead else { return false }
        // libcurl itself checks that chunks come to their end.
        if answerHeaders["transfer-encoding"]?.lowercased() == "chunked" { return true }
        return answerHeaders["content-length"].flatMap(Int.init) == answer.count
    }

    init(_ request: HTTPRequest, mustBeNamed: Bool, _ done: @escaping (HTTPResult) -> Void) {
        body = request.body
        asksFirst = request.endsForGood && request.body?.count ?? 0 > 0
        var list: UnsafeMutablePointer<curl_slist>?
        // "Expect:" without a value: libcurl would else ask for permission before each body over a megabyte.
        for header in request.headers + [request.endsForGood ? "Expect: 100-continue" : "Expect:"] {
            list = curl_slist_append(list, header)
        }
        headers = list
        maxAnswerBytes = request.maxAnswerBytes
        queryID = request.queryID
        server = request.server
        self.mustBeNamed = mustBeNamed
        movement = Movement(timeout: request.timeout, now: Clock.monotonic())
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        self.done = done
    }

    deinit {
        curl_slist_free_all(headers)
        errorText.deallocate()
    }

    /// Hands out the next bytes of the body.
    func give(_ room: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
        guard let body, sent < body.count else { return 0 }
        do {
            let bytes = try body.read(into: UnsafeMutableRawBufferPointer(start: room, count: count), at: sent)
            sent += bytes
            movement.move(bytes, at: Clock.monotonic())
            return bytes
        } catch {
            bodyProblem = "the request's body could not be read: \(error)"
            return Int(CURL_READFUNC_ABORT)
        }
    }

    func take(_ bytes: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
        guard answer.count + count <= maxAnswerBytes else {
            isOverlong = true
            return 0
        }
        answer.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
        movement.move(count, at: Clock.monotonic())
        return count
    }

    /// Takes a line of the head, or of the trailer behind a chunked body.
    func takeHeader(_ bytes: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
        let line = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            answerHeaders = [:]
            headerLines = 0
            hasWholeHead = false
            status = line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        } else if line.allSatisfy(\.isNewline) {
            hasWholeHead = true
            // Breaking off here also ends the connection: whatever else waits on it is not read.
            if status >= 200, !checkName() { return 0 }
        } else if let colon = line.firstIndex(of: ":") {
            // One header too many could be the one that names an exception.
            headerLines += 1
            guard headerLines <= Self.maxHeaders else {
                isOverlong = true
                return 0
            }
            let value = line[line.index(after: colon)...].drop(while: \.isWhitespace)
            let text = String(value[..<(value.lastIndex { !$0.isWhitespace }.map(value.index(after:)) ?? value.startIndex)])
            // Of two lengths none can be trusted: together they are no number.
            answerHeaders[line[..<colon].lowercased(), default: ""] +=
                answerHeaders[line[..<colon].lowercased()] == nil ? text : ", " + text
        }
        return count
    }

    /// Looks whether a head says that the answer is ours.
    private func checkName() -> Bool {
        guard let queryID else { return true }
        switch answerHeaders["x-clickhouse-query-id"] {
        case queryID?: name = .ours
        case let id?: name = .others(id)
        case nil: if mustBeNamed, status == 200, answerHeaders["x-clickhouse-exception-code"] == nil { name = .missing }
        }
        return name == .ours || name == .unknown
    }
}

extension HTTPRequest {
    /// Scheme, host and port, or the socket.
    fileprivate var server: String { String(url.prefix { $0 != "?" }) + (socketPath ?? "") }
}

extension Outcome {
    /// The cause of a failure of libcurl.
    ///
    /// - Parameter isAdvised: whether it is one that a person can be told how to mend.
    fileprivate init(_ code: CURLcode, isUntouched: Bool, isAdvised: Bool) {
        switch code {
        case CURLE_COULDNT_CONNECT, CURLE_PROXY: self = .refused
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: self = .unresolved
        case CURLE_URL_MALFORMAT: self = .url
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE: self = .tls
        case CURLE_SSL_CONNECT_ERROR: self = isAdvised ? .tls : .handshake
        case CURLE_OPERATION_TIMEDOUT: self = isUntouched ? .refused : .timeout
        // Of an address it means the scheme, of an answer that it is no HTTP.
        case CURLE_UNSUPPORTED_PROTOCOL: self = isUntouched ? .url : .noHTTP
        case CURLE_WEIRD_SERVER_REPLY: self = .noHTTP
        case CURLE_PARTIAL_FILE: self = .cut
        // What libcurl says of a header that is longer than it takes.
        case CURLE_OUT_OF_MEMORY where !isUntouched: self = .overlong
        // An alert that comes after the handshake, as of a client's certificate under TLS 1.3.
        default: self = isAdvised ? .tls : .closed
        }
    }
}
