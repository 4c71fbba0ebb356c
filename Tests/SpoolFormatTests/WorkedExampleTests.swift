import Foundation
import SpoolFormat
import SpoolTesting
import Testing

/// The worked example of `docs/spool-format.md` §12, read from that file: if the code and the document drift apart, this fails.
@Suite struct WorkedExampleTests {
    /// The bytes between the fences, by offset, without comments.
    static func documented() throws -> [UInt8] {
        let text = try Bytes.text(Repository.specification)
        let parts = text.components(separatedBy: "```hex\n")
        try #require(parts.count == 2, "the document has one hex block")
        var bytes: [UInt8] = []
        for line in parts[1].components(separatedBy: "```")[0].split(separator: "\n") {
            let words = line.prefix { $0 != "#" }.split(separator: " ")
            guard let offset = words.first else { continue }
            #expect(Int(offset, radix: 16) == bytes.count, "offset at the start of: \(line)")
            for word in words.dropFirst() { bytes.append(try #require(UInt8(word, radix: 16), "a byte in: \(line)")) }
        }
        return bytes
    }

    @Test("encoding the example's rows gives exactly the documented bytes")
    func encodes() throws {
        let documented = try Self.documented()
        let segment = try Samples.workedExample()
        #expect(Bytes.hex(segment.bytes) == Bytes.hex(documented))
    }

    @Test("decoding the documented bytes gives exactly the documented values")
    func decodes() throws {
        let contents = try SegmentWalk.contents(of: try Self.documented())
        let time = Samples.time
        #expect(
            contents.header
                == SegmentHeader(
                    table: "demo", writer: "w1", number: 1, firstSequence: 1, lostFrom: 1, created: time,
                    columns: [
                        WireColumn(name: "ts", type: "DateTime64(9, 'UTC')"), WireColumn(name: "px", type: "Float64"),
                        WireColumn(name: "spool_writer", type: "String"), WireColumn(name: "spool_seq", type: "UInt64"),
                    ], eventTimeColumn: 0, partitionRule: .day, sources: []))
        #expect(
            contents.rows == [
                [.integer(Int128(time) + 1), .double(1.5), .text("w1"), .integer(1)],
                [.integer(Int128(time) + 2), .double(2.5), .text("w1"), .integer(2)],
            ])
        let chunk = try #require(contents.chunks.first)
        #expect(contents.chunks.count == 1)
        #expect(chunk.partition == 20_455)
        #expect(chunk.sources == [SourcePosition(source: "socket:s", end: 2, complete: 2)])
        #expect([chunk.minEventTime, chunk.maxEventTime, chunk.firstIngest] == [time + 1, time + 2, time])
        guard case .sealed(let index) = contents.ending else {
            Issue.record("the example is not sealed: \(contents.ending)")
            return
        }
        #expect(index.trailer.rows == 2)
        #expect(index.trailer.sealed == time)
    }

    @Test("the documented times are those of the rows")
    func times() {
        #expect(rfc3339(Samples.time + 1) == "2026-01-02T03:04:05.000000001Z")
        #expect(rfc3339(Samples.time + 2) == "2026-01-02T03:04:05.000000002Z")
    }

    static let lz4 = ["/usr/bin/lz4", "/usr/local/bin/lz4", "/opt/homebrew/bin/lz4"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    @Test("the plain lz4 tool prints the Native block of the documented bytes", .enabled(if: lz4 != nil, "there is no lz4 tool here"))
    func plainTool() throws {
        let directory = TemporaryDirectory()
        try Bytes.write(try Self.documented(), to: directory.file("example.lz4"))
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: try #require(Self.lz4))
        process.arguments = ["-dc", directory.file("example.lz4")]
        process.standardOutput = output
        try process.run()
        let block = [UInt8](output.fileHandleForReading.readDataToEndOfFile())
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)

        let contents = try SegmentWalk.contents(of: try Self.documented())
        #expect(block.count == contents.chunks.first?.blockBytes)
        #expect(try NativeBlock(block, columns: contents.header.columns).allRows == contents.rows)
    }
}
