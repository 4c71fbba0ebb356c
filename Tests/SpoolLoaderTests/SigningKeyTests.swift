import Foundation
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// Signatures that the `openssl` command checks, and keys that are refused.
@Suite struct SigningKeyTests {
    private let home = TemporaryDirectory()

    @discardableResult
    private func openssl(_ arguments: String...) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// - Returns: the path of a new private key; its public half is `PATH.pub`.
    private func key(_ algorithm: String...) throws -> String {
        let path = home.file("key-\(algorithm.joined(separator: "-")).pem")
        let options = algorithm.dropFirst().flatMap { ["-pkeyopt", $0] }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl", "genpkey", "-algorithm", algorithm[0]] + options + ["-out", path]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        try #require(try openssl("pkey", "-in", path, "-pubout", "-out", path + ".pub") == 0)
        return path
    }

    private func isValid(_ bytes: [UInt8], _ signature: [UInt8], _ path: String, raw: Bool) throws -> Bool {
        try Bytes.write(bytes, to: home.file("report"))
        try Bytes.write(signature, to: home.file("report.sig"))
        if raw {
            return try openssl(
                "pkeyutl", "-verify", "-pubin", "-inkey", path + ".pub", "-rawin", "-in", home.file("report"), "-sigfile",
                home.file("report.sig")) == 0
        }
        return try openssl("dgst", "-sha256", "-verify", path + ".pub", "-signature", home.file("report.sig"), home.file("report")) == 0
    }

    @Test(arguments: [
        (["ed25519"], "Ed25519"), (["RSA", "rsa_keygen_bits:2048"], "RSA-SHA256"), (["EC", "ec_paramgen_curve:P-256"], "ECDSA-SHA256"),
    ])
    func theOpensslCommandTakesTheSignatureAndRefusesItForOtherBytes(algorithm: [String], name: String) throws {
        let path = try algorithm.count == 1 ? key(algorithm[0]) : key(algorithm[0], algorithm[1])
        let signer = try SigningKey(path: path)
        #expect(signer.algorithm == name && signer.fingerprint.count == 64)
        var bytes = Array("{\"clean\": true}\n".utf8)
        let signature = try signer.sign(bytes)
        #expect(try isValid(bytes, signature, path, raw: name == "Ed25519"))
        for index in bytes.indices {
            bytes[index] ^= 1
            if index % 5 == 0 { #expect(try !isValid(bytes, signature, path, raw: name == "Ed25519"), "byte \(index)") }
            bytes[index] ^= 1
        }
    }

    private func complaint(_ path: String) -> String {
        do {
            _ = try SigningKey(path: path)
            return "none"
        } catch {
            return (error as? CommandFailure)?.code == 64 ? "\(error)" : "another error: \(error)"
        }
    }

    @Test func keysThatAreNoneAreRefusedWithAReason() throws {
        #expect(complaint(home.file("none")).hasPrefix("--sign: there is no file \(home.file("none"));"))
        let good = try key("ed25519")
        for text in ["", "no key\n", try Bytes.text(good + ".pub"), String(try Bytes.text(good).dropLast(40))] {
            try Bytes.write(Array(text.utf8), to: home.file("bad"))
            #expect(complaint(home.file("bad")).hasPrefix("--sign: \(home.file("bad")) holds no private key in PEM"), "\(text)")
        }
        #expect(complaint(try key("RSA", "rsa_keygen_bits:1024")).contains("none of Ed25519, ECDSA, or RSA with at least 2,048 bits"))
        #expect(complaint(try key("X25519")).contains("none of Ed25519"))
    }

    @Test func anEncryptedKeyIsRefusedAndNobodyIsAsked() throws {
        let path = home.file("encrypted.pem")
        try #require(try openssl("pkey", "-in", key("ed25519"), "-aes256", "-passout", "pass:secret", "-out", path) == 0)
        #expect(complaint(path).hasPrefix("--sign: the key in \(path) is encrypted, and there is nobody to ask"))
    }

    @Test func credentialsDoNotGetIntoTheReport() {
        #expect(AuditReport.withoutCredentials("https://user:p@ss@host:8443/x@y") == "https://host:8443/x@y")
        #expect(AuditReport.withoutCredentials("http://host:8123") == "http://host:8123")
        #expect(AuditReport.withoutCredentials("http://host:8123/a@b") == "http://host:8123/a@b")
    }

    @Test func anUnsignedReportLeavesNoSignatureOfAnotherOne() throws {
        let files = ReportFiles(path: home.file("report.json"))
        try files.write([1], signature: [2])
        #expect(try Bytes.list(home.path) == ["report.json", "report.json.sig"])
        try files.write([3], signature: nil)
        #expect(try Bytes.list(home.path) == ["report.json"] && Bytes.read(files.path) == [3])
        #expect(throws: CommandFailure.self) { try ReportFiles(path: home.file("no/where.json")).checkWritable() }
        #expect(throws: CommandFailure.self) { try ReportFiles(path: home.path).checkWritable() }
    }
}
