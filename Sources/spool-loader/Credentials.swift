import SpoolConfig

/// Who the loader is at ClickHouse. The password is in no message and in no URL.
final class Credentials {
    private let user: String
    private let source: PasswordSource
    private var password: String?

    /// - Throws: if user or password cannot be had, or cannot be sent.
    init(_ configuration: Configuration) throws(ConfigFailure) {
        guard let user = headerValue(Array(configuration.required("loader.user").utf8)), !user.isEmpty else {
            throw ConfigFailure(
                description: "loader.user: it is empty, begins or ends with a space, or holds a control character; expected a user's name")
        }
        self.user = user
        source = try PasswordSource(configuration)
        password = try source.password()
    }

    /// Request headers: URLs end up in logs.
    var headers: [String] { ["X-ClickHouse-User: \(user)"] + (password.map { ["X-ClickHouse-Key: \($0)"] } ?? []) }

    /// What no log may show, though a server may send it back.
    var secrets: [String] { password.map { [$0] } ?? [] }

    /// Looks whether the password's file has another one by now.
    ///
    /// - Returns: whether it has; it is then used from now on.
    func reread() throws(ConfigFailure) -> Bool {
        let found = try source.password()
        defer { password = found }
        return found != password
    }
}

/// What a request's end says against the server that it went to.
enum ServerFault {
    /// ClickHouse's errors that another replica need not have: its own disk, memory, connection to Keeper, load.
    private static let codes: Set<Int> = [
        202,  // TOO_MANY_SIMULTANEOUS_QUERIES
        225,  // NO_ZOOKEEPER
        241,  // MEMORY_LIMIT_EXCEEDED
        242,  // TABLE_IS_READ_ONLY
        243,  // NOT_ENOUGH_SPACE
        733,  // TABLE_IS_BEING_RESTARTED
        745,  // SERVER_OVERLOADED
        999,  // KEEPER_EXCEPTION
    ]

    /// - Returns: nil if there is nothing that another server would do better. A refused user is the same everywhere: to try the wrong
    ///   password at every server would only lock the user out at all of them.
    static func text(of result: HTTPResult, _ answer: ServerAnswer) -> String? {
        switch result {
        case .unreachable(let why, _), .broken(let why, _): return why
        case .abandoned: return nil
        case .answered(let status, _, _):
            if case .exception(let code, _) = answer { return codes.contains(code) ? answer.problem : nil }
            // A proxy's, or nonsense.
            return status >= 500 ? answer.problem : nil
        }
    }
}

extension ServerAnswer {
    /// Whether the server knows no such user, or not with this password.
    var isRefusedUser: Bool {
        switch self {
        case .exception(let code, _): [192, 193, 194, 516].contains(code)
        case .doubt(_, let outcome, _): outcome == .unauthorized || outcome == .forbidden
        case .ok, .unreachable: false
        }
    }
}
