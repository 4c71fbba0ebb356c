import Glibc
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// Files of events, good and bad, through `spool-writer import`.
@Suite struct ImportTests {
    struct Outcome: Equatable {
        var accepted: UInt64 = 0
        var refused: UInt64 = 0
        var repeated: UInt64 = 0
        var rejects: [String] = []
    }

    /// Imports files with these contents, named `a`, `b`, ...; rejects name them so.
    private func run(_ spool: TestSpool, _ files: [[UInt8]], table: String? = nil, name: String? = nil) throws -> Outcome {
        let recorder = try spool.recorder()
        let rejectsPath = spool.directory.file("rejects")
        let rejects = try RejectsFile(path: rejectsPath)
        var importer = LineImporter(recorder: recorder, table: table, name: name, rejects: rejects)
        defer { importer.free() }
        for (index, bytes) in files.enumerated() {
            let path = spool.directory.file(String("abcdefgh".prefix(index + 1).last!))
            try Bytes.write(bytes, to: path)
            try importer.take(path)
        }
        try recorder.finish()
        try rejects.finish()
        let source = importer.source
        let lines = try Bytes.text(rejectsPath).split(separator: "\n").map { String($0).replacing(spool.directory.path + "/", with: "") }
        return Outcome(accepted: source.accepted, refused: source.refused, repeated: source.repeated, rejects: lines)
    }

    private func lines(_ range: Range<UInt64>) -> [UInt8] { Array(range.map { TestSpool.line($0) + "\n" }.joined().utf8) }

    @Test(
        "odd files are read as far as they make sense: exactly the good lines arrive",
        arguments: [
            ("empty", "", 0, []),
            ("blank lines", "\n \n\t\n\r\nL0\n\n", 1, []),
            ("no newline at the end", "L0\nL1", 2, []),
            ("CR LF", "L0\r\nL1\r\n", 2, []),
            ("no newline, but a CR", "L0\r\nL1\r", 2, []),
            (
                "cut in the middle", "L0\n{\"table\":\"ticks\",\"ts\":17673", 1,
                [
                    #"{"file":"a","line":2,"table":"ticks","field":"ts","reason":"17673 is too small for nanoseconds since 1970; is it seconds?","event":"{\"table\":\"ticks\",\"ts\":17673"}"#
                ]
            ),
            (
                "byte order mark", "\u{FEFF}L0\nL1\n", 1,
                [
                    #"{"file":"a","line":1,"reason":"not JSON: expected an object {...} at column 1, found byte 0xef","event":"\#u{FEFF}LINE0"}"#
                ]
            ),
            (
                "a JSON array of events", "[\nL0\n]\n", 1,
                [
                    #"{"file":"a","line":1,"reason":"not JSON: expected an object {...} at column 1, found \"[\"","event":"["}"#,
                    #"{"file":"a","line":3,"reason":"not JSON: expected an object {...} at column 1, found \"]\"","event":"]"}"#,
                ]
            ),
            (
                "events with commas after them", "L0,\nL1\n", 1,
                [
                    #"{"file":"a","line":1,"table":"ticks","reason":"not JSON: expected the end of the line at column 49, found \",\"","event":"LINE0,"}"#
                ]
            ),
            (
                "two events in a line", "L0 L1\nL2\n", 1,
                [
                    #"{"file":"a","line":1,"table":"ticks","reason":"not JSON: expected the end of the line at column 50, found \"{\"","event":"LINE0 LINE1"}"#
                ]
            ),
            (
                "an event over two lines", "{\"table\":\"ticks\",\n\"ts\":1}\nL0\n", 1,
                [
                    #"{"file":"a","line":1,"table":"ticks","reason":"not JSON: expected a string at column 18, found the end of the line","event":"{\"table\":\"ticks\","}"#,
                    #"{"file":"a","line":2,"reason":"not JSON: expected an object {...} at column 1, found \"\"\"","event":"\"ts\":1}"}"#,
                ]
            ),
            (
                "CSV", "ts,n\n1,2\n", 0,
                [
                    #"{"file":"a","line":1,"reason":"not JSON: expected an object {...} at column 1, found \"t\"","event":"ts,n"}"#,
                    #"{"file":"a","line":2,"reason":"not JSON: expected an object {...} at column 1, found \"1\"","event":"1,2"}"#,
                ]
            ),
            (
                "zero bytes", "\0\0\nL0\n", 1,
                [
                    #"{"file":"a","line":1,"reason":"not JSON: expected an object {...} at column 1, found byte 0x00","event":"\u0000\u0000"}"#
                ]
            ),
        ] as [(String, String, Int, [String])])
    func oddFiles(what: String, text: String, good: Int, rejects: [String]) throws {
        func expand(_ text: String, _ mark: String, _ line: (UInt64) -> String) -> String {
            (0..<UInt64(3)).reduce(text) { $0.replacing("\(mark)\($1)", with: line($1)) }
        }
        let spool = try TestSpool()
        let outcome = try run(spool, [Array(expand(text, "L", { TestSpool.line($0) }).utf8)])
        #expect(outcome.rejects == rejects.map { expand($0, "LINE", { TestSpool.line($0).replacing("\"", with: "\\\"") }) }, "\(what)")
        #expect(outcome.accepted == UInt64(good), "\(what)")
        #expect(good == 0 ? !Directory.exists("\(spool.spoolPath)/ticks") : try spool.rows().count == good, "\(what)")
    }

    @Test("a binary file is refused line by line, and the file after it arrives whole")
    func binary() throws {
        var random = SeededRandom(seed: 5)
        let noise = (0..<20_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }.filter { $0 != UInt8(ascii: "{") }
        let spool = try TestSpool()
        let outcome = try run(spool, [noise, lines(0..<100)])
        #expect(outcome.accepted == 100)
        #expect(outcome.refused == UInt64(outcome.rejects.count))
        #expect(outcome.refused > 50)
        #expect(try spool.numbers() == (0..<100).map { $0 })
    }

    @Test("a line of more than 1 MiB is refused by its number, and the lines around it arrive")
    func tooLong() throws {
        let spool = try TestSpool()
        let long = [UInt8](repeating: UInt8(ascii: " "), count: (1 << 20) + 1) + [0x0A]
        let outcome = try run(spool, [lines(0..<2) + long + lines(2..<3) + long.dropLast()])
        #expect(
            outcome.rejects == [
                #"{"file":"a","line":3,"reason":"line of more than 1048576 bytes"}"#,
                #"{"file":"a","line":5,"reason":"line of more than 1048576 bytes"}"#,
            ])
        #expect(try spool.numbers() == [0, 1, 2])
    }

    @Test("with a table given, lines need none, and one of their own is given twice")
    func table() throws {
        let spool = try TestSpool()
        let time = TestSpool.time
        let text = "{\"ts\":\(time),\"n\":0}\n  { \"ts\":\(time),\"n\":1}\n{}\n{\"table\":\"ticks\",\"ts\":\(time),\"n\":2}\n"
        let outcome = try run(spool, [Array(text.utf8)], table: "ticks")
        #expect(
            outcome.rejects.map { $0.prefix { $0 != "v" } } == [
                #"{"file":"a","line":3,"table":"ticks","field":"ts","reason":"missing; the column has no default","e"#,
                #"{"file":"a","line":4,"table":"ticks","field":"table","reason":"gi"#,
            ])
        #expect(try spool.numbers() == [0, 1])
    }

    @Test("a named import that is run again adds nothing; one that was cut short adds the rest")
    func again() throws {
        let spool = try TestSpool(["writer.chunk_rows": "10"])
        let first = try run(spool, [lines(0..<25)], name: "day")
        #expect((first.accepted, first.repeated) == (25, 0))
        let second = try run(spool, [lines(0..<25), lines(25..<40)], name: "day")
        #expect((second.accepted, second.repeated) == (15, 25))
        let other = try run(spool, [lines(40..<41)], name: "other day")
        #expect((other.accepted, other.repeated) == (1, 0))
        #expect(try spool.numbers() == (0..<41).map { $0 })
    }

    @Test("files that cannot be read and settings that make no sense are told with what to do")
    func failures() throws {
        let spool = try TestSpool()
        let recorder = try spool.recorder()
        var importer = LineImporter(recorder: recorder, table: nil, name: nil, rejects: try RejectsFile(path: spool.directory.file("r")))
        defer { importer.free() }
        let missing = spool.directory.file("missing")
        #expect(#expect(throws: IOFailure.self) { try importer.take(missing) }?.description == "open \(missing): No such file or directory")
        #expect(
            #expect(throws: IOFailure.self) { try importer.take(spool.directory.path) }?.description
                == "read \(spool.directory.path): Is a directory")
    }
}
