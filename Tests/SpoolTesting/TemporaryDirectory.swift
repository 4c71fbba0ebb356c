import Foundation

/// A directory of a test's own, removed with this object.
public final class TemporaryDirectory: Sendable {
    public let path: String

    /// In memory where that is possible: these tests sync thousands of times, and no test can see what a sync saves.
    private static let root =
        access("/dev/shm", W_OK) == 0 ? "/dev/shm" : FileManager.default.temporaryDirectory.path

    public init() {
        var template = Array("\(Self.root)/spool-test-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "no temporary directory: \(String(cString: strerror(errno)))")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    public func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes the directory and those above it.
    public func directory(_ name: String) throws -> String {
        try FileManager.default.createDirectory(atPath: file(name), withIntermediateDirectories: true)
        return file(name)
    }
}

/// Whole files as bytes, for tests that break them.
public enum Bytes {
    public static func read(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }
    public static func write(_ bytes: [UInt8], to path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
    public static func text(_ path: String) throws -> String { String(decoding: try read(path), as: UTF8.self) }

    /// File names in the directory, sorted.
    public static func list(_ path: String) throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }

    public static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { String(repeating: "0", count: $0 < 16 ? 1 : 0) + String($0, radix: 16) }.joined()
    }
}

/// The repository that these tests stand in.
public enum Repository {
    public static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    public static var schemas: String { "\(path)/schemas" }
    public static var specification: String { "\(path)/docs/spool-format.md" }
}
