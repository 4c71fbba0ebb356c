/// An address of ClickHouse: `http://HOST:PORT`, `https://HOST:PORT` or `unix:///PATH` of a socket that speaks HTTP.
public struct ServerAddress: Equatable, Sendable, CustomStringConvertible {
    /// As it is configured, without a slash at its end; for people, and free of secrets.
    public let description: String
    /// What a request's path is appended to.
    public let base: String
    /// The unix socket that is connected to instead of a host.
    public let socketPath: String?

    public var isEncrypted: Bool { base.hasPrefix("https://") }

    static let expected = "http://HOST:PORT, https://HOST:PORT or unix:///PATH"
    /// A unix socket's path has room for 107 bytes.
    static let maxSocketPath = 107

    /// - Returns: nil if it is no such address; ``complaint(about:)`` says why.
    public init?(_ text: String) {
        guard Self.complaint(about: text) == nil else { return nil }
        var text = text
        while text.hasSuffix("/") { text.removeLast() }
        description = text
        if text.hasPrefix("unix://") {
            base = "http://localhost"
            socketPath = String(text.dropFirst("unix://".count))
        } else {
            base = text
            socketPath = nil
        }
    }

    /// What is wrong with an address; nil if nothing. What may be a password is never repeated.
    static func complaint(about text: String) -> String? {
        if let complaint = secrecyComplaint(about: text) { return complaint }
        guard let scheme = ["http://", "https://", "unix://"].first(where: { text.hasPrefix($0) }) else {
            return "\"\(text)\" is not an address; expected \(expected)"
        }
        let rest = text.dropFirst(scheme.count)
        if let odd = rest.unicodeScalars.first(where: {
            $0.value <= 0x20 || $0.value >= 0x7F || "?#\"<>\\^`{|}".unicodeScalars.contains($0)
        }) {
            return "there is a character U+\(String(odd.value, radix: 16, uppercase: true)) in an address; expected \(expected)"
        }
        if scheme == "unix://" {
            guard rest.hasPrefix("/"), rest.count > 1, !rest.hasSuffix("/") else {
                return "\"\(text)\" names no socket; expected unix:///PATH with an absolute path"
            }
            return rest.utf8.count <= maxSocketPath ? nil : "\"\(text)\": a unix socket's path has at most \(maxSocketPath) bytes"
        }
        let authority = rest.prefix { $0 != "/" }
        // Of an IPv6 address the colons inside the brackets belong to the host.
        let end = authority.hasPrefix("[") ? authority.firstIndex(of: "]").map(authority.index(after:)) : authority.firstIndex(of: ":")
        let host = authority[..<(end ?? authority.endIndex)]
        let port = authority[host.endIndex...]
        guard !host.isEmpty, host.hasPrefix("[") == host.hasSuffix("]") else { return "\"\(text)\" names no host; expected \(expected)" }
        guard
            port.isEmpty
                || port.hasPrefix(":") && port.dropFirst().allSatisfy({ $0.isASCII && $0.isNumber })
                    && (1...65_535).contains(Int(port.dropFirst()) ?? 0)
        else { return "\"\(text)\": the port is a number from 1 to 65535" }
        return nil
    }

    /// A complaint about user and password in addresses. Asked of the whole list before it is split: a password may hold a comma.
    static func secrecyComplaint(about text: String) -> String? {
        guard text.contains("@") else { return nil }
        return "an address must not hold a user or a password (nothing before an @): addresses end up in logs; "
            + "use loader.user and loader.password_file"
    }
}

/// How ClickHouse is reached beside its address.
public enum ProxySetting: Equatable, Sendable {
    case none
    /// What `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say.
    case environment
    case url(String)

    /// - Returns: nil if it is none of these; ``complaint(about:)`` says why.
    public init?(_ text: String) {
        guard Self.complaint(about: text) == nil else { return nil }
        self = text == "none" ? .none : text == "environment" ? .environment : .url(text)
    }

    static func complaint(about text: String) -> String? {
        if text == "none" || text == "environment" { return nil }
        if text.contains("@") { return "a proxy's address must not hold a user or a password: such proxies are not supported" }
        guard let scheme = ["http://", "https://", "socks5h://", "socks5://"].first(where: { text.hasPrefix($0) }),
            ServerAddress.complaint(about: "http://" + text.dropFirst(scheme.count)) == nil
        else { return "\"\(text)\" is not a proxy; expected none, environment, or the address of an http, https, socks5 or socks5h proxy" }
        return nil
    }
}
