import Glibc
import SpoolFormat

/// What is wrong with a spool as a whole.
public enum SpoolFailure: Error, CustomStringConvertible {
    /// The system refused something.
    case io(IOFailure)
    /// The directory holds no spool.
    case notASpool(path: String)
    /// `spool.id` says something that this build cannot read.
    case badID(path: String, reason: String)
    /// Another writer has the spool.
    case inUse(path: String, by: String)
    /// The configured writer id is not the one of the spool.
    case otherWriter(path: String, spool: String, configured: String)

    public var description: String {
        switch self {
        case .io(let failure): failure.description
        case .notASpool(let path):
            "\(path) holds no spool (there is no \(SpoolDirectory.idName) in it): give its directory with --spool"
        case .badID(let path, let reason): "\(path)/\(SpoolDirectory.idName): \(reason)"
        case .inUse(let path, let pid):
            "\(path) is in use by another spool-writer (pid \(pid)): stop that one, send to its socket, or use another --spool"
        case .otherWriter(let path, let spool, let configured):
            "\(path) belongs to writer \(spool), the configuration says \(configured): a spool keeps its writer id for life"
        }
    }
}

/// A spool's directory (`docs/spool-format.md` §1).
public struct SpoolDirectory: Sendable {
    static let idName = "spool.id"
    static let lockName = "spool.lock"

    public let path: String
    public let writer: String

    /// Opens a spool to read it.
    public static func open(_ path: String) throws(SpoolFailure) -> SpoolDirectory {
        guard let writer = try readID(path) else { throw .notASpool(path: path) }
        return SpoolDirectory(path: path, writer: writer)
    }

    /// Opens a spool to write to it, making it if there is none, and takes its lock.
    ///
    /// - Parameter configured: the writer id of the configuration; nil to keep the spool's, or make one for a new spool.
    /// - Returns: the spool and the lock, which must be kept. The spool's id is durable.
    public static func openForWriting(
        _ path: String, configured: String?
    ) throws(SpoolFailure) -> (spool: SpoolDirectory, lock: File) {
        do {
            try Directory.create(path)
            let lock = try File.openForWriting("\(path)/\(lockName)")
            guard try lock.lock() else {
                let pid = String(decoding: try lock.read(16, at: 0).prefix { $0 > 0x20 }, as: UTF8.self)
                throw SpoolFailure.inUse(path: path, by: pid)
            }
            try lock.truncate(to: 0)
            try lock.write(Array("\(getpid())\n".utf8), at: 0)
            if let writer = try readID(path) {
                if let configured, configured != writer {
                    throw SpoolFailure.otherWriter(path: path, spool: writer, configured: configured)
                }
                return (SpoolDirectory(path: path, writer: writer), lock)
            }
            for table in try SpoolDirectory(path: path, writer: "").tables()
            where !(try SpoolDirectory(path: path, writer: "").segments(of: table).isEmpty) {
                throw SpoolFailure.badID(
                    path: path, reason: "is missing, but table \(table) has segments, which name their writer: restore it")
            }
            let writer = configured ?? makeWriterID()
            try TextFile.replace("\(path)/\(idName)", with: "coldpath-spool 1\nwriter \(writer)\n")
            return (SpoolDirectory(path: path, writer: writer), lock)
        } catch let failure as IOFailure {
            throw .io(failure)
        } catch let failure as SpoolFailure {
            throw failure
        } catch {
            preconditionFailure("\(error)")
        }
    }

    /// Whether the spool is still there: its id, of the same writer.
    ///
    /// - Throws: `IOFailure` with ENOENT if it was moved away, removed, or unmounted.
    public func checkID() throws(IOFailure) {
        let id: String?
        do throws(SpoolFailure) {
            id = try Self.readID(path)
        } catch {
            if case .io(let failure) = error { throw failure }
            id = nil
        }
        guard id == writer else { throw IOFailure("find the spool of writer \(writer) at", path, ENOENT) }
    }

    /// The process that writes to the spool now; nil if none does, or it cannot be told.
    ///
    /// A lock that is free is taken for a moment, which a writer that starts at that moment would take for another writer: ask only where
    /// there is one.
    public func writerProcess() -> Int32? {
        guard let lock = try? File.openForReading("\(path)/\(Self.lockName)"), (try? lock.lock()) == false,
            let text = try? lock.read(16, at: 0)
        else { return nil }
        return Int32(String(decoding: text.prefix { $0 > 0x20 }, as: UTF8.self))
    }

    /// Names of the tables that have a directory here.
    public func tables() throws(IOFailure) -> [String] {
        var tables: [String] = []
        for name in try Directory.list(path) where NameRule.isTable(name) && Directory.exists("\(path)/\(name)") {
            tables.append(name)
        }
        return tables
    }

    public func directory(of table: String) -> String { "\(path)/\(table)" }
    public func path(of segment: SegmentName, table: String) -> String { "\(path)/\(table)/\(segment.fileName)" }

    /// The table's segments in the order of writing; none if it has no directory.
    public func segments(of table: String) throws(IOFailure) -> [SegmentName] {
        do {
            return try Directory.list(directory(of: table)).compactMap(SegmentName.init(fileName:)).sorted()
        } catch {
            if error.isMissing { return [] }
            throw error
        }
    }

    /// Reads the table's durable mark.
    ///
    /// - Returns: nil if there is none.
    /// - Throws: `FormatError` if it is damaged, after it was read often enough that it was not just being overwritten.
    public func mark(of table: String) throws -> DurableMark? {
        let path = "\(directory(of: table))/\(DurableMark.fileName)"
        var attempt = 0
        while true {
            attempt += 1
            do {
                // Opened anew each time: on NFS only a fresh open sees what another host wrote.
                let bytes = try File.openForReading(path).read(DurableMark.bytes + 1, at: 0)
                return try bytes.withUnsafeBytes { try DurableMark.decode($0) }
            } catch let failure as IOFailure where failure.isMissing {
                return nil
            } catch let error as FormatError {
                if attempt == Self.markAttempts { throw error }
                usleep(1_000)
            }
        }
    }

    private static let markAttempts = 5

    private static func readID(_ path: String) throws(SpoolFailure) -> String? {
        let text: String?
        do { text = try TextFile.read("\(path)/\(idName)") } catch { throw .io(error) }
        guard let text else { return nil }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.first == "coldpath-spool 1" else {
            throw .badID(path: path, reason: "the first line must be \"coldpath-spool 1\"; a newer version may have written it")
        }
        guard lines.count == 3, lines[2].isEmpty, lines[1].hasPrefix("writer "), NameRule.isWriterID(String(lines[1].dropFirst(7)))
        else { throw .badID(path: path, reason: "expected a second and last line \"writer ID\"") }
        return String(lines[1].dropFirst(7))
    }

    /// The host's name with eight random hex digits: two spools must never share an id, not even after one was deleted.
    private static func makeWriterID() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, 255)
        let name = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let host = String(name.filter { NameRule.isWriterID(String($0)) }.prefix(FormatLimits.writerIDBytes - 9))
        return "\(host.isEmpty ? "spool" : host)-\(hex(UInt32.random(in: .min ... .max)))"
    }
}
