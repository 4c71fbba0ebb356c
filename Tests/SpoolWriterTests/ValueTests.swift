import Glibc
import SpoolFormat
import SpoolTesting
import Testing

@testable import spool_writer

/// Values that are taken, against computations that share nothing with the writer's.
@Suite struct ValueTests {
    /// Records lines of one table with a column `v` of this type, and reads `v` back.
    private func record(_ values: [String], as type: String) throws -> [Cell] {
        let schema = """
            CREATE TABLE t (ts DateTime64(9, 'UTC'), v \(type), spool_writer String, spool_seq UInt64)
            PARTITION BY toDate(ts)
            """
        let spool = try TestSpool(schemas: [schema])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        for value in values {
            let line = "{\"table\":\"t\",\"ts\":\(TestSpool.time),\"v\":\(value)}"
            let refusal = recorder.refusal(of: Array(line.utf8), from: source)
            try #require(refusal == nil, "\(value.prefix(200)): \(refusal ?? "")")
        }
        try recorder.finish()
        return try spool.rows("t").map { $0[1] }
    }

    /// A number by JSON's grammar.
    private func numberText(_ random: inout SeededRandom, digits: Int, exponents: ClosedRange<Int>) -> String {
        func run(_ count: Int) -> String { (0..<count).map { _ in String(random.next() % 10) }.joined() }
        var text = random.oneIn(2) ? "-" : ""
        text += random.oneIn(4) ? "0" : String(random.next() % 9 + 1) + run(Int.random(in: 0...digits, using: &random))
        if random.oneIn(2) { text += "." + run(Int.random(in: 1...digits, using: &random)) }
        if random.oneIn(2) {
            let exponent = Int.random(in: exponents, using: &random)
            text += (random.oneIn(2) ? "e" : "E") + (exponent >= 0 && random.oneIn(2) ? "+" : "") + String(exponent)
        }
        return text
    }

    @Test("a Float64 is the nearest one, as strtod finds it", arguments: Seeds.take(6))
    func doubles(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var texts = (0..<3_000).map { _ in numberText(&random, digits: random.pick([3, 17, 25, 40]), exponents: -345...280) }
        texts = texts.filter { strtod($0, nil).isFinite }
        // Halfway cases, the smallest and the largest, and whole doubles printed with every digit.
        texts += [
            "9007199254740993", "9007199254740992.5", "1e22", "1e23", "8.5e22", "0.1", "-0", "-0.0", "0e5", "5e-324", "2e-324",
            "2.4703282292062327e-324", "2.4703282292062328e-324", "1.7976931348623157e308", "2.2250738585072011e-308",
            "123456789012345678901234567890", "0.000000000000000000000000000001", "1e-400", "1e00000000000000000000005",
        ]
        texts += (0..<500).map { _ in Double(bitPattern: random.next()) }.filter(\.isFinite).map { "\($0)" }
        let cells = try record(texts, as: "Float64")
        for (text, cell) in zip(texts, cells) {
            guard case .double(let value) = cell else { continue }
            #expect(value.bitPattern == strtod(text, nil).bitPattern, "\(text), seed \(seed)")
        }
        #expect(cells.count == texts.count)
    }

    /// The scaled integer of a decimal text by string handling alone; nil if it does not fit exactly.
    private func scaled(_ text: String, precision: Int, scale: Int) -> String? {
        var rest = Substring(text)
        let negative = rest.first == "-"
        if negative { rest = rest.dropFirst() }
        let parts = rest.split(omittingEmptySubsequences: false) { $0 == "e" || $0 == "E" }
        let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let fraction = mantissa.count == 2 ? String(mantissa[1]) : ""
        let exponent = parts.count == 2 ? Int(parts[1])! : 0
        var digits = String(mantissa[0]) + fraction
        let shift = exponent - fraction.count + scale
        if shift >= 0 {
            digits += String(repeating: "0", count: shift)
        } else {
            digits = String(repeating: "0", count: max(0, -shift - digits.count)) + digits
            guard digits.suffix(-shift).allSatisfy({ $0 == "0" }) else { return nil }
            digits = String(digits.dropLast(-shift))
        }
        digits = String(digits.drop { $0 == "0" })
        guard digits.count <= precision else { return nil }
        return digits.isEmpty ? "0" : (negative ? "-" : "") + digits
    }

    @Test(
        "a decimal is exact or refused, as digits alone decide", arguments: [(9, 2), (18, 4), (38, 10), (38, 0), (38, 38)], Seeds.take(3))
    func decimals(type: (Int, Int), seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let schema = """
            CREATE TABLE t (ts DateTime64(9, 'UTC'), v Decimal(\(type.0), \(type.1)), spool_writer String, spool_seq UInt64)
            PARTITION BY toDate(ts)
            """
        let spool = try TestSpool(schemas: [schema])
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        var expected: [String] = []
        for _ in 0..<1_500 {
            let text = numberText(&random, digits: random.pick([2, 6, 12, 24]), exponents: -12...20)
            let value = scaled(text, precision: type.0, scale: type.1)
            let json = random.oneIn(2) ? text : "\"\(text)\""
            let refusal = recorder.refusal(of: Array("{\"table\":\"t\",\"ts\":\(TestSpool.time),\"v\":\(json)}".utf8), from: source)
            // More than 38 digits as they are written are refused even where they end in zeros.
            let long = text.prefix { $0 != "e" && $0 != "E" }.filter(\.isNumber).drop { $0 == "0" }.count > 38
            if long && refusal != nil { continue }
            #expect((refusal == nil) == (value != nil), "\(json), seed \(seed): \(refusal ?? "taken")")
            if refusal == nil, let value { expected.append(value) }
        }
        try recorder.finish()
        let recorded = try spool.rows("t").map { row -> String in
            guard case .integer(let number) = row[1] else { return "" }
            return String(number)
        }
        #expect(recorded == expected)
        #expect(expected.count > 50)
    }

    @Test("a string is what its JSON says, whichever escapes it is written with", arguments: Seeds.take(6))
    func strings(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        func quad(_ unit: UInt16) -> String {
            let digits = String(unit, radix: 16, uppercase: random.oneIn(2))
            return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
        let short: [Unicode.Scalar: String] = [
            "\"": "\\\"", "\\": "\\\\", "/": "\\/", "\u{8}": "\\b", "\u{C}": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
        ]
        let ranges: [ClosedRange<UInt32>] = [0...0x1F, 0x20...0x7F, 0x80...0x7FF, 0x800...0xD7FF, 0xE000...0xFFFF, 0x10000...0x10FFFF]
        var texts: [String] = []
        var jsons: [String] = []
        for _ in 0..<300 {
            var text = ""
            var json = "\""
            for _ in 0..<Int.random(in: 0...30, using: &random) {
                let scalar = Unicode.Scalar(UInt32.random(in: random.pick(ranges), using: &random))!
                text.unicodeScalars.append(scalar)
                if let escape = short[scalar], random.oneIn(2) {
                    json += escape
                } else if scalar.value < 0x20 || scalar == "\"" || scalar == "\\" || random.oneIn(4) {
                    for unit in String(scalar).utf16 { json += quad(unit) }
                } else {
                    json.unicodeScalars.append(scalar)
                }
            }
            texts.append(text)
            jsons.append(json + "\"")
        }
        #expect(try record(jsons, as: "String") == texts.map { Cell.text($0) }, "seed \(seed)")
    }

    @Test("a time is the same as nanoseconds and in RFC 3339, at any offset", arguments: Seeds.take(6))
    func times(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        func two(_ value: some BinaryInteger) -> String { value < 10 ? "0\(value)" : "\(value)" }
        var jsons: [String] = []
        var expected: [Cell] = []
        for _ in 0..<500 {
            let seconds = Int.random(in: 100_000_000...3_786_900_000, using: &random)
            let digits = Int.random(in: 0...9, using: &random)
            let fraction = (0..<digits).map { _ in String(random.next() % 10) }.joined()
            let nanoseconds = Int(fraction + String(repeating: "0", count: 9 - digits))!
            expected.append(.integer(Int128(seconds) * 1_000_000_000 + Int128(nanoseconds)))
            let minutes = random.oneIn(3) ? 0 : Int.random(in: -1_439...1_439, using: &random)
            var moment = time_t(seconds + minutes * 60)
            var local = tm()
            gmtime_r(&moment, &local)
            let zone =
                minutes == 0
                ? random.pick(["Z", "z", "+00:00", "-00:00"])
                : "\(minutes < 0 ? "-" : "+")\(two(abs(minutes) / 60)):\(two(abs(minutes) % 60))"
            let date = "\(local.tm_year + 1900)-\(two(local.tm_mon + 1))-\(two(local.tm_mday))"
            let clock = "\(two(local.tm_hour)):\(two(local.tm_min)):\(two(local.tm_sec))"
            jsons.append("\"\(date)\(random.pick(["T", "t"]))\(clock)\(digits > 0 ? "." : "")\(fraction)\(zone)\"")
        }
        #expect(try record(jsons, as: "DateTime64(9, 'UTC')") == expected, "seed \(seed)")
    }

    @Test("integers of every width are taken up to their bounds")
    func bounds() throws {
        for (type, values) in [
            ("Int8", ["-128", "127", "-0"]), ("Int16", ["-32768", "32767"]), ("Int32", ["-2147483648", "2147483647"]),
            ("Int64", ["-9223372036854775808", "9223372036854775807"]), ("UInt8", ["0", "255"]), ("UInt16", ["65535"]),
            ("UInt32", ["4294967295"]), ("UInt64", ["0", "18446744073709551615"]),
        ] {
            #expect(try record(values, as: type) == values.map { .integer(Int128($0)!) }, "\(type)")
        }
    }

    @Test("dates, words, UUIDs and fixed strings are stored as their types say")
    func others() throws {
        #expect(
            try record(["\"1970-01-01\"", "\"2026-01-02\"", "\"2149-06-06\""], as: "Date") == [
                .integer(0), .integer(20_455), .integer(65_535),
            ])
        #expect(try record(["\"buy\"", "\"\\u0073ell\""], as: "Enum8('buy' = -3, 'sell' = 2)") == [.integer(-3), .integer(2)])
        #expect(
            try record(["\"123e4567-E89B-12d3-a456-426614174000\""], as: "UUID")
                == [.uuid(high: 0x123e_4567_e89b_12d3, low: 0xa456_4266_1417_4000)])
        #expect(
            try record(["\"ab\"", "\"\"", "\"é\\n\""], as: "FixedString(3)") == [
                .bytes([0x61, 0x62, 0]), .bytes([0, 0, 0]), .bytes([0xC3, 0xA9, 0x0A]),
            ])
        #expect(try record(["true", "false"], as: "Bool") == [.integer(1), .integer(0)])
        #expect(try record(["null", "1"], as: "Nullable(UInt8)") == [.null, .integer(1)])
        #expect(
            try record(["[]", "[1,2]", " [ 3 ] ", "null"], as: "Array(UInt8)")
                == [.array([]), .array([.integer(1), .integer(2)]), .array([.integer(3)]), .array([])])
        #expect(
            try record(["1767323045000000000", "\"2026-01-02T03:04:05Z\""], as: "DateTime('UTC')") == [
                .integer(1_767_323_045), .integer(1_767_323_045),
            ])
        #expect(
            try record(["1.5", "0.1", "3.4028234e38"], as: "Float32") == [
                .double(1.5), .double(Double(Float(0.1))), .double(Double(Float.greatestFiniteMagnitude)),
            ])
    }
}
