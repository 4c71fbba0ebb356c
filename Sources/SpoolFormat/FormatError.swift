/// Why bytes from outside could not be taken for what they should be.
///
/// "Too short" is kept apart from "wrong": the first is what a crash leaves at the end of an active segment and an
/// ordinary outcome there, the second is damage (`docs/spool-format.md` §10).
public enum FormatError: Error, Equatable, Sendable {
    /// Fewer bytes than the structure needs; more may come.
    case truncated(need: Int, have: Int)
    /// All bytes are there and the checksum of `what` differs.
    case checksum(what: String, stored: UInt32, computed: UInt32)
    /// Written by a later version of the format.
    case unknownVersion(found: UInt16)
    /// A flag bit that this version does not define.
    case unknownFlags(found: UInt16)
    /// Bytes that no writer of this format produces.
    case malformed(String)
}

extension FormatError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .truncated(let need, let have): "needs \(need) bytes, has \(have)"
        case .checksum(let what, let stored, let computed):
            "checksum of the \(what) differs: stored \(hex(stored)), computed \(hex(computed))"
        case .unknownVersion(let found):
            "format version \(found); this build reads version \(FormatLimits.version): use a newer one"
        case .unknownFlags(let found):
            "unknown flags 0x\(String(found, radix: 16)): written by a newer version, use that one"
        case .malformed(let why): why
        }
    }

    /// Whether more bytes could still make it valid.
    public var isTruncation: Bool {
        if case .truncated = self { true } else { false }
    }

    /// Whether only a newer build can read it.
    public var needsNewerVersion: Bool {
        switch self {
        case .unknownVersion, .unknownFlags: true
        default: false
        }
    }
}

/// All hexadecimal digits of a number, with leading zeros.
public func hex<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: Value.bitWidth / 4 - digits.count) + digits
}

/// The named limits of `docs/spool-format.md` §11.
public enum FormatLimits {
    public static let version: UInt16 = 1
    public static let columns = 1_000
    public static let chunkRows = 1_000_000
    public static let blockBytes = 64 << 20
    public static let segmentHeaderBytes = 4 << 20
    public static let chunkHeaderBytes = 64 << 10
    public static let chunkSources = 64
    public static let segmentSources = 4_096
    public static let segmentChunks = 1_000_000
    public static let segmentBytes: UInt64 = 1 << 40
    public static let writerIDBytes = 47
    public static let tableNameBytes = 64
    public static let sourceBytes = 128
}
