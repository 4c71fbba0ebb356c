import CSpoolRing
import SpoolFormat

/// Why a file is not taken as a ring, or no longer.
public enum RingDefect: Error, Equatable, CustomStringConvertible {
    /// It never was one: a link, a foreign file, a header that contradicts itself.
    case notARing(String)
    /// Its owner broke a rule of `docs/ring.md` while it was in use. Rows before that are good.
    case corrupt(String)
    /// One of its tables does not fit the schemas. It may fit those of another writer, so nothing is done to it.
    case unfit(String)
    /// The file became shorter while it was mapped.
    case cut
    /// Nothing is wrong with it: this process cannot take it now, for want of descriptors or memory. It may be tried again.
    case unavailable(String)

    public var description: String {
        switch self {
        case .notARing(let why): "not a ring: \(why)"
        case .corrupt(let why): "corrupt: \(why)"
        case .unfit(let why): why
        case .cut: "the file was cut while it was in use"
        case .unavailable(let why): why
        }
    }
}

/// A ring's first page (`docs/ring.md` §2), checked.
public struct RingHeader: Equatable, Sendable {
    public let headerBytes: Int
    public let dataBytes: Int
    public let ringID: UInt64
    /// Nanoseconds since the Unix epoch.
    public let created: UInt64
    public let process: UInt32
    public let tableCount: Int
    public let tablesBytes: Int
    public let namesOffset: Int
    public let namesBytes: Int
    public let producer: String
    let checksum: UInt32

    static let bytes = MemoryLayout<spool_ring_identity>.size

    /// The name that the producer gave the file. Under any other it is a copy, whose rows would be recorded twice.
    public var fileName: String { "\(producer)-\(process)-\(hex(ringID)).ring" }

    /// The longest record of this ring, in bytes.
    public var maxRecordBytes: Int { min(Int(SPOOL_RING_MAX_RECORD_BYTES), dataBytes / 4) }

    /// - Parameters:
    ///   - page: at least ``bytes`` bytes of the file's start.
    ///   - fileBytes: the file's size.
    init(_ page: [UInt8], fileBytes: UInt64, pageBytes: Int) throws(RingDefect) {
        guard page.count >= Self.bytes else { throw .notARing("\(fileBytes) bytes are less than a header") }
        let raw = page.withUnsafeBytes { $0.loadUnaligned(as: spool_ring_identity.self) }
        guard raw.magic == SPOOL_RING_MAGIC else { throw .notARing("it does not begin with the magic of a ring") }
        guard raw.version == UInt32(SPOOL_RING_VERSION) else {
            throw .notARing("version \(raw.version) of the ring; this writer knows version \(SPOOL_RING_VERSION)")
        }
        headerBytes = Int(raw.header_bytes)
        tableCount = Int(raw.table_count)
        tablesBytes = Int(raw.tables_bytes)
        namesOffset = Int(raw.names_offset)
        namesBytes = Int(raw.names_bytes)
        let data = raw.data_bytes
        guard data >= UInt64(SPOOL_RING_MIN_DATA_BYTES), data <= UInt64(SPOOL_RING_MAX_DATA_BYTES), data & (data - 1) == 0 else {
            throw .notARing("\(data) bytes of data; expected a power of two from 64 KiB to 4 GiB")
        }
        dataBytes = Int(data)
        guard headerBytes % pageBytes == 0, fileBytes == UInt64(headerBytes) + data else {
            throw .notARing("the file has \(fileBytes) bytes, its header says \(headerBytes) and \(data)")
        }
        guard tableCount >= 1, tableCount <= Int(SPOOL_RING_MAX_TABLES), tablesBytes <= Int(SPOOL_RING_MAX_DECLARATION_BYTES),
            namesBytes >= 4, namesBytes <= Int(SPOOL_RING_MAX_NAMES_BYTES), namesOffset % 4 == 0,
            namesOffset >= Int(SPOOL_RING_TABLES) + tablesBytes, namesOffset + namesBytes <= headerBytes
        else { throw .notARing("its header contradicts itself") }
        ringID = raw.ring_id
        created = raw.created
        process = raw.process
        checksum = raw.checksum
        let name = withUnsafeBytes(of: raw.producer) { Array($0.prefix { $0 != 0 }) }
        producer = String(decoding: name.filter { $0 > 0x20 && $0 < 0x7F }, as: UTF8.self)
    }

    /// Whether the identity and the declarations are what the producer wrote.
    func check(_ page: [UInt8], declarations: [UInt8]) throws(RingDefect) {
        var identity = Array(page.prefix(Self.bytes))
        let field = MemoryLayout<spool_ring_identity>.offset(of: \.checksum) ?? 60
        for index in field..<field + 4 { identity[index] = 0 }
        let head = identity.withUnsafeBytes { crc32c($0) }
        let whole = declarations.withUnsafeBytes { crc32c($0, continuing: head) }
        guard whole == checksum else { throw .notARing("the checksum of its header differs") }
    }
}

/// A column as a producer declares it (`docs/ring.md` §4).
public struct DeclaredColumn: Equatable, Sendable {
    public enum Storage: UInt8, Sendable { case fixed, string, name, array }

    public let name: String
    public let type: String
    public let storage: Storage
    /// Bytes from the row's first.
    public let offset: Int
    /// Where the null byte is; nil if the column is not Nullable.
    public let nullOffset: Int?

    public init(name: String, type: String, storage: Storage, offset: Int, nullOffset: Int?) {
        self.name = name
        self.type = type
        self.storage = storage
        self.offset = offset
        self.nullOffset = nullOffset
    }
}

/// A table as a producer declares it.
public struct DeclaredTable: Equatable, Sendable {
    public let name: String
    public let fingerprint: UInt64
    /// Bytes of a row's fixed part.
    public let rowBytes: Int
    public let columns: [DeclaredColumn]

    public init(name: String, fingerprint: UInt64, rowBytes: Int, columns: [DeclaredColumn]) {
        self.name = name
        self.fingerprint = fingerprint
        self.rowBytes = rowBytes
        self.columns = columns
    }

    /// Reads all declarations; nothing may be left over.
    public static func decode(_ bytes: [UInt8], count: Int) throws(RingDefect) -> [DeclaredTable] {
        do {
            return try bytes.withUnsafeBytes { raw in
                var reader = ByteReader(raw)
                let tables = try (0..<count).map { _ in try DeclaredTable(from: &reader) }
                guard reader.remaining == 0 else { throw FormatError.malformed("\(reader.remaining) bytes are left over") }
                // A chunk says how far it has come in the ring for all rows of its table, which two declarations would make two places.
                var names: Set<String> = []
                for table in tables where !names.insert(table.name).inserted {
                    throw FormatError.malformed("table \(table.name) is declared twice")
                }
                return tables
            }
        } catch {
            throw .notARing("its table declarations: \(error)")
        }
    }

    private init(from reader: inout ByteReader) throws(FormatError) {
        name = try reader.takeText8()
        fingerprint = try reader.take()
        rowBytes = Int(try reader.take(UInt32.self))
        guard NameRule.isTable(name), rowBytes > 0, rowBytes <= Int(SPOOL_RING_MAX_ROW_BYTES) else {
            throw .malformed("a table name or a row size that cannot be")
        }
        let count = Int(try reader.take(UInt16.self))
        guard count > 0, count <= Int(SPOOL_RING_MAX_COLUMNS) else { throw .malformed("\(count) columns") }
        var columns: [DeclaredColumn] = []
        for _ in 0..<count {
            let name = try reader.takeText8()
            let type = try reader.takeText16()
            guard let storage = DeclaredColumn.Storage(rawValue: try reader.take()) else { throw .malformed("an unknown storage") }
            let offset = Int(try reader.take(UInt32.self))
            let null = try reader.take(UInt32.self)
            columns.append(
                DeclaredColumn(
                    name: name, type: type, storage: storage, offset: offset, nullOffset: null == .max ? nil : Int(null)))
        }
        self.columns = columns
    }
}
