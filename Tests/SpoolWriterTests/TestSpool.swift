import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// A spool in a directory of its own, with the writer's parts as a test needs them.
final class TestSpool {
    /// A table of plain rows, for tests that are not about types.
    static let ticks = """
        CREATE TABLE ticks (ts DateTime64(9, 'UTC'), n UInt64, note String DEFAULT '', spool_writer String, spool_seq UInt64)
        ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts;
        """
    /// 2026-01-02T03:04:05Z, as a line's time.
    static let time = Samples.time

    let directory: TemporaryDirectory
    var spoolPath: String
    let schemaPath: String
    var flags: [String: String]

    /// - Parameter schemas: DDL texts; files are numbered in this order.
    init(schemas: [String] = [TestSpool.ticks], _ flags: [String: String] = [:]) throws {
        directory = TemporaryDirectory()
        spoolPath = directory.file("spool")
        schemaPath = try directory.directory("schemas")
        for (index, text) in schemas.enumerated() {
            try Bytes.write(Array(text.utf8), to: "\(schemaPath)/\(String("000\(index + 1)".suffix(4)))_test.sql")
        }
        self.flags = ["writer.id": "w1"].merging(flags) { $1 }
    }

    func configuration() throws -> Configuration {
        try Configuration(
            file: nil, environment: [:], flags: ["spool": spoolPath, "schemas": schemaPath].merging(flags) { own, _ in own })
    }

    /// Opens the spool for writing; what an earlier recorder left is recovered.
    func recorder() throws -> Recorder {
        var log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        log.logLevel = .critical
        return try recorder(log: log)
    }

    func recorder(log: Logger) throws -> Recorder { try Recorder(configuration: try configuration(), log: log) }

    /// What recovery finds in a table, without a recorder.
    func recover(_ table: String = "ticks") throws -> RecoveredTable {
        try Recovery.run(spool: try SpoolDirectory.open(spoolPath), table: table, now: Self.time)
    }

    static func line(_ n: UInt64, table: String = "ticks", time: Int64 = TestSpool.time) -> String {
        "{\"table\":\"\(table)\",\"ts\":\(time + Int64(n)),\"n\":\(n)}"
    }

    // MARK: What is there

    func segments(_ table: String = "ticks") throws -> [SegmentName] {
        try SpoolDirectory.open(spoolPath).segments(of: table)
    }

    func path(_ name: SegmentName, _ table: String = "ticks") -> String { "\(spoolPath)/\(table)/\(name.fileName)" }
    func newest(_ table: String = "ticks") throws -> String { path(try #require(try segments(table).last), table) }
    func files(_ table: String = "ticks") throws -> [String] { try Bytes.list("\(spoolPath)/\(table)") }
    var markPath: String { "\(spoolPath)/ticks/durable" }

    func mark(_ table: String = "ticks") throws -> DurableMark? { try SpoolDirectory.open(spoolPath).mark(of: table) }

    /// Every readable row of the table, in order; damage fails the test.
    func contents(_ table: String = "ticks") throws -> [SegmentContents] {
        try segments(table).map { try SegmentWalk.contents(of: try Bytes.read(path($0, table))) }
    }

    func rows(_ table: String = "ticks") throws -> [[Cell]] { try contents(table).flatMap(\.rows) }

    /// The values of `n`, which tests use to tell rows apart.
    func numbers(_ table: String = "ticks") throws -> [UInt64] {
        try rows(table).map { row in
            guard case .integer(let n) = row[1] else { throw FormatError.malformed("no number") }
            return UInt64(n)
        }
    }

    /// The values of `spool_seq`.
    func sequences(_ table: String = "ticks") throws -> [UInt64] {
        try rows(table).map { row in
            guard case .integer(let n)? = row.last else { throw FormatError.malformed("no sequence") }
            return UInt64(n)
        }
    }
}

extension Recorder {
    /// Takes one line as a socket would hand it over.
    func take(_ line: String, from source: Source) throws(Refusal) { try take(Array(line.utf8), from: source) }

    func take(_ line: [UInt8], from source: Source) throws(Refusal) {
        // Digits behind the line: a number that went on into them would be another.
        let memory = line + [UInt8](repeating: 0x39, count: LineBuffer.readAhead)
        let outcome = memory.withUnsafeBytes { raw -> Refusal? in
            do throws(Refusal) {
                let line = UnsafeRawBufferPointer(rebasing: raw[..<line.count])
                try append(line, readAhead: LineBuffer.readAhead, from: source, now: TestSpool.time, monotonic: Clock.monotonic())
                return nil
            } catch {
                return error
            }
        }
        if let outcome { throw outcome }
    }

    /// Why a line is refused, as `field: reason`; nil if it is taken.
    func refusal(of line: [UInt8], from source: Source) -> String? {
        do throws(Refusal) {
            try take(line, from: source)
            return nil
        } catch {
            return error.field.map { "\($0): \(error.reason)" } ?? error.reason
        }
    }
}
