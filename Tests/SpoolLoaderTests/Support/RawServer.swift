import Foundation
import Glibc
import Synchronization

/// An HTTP server that does with each request exactly what the test says, on threads of its own.
final class RawServer: Sendable {
    struct Request: Sendable {
        /// Counted from 0 over all connections, in the order in which their heads came.
        let number: Int
        let connection: Int
        let target: String
        /// Names in lower case.
        let headers: [String: String]
        /// As much as came.
        let body: [UInt8]
        let isComplete: Bool

        /// The decoded parameters of the URL.
        var parameters: [String: String] {
            var result: [String: String] = [:]
            for pair in (target.split(separator: "?", maxSplits: 1).last ?? "").split(separator: "&") {
                let parts = pair.split(separator: "=", maxSplits: 1)
                result[String(parts[0])] = parts.count > 1 ? String(parts[1]).removingPercentEncoding : ""
            }
            return result
        }
    }

    enum Reply: Sendable {
        /// A whole answer; the connection stays open.
        case answer(Int, headers: [String] = [], body: [UInt8] = [])
        /// These bytes and nothing else, then the end of the connection.
        case raw(String)
        /// The same, and the connection stays open.
        case rawAndOpen(String)
        /// These bytes, then these again and again.
        case endless(String, String)
        case close
        /// Closed so that the peer sees a reset.
        case reset
        /// Nothing, until the peer is gone.
        case hang

        static func ok(_ text: String = "") -> Reply { .answer(200, body: Array(text.utf8)) }
        /// ClickHouse's own error, as current servers write it.
        static func exception(_ code: Int, status: Int = 500, _ text: String = "") -> Reply {
            .answer(status, headers: ["X-ClickHouse-Exception-Code: \(code)"], body: Array("Code: \(code). DB::Exception: \(text)\n".utf8))
        }
    }

    typealias Handler = @Sendable (Request) -> Reply
    typealias Interruption = @Sendable (Request) -> Reply?

    let port: Int
    private let listener: Int32
    private let handler: Handler
    /// Asked when only the head of a request is there; a reply ends the request without its body being read.
    private let beforeBody: Interruption?
    private struct State {
        var requests: [Request] = []
        var heads = 0
        var connections: [Int32] = []
        /// Connections so far: a number is never given twice.
        var accepted = 0
        var isStopped = false
    }
    private let state = Mutex(State())

    init(beforeBody: Interruption? = nil, _ handler: @escaping Handler) {
        self.handler = handler
        self.beforeBody = beforeBody
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        precondition(bound && listen(listener, 64) == 0, "no local port: \(errno)")
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [weak self] in
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0, let self, let number = self.adopt(descriptor) else {
                    // Closed here and nowhere else: else another test's socket could have the number by now.
                    if descriptor >= 0 { close(descriptor) }
                    close(listener)
                    return
                }
                Thread.detachNewThread { self.serve(descriptor, number) }
            }
        }
    }

    deinit { stop() }

    var url: String { "http://127.0.0.1:\(port)" }
    /// What came so far, whole or not.
    var requests: [Request] { state.withLock { $0.requests } }

    /// Ends all connections; new ones are refused.
    func stop() {
        state.withLock { state in
            if state.isStopped { return }
            state.isStopped = true
            shutdown(listener, Int32(SHUT_RDWR))
            for descriptor in state.connections { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
    }

    private func adopt(_ descriptor: Int32) -> Int? {
        state.withLock { state in
            if state.isStopped { return nil }
            state.connections.append(descriptor)
            state.accepted += 1
            return state.accepted - 1
        }
    }

    // MARK: One connection

    private func serve(_ descriptor: Int32, _ connection: Int) {
        var input: [UInt8] = []
        while let reply = next(descriptor, connection, &input) {
            guard send(reply, descriptor) else { break }
        }
        state.withLock { state in state.connections.removeAll { $0 == descriptor } }
        close(descriptor)
    }

    private func next(_ descriptor: Int32, _ connection: Int, _ input: inout [UInt8]) -> Reply? {
        var end: Int?
        while end == nil {
            end = (3..<max(input.count, 3)).first { Array(input[$0 - 3...$0]) == [13, 10, 13, 10] }
            if end == nil, !receive(descriptor, &input) { return nil }
        }
        let lines = String(decoding: input[..<end!], as: UTF8.self).components(separatedBy: "\r\n")
        input.removeFirst(end! + 1)
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces) }
        }
        let target = lines[0].split(separator: " ").dropFirst().first.map(String.init) ?? ""
        let number = state.withLock { state in
            state.heads += 1
            return state.heads - 1
        }
        func request(_ body: [UInt8], _ isComplete: Bool) -> Request {
            Request(number: number, connection: connection, target: target, headers: headers, body: body, isComplete: isComplete)
        }
        if let reply = beforeBody?(request([], false)) {
            note(request([], false))
            return reply
        }
        if headers["expect"] == "100-continue", !send(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8), descriptor) { return nil }
        let length = headers["content-length"].flatMap(Int.init) ?? 0
        while input.count < length {
            if !receive(descriptor, &input) {
                note(request(input, false))
                return nil
            }
        }
        let whole = request(Array(input[..<length]), true)
        input.removeFirst(length)
        note(whole)
        return handler(whole)
    }

    private func note(_ request: Request) { state.withLock { $0.requests.append(request) } }

    private func receive(_ descriptor: Int32, _ input: inout [UInt8]) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return false }
        input += buffer[..<count]
        return true
    }

    /// - Returns: whether the connection goes on.
    private func send(_ reply: Reply, _ descriptor: Int32) -> Bool {
        switch reply {
        case .answer(let status, let headers, let body):
            let head = (["HTTP/1.1 \(status) Text", "Content-Length: \(body.count)"] + headers).joined(separator: "\r\n") + "\r\n\r\n"
            return send(Array(head.utf8) + body, descriptor)
        case .raw(let text):
            _ = send(Array(text.utf8), descriptor)
            return false
        case .rawAndOpen(let text): return send(Array(text.utf8), descriptor)
        case .endless(let first, let more):
            guard send(Array(first.utf8), descriptor) else { return false }
            let bytes = Array(more.utf8)
            while send(bytes, descriptor) {}
            return false
        case .close: return false
        case .reset:
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
            return false
        case .hang:
            var rest: [UInt8] = []
            while receive(descriptor, &rest) {}
            return false
        }
    }

    private func send(_ bytes: [UInt8], _ descriptor: Int32) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress! + done, $0.count - done, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }
}
