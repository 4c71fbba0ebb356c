import Glibc
import SpoolConfig
import SpoolIO
import Synchronization

/// Serves the newest metrics over HTTP, on a thread of its own: whoever asks, and however slowly, the loop that records never notices.
///
/// It answers `GET /metrics` and nothing else, one request a connection, and reads no more of it than one line.
final class MetricsServer: Sendable {
    private static let backlog: Int32 = 16
    private static let requestBytes = 4_096
    /// Seconds for a client to ask, and to take the answer.
    private static let patience = 2

    private let listener: Int32
    private let newest = Mutex<String>("")

    /// - Parameter address: `HOST:PORT`; the host is an IPv4 address or `localhost`.
    init(address: String) throws {
        let parts = address.split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0 else {
            throw ConfigFailure(description: "writer.metrics is \"\(address)\"; expected HOST:PORT, such as 127.0.0.1:9464")
        }
        let host = parts[0] == "localhost" ? "127.0.0.1" : String(parts[0])
        var socketAddress = sockaddr_in()
        socketAddress.sin_family = sa_family_t(AF_INET)
        socketAddress.sin_port = port.bigEndian
        guard inet_pton(AF_INET, host, &socketAddress.sin_addr) == 1 else {
            throw ConfigFailure(description: "writer.metrics: \(host) is no IPv4 address")
        }
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | 0o2000000, 0)
        guard listener >= 0 else { throw IOFailure("socket", address, errno) }
        var yes: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let bound = withUnsafePointer(to: &socketAddress) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard bound == 0, listen(listener, Self.backlog) == 0 else {
            let code = errno
            close(listener)
            throw IOFailure("listen at", address, code)
        }
        try begin()
    }

    /// What is served from now on.
    func publish(_ text: String) { newest.withLock { $0 = text } }

    private func begin() throws(IOFailure) {
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(self).toOpaque()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<MetricsServer>.fromOpaque(argument).takeRetainedValue().serve()
                return nil
            }, argument)
        guard code == 0 else {
            Unmanaged<MetricsServer>.fromOpaque(argument).release()
            throw IOFailure("start a thread for", "metrics", code)
        }
        pthread_detach(thread)
    }

    private func serve() {
        while true {
            let client = accept(listener, nil, nil)
            guard client >= 0 else {
                // No descriptors left, most likely; asking again at once would only burn the processor.
                if errno != EINTR { usleep(100_000) }
                continue
            }
            answer(client)
            close(client)
        }
    }

    private func answer(_ client: Int32) {
        var patience = timeval(tv_sec: Self.patience, tv_usec: 0)
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var request = [UInt8](repeating: 0, count: Self.requestBytes)
        let count = recv(client, &request, request.count, 0)
        guard count > 0 else { return }
        let line = String(decoding: request[..<count].prefix { $0 != 0x0D && $0 != 0x0A }, as: UTF8.self)
        let isKnown = line.hasPrefix("GET /metrics ") || line.hasPrefix("GET /metrics?")
        let body = isKnown ? newest.withLock { $0 } : "only GET /metrics is answered here\n"
        let head =
            "HTTP/1.1 \(isKnown ? "200 OK" : "404 Not Found")\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            + "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n"
        let bytes = Array((head + body).utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { send(client, $0.baseAddress.map { $0 + sent }, $0.count - sent, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            sent += count
        }
    }
}
