import SpoolFormat
import SpoolTesting
import Testing

@testable import spool_writer

/// A line is parsed eight or sixteen bytes at a time where bytes behind it may be read, and byte by byte where not. Both must give the
/// same row or the same refusal, whatever lies behind the line. What that row must be is the business of `ValueTests`, of
/// `MalformedValueTests` and of the oracle in `Tests/endtoend`.
@Suite struct UsualValueTests {
    private static let longName = String(repeating: "n", count: 30)
    private static let veryLongName = String(repeating: "v", count: 63)
    private static let ddl = """
        CREATE TABLE t (ts DateTime64(9, 'UTC'), i8 Int8, i16 Int16, i32 Int32, i64 Int64, u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64,
        f32 Float32, f64 Float64, flag Bool, d4 Decimal(9, 2), d8 Decimal(18, 8), d16 Decimal(38, 10), d15 Decimal(30, 10), whole Decimal(18, 0),
        day Date, time DateTime('UTC'), kind Enum8('a' = 1, 'buy' = -2, 'exactly fifteen' = 3, 'sixteen letters!' = 4, 'ü' = 5, 'a"b' = 6, '' = 7),
        other Enum16('x' = 1000, 'xy' = -1000), id UUID, code FixedString(4), s String, \(longName) String, \(veryLongName) UInt64,
        nf Nullable(Float64), ni Nullable(Int32), ns Nullable(String), af Array(Float64), au Array(UInt64), spool_writer String, spool_seq UInt64)
        PARTITION BY toDate(ts)
        """

    private let schema: TableSchema
    private let names: FieldTable

    init() throws {
        schema = try #require(SchemaText.tables(from: [(name: "0001_t.sql", text: Self.ddl)]).first)
        names = FieldTable(schema)
    }

    /// What a parser makes of a line: the block with its row, or why it is refused.
    private enum Outcome: Equatable {
        case row([UInt8])
        case missing(Int)
        case refused(Refusal)
    }

    /// What may lie behind a line, over and over: it would go on with whatever the line ends in, if anybody took it for a part of it.
    private static let behind = ["9", "9,", "7}", ".5,", "5\"", "\",", "\"}", "}", ",", "]", " ", "e1,", "ull,", "e", "\n"]

    /// - Parameter behind: what lies behind the line; nil if nothing may be read there.
    private func parse(_ line: [UInt8], behind: String?, _ parser: inout EventParser) throws -> Outcome {
        let builder = try BlockBuilder(schema: schema, writer: "w", parseDefault: { _ in [] })
        let readAhead = behind == nil ? 0 : LineBuffer.readAhead
        let memory = line + (0..<readAhead).map { Array((behind ?? "").utf8)[$0 % (behind ?? "").utf8.count] }
        let refusal = memory.withUnsafeBytes { raw -> Refusal? in
            do throws(Refusal) {
                let bytes = UnsafeRawBufferPointer(rebasing: raw[..<line.count])
                try parser.parse(bytes, readAhead: readAhead, from: 0, into: builder, names: names)
                return nil
            } catch {
                return error
            }
        }
        if let refusal { return .refused(refusal) }
        if case .missing(let column) = builder.finishRow() { return .missing(column) }
        var block = RawBuffer(capacity: 1_024)
        defer { block.free() }
        builder.assemble(firstSequence: 1, into: &block)
        #expect(builder.byteCount <= block.count)
        return .row(Array(block.bytes))
    }

    /// Spellings that matter, right and wrong, for a column.
    private func value(_ column: Column, _ random: inout SeededRandom) -> String {
        func digits(_ most: Int) -> String {
            let count = Int.random(in: 1...most, using: &random)
            return (0..<count).map { _ in String(random.next() % 10) }.joined()
        }
        func number() -> String {
            var text = random.oneIn(4) ? "-" : ""
            text += random.oneIn(6) ? "0" : digits(random.pick([3, 7, 8, 9, 16, 17, 20]))
            if random.oneIn(2) { text += "." + digits(random.pick([2, 7, 8, 9, 18])) }
            if random.oneIn(12) { text += random.pick(["e", "E", "e+", "e-"]) + digits(2) }
            return text
        }
        func text() -> String {
            let word = String(
                (0..<Int.random(in: 0...40, using: &random)).map { _ in Character(Unicode.Scalar(UInt8(0x23 + random.next() % 50))) })
            return "\"" + word + random.pick(["", "", "", "\\n", "\\u00e9", "é", "日本", "\\ud800", "\u{1}", "\\", "\\\""]) + "\""
        }
        if random.oneIn(40) {
            return random.pick([
                "null", "nul", "true", "falsey", "[]", "[1]", "{}", "\"", "", "-", ".5", "1.", "01", "+1", "1e", "NaN", "\"\"", "[1,]",
            ])
        }
        switch column.type.shape {
        case .array:
            let count = Int.random(in: 0...6, using: &random)
            return "[" + (0..<count).map { _ in number() }.joined(separator: random.pick([",", ", ", " ,"])) + "]"
        case .nullable where random.oneIn(3): return "null"
        case .nullable, .plain: break
        }
        switch column.type.scalar {
        case .int, .uint:
            return random.oneIn(4) ? number() : random.pick(["0", "-0", "127", "128", "-128", "-129", "255", "256", digits(5), digits(19)])
        case .float32, .float64: return number()
        case .bool: return random.pick(["true", "false", "true", "false", "tru", "True"])
        case .decimal: return random.oneIn(2) ? number() : "\"" + number() + random.pick(["", "", "", " ", "x"]) + "\""
        case .dateTime64, .dateTime:
            return random.pick([
                "1767323045000000000", "\"2026-01-02T03:04:05Z\"", "99999999999999999", "3786912000000000000", "3786912000000000001",
            ])
        case .date: return random.pick(["\"2026-01-02\"", "\"2026-02-30\"", "1"])
        case .enum8, .enum16:
            return "\"" + random.pick(column.type.enumCases.map(\.name) + ["a\\\"b", "nobody", "\\u0061", "xyz"]) + "\""
        case .uuid: return random.pick(["\"61f0c404-5cb3-11e7-907b-a6006ad3dba0\"", "\"61f0c404\""])
        case .fixedString: return random.pick(["\"abcd\"", "\"ab\"", "\"abcde\""])
        case .string: return text()
        }
    }

    /// A value that is always taken, so that whole rows come through as well.
    private func goodValue(_ column: Column) -> String {
        switch column.type.shape {
        case .nullable: return "null"
        case .array: return "[1,2]"
        case .plain: break
        }
        return switch column.type.scalar {
        case .int, .uint, .float32, .float64, .decimal: "12"
        case .bool: "true"
        case .dateTime64, .dateTime: "1767323045000000000"
        case .date: "\"2026-01-02\""
        case .enum8, .enum16: "\"\(column.type.enumCases[0].name)\""
        case .uuid: "\"61f0c404-5cb3-11e7-907b-a6006ad3dba0\""
        case .fixedString, .string: "\"ab\""
        }
    }

    private func line(_ random: inout SeededRandom) -> [UInt8] {
        var columns = schema.columns
        if random.oneIn(4) { columns.shuffle(using: &random) }
        let space = random.pick(["", "", " ", "  "])
        let odd = random.pick([1, 3, 30])
        var fields = columns.map { column in
            let text = random.oneIn(odd) ? value(column, &random) : goodValue(column)
            return "\"\(column.name)\":\(space)\(text)"
        }
        if random.oneIn(20) { fields.append(fields[0]) }
        if random.oneIn(20) { fields.insert("\"nobody\":1", at: 1) }
        if random.oneIn(3) { fields.insert("\"table\":\"t\"", at: Int.random(in: 0...fields.count, using: &random)) }
        if random.oneIn(8) { fields.removeLast() }
        var bytes = Array(("{" + fields.joined(separator: "," + space) + random.pick(["}", "}", "}", " }", "", "} ", "}x", ",}"])).utf8)
        if random.oneIn(3) {
            for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch random.next() % 4 {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(random.pick(Array("{}[]:,\"\\0123456789.eE+- truefalsn\u{7F}".utf8)), at: place)
                default: bytes.removeLast(min(bytes.count, Int(random.next() % 40)))
                }
            }
        }
        return bytes
    }

    @Test("many bytes at a time and byte by byte, a line is the same row or the same refusal", arguments: Seeds.take(8))
    func sameEitherWay(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var parser = EventParser()
        defer { parser.free() }
        var rows = 0
        var refusals = 0
        for _ in 0..<1_500 {
            let line = line(&random)
            let plain = try parse(line, behind: nil, &parser)
            let behind = random.pick(Self.behind)
            let wide = try parse(line, behind: behind, &parser)
            #expect(plain == wide, "seed \(seed), \(behind) behind: \(String(decoding: line, as: UTF8.self))")
            if case .row = plain { rows += 1 } else { refusals += 1 }
        }
        #expect(rows > 100 && refusals > 100, "\(rows) rows and \(refusals) refusals: the lines are too much alike")
    }

    @Test("a line cut at every byte is refused, whatever lies behind it")
    func cutAnywhere() throws {
        var parser = EventParser()
        defer { parser.free() }
        let line = Array(("{" + schema.columns.map { "\"\($0.name)\":\(goodValue($0))" }.joined(separator: ",") + "}").utf8)
        for behind in Self.behind {
            guard case .row = try parse(line, behind: behind, &parser) else {
                Issue.record("the whole line is not taken")
                return
            }
            for count in 0..<line.count {
                let cut = Array(line[..<count])
                let outcome = try parse(cut, behind: behind, &parser)
                guard case .refused = outcome else {
                    Issue.record("\(count) bytes and \(behind) behind are taken")
                    continue
                }
                #expect(try outcome == parse(cut, behind: nil, &parser), "\(count) bytes, \(behind) behind")
            }
        }
    }
}
