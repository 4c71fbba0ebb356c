import FoundationEssentials
import Glibc
import SpoolIO

/// The report of an audit as a file that stands for itself: who compared what with what, and when (`docs/audit.md`).
struct AuditReport: Encodable {
    struct Spool: Encodable {
        let path: String
        let writer: String
    }

    struct Server: Encodable {
        /// Without user and password.
        let url: String
        let database: String
        let version: String
    }

    struct Signature: Encodable {
        let algorithm: String
        /// SHA-256 of the public key in DER.
        let key: String
    }

    let format = 1
    let tool: String
    let begun: String
    let ended: String
    let spool: Spool
    let clickhouse: Server
    /// Event times that the audit was restricted to; absent if it was not.
    let since: String?
    let until: String?
    let clean: Bool
    let signature: Signature?
    let tables: [TableAudit.Result]

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return [UInt8](try encoder.encode(self)) + [0x0A]
    }

    /// An HTTP address without the user and the password that may stand in it.
    static func withoutCredentials(_ url: String) -> String {
        guard let scheme = ["http://", "https://", "unix://"].first(where: { url.hasPrefix($0) }) else { return url }
        let rest = url.dropFirst(scheme.count)
        let host = rest.prefix { $0 != "/" }
        guard let at = host.lastIndex(of: "@") else { return url }
        return scheme + rest[rest.index(after: at)...]
    }
}

/// The files of a report: the report and, beside it, its signature.
struct ReportFiles {
    let path: String
    private var parent: String { Directory.parent(of: path).isEmpty ? "." : Directory.parent(of: path) }
    var signaturePath: String { path + ".sig" }

    /// - Throws: `CommandFailure` if no file can be written there: an hour of comparing is not to end in that.
    func checkWritable() throws(CommandFailure) {
        guard access(parent, W_OK | X_OK) != 0 else {
            if Directory.exists(path) { throw CommandFailure("--output: \(path) is a directory; name a file", code: 64) }
            return
        }
        throw CommandFailure("--output: no file can be written in \(parent): \(String(cString: strerror(errno)))", code: 74)
    }

    /// Replaces both files; when this returns they are durable.
    func write(_ report: [UInt8], signature: [UInt8]?) throws(IOFailure) {
        try writeTemporary(report, for: path)
        if let signature { try writeTemporary(signature, for: signaturePath) }
        // First the old signature: a crash may leave a report without one, never with the signature of another one.
        try Directory.removeIfPresent(signaturePath)
        try Directory.rename(path + ".tmp", to: path)
        if signature != nil { try Directory.rename(signaturePath + ".tmp", to: signaturePath) }
        try Directory.sync(parent)
    }

    private func writeTemporary(_ bytes: [UInt8], for path: String) throws(IOFailure) {
        try Directory.removeIfPresent(path + ".tmp")
        let file = try File.create(path + ".tmp")
        try file.write(bytes, at: 0)
        // Sync before the rename: otherwise a power loss can leave the name without the bytes.
        try file.sync()
    }
}
