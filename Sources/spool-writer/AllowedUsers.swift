import Glibc
import SpoolConfig
import SpoolIO

/// Whose rings and connections are taken.
enum AllowedUsers {
    /// - Parameters:
    ///   - names: users, by name or number, beside the one that the writer runs as and root.
    ///   - setting: where they stand.
    static func parse(_ names: [String], setting: String) throws(ConfigFailure) -> Set<UInt32> {
        var users: Set<UInt32> = [0, geteuid()]
        for name in names where !name.isEmpty {
            if let number = UInt32(name) {
                users.insert(number)
            } else if let entry = getpwnam(name) {
                users.insert(entry.pointee.pw_uid)
            } else {
                throw ConfigFailure(description: "\(setting): there is no user \(name)")
            }
        }
        return users
    }
}

/// Who may connect to the socket, and how often. The kernel says who it is (`SO_PEERCRED`); nobody can claim to be somebody else.
struct ConnectionRule {
    /// Nil for everybody whom the permissions of the socket let in.
    let users: Set<UInt32>?
    /// Most connections of one user at a time.
    let mostOfOneUser: Int

    /// Everybody, as often as they like.
    static let open = ConnectionRule(users: nil, mostOfOneUser: .max)

    init(users: Set<UInt32>?, mostOfOneUser: Int) {
        self.users = users
        self.mostOfOneUser = mostOfOneUser
    }

    init(_ configuration: Configuration) throws(ConfigFailure) {
        let names = configuration.list("writer.socket_users").filter { !$0.isEmpty }
        users = names.isEmpty ? nil : try AllowedUsers.parse(names, setting: "writer.socket_users")
        mostOfOneUser = configuration.count("writer.user_connections")
    }

    /// Why a user is not let in; nil if he is.
    ///
    /// - Parameters:
    ///   - user: nil if the kernel does not tell.
    ///   - others: users of the connections that are open.
    func refusal(of user: UInt32?, others: [UInt32?]) -> String? {
        let name = user.map { "user \($0)" } ?? "a user that the system does not name"
        if let users, !(user.map(users.contains) ?? false) {
            return "\(name) may not connect: it is not among writer.socket_users"
        }
        guard others.count(where: { $0 == user }) >= mostOfOneUser else { return nil }
        return "\(name) has \(mostOfOneUser) connections, the most that writer.user_connections allows"
    }
}
