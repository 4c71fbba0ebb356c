import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolTesting

@testable import spool_writer

/// A spool of one table, made by the writer's own parts, with times that the test sets.
final class TestSpool {
    static let table = "trades"
    static let writer = "test-1"
    /// 2026-01-02T03:04:05Z.
    static let start: Int64 = 1_767_323_045_000_000_000
    static let second: Int64 = 1_000_000_000
    static let day: Int64 = 86_400 * second

    private let home = TemporaryDirectory()
    let spool: SpoolDirectory
    private let lock: File
    private let recorder: TableRecorder
    private let source = Source(name: "socket:test")
    private var parser = EventParser()
    /// The time of everything that the writer does next.
    var now = TestSpool.start
    private(set) var rows = 0

    static func schema(table: String = TestSpool.table) -> TableSchema {
        let text = """
            CREATE TABLE \(table) (
                ts DateTime64(9, 'UTC'), symbol LowCardinality(String), px Float64, note Nullable(String), tags Array(UInt8),
                spool_writer LowCardinality(String), spool_seq UInt64
            ) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts
            """
        return try! SchemaText.tables(from: [("0001_\(table).sql", text)])[0]
    }

    init(table: String = TestSpool.table, segmentBytes: Int = 1 << 30) throws {
        (spool, lock) = try SpoolDirectory.openForWriting("\(home.path)/spool", configured: Self.writer)
        let schema = Self.schema(table: table)
        let segments = SegmentWriter(
            schema: schema, spool: spool, start: try Recovery.run(spool: spool, table: table, now: Self.start),
            segmentBytes: segmentBytes, segmentAge: .max / 4)
        recorder = try TableRecorder(
            schema: schema, tableClass: .audit, sync: .eachChunk, limits: ChunkLimits(rows: 1_000_000, age: .max, bytes: 1 << 30),
            writer: spool.writer, segments: segments, market: nil)
    }

    deinit { parser.free() }

    var path: String { spool.path }
    var checkpoints: String { "\(home.path)/checkpoints" }
    var table: String { recorder.schema.table }
    var directory: String { spool.directory(of: table) }
    /// The sequence after the last row.
    var end: UInt64 { UInt64(rows) + 1 }
    func segments() throws -> [SegmentName] { try spool.segments(of: table) }
    func path(of segment: SegmentName) -> String { spool.path(of: segment, table: table) }

    // MARK: Writing

    /// Takes a row; nothing is written yet.
    func append(at time: Int64? = nil, symbol: String = "BTC", px: Double = 1.5, note: String? = nil, tags: [Int] = []) throws {
        let time = time ?? Self.start + Int64(rows)
        var line = "{\"table\":\"\(table)\",\"ts\":\"\(rfc3339(time))\",\"symbol\":\(RowText.quoted(symbol)),\"px\":\(px),\"tags\":\(tags)"
        if let note { line += ",\"note\":\(RowText.quoted(note))" }
        var bytes = Array((line + "}").utf8)
        try bytes.withUnsafeMutableBytes {
            try parser.parse(UnsafeRawBufferPointer($0), from: 0, into: recorder.builder, names: recorder.names)
        }
        try recorder.finishRow(from: source, position: UInt64(rows), now: now, monotonic: now)
        rows += 1
    }

    /// Writes rows as one durable chunk.
    func chunk(_ count: Int, at time: Int64? = nil, symbol: String = "BTC") throws {
        for row in 0..<count { try append(at: time.map { $0 + Int64(row) }, symbol: symbol) }
        try commit()
    }

    func cut() { recorder.cut(monotonic: now) }

    /// Makes everything appended durable; what was not cut becomes one chunk.
    func commit() throws {
        recorder.cut(monotonic: now)
        try recorder.commit(now: now)
    }

    func seal() throws { try recorder.segments.seal(now: now) }

    // MARK: Damaging

    func bytes(of path: String) throws -> [UInt8] {
        let file = try File.openForReading(path)
        return try file.read(Int(file.size()), at: 0)
    }

    func flip(_ path: String, at offset: UInt64, mask: UInt8 = 1) throws {
        let file = try File.openForWriting(path)
        try file.write([try file.read(1, at: offset)[0] ^ mask], at: offset)
    }

    func overwrite(_ path: String, _ bytes: [UInt8], at offset: UInt64 = 0) throws {
        try File.openForWriting(path).write(bytes, at: offset)
    }

    func truncate(_ path: String, to size: UInt64) throws { try File.openForWriting(path).truncate(to: size) }
    func append(_ bytes: [UInt8], to path: String) throws {
        let file = try File.openForWriting(path)
        try file.write(bytes, at: file.size())
    }

    /// Gives the skippable frame at the offset a valid checksum again.
    func reseal(_ path: String, frame: UInt64) throws {
        var bytes = Array(try self.bytes(of: path)[Int(frame)...])
        let size = 8 + Int(bytes[4..<8].enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << (8 * $1.offset) })
        bytes.replaceSubrange(16..<20, with: [0, 0, 0, 0])
        let crc = bytes[..<size].withUnsafeBytes { crc32c($0) }
        try overwrite(path, (0..<4).map { UInt8(truncatingIfNeeded: crc >> (8 * $0)) }, at: frame + 16)
    }

    var markPath: String { "\(directory)/\(DurableMark.fileName)" }

    /// The chunks of a segment, as they lie there.
    func chunks(of segment: SegmentName) throws -> [LocatedChunk] {
        let reader = try SegmentReader(path: path(of: segment))
        var chunks: [LocatedChunk] = []
        var offset = reader.start
        while case .chunk(let chunk) = try reader.item(at: offset, limit: reader.file.size()) {
            chunks.append(chunk)
            offset = chunk.end
        }
        return chunks
    }
}
