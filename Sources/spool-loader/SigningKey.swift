import COpenSSL
import SpoolFormat
import SpoolIO

/// A private key from a PEM file, for detached signatures that the `openssl` command checks.
final class SigningKey {
    /// As the report names it.
    let algorithm: String
    /// SHA-256 of the public key in DER, in hex: which key it was.
    let fingerprint: String
    private let path: String
    private let key: OpaquePointer
    /// Nil where the algorithm brings its own.
    private let digest: OpaquePointer?
    private static let minRSABits: Int32 = 2_048

    /// - Throws: `CommandFailure` that says what is wrong with the file and what is expected.
    init(path: String) throws {
        self.path = path
        guard let text = try TextFile.read(path) else {
            throw CommandFailure(
                "--sign: there is no file \(path); make a key with `openssl genpkey -algorithm ed25519 -out FILE`", code: 64)
        }
        key = try Self.parse(Array(text.utf8), path)
        switch cp_key_kind(key) {
        case EVP_PKEY_ED25519: (algorithm, digest) = ("Ed25519", nil)
        case EVP_PKEY_RSA where cp_key_bits(key) >= Self.minRSABits: (algorithm, digest) = ("RSA-SHA256", EVP_sha256())
        case EVP_PKEY_EC: (algorithm, digest) = ("ECDSA-SHA256", EVP_sha256())
        default:
            EVP_PKEY_free(key)
            throw CommandFailure("--sign: the key in \(path) is none of Ed25519, ECDSA, or RSA with at least 2,048 bits", code: 64)
        }
        fingerprint = Self.fingerprint(of: key)
    }

    deinit { EVP_PKEY_free(key) }

    /// The signature over exactly these bytes.
    func sign(_ bytes: [UInt8]) throws(CommandFailure) -> [UInt8] {
        guard let context = EVP_MD_CTX_new() else { throw failure() }
        defer { EVP_MD_CTX_free(context) }
        guard EVP_DigestSignInit(context, nil, digest, nil, key) == 1 else { throw failure() }
        var size = 0
        guard cp_sign(context, nil, &size, bytes, bytes.count) == 1 else { throw failure() }
        var signature = [UInt8](repeating: 0, count: size)
        guard cp_sign(context, &signature, &size, bytes, bytes.count) == 1 else { throw failure() }
        return Array(signature[..<size])
    }

    private static func parse(_ text: [UInt8], _ path: String) throws(CommandFailure) -> OpaquePointer {
        guard let source = BIO_new_mem_buf(text, Int32(text.count)) else { throw CommandFailure("--sign: no memory for \(path)", code: 74) }
        defer { BIO_free(source) }
        // Without a function of our own, OpenSSL would ask at the terminal for the pass phrase of an encrypted key.
        var wasAsked = false
        let key = PEM_read_bio_PrivateKey(
            source, nil,
            { _, _, _, context in
                context?.assumingMemoryBound(to: Bool.self).pointee = true
                return -1
            }, &wasAsked)
        if let key { return key }
        ERR_clear_error()
        if wasAsked {
            throw CommandFailure(
                "--sign: the key in \(path) is encrypted, and there is nobody to ask for its pass phrase; take one that only its file's mode "
                    + "protects: `openssl pkey -in \(path) -out PLAIN`, mode 600", code: 64)
        }
        throw CommandFailure("--sign: \(path) holds no private key in PEM (-----BEGIN PRIVATE KEY-----)", code: 64)
    }

    private static func fingerprint(of key: OpaquePointer) -> String {
        var der: UnsafeMutablePointer<UInt8>?
        let count = i2d_PUBKEY(key, &der)
        guard count > 0, let der else { return "" }
        defer { CRYPTO_free(der, "", 0) }
        var hash = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var size: UInt32 = 0
        guard EVP_Digest(der, Int(count), &hash, &size, EVP_sha256(), nil) == 1 else { return "" }
        return hash[..<Int(size)].map { hex($0) }.joined()
    }

    private func failure() -> CommandFailure {
        var text = [CChar](repeating: 0, count: 256)
        ERR_error_string_n(ERR_get_error(), &text, text.count)
        ERR_clear_error()
        let why = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return CommandFailure("--sign: signing with the key in \(path) failed: \(why)", code: 74)
    }
}
