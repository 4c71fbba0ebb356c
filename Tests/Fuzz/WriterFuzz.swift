import Glibc
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

@testable import spool_writer

/// Lines of producers on the socket.
enum WriterFuzz {
    private static let inputsOfARecorder = 20_000

    private static let schema = """
        CREATE TABLE every (
            ts DateTime64(9, 'UTC'), n UInt64 DEFAULT 0, i8 Int8 DEFAULT 0, i64 Int64 DEFAULT 0, u16 UInt16 DEFAULT 0, f32 Nullable(Float32),
            f64 Nullable(Float64), flag Bool DEFAULT false, d9 Nullable(Decimal(9, 2)), d38 Nullable(Decimal(38, 10)), day Nullable(Date),
            at Nullable(DateTime('UTC')), side Enum8('buy' = 1, 'sell' = 2) DEFAULT 'buy', id Nullable(UUID), code Nullable(FixedString(4)),
            text LowCardinality(String) DEFAULT '', nums Array(Int32), names Array(String), spool_writer LowCardinality(String), spool_seq UInt64
        ) ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY ts;
        """

    nonisolated(unsafe) private static var recorder: Recorder?
    nonisolated(unsafe) private static var source = Source(name: nil)
    nonisolated(unsafe) private static var inputs = 0

    static func lines(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count < Recorder.maxLineBytes, !bytes.contains(0x0A) else { return }
        inputs += 1
        if inputs % inputsOfARecorder == 1 { startAnew() }
        guard let recorder else { return }
        // Exactly as large as it is, so that a read behind it is noticed.
        let now = Clock.now()
        try? recorder.append(bytes, from: source, now: now, monotonic: now)
        if inputs % 64 == 0 { recorder.commit() }
    }

    private static func startAnew() {
        recorder = nil
        Fuzz.directory = nil
        let schemas = Fuzz.file("schemas")
        mkdir(schemas, 0o700)
        try! File.create(schemas + "/0001_every.sql").write(Array(schema.utf8), at: 0)
        let configuration = try! Configuration(
            file: nil, environment: [:], flags: ["spool": Fuzz.file("spool"), "schemas": schemas])
        recorder = try! Recorder(configuration: configuration, log: Logger(label: "") { _ in SwiftLogNoOpLogHandler() }, givesUp: false)
        source = Source(name: nil)
    }

    static func introduction(_ bytes: UnsafeRawBufferPointer) { _ = try? Introduction(bytes) }
}
