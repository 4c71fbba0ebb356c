import CSystem
import Glibc
import SpoolConfig
import SpoolIO
import Synchronization

/// Serves the newest status over HTTP, on a thread of its own: whoever asks, and however slowly, the loop that does the work never notices.
///
/// It answers `GET` of `/metrics`, `/healthz`, `/readyz` and `/status`, one request a connection.
public final class StatusServer: Sendable {
    private static let backlog: Int32 = 16
    private static let mostClients = 32
    private static let requestBytes = 4_096
    private static let acceptPause: Int64 = 100_000_000
    private static let longestWait: Int64 = 3_600_000_000_000
    /// For a client to ask and to take the answer.
    private static let patience: Int64 = 2_000_000_000
    /// From then on a page that was not followed by another one says that the loop hangs.
    private static let stale: Int64 = 10_000_000_000

    private let listener: Int32
    private let newest = Mutex<(page: any StatusPage, at: Int64)?>(nil)

    /// Listens, and answers from then on.
    ///
    /// - Parameters:
    ///   - address: `HOST:PORT`; the host is an IPv4 address, an IPv6 address in brackets, or `localhost`.
    ///   - setting: where it comes from, for what is said of a wrong one.
    public init(address: String, setting: String) throws {
        listener = try Self.listen(at: address, setting)
        do {
            try DetachedThread.begin(for: setting) { [self] in serve() }
        } catch {
            close(listener)
            throw error
        }
    }

    /// What is served from now on.
    public func publish(_ page: any StatusPage, at now: Int64 = Clock.monotonic()) { newest.withLock { $0 = (page, now) } }

    // MARK: Listening

    private static func listen(at address: String, _ setting: String) throws -> Int32 {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]), port > 0,
            colon > address.startIndex
        else {
            throw ConfigFailure(description: "\(setting) is \"\(address)\"; expected HOST:PORT, such as 127.0.0.1:9464")
        }
        let host = address[..<colon]
        let descriptor: Int32
        if host.hasPrefix("["), host.hasSuffix("]") {
            var six = sockaddr_in6()
            six.sin6_family = sa_family_t(AF_INET6)
            six.sin6_port = port.bigEndian
            guard inet_pton(AF_INET6, String(host.dropFirst().dropLast()), &six.sin6_addr) == 1 else {
                throw ConfigFailure(description: "\(setting): \(host) is no IPv6 address")
            }
            descriptor = try bound(AF_INET6, &six, address)
        } else {
            var four = sockaddr_in()
            four.sin_family = sa_family_t(AF_INET)
            four.sin_port = port.bigEndian
            guard inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : String(host), &four.sin_addr) == 1 else {
                throw ConfigFailure(description: "\(setting): \(host) is no IPv4 address; names are not looked up, except for localhost")
            }
            descriptor = try bound(AF_INET, &four, address)
        }
        guard Glibc.listen(descriptor, backlog) == 0 else {
            let code = errno
            close(descriptor)
            throw IOFailure("listen at", address, code)
        }
        return descriptor
    }

    private static func bound<Address>(_ family: Int32, _ address: inout Address, _ text: String) throws(IOFailure) -> Int32 {
        // Neither inherited nor waited for.
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw IOFailure("socket", text, errno) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<Address>.size)) }
        }
        guard result == 0 else {
            let code = errno
            close(descriptor)
            throw IOFailure("listen at", text, code)
        }
        return descriptor
    }

    // MARK: Serving

    /// One connection, from its request to the end of its answer.
    private struct Client {
        let descriptor: Int32
        let until: Int64
        var request: [UInt8] = []
        var answer: [UInt8] = []
        var sent = 0

        var isAnswered: Bool { !answer.isEmpty }
    }

    private func serve() {
        var clients: [Client] = []
        var acceptAgainAt: Int64 = 0
        while true {
            var now = Clock.monotonic()
            let accepts = clients.count < Self.mostClients && now >= acceptAgainAt
            var polled = [pollfd(fd: accepts ? listener : -1, events: Int16(POLLIN), revents: 0)]
            for client in clients {
                polled.append(pollfd(fd: client.descriptor, events: Int16(client.isAnswered ? POLLOUT : POLLIN), revents: 0))
            }
            let next = min(clients.map(\.until).min() ?? .max, accepts ? .max : acceptAgainAt)
            _ = cp_poll(&polled, polled.count, min(max(0, next &- now), Self.longestWait))
            now = Clock.monotonic()
            var open: [Client] = []
            for (client, entry) in zip(clients, polled.dropFirst()) {
                var client = client
                if (entry.revents == 0 || goesOn(&client)) && now < client.until { open.append(client) } else { close(client.descriptor) }
            }
            if polled[0].revents != 0 {
                if let descriptor = LocalSocket.accept(listener) {
                    open.append(Client(descriptor: descriptor, until: now + Self.patience))
                } else {
                    // No descriptors left, most likely; asking again at once would only burn the processor.
                    acceptAgainAt = now + Self.acceptPause
                }
            }
            clients = open
        }
    }

    /// - Returns: whether the connection is still of use.
    private func goesOn(_ client: inout Client) -> Bool {
        if !client.isAnswered {
            var buffer = [UInt8](repeating: 0, count: Self.requestBytes)
            let count = recv(client.descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return count < 0 && errno == EAGAIN }
            client.request += buffer[..<count]
            // The whole head: an answer while the client still writes would be lost with the connection.
            let isWhole = client.request.suffix(count + 3).windowsContain([0x0D, 0x0A, 0x0D, 0x0A])
            guard isWhole || client.request.count >= Self.requestBytes else { return true }
            client.answer = answer(client.request)
        }
        let count = client.answer.withUnsafeBytes { bytes in
            send(client.descriptor, bytes.baseAddress.map { $0 + client.sent }, bytes.count - client.sent, Int32(MSG_NOSIGNAL))
        }
        guard count >= 0 else { return errno == EAGAIN }
        client.sent += count
        return client.sent < client.answer.count
    }

    private func answer(_ request: [UInt8]) -> [UInt8] {
        let line = String(decoding: request.prefix { $0 != 0x0D && $0 != 0x0A }, as: UTF8.self)
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        let path = words.count == 3 && words[0] == "GET" ? words[1].prefix { $0 != "?" } : ""
        let newest = newest.withLock { $0 }
        let (status, type, body) = reply(String(path), newest)
        let head =
            "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.count)\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        return Array(head.utf8) + body
    }

    private func reply(_ path: String, _ newest: (page: any StatusPage, at: Int64)?) -> (status: String, type: String, body: [UInt8]) {
        let plain = "text/plain; charset=utf-8"
        func verdict(_ health: Health) -> (String, String, [UInt8]) {
            health.isGood
                ? ("200 OK", plain, Array("ok\n".utf8))
                : ("503 Service Unavailable", plain, Array((health.reasons.joined(separator: "\n") + "\n").utf8))
        }
        let isKnown = ["/metrics", "/healthz", "/readyz", "/status"].contains(path)
        guard isKnown else {
            return ("404 Not Found", plain, Array("GET /metrics, /healthz, /readyz or /status\n".utf8))
        }
        guard let newest else { return verdict(Health(["starting"])) }
        let age = Clock.monotonic() - newest.at
        let hangs = age >= Self.stale ? ["the loop has not come round for \(age / 1_000_000_000) s"] : []
        switch path {
        case "/metrics": return ("200 OK", "text/plain; version=0.0.4; charset=utf-8", Array(newest.page.metrics().utf8))
        case "/status": return ("200 OK", "application/json", newest.page.status())
        case "/healthz": return verdict(Health(hangs + newest.page.health.reasons))
        default: return verdict(Health(hangs + newest.page.readiness.reasons))
        }
    }
}

extension ArraySlice where Element == UInt8 {
    fileprivate func windowsContain(_ pattern: [UInt8]) -> Bool {
        guard count >= pattern.count else { return false }
        return (startIndex...endIndex - pattern.count).contains { self[$0..<$0 + pattern.count].elementsEqual(pattern) }
    }
}
