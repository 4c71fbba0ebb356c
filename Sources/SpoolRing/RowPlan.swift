import SpoolFormat

/// What a fixed-width value must be, beyond having the right number of bytes. The same rules as for JSON events.
enum ValueRule {
    case any
    /// `DateTime64(9)`: within ``EventTime``.
    case time
    /// `DateTime`: the same in seconds.
    case seconds
    case bool
    /// One byte, true where a member has that value.
    case enum8(UnsafePointer<Bool>)
    case enum16(UnsafePointer<Bool>)
    /// A magnitude of at most this.
    case decimal32(Int32)
    case decimal64(Int64)
    case decimal128(Int128)
}

/// How one column of a table gets its values from a ring's rows.
struct ColumnPlan {
    /// False for a column that the producer leaves out: it gets its default.
    let isDeclared: Bool
    /// Whether it is declared with an older type than the schema's: see ``RowPlan/widenings``.
    let isWidened: Bool
    let storage: DeclaredColumn.Storage
    let offset: Int
    /// Where the null byte is; -1 if there is none.
    let nullOffset: Int
    let rule: ValueRule
    /// For each name of the ring, where it stands in the dictionary of the block being gathered: index, and above it the generation of the
    /// dictionary that it is of.
    var indices: RawBuffer
}

/// How the rows of a declared table become rows of the schema's (`docs/ring.md` §4): made once for each ring and table.
public final class RowPlan {
    public let schema: TableSchema
    public let rowBytes: Int
    /// Where a row's event time is.
    let eventTimeOffset: Int
    let columns: UnsafeMutableBufferPointer<ColumnPlan>
    /// Bytes of a row in the block, but for its texts and arrays, which are bounded by what the rows have.
    private let blockBytes: Int
    private let nameColumns: Int
    private var memberTables: [UnsafeMutablePointer<Bool>] = []

    /// Declared columns whose values are not recorded any more, since the schema has dropped them.
    public let ignored: [String]
    /// What the producer declares as it once was, for people: it is recorded as it is now.
    public let older: [String]
    /// By column of the schema; nil where the declared type is the schema's.
    let widenings: [Widening?]

    /// Why a declaration does not fit: the ring is held.
    public struct Mismatch: Error, Equatable, CustomStringConvertible {
        /// What to do about it.
        enum Advice: String {
            /// It has something that the schema does not have yet, or nobody's has.
            case newer =
                "if the producer is newer than the writer's schemas, run spool-loader migrate apply and restart the writer with the new ones; else regenerate the producer with spool-writer codegen"
            case regenerate = "regenerate the producer with spool-writer codegen"
            /// No generated code says so.
            case mend = "mend its declaration (docs/ring.md), or make it with spool-writer codegen"
        }

        public let description: String
        /// What the producer says of itself may be long, and may pretend to be other lines of the log.
        init(_ description: String, _ advice: Advice) { self.description = "\(printable(description)): \(advice.rawValue)" }
    }

    public init(_ declared: DeclaredTable, schema: TableSchema) throws(Mismatch) {
        self.schema = schema
        rowBytes = declared.rowBytes
        let fit = try DeclarationFit(declared, schema: schema)
        guard let time = fit.matches[schema.eventTimeColumn]?.column.offset else {
            throw Mismatch("the event time \(schema.columns[schema.eventTimeColumn].name) is not declared", .regenerate)
        }
        eventTimeOffset = time
        (ignored, older) = (fit.ignored, fit.older)
        widenings = fit.matches.map { $0?.widening }
        // Only now that nothing can fail any more: an object that is not finished frees nothing.
        var plans: [ColumnPlan] = []
        for match in fit.matches { plans.append(ColumnPlan(match, &memberTables)) }
        blockBytes = zip(schema.columns, zip(plans, widenings)).reduce(Self.ownColumnBytes) { sum, pair in
            sum + Self.blockBytes(of: pair.0, pair.1.0, pair.1.1)
        }
        nameColumns = plans.count { $0.isDeclared && $0.storage == .name }
        columns = .allocate(capacity: plans.count)
        _ = columns.initialize(from: plans)
    }

    /// The type by whose rules a column's values are refused: the declared one, or the schema's if none is.
    public func ruledBy(column: Int) -> ColumnType { widenings[column]?.declared ?? schema.columns[column].type }

    /// How many rows take at most this many bytes in the block, beside their texts and arrays; at least one. An interned name is four
    /// bytes in the ring and may be 257 there, and a default is none at all.
    public func rows(within bytes: Int, names: NameTable) -> Int { max(1, bytes / (blockBytes + nameColumns * names.longest)) }

    /// `spool_writer`, with its length, and `spool_seq`.
    private static let ownColumnBytes = 1 + FormatLimits.writerIDBytes + 8

    private static func blockBytes(of column: Column, _ plan: ColumnPlan, _ widening: Widening?) -> Int {
        let mark = column.type.shape == .plain ? 0 : 8
        if let text = widening?.longestText { return mark + 3 + text }
        if plan.isDeclared { return mark + (plan.storage == .fixed ? column.type.width ?? 0 : plan.storage == .name ? 0 : 3) }
        return mark + (column.type.width ?? 3 + (column.defaultText?.utf8.count ?? 0))
    }

    deinit {
        for column in columns { column.indices.free() }
        columns.deallocate()
        for table in memberTables { table.deallocate() }
    }
}

extension ColumnPlan {
    /// - Parameter match: nil for a column that is left out.
    fileprivate init(_ match: DeclarationFit.Match?, _ tables: inout [UnsafeMutablePointer<Bool>]) {
        guard let match else {
            self.init(
                isDeclared: false, isWidened: false, storage: .fixed, offset: 0, nullOffset: -1, rule: .any, indices: RawBuffer(capacity: 0)
            )
            return
        }
        self.init(
            isDeclared: true, isWidened: match.widening != nil, storage: match.column.storage, offset: match.column.offset,
            nullOffset: match.column.nullOffset ?? -1, rule: Self.rule(match.widening?.ruledBy ?? match.type, &tables),
            indices: RawBuffer(capacity: 0))
    }

    private static func rule(_ type: ColumnType, _ tables: inout [UnsafeMutablePointer<Bool>]) -> ValueRule {
        switch type.scalar {
        case .int, .uint, .float32, .float64, .date, .uuid, .fixedString, .string: return .any
        case .bool: return .bool
        case .dateTime64: return .time
        case .dateTime: return .seconds
        case .decimal(let precision, _):
            let limit = (0..<precision).reduce(Int128(1)) { power, _ in power * 10 } - 1
            return precision <= 9 ? .decimal32(Int32(limit)) : precision <= 18 ? .decimal64(Int64(limit)) : .decimal128(limit)
        case .enum8(let cases): return .enum8(members(cases, bits: 8, &tables))
        case .enum16(let cases): return .enum16(members(cases, bits: 16, &tables))
        }
    }

    private static func members(
        _ cases: [ColumnType.EnumCase], bits: Int, _ tables: inout [UnsafeMutablePointer<Bool>]
    ) -> UnsafePointer<Bool> {
        let table = UnsafeMutablePointer<Bool>.allocate(capacity: 1 << bits)
        table.initialize(repeating: false, count: 1 << bits)
        for item in cases { table[Int(UInt16(bitPattern: item.value)) & (1 << bits - 1)] = true }
        tables.append(table)
        return UnsafePointer(table)
    }
}
