import SpoolFormat
import SpoolTesting
import Testing

@testable import SpoolRing

/// A table as a producer knows it, and as it is by now.
struct Evolved {
    let old: RingLayout
    let new: TableSchema

    init(_ old: [(String, String)], _ new: [(String, String)], retired: [String: RetiredName] = [:], named: Set<String> = []) throws {
        self.old = RingLayout(try Self.schema(old, [:]), named: named)
        self.new = try Self.schema(new, retired)
    }

    private static func schema(_ columns: [(String, String)], _ retired: [String: RetiredName]) throws -> TableSchema {
        TableSchema(
            table: "t",
            columns: [Column(name: "ts", type: ColumnType(.dateTime64))]
                + (try columns.map { name, text in
                    let parts = text.components(by: " DEFAULT ")
                    return Column(
                        name: name, type: try ColumnType(parts[0]), defaultText: parts.count > 1 ? parts[1] : nil,
                        isLowCardinality: text.hasPrefix("LowCardinality"))
                }), eventTimeColumn: 0, partitionRule: .day, retention: nil, retired: retired)
    }

    func builder() throws -> BlockBuilder {
        try BlockBuilder(schema: new, writer: "w1") { [UInt8($0.defaultText?.utf8.count ?? 0)] + Array(($0.defaultText ?? "").utf8) }
    }

    func plan() throws -> RowPlan { try RowPlan(old.declared, schema: new) }

    /// Why the declaration is refused; nil if it is taken.
    func mismatch() -> String? {
        do {
            _ = try plan()
            return nil
        } catch {
            return "\(error)"
        }
    }

    func bytes(_ values: [Cell], underNull: UInt8 = 0) -> [UInt8] {
        old.bytes([.integer(Int128(Samples.time))] + values, underNull: underNull)
    }

    func take(_ rows: [[UInt8]], into builder: BlockBuilder, plan: RowPlan) throws {
        let copy = RecordCopy(rows)
        _ = builder.openRange(for: Samples.time)
        do {
            try RowGather.append(copy.rows, plan: plan, names: NameTable(), to: builder)
        } catch {
            builder.undoRow()
            throw error
        }
        builder.finishRows(rows.count, earliest: Samples.time, latest: Samples.time)
        withExtendedLifetime(copy) {}
    }

    /// What the rows become, without their times.
    func taken(_ rows: [[UInt8]]) throws -> [[Cell]] {
        let builder = try builder()
        try take(rows, into: builder, plan: try plan())
        return try Self.rows(builder)
    }

    static func rows(_ builder: BlockBuilder) throws -> [[Cell]] {
        var bytes = RawBuffer(capacity: 1_024)
        defer { bytes.free() }
        builder.assemble(firstSequence: 1, into: &bytes)
        return try NativeBlock(Array(bytes.bytes), columns: builder.schema.wireColumns).allRows.map { Array($0.dropFirst().dropLast(2)) }
    }
}

extension String {
    fileprivate func components(by separator: String) -> [String] {
        guard let range = firstRange(of: separator) else { return [self] }
        return [String(self[..<range.lowerBound]), String(self[range.upperBound...])]
    }
}

/// Rows of producers whose types are older than the schema's: every value comes out as what it was.
struct WideningTests {
    /// An old type, a new one, and values of both that are the same.
    struct Pair: CustomStringConvertible, Sendable {
        let old: String
        let new: String
        let values: [(old: Cell, new: Cell)]
        var description: String { "\(old) to \(new)" }
    }

    private static func power(_ digits: Int) -> Int128 { (0..<digits).reduce(1) { power, _ in power * 10 } }

    private static let integers: [Pair] = {
        var pairs: [Pair] = []
        for from in [8, 16, 32, 64] {
            for to in [8, 16, 32, 64] where to > from {
                let half = Int128(1) << Int128(from - 1)
                let signed = [-half, -half + 1, -1, 0, 1, half - 1].map { (Cell.integer($0), Cell.integer($0)) }
                let unsigned = [0, 1, half - 1, half, 2 * half - 1].map { (Cell.integer($0), Cell.integer($0)) }
                pairs.append(Pair(old: "Int\(from)", new: "Int\(to)", values: signed))
                pairs.append(Pair(old: "UInt\(from)", new: "UInt\(to)", values: unsigned))
                pairs.append(Pair(old: "UInt\(from)", new: "Int\(to)", values: unsigned))
            }
        }
        return pairs
    }()

    private static let decimals: [Pair] =
        [
            ((9, 4), (18, 4)), ((9, 4), (18, 8)), ((9, 4), (38, 10)), ((4, 2), (9, 2)), ((4, 2), (9, 7)), ((5, 2), (6, 3)),
            ((18, 8), (38, 8)), ((18, 8), (38, 10)), ((18, 0), (38, 20)), ((10, 2), (18, 10)), ((1, 0), (38, 37)), ((20, 2), (38, 10)),
            ((19, 19), (38, 38)), ((28, 10), (38, 10)), ((9, 9), (9, 9)),
        ].compactMap { old, new in
            guard old != new else { return nil }
            let limit = power(old.0) - 1
            let factor = power(new.1 - old.1)
            return Pair(
                old: "Decimal(\(old.0), \(old.1))", new: "Decimal(\(new.0), \(new.1))",
                values: [-limit, -limit + 1, -1, 0, 1, limit].map { (.integer($0), .integer($0 * factor)) })
        }

    private static let floats = Pair(
        old: "Float32", new: "Float64",
        values: [
            0, -0.0, 1.5, Float.greatestFiniteMagnitude, -Float.greatestFiniteMagnitude, .leastNonzeroMagnitude, 0.1, .infinity, -.infinity,
        ].map { (.double(Double($0)), .double(Double($0))) })

    private static let enums: [Pair] = {
        let eight = "Enum8('low' = -128, 'none' = 0, 'Zürich' = 127)"
        let sixteen = "Enum16('low' = -32768, 'none' = 0, '' = 32767)"
        func same(_ values: [Int128]) -> [(Cell, Cell)] { values.map { (.integer($0), .integer($0)) } }
        func texts(_ values: [(Int128, String)]) -> [(Cell, Cell)] { values.map { (.integer($0), .text($1)) } }
        let names = texts([(-128, "low"), (0, "none"), (127, "Zürich")])
        let longNames = texts([(-32768, "low"), (0, "none"), (32767, "")])
        return [
            // Also a value that only the schema's enum has: the producer cannot know it, and yet it is one.
            Pair(old: eight, new: "Enum8('low' = -128, 'none' = 0, 'new' = 1, 'Zürich' = 127)", values: same([-128, 0, 127, 1])),
            Pair(
                old: eight, new: "Enum16('low' = -128, 'none' = 0, 'new' = -2, 'Zürich' = 127, 'far' = 1000)",
                values: same([-128, 0, 127, -2])),
            Pair(old: eight, new: "Enum16('low' = -128, 'none' = 0, 'Zürich' = 127)", values: same([-128, 0, 127])),
            Pair(
                old: sixteen, new: "Enum16('low' = -32768, 'none' = 0, 'new' = 300, '' = 32767)",
                values: same([-32768, 0, 32767, 300])),
            Pair(old: eight, new: "String", values: names),
            Pair(old: eight, new: "LowCardinality(String)", values: names),
            Pair(old: sixteen, new: "String", values: longNames),
            Pair(old: sixteen, new: "LowCardinality(String)", values: longNames),
        ]
    }()

    static let pairs = integers + decimals + [floats] + enums

    private static func inner(_ type: String) -> String { type.hasPrefix("LowCardinality(") ? String(type.dropFirst(15).dropLast()) : type }

    @Test("a narrower type's values in a plain column", arguments: pairs)
    func plain(pair: Pair) throws {
        let table = try Evolved(
            [("before", "String"), ("v", pair.old), ("after", "UInt16")], [("before", "String"), ("v", pair.new), ("after", "UInt16")])
        let rows = pair.values.map { table.bytes([.text("x"), $0.old, .integer(7)]) }
        #expect(try table.taken(rows) == pair.values.map { [.text("x"), $0.new, .integer(7)] })
    }

    @Test("a narrower type's values where they may be null, and where they could not be before", arguments: pairs)
    func nullable(pair: Pair) throws {
        let new = "Nullable(\(Self.inner(pair.new)))"
        let both = try Evolved([("v", "Nullable(\(pair.old))"), ("after", "UInt16")], [("v", new), ("after", "UInt16")])
        let values = pair.values + [(.null, .null)] + pair.values
        let rows = values.map { both.bytes([$0.old, .integer(7)], underNull: 0xA5) }
        #expect(try both.taken(rows) == values.map { [$0.new, .integer(7)] })
        let plain = try Evolved([("v", pair.old)], [("v", new)])
        #expect(try plain.taken(pair.values.map { plain.bytes([$0.old]) }) == pair.values.map { [$0.new] })
    }

    @Test(
        "a narrower type's values in arrays of any length",
        arguments: pairs.filter { !$0.new.hasSuffix("String") && !$0.new.hasSuffix("String)") })
    func arrays(pair: Pair) throws {
        let table = try Evolved([("v", "Array(\(pair.old))"), ("after", "UInt16")], [("v", "Array(\(pair.new))"), ("after", "UInt16")])
        let builder = try table.builder()
        let plan = try table.plan()
        let lengths = [0, 1, pair.values.count, 2, 0]
        var expected: [[Cell]] = []
        // Several batches, so that array ends go on where the last one left them.
        for _ in 0..<3 {
            let rows = lengths.map { table.bytes([.array(pair.values.prefix($0).map(\.old)), .integer(7)]) }
            try table.take(rows, into: builder, plan: plan)
            expected += lengths.map { [.array(pair.values.prefix($0).map(\.new)), .integer(7)] }
        }
        #expect(try Evolved.rows(builder) == expected)
    }

    @Test("values that are not numbers stay so")
    func notANumber() throws {
        let table = try Evolved([("v", "Float32"), ("n", "Nullable(Float32)")], [("v", "Float64"), ("n", "Nullable(Float64)")])
        let row = try table.taken([table.bytes([.double(.nan), .double(.nan)])])[0]
        for cell in row {
            guard case .double(let value) = cell else {
                Issue.record("\(cell)")
                continue
            }
            #expect(value.isNaN)
        }
    }

    private static let everyType: [(String, Cell)] = [
        ("Int8", .integer(-128)), ("Int64", .integer(.init(Int64.min))), ("UInt64", .integer(.init(UInt64.max))), ("Float32", .double(1.5)),
        ("Float64", .double(-2.5)), ("Bool", .integer(1)), ("Decimal(9, 4)", .integer(-999_999_999)),
        ("Decimal(38, 10)", .integer(power(38) - 1)), ("Date", .integer(65_535)), ("DateTime('UTC')", .integer(1_700_000_000)),
        ("DateTime64(9, 'UTC')", .integer(Int128(Samples.time))), ("UUID", .uuid(high: 1, low: .max)), ("FixedString(3)", .text("abc")),
        ("String", .text("Zürich")), ("String", .text("")), ("Enum8('a' = 1)", .integer(1)), ("Enum16('a' = 1000)", .integer(1_000)),
    ]

    @Test("a column of any type that may be null by now, and texts as names or as they are")
    func becomesNullable() throws {
        for (type, value) in Self.everyType {
            for named in [Set(["v"]), []] {
                let table = try Evolved(
                    [("v", type), ("after", "UInt16")], [("v", "Nullable(\(type))"), ("after", "UInt16")], named: named)
                let rows = [table.bytes([value, .integer(7)]), table.bytes([value, .integer(8)])]
                #expect(try table.taken(rows) == [[value, .integer(7)], [value, .integer(8)]], "\(type)")
            }
        }
    }

    @Test("widened rows in batches of any size are the block that today's rows would be", arguments: Seeds.take(4))
    func sameBlock(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let pairs = Self.pairs.filter { !$0.description.contains("LowCardinality") }
        func columns(_ type: (Pair) -> String) -> [(String, String)] { pairs.enumerated().map { ("v\($0)", type($1)) } }
        let evolved = try Evolved(columns(\.old), columns(\.new))
        let today = try Evolved(columns(\.new), columns(\.new))
        let builders = [try evolved.builder(), try today.builder()]
        let plans = [try evolved.plan(), try today.plan()]
        for _ in 0..<8 {
            let picks = (0..<random.pick([1, 2, 40, 300])).map { _ in pairs.map { random.pick($0.values) } }
            try evolved.take(picks.map { evolved.bytes($0.map(\.old)) }, into: builders[0], plan: plans[0])
            try today.take(picks.map { today.bytes($0.map(\.new)) }, into: builders[1], plan: plans[1])
        }
        #expect(builders[0].byteCount == builders[1].byteCount)
        let blocks = builders.map { builder in
            var bytes = RawBuffer(capacity: 1_024)
            defer { bytes.free() }
            builder.assemble(firstSequence: 1, into: &bytes)
            return Array(bytes.bytes)
        }
        #expect(blocks[0] == blocks[1])
    }

    // MARK: What does not fit

    @Test("a declared type is taken if it is the schema's or one that it holds, and no other")
    func everyPair() throws {
        let scalars = Self.everyType.map(\.0) + ["Int16", "Int32", "UInt8", "Decimal(18, 4)", "Enum8('a' = 1, 'b' = 2)", "FixedString(4)"]
        let types = scalars + scalars.map { "Nullable(\($0))" } + scalars.filter { !$0.hasPrefix("Fixed") }.map { "Array(\($0))" }
        var tried = 0
        for old in types {
            for new in types {
                let (from, to) = (try ColumnType(old), try ColumnType(new))
                let isEnumList = from.shape == .array && !from.enumCases.isEmpty && to.scalar == .string
                let complaint = try Evolved([("v", old)], [("v", new)]).mismatch()
                #expect((complaint == nil) == (from == to || (to.holdsAll(of: from) && !isEnumList)), "\(old) to \(new)")
                if let complaint {
                    #expect(complaint.hasPrefix("column v is declared as \(old), the schema has \(to.wireText)"), "\(complaint)")
                    #expect(complaint.hasSuffix("regenerate the producer with spool-writer codegen"))
                    // A type that would hold the schema's: whoever made it has seen a later schema, most likely.
                    #expect(complaint.contains("spool-loader migrate apply") == (from.holdsAll(of: to) && !isEnumList), "\(complaint)")
                }
                tried += 1
            }
        }
        #expect(tried > 3_000)
        #expect(
            try Evolved([("v", "Array(Enum8('a' = 1))")], [("v", "Array(String)")]).mismatch()
                == "column v is declared as Array(Enum8('a' = 1)), the schema has Array(String); a ring's values are not converted to that: "
                + "regenerate the producer with spool-writer codegen")
    }

    @Test("values that the declared type does not allow are refused as ever, with what its producer knows of it")
    func badValues() throws {
        let cases: [(old: String, new: String, bad: [Int128])] = [
            ("Decimal(4, 2)", "Decimal(38, 10)", [10_000, -10_000]),
            ("Decimal(18, 8)", "Decimal(38, 10)", [Self.power(18), -Self.power(18)]),
            ("Decimal(20, 2)", "Decimal(38, 10)", [Self.power(20), .min, .max]), ("Decimal(4, 2)", "Nullable(Decimal(4, 2))", [10_000]),
            ("Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)", [0, 3, -1]), ("Enum8('a' = 1)", "Enum16('a' = 1, 'b' = 258)", [2, 0]),
            ("Enum16('a' = 1)", "Enum16('a' = 1, 'b' = 258)", [2, 257]), ("Enum8('a' = 1)", "String", [0, 2]),
            ("Enum16('a' = 1)", "LowCardinality(String)", [0, 257]), ("Bool", "Nullable(Bool)", [2]),
            ("DateTime64(9, 'UTC')", "Nullable(DateTime64(9, 'UTC'))", [-1, 0, .init(EventTime.latest) + 1]),
            ("DateTime('UTC')", "Nullable(DateTime('UTC'))", [0]),
        ]
        for item in cases {
            for (shape, wrap) in [("", { Cell.integer($0) }), ("Nullable", { .integer($0) }), ("Array", { .array([.integer($0)]) })]
                as [(String, (Int128) -> Cell)]
            {
                if shape == "Array", item.new.hasSuffix("String") || item.new.hasSuffix("String)") || item.new.hasPrefix("Nullable") {
                    continue
                }
                if shape == "Nullable", item.new.hasPrefix("LowCardinality") { continue }
                let old = shape.isEmpty ? item.old : "\(shape)(\(item.old))"
                let new = shape.isEmpty || item.new.hasPrefix("Nullable") ? item.new : "\(shape)(\(item.new))"
                let table = try Evolved([("first", "UInt8"), ("v", old)], [("first", "UInt8"), ("v", new)])
                let builder = try table.builder()
                let plan = try table.plan()
                for bad in item.bad {
                    #expect(throws: RowGather.Fault.column(2), "\(old) to \(new): \(bad)") {
                        try table.take([table.bytes([.integer(1), wrap(bad)])], into: builder, plan: plan)
                    }
                }
                let declared = try ColumnType(old)
                #expect(builder.rows == 0 && plan.ruledBy(column: 2) == declared)
                #expect(builder.lanes.allSatisfy { $0.values.count == 0 && $0.marks.count == 0 })
            }
        }
    }

    @Test("null marks other than 0 and 1, and texts that are none, are refused in widened columns too")
    func badMarks() throws {
        let table = try Evolved([("v", "Nullable(Int8)"), ("s", "String")], [("v", "Nullable(Int64)"), ("s", "Nullable(String)")])
        let good = table.bytes([.integer(1), .text("abc")])
        #expect(try table.taken([good]) == [[.integer(1), .text("abc")]])
        var bytes = good
        bytes[table.old.declared.columns[1].nullOffset!] = 2
        #expect(throws: RowGather.Fault.column(1)) { try table.taken([good, bytes]) }
        bytes = good
        bytes[bytes.count - 1] = 0xFF
        #expect(throws: RowGather.Fault.column(2)) { try table.taken([good, bytes]) }
    }

    @Test("random bytes as rows of an old declaration are taken or refused, and never read beyond", arguments: Seeds.take(4))
    func noise(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let shapes = ["", "Nullable", "Array"]
        var old = [("gone", "Array(String)")]
        var new: [(String, String)] = []
        for (index, pair) in Self.pairs.enumerated() where !pair.new.hasSuffix("String)") {
            let shape = pair.new == "String" ? random.pick(["", "Nullable"]) : random.pick(shapes)
            old.append(("v\(index)", shape.isEmpty ? pair.old : "\(shape)(\(pair.old))"))
            new.append(("v\(index)", shape.isEmpty ? pair.new : "\(shape)(\(pair.new))"))
        }
        let table = try Evolved(old, new, retired: ["gone": .dropped])
        let plan = try table.plan()
        let builder = try table.builder()
        let timeAt = table.old.declared.columns[0].offset
        var taken = 0
        for _ in 0..<2_000 {
            var bytes = [UInt8](repeating: 0, count: table.old.declared.rowBytes + Int.random(in: 0...64, using: &random))
            // Mostly zeros: an empty array, and the member of each enum.
            for index in bytes.indices where random.oneIn(200) { bytes[index] = UInt8.random(in: 0...255, using: &random) }
            bytes.replaceSubrange(timeAt..<timeAt + 8, with: RingLayout.little(Samples.time))
            do {
                try table.take([bytes], into: builder, plan: plan)
                taken += 1
            } catch {}
        }
        #expect(taken > 100 && taken < 2_000)
        #expect(try Evolved.rows(builder).count == taken)
    }

    @Test("what an enum's names may become in a block is known before they do")
    func rowsWithin() throws {
        let name = String(repeating: "n", count: 1_000)
        let table = try Evolved([("v", "Enum8('\(name)' = 1)")], [("v", "String")])
        let plan = try table.plan()
        let count = plan.rows(within: 1 << 20, names: NameTable())
        #expect(count > 500 && count < 1_050)
        let builder = try table.builder()
        try table.take(Array(repeating: table.bytes([.integer(1)]), count: count), into: builder, plan: plan)
        #expect(builder.byteCount <= 1 << 20)
    }
}
