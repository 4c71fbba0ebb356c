import Glibc
import SpoolIO

/// The files for TLS, checked: OpenSSL says little about a file that it cannot use, and asks a terminal for the key's passphrase.
public struct TLSFiles: Equatable, Sendable {
    public let authorities: String?
    public let certificate: String?
    /// Set if there is a certificate.
    public let key: String?
    /// What should be mended although it works.
    public let warnings: [String]

    private static let maxBytes: UInt64 = 4 << 20

    public init(_ configuration: Configuration) throws(ConfigFailure) {
        authorities = configuration.text("loader.ca_file")
        certificate = configuration.text("loader.client_certificate")
        let keyName = "loader.client_key"
        if let authorities {
            try Self.check(authorities, "loader.ca_file", holds: ["BEGIN CERTIFICATE-----", "BEGIN TRUSTED CERTIFICATE-----"])
        }
        guard let certificate else {
            key = nil
            warnings = []
            guard configuration.text(keyName) == nil else {
                throw ConfigFailure(description: "\(keyName) is set and loader.client_certificate is not; a key alone is of no use")
            }
            return
        }
        let key = configuration.text(keyName) ?? certificate
        try Self.check(certificate, "loader.client_certificate", holds: ["BEGIN CERTIFICATE-----"])
        try Self.check(key, keyName, holds: ["PRIVATE KEY-----"], without: "ENCRYPTED")
        self.key = key
        warnings = othersMayRead(key) ? ["\(keyName): \(key) can be read by every user of this host; chmod o= \(key)"] : []
    }

    private static func check(
        _ path: String, _ key: String, holds marks: [String], without unwanted: String? = nil
    ) throws(ConfigFailure) {
        let text: String
        do throws(IOFailure) {
            let file = try File.openForReading(path)
            let size = try file.size()
            guard size <= maxBytes else { throw IOFailure("read", path, EFBIG) }
            text = String(decoding: try file.read(Int(size), at: 0), as: UTF8.self)
        } catch {
            throw ConfigFailure(
                description: error.isMissing
                    ? "\(key): there is no file \(path)" : "\(key): \(error); the loader's user must be able to read it")
        }
        if let unwanted, text.contains(unwanted) {
            throw ConfigFailure(
                description: "\(key): \(path) holds an encrypted key, and there is nobody to ask for its passphrase; store it decrypted, "
                    + "readable by the loader's user only")
        }
        guard marks.contains(where: { text.contains($0) }) else {
            throw ConfigFailure(description: "\(key): \(path) has no line with \(marks[0]); expected a PEM file")
        }
    }
}

extension Configuration {
    /// Checks what can be checked of how ClickHouse is reached without reaching it.
    ///
    /// - Returns: what should be mended although it works.
    public func checkConnection() throws(ConfigFailure) -> [String] {
        let source = try PasswordSource(self)
        _ = try source.password()
        let files = try TLSFiles(self)
        return [source.warning].compactMap(\.self) + files.warnings
    }

    /// The servers in the order in which they are preferred.
    public var servers: [ServerAddress] { list("loader.url").compactMap { ServerAddress($0) } }
    public var proxy: ProxySetting {
        guard let proxy = ProxySetting(required("loader.proxy")) else { preconditionFailure("loader.proxy was not checked") }
        return proxy
    }
}
