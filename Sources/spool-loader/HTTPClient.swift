import CCurl
import Glibc

/// One HTTP request: always a POST, since ClickHouse takes a GET as read-only.
struct HTTPRequest {
    var url: String
    /// `Name: value` each.
    var headers: [String]
    var body: any RequestBody
    /// Nanoseconds for the whole exchange.
    var timeout: Int64
    /// Most bytes of an answer that are kept.
    var maxAnswerBytes: Int
}

/// What became of a request.
enum HTTPResult {
    /// The exchange ended cleanly: the whole answer is here. Header names are in lower case.
    case answered(status: Int, headers: [String: String], body: [UInt8])
    /// No connection came about, and not one byte of the body was handed out: no server has the request.
    case unreachable(String)
    /// The connection broke, timed out or answered nonsense: the server may have done anything.
    case broken(String)
}

/// libcurl's multi interface on one thread: many requests at once, connections kept alive.
final class HTTPClient {
    private let multi: UnsafeMutableRawPointer
    private var transfers: [UnsafeMutableRawPointer: Transfer] = [:]
    private static let connectTimeoutMilliseconds = 5_000
    /// ClickHouse closes idle connections after 3 seconds (before 2022) or 10: older ones are not used again.
    private static let maxIdleSeconds = 2

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
        guard let handle = curl_easy_init() else { return done(.unreachable("curl_easy_init: no memory")) }
        let transfer = Transfer(request, done)
        transfers[handle] = transfer
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        request.url.withCString { _ = cp_curl_set_pointer(handle, CURLOPT_URL, $0) }
        "http,https".withCString { _ = cp_curl_set_pointer(handle, CURLOPT_PROTOCOLS_STR, $0) }
        _ = cp_curl_set_long(handle, CURLOPT_POST, 1)
        _ = cp_curl_set_size(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.count))
        // A read function without a seek function: where a kept-alive connection dies under a request, libcurl would otherwise
        // send the body again by itself, and one "success" could be the second of two sends.
        _ = cp_curl_set_pointer(handle, CURLOPT_READDATA, context)
        _ = cp_curl_set_sink(handle, CURLOPT_READFUNCTION) { room, size, count, context in
            guard let room, let context else { return Int(CURL_READFUNC_ABORT) }
            return Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().give(room, size * count)
        }
        _ = cp_curl_set_long(handle, CURLOPT_MAXAGE_CONN, Self.maxIdleSeconds)
        _ = cp_curl_set_pointer(handle, CURLOPT_HTTPHEADER, transfer.headers)
        // A signal for a timeout would hit whatever thread comes first.
        _ = cp_curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
        _ = cp_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, Self.connectTimeoutMilliseconds)
        _ = cp_curl_set_long(handle, CURLOPT_TIMEOUT_MS, Int(max(1, request.timeout / 1_000_000)))
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
        let milliseconds = finishDone() ? 0 : milliseconds
        var extra = descriptors.map { curl_waitfd(fd: $0, events: Int16(CURL_WAIT_POLLIN), revents: 0) }
        curl_multi_poll(multi, &extra, UInt32(extra.count), milliseconds, nil)
        curl_multi_perform(multi, &running)
        finishDone()
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

    /// - Returns: whether a transfer ended.
    @discardableResult
    private func finishDone() -> Bool {
        var left: Int32 = 0
        var hasEnded = false
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else { continue }
            let code = cp_curl_message_result(message)
            let result = outcome(of: handle, code)
            curl_multi_remove_handle(multi, handle)
            curl_easy_cleanup(handle)
            transfers.removeValue(forKey: handle)?.done(result)
            hasEnded = true
        }
        return hasEnded
    }

    private func outcome(of handle: UnsafeMutableRawPointer, _ code: CURLcode) -> HTTPResult {
        guard let transfer = transfers[handle] else { preconditionFailure("a transfer that nobody started ended") }
        if code == CURLE_OK {
            var status = 0
            _ = cp_curl_get_long(handle, CURLINFO_RESPONSE_CODE, &status)
            guard transfer.isWhole || status != 200 else { return .broken("an answer whose end cannot be told") }
            return .answered(status: status, headers: transfer.answerHeaders, body: transfer.answer)
        }
        let text = String(cString: curl_easy_strerror(code))
        switch code {
        // The code alone proves nothing: when a kept-alive connection dies under a request that the server has taken, libcurl
        // connects anew, and reports the failure of that; and it calls an answer that is no HTTP an unsupported protocol.
        case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_URL_MALFORMAT,
            CURLE_UNSUPPORTED_PROTOCOL, CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION:
            return transfer.isUntouched ? .unreachable(text) : .broken(text)
        default:
            if let problem = transfer.bodyProblem { return .broken(problem) }
            return .broken(
                transfer.isOverlong ? "an answer of more than \(transfer.maxAnswerBytes) bytes or \(Transfer.maxHeaders) headers" : text)
        }
    }
}

/// What a running request owns: its body must not move while libcurl sends it.
private final class Transfer {
    private let body: any RequestBody
    private var sent = 0
    let headers: UnsafeMutablePointer<curl_slist>?
    let done: (HTTPResult) -> Void
    let maxAnswerBytes: Int
    private(set) var answer: [UInt8] = []
    private(set) var answerHeaders: [String: String] = [:]
    private(set) var isOverlong = false
    private(set) var bodyProblem: String?
    private var hasWholeHead = false
    static let maxHeaders = 200

    /// Nothing of the body was given to libcurl, so no server can have it.
    var isUntouched: Bool { sent == 0 }

    /// Whether the answer said where it ends, and ended there: one that ends with the connection may be cut short.
    var isWhole: Bool {
        guard hasWholeHead else { return false }
        // libcurl itself checks that chunks come to their end.
        if answerHeaders["transfer-encoding"]?.lowercased() == "chunked" { return true }
        return answerHeaders["content-length"].flatMap(Int.init) == answer.count
    }

    init(_ request: HTTPRequest, _ done: @escaping (HTTPResult) -> Void) {
        body = request.body
        var list: UnsafeMutablePointer<curl_slist>?
        // "Expect:" without a value: libcurl would else ask for permission before each body over a megabyte.
        for header in request.headers + ["Expect:"] { list = curl_slist_append(list, header) }
        headers = list
        maxAnswerBytes = request.maxAnswerBytes
        self.done = done
    }

    deinit { curl_slist_free_all(headers) }

    /// Hands out the next bytes of the body.
    func give(_ room: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
        guard sent < body.count else { return 0 }
        do {
            let bytes = try body.read(into: UnsafeMutableRawBufferPointer(start: room, count: count), at: sent)
            sent += bytes
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
        return count
    }

    /// Takes a line of the head, or of the trailer behind a chunked body.
    func takeHeader(_ bytes: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
        let line = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            answerHeaders = [:]
            hasWholeHead = false
        } else if line.allSatisfy(\.isNewline) {
            hasWholeHead = true
        } else if let colon = line.firstIndex(of: ":") {
            // One header too many could be the one that names an exception.
            guard answerHeaders.count < Self.maxHeaders else {
                isOverlong = true
                return 0
            }
            let value = line[line.index(after: colon)...].drop(while: \.isWhitespace)
            answerHeaders[line[..<colon].lowercased()] = String(
                value[..<(value.lastIndex { !$0.isWhitespace }.map(value.index(after:)) ?? value.startIndex)])
        }
        return count
    }
}
