import Glibc
import SpoolIO

/// Where the password at ClickHouse comes from.
///
/// As everywhere a flag comes before the environment and that before the file; if none names a password, systemd's credential
/// `clickhouse-password` is taken where the unit has one.
public enum PasswordSource: Equatable, Sendable {
    case none
    /// The password itself, from the environment.
    case given(String)
    /// The first line of a file; `key` is the setting that named it.
    case file(path: String, key: String)

    public static let credentialName = "clickhouse-password"
    private static let maxBytes = 4_096

    /// - Throws: if the environment names both a password and a file.
    public init(_ configuration: Configuration) throws(ConfigFailure) {
        let (secret, file) = ("loader.password", "loader.password_file")
        let path = configuration.text(file)
        if let password = configuration.text(secret), configuration.origin(file) != .flag {
            if case .environment(let name) = configuration.origin(file) {
                throw ConfigFailure(description: "environment: \(name) and COLDPATH_LOADER_PASSWORD are both set; which one is meant?")
            }
            self = .given(password)
        } else if let path {
            self = .file(path: path, key: file)
        } else if let directory = configuration.credentialsDirectory, File.exists("\(directory)/\(Self.credentialName)") {
            self = .file(path: "\(directory)/\(Self.credentialName)", key: "credential \(Self.credentialName)")
        } else {
            self = .none
        }
    }

    /// The password as it is now; nil if there is to be none.
    ///
    /// - Throws: if it cannot be had, or cannot be sent. The message never holds any of it.
    public func password() throws(ConfigFailure) -> String? {
        switch self {
        case .none: return nil
        case .given(let text): return try Self.checked(Array(text.utf8), "COLDPATH_LOADER_PASSWORD")
        case .file(let path, let key):
            let bytes: [UInt8]
            do throws(IOFailure) {
                bytes = try File.openForReading(path).read(Self.maxBytes + 2, at: 0)
            } catch {
                throw ConfigFailure(
                    description: error.isMissing
                        ? "\(key): there is no file \(path)" : "\(key): \(error); the loader's user must be able to read it")
            }
            var line = bytes.prefix { $0 != 0x0A }
            if line.last == 0x0D { line.removeLast() }
            return try Self.checked(Array(line), "\(key): \(path)")
        }
    }

    /// What should be mended although it works; nil if nothing.
    public var warning: String? {
        guard case .file(let path, let key) = self, othersMayRead(path) else { return nil }
        return "\(key): \(path) can be read by every user of this host; chmod o= \(path)"
    }

    private static func checked(_ bytes: [UInt8], _ place: String) throws(ConfigFailure) -> String {
        guard !bytes.isEmpty else {
            throw ConfigFailure(description: "\(place): the password is empty; leave the setting out for a user without a password")
        }
        guard bytes.count <= maxBytes else {
            throw ConfigFailure(description: "\(place): the first line has more than \(maxBytes) bytes; expected a password")
        }
        guard let text = headerValue(bytes) else {
            throw ConfigFailure(
                description: "\(place): the password cannot be sent in an HTTP header: it holds a control character or bytes that are no "
                    + "UTF-8, or begins or ends with a space; give the user another one")
        }
        return text
    }
}

/// Bytes as the value of an HTTP header; nil if they would arrive as something else: with control characters a value could end its line
/// and begin another header, and spaces around it are dropped.
public func headerValue(_ bytes: [UInt8]) -> String? {
    guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }), bytes.first != 0x20,
        bytes.last != 0x20
    else { return nil }
    return text
}

/// Whether users who are neither the owner nor of the group may read a file.
func othersMayRead(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IROTH != 0
}
