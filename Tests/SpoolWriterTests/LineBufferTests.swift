import SpoolTesting
import Testing

@testable import spool_writer

/// Lines out of bytes that come in any pieces.
@Suite struct LineBufferTests {
    /// Feeds the text in the pieces given and writes down what comes out; `!` stands for a line that is too long.
    private func lines(_ pieces: [[UInt8]], limit: Int) -> [String] {
        var buffer = LineBuffer(limit: limit, capacity: 64)
        defer { buffer.free() }
        var lines: [String] = []
        func note(_ line: LineBuffer.Line) -> Bool {
            switch line {
            case .none: return false
            case .tooLong: lines.append("!")
            case .line(let bytes): lines.append(String(decoding: bytes, as: UTF8.self))
            }
            return true
        }
        for piece in pieces {
            let room = buffer.room(piece.count)
            room.copyBytes(from: piece)
            buffer.filled(piece.count)
            while note(buffer.next()) {}
        }
        _ = note(buffer.rest())
        return lines
    }

    private static let text = Array("one\r\n\ntwo\nthree\r\n\r\nlonger than it may be\nfour\n".utf8)
    private static let expected = ["one", "", "two", "three", "", "!", "four"]

    @Test("lines split in two at every position are the same lines")
    func splitAnywhere() {
        for position in 0...Self.text.count {
            #expect(lines([Array(Self.text[..<position]), Array(Self.text[position...])], limit: 10) == Self.expected, "\(position)")
        }
    }

    @Test("lines in random pieces are the same lines", arguments: Seeds.take(50))
    func randomPieces(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var pieces: [[UInt8]] = []
        var rest = Self.text[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...5, using: &random)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        #expect(lines(pieces, limit: 10) == Self.expected, "seed \(seed)")
    }

    @Test("a line of exactly the limit is taken, one byte more is not")
    func limit() {
        #expect(lines([Array("1234567890\n12345678901\nok\n".utf8)], limit: 10) == ["1234567890", "!", "ok"])
    }

    @Test("an endless line is reported once and kept out of memory")
    func endless() {
        let pieces = Array(repeating: Array("xxxxxxxxxxxxxxxx".utf8), count: 1_000)
        #expect(lines(pieces + [Array("\nnext\n".utf8)], limit: 10) == ["!", "next"])
        #expect(lines(pieces, limit: 10) == ["!"])
    }

    @Test("what follows the last newline is the rest")
    func rest() {
        #expect(lines([Array("one\ntwo".utf8)], limit: 10) == ["one", "two"])
        #expect(lines([Array("one\n".utf8)], limit: 10) == ["one"])
        #expect(lines([], limit: 10) == [])
    }

    @Test("a producer introduces itself in one form only, and events are not taken for that")
    func introduction() {
        func parse(_ text: String) -> String {
            Array(text.utf8).withUnsafeBytes { raw in
                do throws(Refusal) {
                    guard let parsed = try Introduction(raw) else { return "event" }
                    return "\(parsed.client) \(parsed.resumes)" + (parsed.from > 0 ? " from \(parsed.from)" : "")
                } catch {
                    return error.reason
                }
            }
        }
        let name = String(repeating: "n", count: 121)
        let bad = "client must be 1 to 121 printable ASCII characters without spaces"
        for (line, expected) in [
            (#"{"client":"engine-1"}"#, "engine-1 false"), (#" { "client" : "e" , "resume" : true } "#, "e true"),
            (#"{"client":"e","resume":false}"#, "e false"), (#"{"client":"\#(name)"}"#, "\(name) false"),
            (#"{"client":"\#(name)n"}"#, bad), (#"{"client":""}"#, bad), (#"{"client":"a b"}"#, bad),
            (#"{"client":"ü"}"#, bad), (#"{"client":"a\"b"}"#, bad),
            (#"{"table":"ticks"}"#, "event"), ("{}", "event"), ("", "event"), ("[]", "event"), ("{\"client", "event"),
            (#"{"client":7}"#, #"not JSON: expected a string at column 11, found "7""#),
            (#"{"client":"e"} x"#, #"not JSON: expected the end of the line at column 16, found "x""#),
            (#"{"client":"e","resume":"yes"}"#, "\"resume\" must be true or false"),
            (#"{"client":"e","resume":true,"from":17}"#, "e true from 17"), (#"{"client":"e","from":17,"resume":true}"#, "e true from 17"),
            (#"{"client":"e","resume":true,"from":-1}"#, "\"from\" must be a whole number"),
            (#"{"client":"e","resume":true,"from":1.5}"#, "\"from\" must be a whole number"),
            (#"{"client":"e","resume":true,"from":9223372036854775808}"#, "\"from\" must be a whole number"),
            (#"{"client":"e","resume":true,"x":1}"#, #"after "client" only "resume" and "from" can follow"#),
        ] {
            #expect(parse(line) == expected, "\(line)")
        }
    }
}
