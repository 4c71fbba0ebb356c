import Foundation
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// Runs the built `spool-loader`.
private func command(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    let process = Process()
    process.executableURL = URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("spool-loader")
    process.arguments = arguments
    process.environment = [:]
    // Files, since two pipes could fill up one after the other.
    let home = TemporaryDirectory()
    for name in ["out", "err"] { try Bytes.write([], to: home.file(name)) }
    process.standardOutput = FileHandle(forWritingAtPath: home.file("out"))
    process.standardError = FileHandle(forWritingAtPath: home.file("err"))
    try process.run()
    process.waitUntilExit()
    return (process.terminationStatus, try Bytes.text(home.file("out")), try Bytes.text(home.file("err")))
}

/// What the commands print for a small spool whose times are fixed, letter by letter.
@Suite struct CommandOutputTests {
    /// Rows 1-2 and 3 in a sealed segment, 4 in an active one.
    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        try spool.append(symbol: "BTC", px: 1.5, note: "plain", tags: [1, 2])
        try spool.append(symbol: "say \"hi\", ok", px: -0.25, note: "two\nlines\r\nand a \\ and \"\u{301}")
        try spool.commit()
        try spool.append(at: TestSpool.start + TestSpool.day, symbol: "ETH", px: 1e300)
        try spool.commit()
        try spool.seal()
        try spool.append(at: TestSpool.start + TestSpool.day + 1, symbol: "", px: 0)
        try spool.commit()
        return spool
    }

    private func run(_ name: String, _ spool: TestSpool, _ more: [String] = []) throws -> (status: Int32, output: String, errors: String) {
        try command(
            [name, "--spool", spool.path] + (name == "cat" ? [] : name == "verify" ? [] : ["--checkpoints", spool.checkpoints]) + more)
    }

    @Test func lsListsTables() throws {
        let spool = try spool()
        let bytes = byteText(try spool.segments().reduce(0) { try $0 + File.openForReading(spool.path(of: $1)).size() })
        let result = try run("ls", spool)
        #expect(
            result.output == """
                TABLE   SEGMENTS  ROWS  FROM                 TO                      SIZE  DURABLE  LOADED  LAG ROWS  LAG
                trades         2     4  2026-01-02T03:04:05  2026-01-03T03:04:05  \(bytes)        4       -         -    -

                """)
        #expect(result.status == 0)
    }

    @Test func lsListsSegmentsOfATable() throws {
        let spool = try spool()
        let sizes = try spool.segments().map { byteText(try File.openForReading(spool.path(of: $0)).size()) }
        #expect(
            try run("ls", spool, ["trades"]).output == """
                SEGMENT                              STATE   ROWS  FIRST  LAST  FROM                 TO                      SIZE
                0000000001-00000000000000000001.lz4  sealed     3      1     3  2026-01-02T03:04:05  2026-01-03T03:04:05  \(sizes[0])
                0000000002-00000000000000000004.lz4  active     1      4     4  2026-01-03T03:04:05  2026-01-03T03:04:05  \(String(repeating: " ", count: sizes[0].count - sizes[1].count))\(sizes[1])

                """)
    }

    @Test func lsNamesATableThatIsNotThere() throws {
        let spool = try spool()
        let result = try run("ls", spool, ["fills"])
        #expect(result.status == 64 && result.errors == "spool-loader: the spool \(spool.path) has no table fills; it has trades\n")
    }

    @Test func verifySaysOKAndNamesDamage() throws {
        let spool = try spool()
        let size = byteText(try spool.segments().reduce(0) { try $0 + File.openForReading(spool.path(of: $1)).size() })
        let clean = "TABLE   SEGMENTS  CHUNKS  ROWS     SIZE  RESULT\ntrades         2       3     4  \(size)  "
        let sound = try run("verify", spool)
        #expect(sound.output == clean + "ok\n" && sound.status == 0)
        let segment = try spool.segments()[0]
        let chunk = try spool.chunks(of: segment)[0]
        try spool.flip(spool.path(of: segment), at: chunk.dataOffset + 10)
        let damaged = try run("verify", spool)
        #expect(damaged.status == 1)
        #expect(
            damaged.output.hasPrefix(
                clean + "1 damage\nDAMAGE trades/\(segment) at \(chunk.offset): rows 1 to 2: checksum of the data frame differs: stored "))
    }

    @Test func catPrintsJSONThatParsesAgain() throws {
        let spool = try spool()
        let result = try run("cat", spool, ["trades"])
        #expect(result.status == 0 && result.errors == "")
        let lines = result.output.split(separator: "\n").map(String.init)
        #expect(
            lines.first == """
                {"table":"trades","ts":"2026-01-02T03:04:05.000000000Z","symbol":"BTC","px":1.5,"note":"plain","tags":[1,2],"spool_writer":"test-1","spool_seq":1}
                """)
        let rows = try lines.map { try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]) }
        try #require(rows.map { $0["spool_seq"] as? Int } == [1, 2, 3, 4])
        #expect(rows[1]["note"] as? String == "two\nlines\r\nand a \\ and \"\u{301}")
        #expect(rows[2]["note"] is NSNull && rows[2]["px"] as? Double == 1e300)
    }

    @Test func catPrintsCSVThatParsesAgain() throws {
        let result = try run("cat", spool(), ["trades", "--format", "csv"])
        let records = csv(result.output)
        #expect(records.first == ["ts", "symbol", "px", "note", "tags", "spool_writer", "spool_seq"])
        try #require(records.map(\.count) == [7, 7, 7, 7, 7])
        #expect(records[2][1] == "say \"hi\", ok")
        #expect(Array(records[2][3].utf8) == Array("two\nlines\r\nand a \\ and \"\u{301}".utf8))
        #expect(records[1][4] == "[1,2]" && records[3][3] == "")
    }

    @Test func catKeepsToTheRangesAskedFor() throws {
        let spool = try spool()
        func sequences(_ more: [String]) throws -> [Int?] {
            try run("cat", spool, ["trades"] + more).output.split(separator: "\n").map {
                (try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])?["spool_seq"] as? Int
            }
        }
        #expect(try sequences(["--from", "2", "--to", "3"]) == [2, 3])
        #expect(try sequences(["--since", "2026-01-03"]) == [3, 4])
        #expect(try sequences(["--until", "2026-01-02T03:04:05.000000001Z"]) == [1])
        #expect(try sequences(["--from", "9"]) == [])
    }

    @Test func catPrintsDurableRowsOnlyAndNamesWhatItCannotRead() throws {
        let spool = try spool()
        let mark = try spool.bytes(of: spool.markPath)
        try spool.chunk(1)
        try spool.overwrite(spool.markPath, mark)
        #expect(try run("cat", spool, ["trades"]).output.split(separator: "\n").count == 4)
        let segment = try spool.segments()[0]
        try spool.flip(spool.path(of: segment), at: spool.chunks(of: segment)[0].dataOffset + 10)
        let result = try run("cat", spool, ["trades"])
        #expect(result.status == 1 && result.output.split(separator: "\n").count == 2)
        #expect(result.errors.contains("rows 1 to 2: checksum of the data frame differs"))
    }

    @Test func auditSaysWhatIsMissingAndDoubled() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        server.change { $0.copies = [1: 1, 2: 2, 4: 1, 9: 1] }
        let result = try run("audit", spool, ["--url", server.url])
        #expect(
            result.output == """
                TABLE   ROWS IN SPOOL  IN CLICKHOUSE  MISSING  DUPLICATE  UNKNOWN  PENDING  EXPIRED  QUARANTINED  SHED  RESULT
                trades              4              3        1          1        1        0        0            0     0  NOT COMPLETE
                trades: missing sequences: 3
                trades: duplicate sequences: 2
                trades: unknown sequences: 9

                """)
        #expect(result.status == 1)
        server.change { $0.copies = [1: 1, 2: 1, 3: 1, 4: 1] }
        let complete = try run("audit", spool, ["--url", server.url])
        #expect(
            complete.status == 0
                && complete.output.hasSuffix(
                    "          4              4        0          0        0        0        0            0     0  ok\n")
        )
    }

    @Test func everyCommandNamesShedRowsAndEndsWell() throws {
        let spool = try spool()
        let name = try spool.segments()[0]
        try spool.shed(name)
        let tombstone = try spool.segments()[0]
        let sizes = try spool.segments().map { byteText(try File.openForReading(spool.path(of: $0)).size()) }
        let server = FakeClickHouse()
        let load = try run("run", spool, ["--once", "--url", server.url])
        #expect(load.output == "trades: loaded 1 rows in all, next is 5, 3 shed\n" && load.status == 0)
        #expect(load.errors.contains("warning") && load.errors.contains("rows 1 to 3 were given up by the writer for want of room"))
        let ls = try run("ls", spool, ["trades"])
        #expect(
            ls.output == """
                SEGMENT                              STATE   ROWS  FIRST  LAST  FROM                 TO                    SIZE
                0000000001-00000000000000000004.lz4  shed       0      1     3  -                    -                    \(sizes[0])
                0000000002-00000000000000000004.lz4  active     1      4     4  2026-01-03T03:04:05  2026-01-03T03:04:05  \(sizes[1])

                """)
        let verify = try run("verify", spool)
        #expect(verify.status == 0)
        #expect(
            verify.output.hasSuffix(
                "  ok\nnote trades/\(tombstone) at 0: declares rows 1 to 3 shed: the writer gave them up for want of room\n"))
        let audit = try run("audit", spool, ["--url", server.url])
        #expect(audit.status == 0 && audit.output.hasSuffix("0     3  ok\ntrades: shed sequences: 1 to 3\n"), "\(audit.output)")
    }

    @Test func pruneSaysWhatItWouldDeleteAndThenDeletesJustThat() throws {
        let spool = try spool()
        let store = try CheckpointStore(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table)
        var checkpoint = store.checkpoint
        (checkpoint.next, checkpoint.segmentNumber) = (5, 2)
        try store.save(checkpoint)
        let size = byteText(try File.openForReading(spool.path(of: spool.segments()[0])).size())
        func expected(_ what: String) -> String {
            """
            \(what) trades/0000000001-00000000000000000001.lz4: 3 rows, \(size)
            TABLE   SEGMENTS  ROWS     SIZE  FIRST THAT STAYS
            trades         1     3  \(size)  0000000002-00000000000000000004.lz4 (is the newest)

            """
        }
        let dry = try run("prune", spool, ["--dry-run", "--keep", "1s"])
        #expect(dry.output == expected("would delete") && dry.status == 0)
        #expect(try spool.segments().count == 2)
        let kept = try run("prune", spool, ["--keep", "3650d"])
        #expect(kept.status == 0 && kept.output.contains("  0000000001-00000000000000000001.lz4 (was sealed at 2026-01-02T03:04:05Z)\n"))
        let json = try run("prune", spool, ["--dry-run", "--keep", "1s", "--json"]).output
        let report = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [[String: Any]])
        #expect(report[0]["rows"] as? Int == 3 && report[0]["dryRun"] as? Bool == true && report[0]["reason"] as? String == "is the newest")
        let done = try run("prune", spool, ["--keep", "1s"])
        #expect(done.output == expected("deleted") && done.status == 0)
        #expect(try spool.segments().map(\.number) == [2])
        #expect(try run("verify", spool).status == 0)
    }

    @Test func pruneRefusesWithoutACheckpointAndOnBadUse() throws {
        let spool = try spool()
        let none = try run("prune", spool)
        #expect(none.status == 64 && none.errors.hasPrefix("spool-loader: there is no checkpoint \(spool.checkpoints)/test-1, so nothing"))
        let named = try run("prune", spool, ["--table", "trades"])
        #expect(named.status == 64 && named.errors.contains("/trades.checkpoint"))
        #expect(try run("prune", spool, ["--table", "fills"]).status == 64)
        #expect(try run("prune", spool, ["--keep", "soon"]).errors.contains("loader.keep is \"soon\"; expected a duration"))
        #expect(try spool.segments().count == 2)
    }

    @Test func auditRefusesReportsThatItCannotWriteBeforeItAsks() throws {
        let spool = try spool()
        let server = FakeClickHouse()
        let home = TemporaryDirectory()
        for more in [
            ["--output", home.file("r")], ["--sign", "key"], ["--json", "--output", home.file("r"), "--sign", home.file("no.pem")],
            ["--json", "--output", home.file("no/where")],
        ] {
            let result = try run("audit", spool, ["--url", server.url] + more)
            #expect(result.status == (more.last == home.file("no/where") ? 74 : 64), "\(more): \(result.errors)")
        }
        #expect(server.requests == 0)
        #expect(try Bytes.list(home.path) == [])
    }

    /// A reader of RFC 4180, by bytes.
    private func csv(_ text: String) -> [[String]] {
        var records: [[String]] = [[]]
        var field: [UInt8] = []
        var isQuoted = false
        let bytes = Array(text.utf8)
        var index = 0
        func end() {
            records[records.count - 1].append(String(decoding: field, as: UTF8.self))
            field = []
        }
        while index < bytes.count {
            let byte = bytes[index]
            let next = index + 1 < bytes.count ? bytes[index + 1] : 0
            switch (isQuoted, byte) {
            case (true, 0x22) where next == 0x22:
                field.append(0x22)
                index += 1
            case (_, 0x22): isQuoted.toggle()
            case (false, 0x2C): end()
            case (false, 0x0A):
                end()
                records.append([])
            default: field.append(byte)
            }
            index += 1
        }
        return records.dropLast()
    }
}
