import Logging
import SpoolFormat
import SpoolIO
import SpoolRing
import SpoolTesting
import Synchronization
import Testing

@testable import spool_writer

/// What was logged, as text.
final class LogRecord: Sendable {
    private let lines = Mutex<[String]>([])

    var logger: Logger { Logger(label: "test") { _ in Handler(record: self) } }
    var all: [String] { lines.withLock { $0 } }

    /// Lines that contain all of these texts.
    func lines(with texts: String...) -> [String] { all.filter { line in texts.allSatisfy { line.contains($0) } } }

    private struct Handler: LogHandler {
        let record: LogRecord
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let about = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
            record.lines.withLock { $0.append("\(event.level): \(event.message)\(about)") }
        }
    }
}

/// A spool and a directory of rings, with a writer that is led step by step, killed and started again.
final class TestRings {
    static let tickSchema = TableSchema(
        table: "ticks",
        columns: [
            Column(name: "ts", type: ColumnType(.dateTime64)), Column(name: "n", type: ColumnType(.uint(bits: 64))),
            Column(name: "note", type: ColumnType(.string), defaultText: "''"),
        ], eventTimeColumn: 0, partitionRule: .day, retention: nil)
    static let layout = RingLayout(tickSchema)
    static let ticks = layout.declared

    let spool: TestSpool
    let directory: String
    let log = LogRecord()
    private(set) var recorder: Recorder?
    private(set) var rings: RingSet?

    init(schemas: [String] = [TestSpool.ticks], _ flags: [String: String] = [:]) throws {
        spool = try TestSpool(schemas: schemas)
        directory = try spool.directory.directory("rings")
        spool.flags.merge(["writer.rings": directory]) { $1 }
        spool.flags.merge(flags) { $1 }
    }

    /// Another table of plain rows.
    static func schema(_ table: String) -> String { TestSpool.ticks.replacing("TABLE ticks", with: "TABLE \(table)") }

    /// What the next writer's schemas have beside the others.
    func addSchema(_ table: String) throws {
        try TextFile.replace("\(spool.schemaPath)/0099_\(table).sql", with: Self.schema(table))
    }

    static func declaration(_ table: String) -> DeclaredTable {
        DeclaredTable(name: table, fingerprint: 0, rowBytes: ticks.rowBytes, columns: ticks.columns)
    }

    static func row(_ n: UInt64, time: Int64 = TestSpool.time, note: String = "") -> [UInt8] {
        layout.bytes([.integer(Int128(time)), .integer(Int128(n)), .text(note)])
    }

    /// A row that the writer must refuse: its text lies outside of it.
    static func badRow(_ n: UInt64, time: Int64 = TestSpool.time) -> [UInt8] {
        var bytes = row(n, time: time)
        bytes.replaceSubrange(16..<24, with: RingLayout.little(UInt32(20)) + RingLayout.little(UInt32(1_000)))
        return bytes
    }

    func producer(_ tables: [String] = ["ticks"], bytes: Int = 64 << 10) throws -> RingProducer {
        try RingProducer(directory, tables.map(Self.declaration), bytes: bytes)
    }

    // MARK: The writer

    func start() throws {
        let recorder = try spool.recorder(log: log.logger)
        self.recorder = recorder
        rings = try RingSet.open(try spool.configuration(), recorder: recorder, log: log.logger)
    }

    /// Looks for rings and takes what they have.
    @discardableResult
    func drain() -> Int {
        rings?.directoryChanged()
        return rings?.drain(monotonic: Clock.monotonic()) ?? 0
    }

    /// Makes durable what is taken, and tells nobody yet.
    func commit() { recorder?.commit() }

    func publish() { rings?.publish() }

    /// All of it.
    func settle() {
        drain()
        commit()
        publish()
    }

    /// SIGKILL: nothing more is written or told.
    func kill() {
        rings = nil
        recorder = nil
    }

    func stop() throws {
        settle()
        try recorder?.finish()
        publish()
        kill()
    }

    // MARK: What is there

    /// File names in the rings' directory, without the lock.
    func files() throws -> [String] { try Bytes.list(directory).filter { !$0.hasPrefix(".writer") } }

    static func name(_ path: String) -> String { String(path.split(separator: "/").last ?? "") }
}
