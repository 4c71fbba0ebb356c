import SpoolFormat
import SpoolTesting
import Testing

@testable import SpoolRing

/// Rows as the drain hands them over: records in one private copy, with readable bytes behind them and not one more.
final class RecordCopy {
    private let base: UnsafeMutableRawPointer
    private let offsets: UnsafeMutablePointer<UInt32>
    let rows: RingRows

    init(_ rows: [[UInt8]]) {
        let records = rows.map { RingLayout.record($0) }
        let size = records.reduce(0) { $0 + $1.count }
        let copy = UnsafeMutableRawPointer.allocate(byteCount: size + RingRows.slack, alignment: 16)
        offsets = .allocate(capacity: rows.count)
        var end = 0
        for (index, record) in records.enumerated() {
            offsets[index] = UInt32(end + 8)
            record.withUnsafeBytes { (copy + end).copyMemory(from: $0.baseAddress!, byteCount: record.count) }
            end += record.count
        }
        (copy + end).initializeMemory(as: UInt8.self, repeating: 0xCC, count: RingRows.slack)
        base = copy
        self.rows = RingRows(base: copy, offsets: offsets, count: rows.count)
    }

    deinit {
        base.deallocate()
        offsets.deallocate()
    }
}

/// Rows into columns: what comes out is compared with the rows that went in, decoded from the assembled block by other code.
struct RowGatherTests {
    private static let scalars: [ColumnType] =
        [
            "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Bool", "Decimal(9, 4)",
            "Decimal(18, 8)", "Decimal(38, 10)", "Date", "DateTime('UTC')", "DateTime64(9, 'UTC')", "UUID", "FixedString(3)",
            "FixedString(40)", "String", "Enum8('a' = -128, 'b' = 0, 'c' = 127)", "Enum16('x' = -32768, 'y' = 1, 'z' = 32767)",
        ].map { try! ColumnType($0) }

    /// A table with a column of every type in every shape, its event time first.
    private static let everything: TableSchema = {
        var columns = [Column(name: "ts", type: ColumnType(.dateTime64))]
        for (index, type) in scalars.enumerated() {
            columns.append(Column(name: "plain_\(index)", type: type))
            columns.append(Column(name: "null_\(index)", type: ColumnType(type.scalar, shape: .nullable)))
            if case .fixedString = type.scalar { continue }
            columns.append(Column(name: "array_\(index)", type: ColumnType(type.scalar, shape: .array)))
        }
        for text in ["name", "name_null"] {
            columns.append(Column(name: text, type: ColumnType(.string, shape: text == "name" ? .plain : .nullable)))
        }
        return TableSchema(table: "everything", columns: columns, eventTimeColumn: 0, partitionRule: .day, retention: nil)
    }()

    private static let names = [
        "", "BTCUSDT", "Zürich", String(repeating: "n", count: 31), String(repeating: "n", count: 32),
        String(repeating: "ü", count: 64), String(repeating: "n", count: 255),
    ]

    private static func table() -> NameTable {
        let table = NameTable()
        for name in names.dropFirst() { Array(name.utf8).withUnsafeBytes { table.append($0) } }
        [UInt8](arrayLiteral: 0xC3, 0x28).withUnsafeBytes { table.append($0) }
        return table
    }

    private static func builder(_ schema: TableSchema) throws -> BlockBuilder {
        try BlockBuilder(schema: schema, writer: "w1") { column in
            // A text's default, as the parser of literals makes it.
            let text = Array((column.defaultText ?? "").utf8)
            return column.type.scalar == .string ? [UInt8(text.count)] + text : Array(repeating: 7, count: column.type.width ?? 0)
        }
    }

    private static func take(_ rows: [[UInt8]], _ layout: RingLayout, _ names: NameTable, _ builder: BlockBuilder) throws {
        let plan = try RowPlan(layout.declared, schema: layout.schema)
        let copy = RecordCopy(rows)
        _ = builder.openRange(for: Samples.time)
        do {
            try RowGather.append(copy.rows, plan: plan, names: names, to: builder)
        } catch {
            builder.undoRow()
            throw error
        }
        let times = RowGather.eventTimes(copy.rows, plan: plan)
        builder.finishRows(rows.count, earliest: times.earliest, latest: times.latest)
        withExtendedLifetime(copy) {}
    }

    private static func block(_ builder: BlockBuilder) throws -> [[Cell]] {
        var bytes = RawBuffer(capacity: 1_024)
        defer { bytes.free() }
        builder.assemble(firstSequence: 1, into: &bytes)
        return try NativeBlock(Array(bytes.bytes), columns: builder.schema.wireColumns).allRows.map { Array($0.dropLast(2)) }
    }

    // MARK: Values

    private static func text(_ random: inout SeededRandom) -> Cell {
        let length = random.pick([0, 1, 5, 31, 32, 33, 64, 127, 128, 129, 300, 2_000])
        if random.oneIn(4) { return .text(String(repeating: random.pick(["ü", "漢", "😀", "é"]), count: length / 4)) }
        return .text(String(repeating: random.pick(["a", "Z", "~", "\u{7F}", "\0"]), count: length))
    }

    private static func value(_ type: ColumnType, _ random: inout SeededRandom) -> Cell {
        func number(_ range: ClosedRange<Int128>) -> Cell {
            if random.oneIn(5) { return .integer(random.pick([range.lowerBound, range.upperBound])) }
            let (span, overflow) = range.upperBound.subtractingReportingOverflow(range.lowerBound)
            let width = overflow ? .max : UInt64(clamping: span)
            return .integer(range.lowerBound + Int128(UInt64.random(in: 0...width, using: &random)))
        }
        switch type.scalar {
        case .int(let bits): return number(-(1 << Int128(bits - 1))...(1 << Int128(bits - 1)) - 1)
        case .uint(let bits): return number(0...(1 << Int128(bits)) - 1)
        case .float32:
            return .double(
                random.pick([0, -1.5, .infinity, Double(Float.greatestFiniteMagnitude), Double(Float.random(in: 0...1, using: &random))]))
        case .float64:
            return .double(random.pick([0, -1.5, -.infinity, .greatestFiniteMagnitude, Double.random(in: 0...1, using: &random)]))
        case .bool: return number(0...1)
        case .decimal(let precision, _):
            let limit = (0..<precision).reduce(Int128(1)) { power, _ in power * 10 } - 1
            return number(-limit...limit)
        case .date: return number(0...65_535)
        case .dateTime: return number(100_000_000...3_786_912_000)
        case .dateTime64: return number(Int128(EventTime.earliest)...Int128(EventTime.latest))
        case .enum8(let cases), .enum16(let cases): return .integer(Int128(random.pick(cases).value))
        case .uuid: return .uuid(high: random.next(), low: random.next())
        case .fixedString(let bytes): return .bytes((0..<bytes).map { _ in UInt8.random(in: 0...255, using: &random) })
        case .string: return text(&random)
        }
    }

    private static func row(_ schema: TableSchema, _ random: inout SeededRandom) -> [Cell] {
        schema.columns.enumerated().map { index, column in
            if index == schema.eventTimeColumn { return .integer(Int128(Samples.time) + Int128(Int.random(in: 0...1_000, using: &random))) }
            if column.name.hasPrefix("name") {
                return column.type.shape == .nullable && random.oneIn(3)
                    ? .null : random.oneIn(3) ? text(&random) : .text(random.pick(names))
            }
            switch column.type.shape {
            case .plain: return value(column.type, &random)
            case .nullable: return random.oneIn(3) ? .null : value(column.type, &random)
            case .array: return .array((0..<Int.random(in: 0...9, using: &random)).map { _ in value(column.type, &random) })
            }
        }
    }

    /// The id of an interned name, sometimes.
    private static func id(_ name: [UInt8], _ random: inout SeededRandom) -> UInt32? {
        random.oneIn(4) ? nil : names.firstIndex { Array($0.utf8) == name }.map { UInt32($0) }
    }

    @Test("rows of every type, in any layout and in batches of any size, come out as they went in", arguments: Seeds.take(6))
    func everyType(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let names = Self.table()
        for round in 0..<6 {
            // Rounds differ in the gaps between values, so that nothing is aligned by luck.
            let gaps = round % 3
            var dice = SeededRandom(seed: seed &+ UInt64(round))
            let layout = RingLayout(Self.everything, named: ["name", "name_null"]) {
                gaps == 0 ? 0 : Int.random(in: 0...gaps * 3, using: &dice)
            }
            let builder = try Self.builder(Self.everything)
            var expected: [[Cell]] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let batch = (0..<random.pick([1, 2, 7, 40])).map { _ in Self.row(Self.everything, &random) }
                let under = UInt8.random(in: 0...255, using: &random)
                try Self.take(batch.map { layout.bytes($0, name: { Self.id($0, &random) }, underNull: under) }, layout, names, builder)
                expected += batch
            }
            #expect(try Self.block(builder) == expected)
        }
    }

    @Test("the same rows in one batch, one by one, and appended by the path of JSON events are the same block", arguments: Seeds.take(3))
    func sameBlock(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let layout = RingLayout(Self.everything, named: ["name", "name_null"])
        let names = Self.table()
        let rows = (0..<30).map { _ in Self.row(Self.everything, &random) }
        let bytes = rows.map { layout.bytes($0, name: { Self.id($0, &random) }, underNull: 0xFF) }
        let whole = try Self.builder(Self.everything)
        try Self.take(bytes, layout, names, whole)
        let single = try Self.builder(Self.everything)
        for row in bytes { try Self.take([row], layout, names, single) }
        let plain = try Self.builder(Self.everything)
        for row in rows { #expect(plain.append(row: row) == .finished) }
        #expect(whole.byteCount == single.byteCount && whole.byteCount == plain.byteCount)
        var blocks: [[UInt8]] = []
        for builder in [whole, single, plain] {
            var block = RawBuffer(capacity: 1_024)
            defer { block.free() }
            builder.assemble(firstSequence: 9, into: &block)
            blocks.append(Array(block.bytes))
        }
        // To the byte, what lies under nulls included.
        #expect(blocks[0] == blocks[1])
        #expect(blocks[0] == blocks[2])
    }

    @Test("columns that are not declared get their default, null, or an empty array")
    func defaults() throws {
        let schema = TableSchema(
            table: "t",
            columns: [
                Column(name: "ts", type: ColumnType(.dateTime64)),
                Column(name: "text", type: ColumnType(.string), defaultText: "none"),
                Column(name: "number", type: ColumnType(.uint(bits: 16)), defaultText: "1799"),
                Column(name: "empty", type: ColumnType(.float64, shape: .nullable)),
                Column(name: "full", type: ColumnType(.uint(bits: 8), shape: .nullable), defaultText: "7"),
                Column(name: "list", type: ColumnType(.string, shape: .array)),
            ], eventTimeColumn: 0, partitionRule: .day, retention: nil)
        let layout = RingLayout(schema, leavingOut: ["text", "number", "empty", "full", "list"])
        let builder = try Self.builder(schema)
        let row: [Cell] = [.integer(Int128(Samples.time)), .null, .null, .null, .null, .null]
        try Self.take([layout.bytes(row), layout.bytes(row)], layout, NameTable(), builder)
        let expected: [Cell] = [row[0], .text("none"), .integer(0x0707), .null, .integer(7), .array([])]
        #expect(try Self.block(builder) == [expected, expected])
    }

    // MARK: Bad values

    @Test("a bad value of any type refuses its batch with its column, and leaves nothing behind")
    func badValues() throws {
        var random = SeededRandom(seed: 3)
        let layout = RingLayout(Self.everything, named: ["name", "name_null"])
        let names = Self.table()
        let builder = try Self.builder(Self.everything)
        let good = (0..<5).map { _ in Self.row(Self.everything, &random) }
        try Self.take(good.map { layout.bytes($0) }, layout, names, builder)
        var tried = 0
        for (index, column) in Self.everything.columns.enumerated() where index > 0 {
            let declared = layout.declared.columns.first { $0.name == column.name }!
            for bad in Self.badBytes(column, declared, names) {
                // A row whose value here is no null and no empty array.
                var row = Self.row(Self.everything, &random)
                row[index] = column.type.shape == .array ? .array([Self.value(column.type, &random)]) : Self.value(column.type, &random)
                var bytes = layout.bytes(row)
                bad(&bytes)
                let before = (builder.rows, builder.byteCount)
                #expect(throws: RowGather.Fault.column(index), "\(column.name) \(column.type.wireText)") {
                    try Self.take(good.map { layout.bytes($0) } + [bytes], layout, names, builder)
                }
                #expect((builder.rows, builder.byteCount) == before)
                tried += 1
            }
        }
        #expect(tried > 150)
        #expect(try Self.block(builder) == good)
        // And goes on as if nothing had been.
        try Self.take(good.map { layout.bytes($0) }, layout, names, builder)
        #expect(try Self.block(builder) == good + good)
    }

    /// Ways to spoil a column's value.
    private static func badBytes(_ column: Column, _ declared: DeclaredColumn, _ names: NameTable) -> [(inout [UInt8]) -> Void] {
        var ways: [(inout [UInt8]) -> Void] = []
        func put<Value: FixedWidthInteger>(_ value: Value, _ offset: @escaping (inout [UInt8]) -> Int) {
            ways.append { bytes in
                let at = offset(&bytes)
                bytes.replaceSubrange(at..<at + MemoryLayout<Value>.size, with: RingLayout.little(value))
            }
        }
        func word(_ bytes: [UInt8], _ offset: Int) -> Int {
            bytes.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
        }
        if let null = declared.nullOffset {
            for mark in [UInt8(2), 3, 0x80, 0xFF] { put(mark) { _ in null } }
        }
        switch declared.storage {
        case .fixed,
            .array where column.type.width != nil:
            // The value itself, or the array's only element.
            let place: (inout [UInt8]) -> Int = { declared.storage == .fixed ? declared.offset : word($0, declared.offset) }
            switch column.type.scalar {
            case .bool: for value in [UInt8(2), 0xFF] { put(value, place) }
            case .dateTime64:
                for value in [Int64.min, -1, 0, EventTime.earliest - 1, EventTime.latest + 1, .max] { put(value, place) }
            case .dateTime: for value in [UInt32(0), 99_999_999, 3_786_912_001, .max] { put(value, place) }
            case .enum8: for value in [Int8(-127), 1, 126] { put(value, place) }
            case .enum16: for value in [Int16(-32_767), 0, 2, 32_766] { put(value, place) }
            case .decimal(let precision, _) where precision == 9:
                for value in [Int32(1_000_000_000), -1_000_000_000, .max, .min] { put(value, place) }
            case .decimal(let precision, _) where precision == 18:
                for value in [Int64(1_000_000_000_000_000_000), -1_000_000_000_000_000_000, .max, .min] { put(value, place) }
            case .decimal:
                let limit = (0..<38).reduce(Int128(1)) { power, _ in power * 10 }
                for value in [limit, -limit, .max, .min] { put(value, place) }
            default: break
            }
        case .name:
            for id in [UInt32(names.count), UInt32(names.count) - 1, 0x7FFF_FFFF, 0x8000_0000 + 1_000_000, .max, 0xFFFF_FFFC] {
                put(id) { _ in declared.offset }
            }
            // Within its row by its offset, not by its length; and not UTF-8.
            ways.append { bytes in
                let at = bytes.count
                bytes += [0, 0, 1, 0, 0x61]
                bytes.replaceSubrange(declared.offset..<declared.offset + 4, with: RingLayout.little(0x8000_0000 | UInt32(at)))
            }
            ways.append { bytes in
                let at = bytes.count
                bytes += [2, 0, 0, 0, 0xC3, 0x28]
                bytes.replaceSubrange(declared.offset..<declared.offset + 4, with: RingLayout.little(0x8000_0000 | UInt32(at)))
            }
        default: break
        }
        if declared.storage == .string || declared.storage == .array {
            for (offset, count) in [
                (UInt32.max, UInt32(1)), (0, .max), (.max, .max), (0x7FFF_FFFF, 0x7FFF_FFFF), (0, 1 << 21), (1 << 21, 1),
            ] {
                put(UInt64(offset) | UInt64(count) << 32) { _ in declared.offset }
            }
        }
        if column.type.scalar == .string, declared.storage != .name {
            for bad in [[0xFF], [0xC3, 0x28], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xC0, 0x80], [0xE2, 0x82]] as [[UInt8]] {
                ways.append { bytes in
                    let text = RingLayout.little(UInt32(bytes.count)) + RingLayout.little(UInt32(bad.count))
                    bytes += bad
                    if declared.storage == .array {
                        let slots = RingLayout.little(UInt32(bytes.count)) + RingLayout.little(UInt32(1))
                        bytes += text
                        bytes.replaceSubrange(declared.offset..<declared.offset + 8, with: slots)
                    } else {
                        bytes.replaceSubrange(declared.offset..<declared.offset + 8, with: text)
                    }
                }
            }
            if declared.storage == .array {
                // An element outside of the row.
                ways.append { bytes in
                    let slots = RingLayout.little(UInt32(bytes.count)) + RingLayout.little(UInt32(1))
                    bytes += RingLayout.little(UInt32(bytes.count)) + RingLayout.little(UInt32(9_000))
                    bytes.replaceSubrange(declared.offset..<declared.offset + 8, with: slots)
                }
            }
        }
        return ways
    }

    @Test("texts that share their bytes are refused before they take more memory than the rows have")
    func sharedBytes() throws {
        let columns =
            [Column(name: "ts", type: ColumnType(.dateTime64))] + (0..<200).map { Column(name: "t\($0)", type: ColumnType(.string)) }
        let schema = TableSchema(table: "t", columns: columns, eventTimeColumn: 0, partitionRule: .day, retention: nil)
        let layout = RingLayout(schema)
        let builder = try Self.builder(schema)
        var bytes = layout.bytes([.integer(Int128(Samples.time))] + Array(repeating: .text(""), count: 200))
        let start = bytes.count
        bytes += [UInt8](repeating: 0x61, count: 200_000)
        for column in layout.declared.columns where column.name != "ts" {
            let slot = RingLayout.little(UInt32(start)) + RingLayout.little(UInt32(200_000))
            bytes.replaceSubrange(column.offset..<column.offset + 8, with: slot)
        }
        #expect(throws: RowGather.Fault.sharedBytes) { try Self.take([bytes], layout, NameTable(), builder) }
        #expect(builder.lanes.reduce(0) { $0 + $1.values.capacity } < 4 * bytes.count)
        #expect(builder.rows == 0)
        // The same bytes used once are a row like others.
        for column in layout.declared.columns.dropFirst(2) {
            bytes.replaceSubrange(column.offset..<column.offset + 8, with: [UInt8](repeating: 0, count: 8))
        }
        try Self.take([bytes], layout, NameTable(), builder)
        #expect(builder.rows == 1)
    }

    @Test("what a row may become in a block is known before it does")
    func rowsWithin() throws {
        let columns =
            [Column(name: "ts", type: ColumnType(.dateTime64))] + (0..<40).map { Column(name: "t\($0)", type: ColumnType(.string)) }
        let schema = TableSchema(table: "t", columns: columns, eventTimeColumn: 0, partitionRule: .day, retention: nil)
        let layout = RingLayout(schema, named: Set(columns.map(\.name)))
        let plan = try RowPlan(layout.declared, schema: schema)
        let names = Self.table()
        let builder = try Self.builder(schema)
        let longest = UInt32(Self.names.count - 1)
        let row = layout.bytes([.integer(Int128(Samples.time))] + Array(repeating: .text("x"), count: 40)) { _ in longest }
        let limit = 1 << 20
        let count = plan.rows(within: limit, names: names)
        #expect(count > 1 && count < 110)
        try Self.take(Array(repeating: row, count: count), layout, names, builder)
        #expect(builder.byteCount <= limit && builder.byteCount > limit / 2)
        #expect(plan.rows(within: 1, names: names) == 1)
    }

    // MARK: Noise

    @Test("random bytes as rows are taken or refused, and never read beyond", arguments: Seeds.take(4))
    func noise(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var dice = SeededRandom(seed: seed)
        let layout = RingLayout(Self.everything, named: ["name", "name_null"]) { Int.random(in: 0...2, using: &dice) }
        let plan = try RowPlan(layout.declared, schema: Self.everything)
        let names = Self.table()
        let builder = try Self.builder(Self.everything)
        var expected: [[Cell]] = []
        var refused = 0
        for _ in 0..<500 {
            let row = Self.row(Self.everything, &random)
            var bytes = layout.bytes(row, underNull: UInt8.random(in: 0...255, using: &random))
            switch Int.random(in: 0..<4, using: &random) {
            case 0: break
            case 1:
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[Int.random(in: 8..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
            case 2:
                let bit = Int.random(in: 64..<layout.declared.rowBytes * 8, using: &random)
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            default:
                bytes = (0..<layout.declared.rowBytes + Int.random(in: 0...64, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                // Mostly small numbers, which get further than large ones.
                for index in bytes.indices where !random.oneIn(3) { bytes[index] = UInt8.random(in: 0...2, using: &random) }
                bytes.replaceSubrange(0..<8, with: RingLayout.little(Samples.time))
            }
            let copy = RecordCopy([bytes])
            let time = RowGather.eventTime(copy.rows, 0, plan: plan)
            let range = builder.openRange(for: Samples.time)
            guard time >= range.from, time < range.to else { continue }
            do throws(RowGather.Fault) {
                try RowGather.append(copy.rows, plan: plan, names: names, to: builder)
                builder.finishRows(1, earliest: time, latest: time)
                // What is taken is what an independent look at the bytes makes of them.
                expected.append(RowReader(bytes: bytes, layout: layout, names: Self.names.map { Array($0.utf8) }).row())
            } catch {
                builder.undoRow()
                refused += 1
            }
        }
        #expect(refused > 50 && expected.count > 100)
        let found = try Self.block(builder)
        #expect(found.count == expected.count)
        // As text, in which NaN is NaN.
        for (one, other) in zip(found, expected) where one != other { #expect("\(one)" == "\(other)") }
    }
}

/// Reads one row out of a ring's layout, slowly, value by value: the model that the gather is compared with.
struct RowReader {
    let bytes: [UInt8]
    let layout: RingLayout
    /// By id.
    let names: [[UInt8]]

    private func number<Value: FixedWidthInteger>(_ offset: Int, _: Value.Type = Value.self) -> Value {
        (0..<MemoryLayout<Value>.size).reduce(Value(0)) { $0 | Value(truncatingIfNeeded: bytes[offset + $1]) << Value($1 * 8) }
    }

    func row() -> [Cell] {
        layout.schema.columns.map { column in
            let declared = layout.declared.columns.first { $0.name == column.name }!
            if let null = declared.nullOffset, bytes[null] == 1 { return .null }
            switch declared.storage {
            case .fixed: return value(column.type, declared.offset)
            case .string: return text(declared.offset)
            case .name:
                let id = number(declared.offset, UInt32.self)
                if id < 0x8000_0000 { return .bytes(names[Int(id)]) }
                let start = Int(id & 0x7FFF_FFFF)
                return .bytes(Array(bytes[start + 4..<start + 4 + Int(number(start, UInt32.self))]))
            case .array:
                let start = Int(number(declared.offset, UInt32.self))
                let count = Int(number(declared.offset + 4, UInt32.self))
                let width = column.type.width ?? 8
                return .array((0..<count).map { column.type.width == nil ? text(start + $0 * 8) : value(column.type, start + $0 * width) })
            }
        }
    }

    private func text(_ slot: Int) -> Cell {
        let start = Int(number(slot, UInt32.self))
        return .bytes(Array(bytes[start..<start + Int(number(slot + 4, UInt32.self))]))
    }

    private func value(_ type: ColumnType, _ offset: Int) -> Cell {
        switch type.scalar {
        case .float32: .double(Double(Float(bitPattern: number(offset))))
        case .float64: .double(Double(bitPattern: number(offset)))
        case .fixedString(let count): .bytes(Array(bytes[offset..<offset + count]))
        case .uuid: .uuid(high: number(offset), low: number(offset + 8))
        case .uint, .bool, .date, .dateTime:
            switch type.width {
            case 1: .integer(Int128(number(offset, UInt8.self)))
            case 2: .integer(Int128(number(offset, UInt16.self)))
            case 4: .integer(Int128(number(offset, UInt32.self)))
            default: .integer(Int128(number(offset, UInt64.self)))
            }
        default:
            switch type.width {
            case 1: .integer(Int128(number(offset, Int8.self)))
            case 2: .integer(Int128(number(offset, Int16.self)))
            case 4: .integer(Int128(number(offset, Int32.self)))
            case 8: .integer(Int128(number(offset, Int64.self)))
            default: .integer(number(offset, Int128.self))
            }
        }
    }
}
