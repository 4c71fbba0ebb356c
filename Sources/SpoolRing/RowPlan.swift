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

    /// Why a declaration does not fit: the ring is held.
    public struct Mismatch: Error, Equatable, CustomStringConvertible {
        public let description: String
        /// What the producer says of itself may be long, and may pretend to be other lines of the log.
        init(_ description: String) { self.description = printable(description) }
    }

    public init(_ declared: DeclaredTable, schema: TableSchema) throws(Mismatch) {
        self.schema = schema
        rowBytes = declared.rowBytes
        var byName: [String: DeclaredColumn] = [:]
        for column in declared.columns {
            guard byName.updateValue(column, forKey: column.name) == nil else {
                throw Mismatch("column \(column.name) is declared twice")
            }
        }
        var declarations: [DeclaredColumn?] = []
        for column in schema.columns {
            let found = byName.removeValue(forKey: column.name)
            if let found {
                try Self.check(found, against: column, rowBytes: declared.rowBytes)
            } else if column.isRequired {
                throw Mismatch("column \(column.name) is not declared; it has no default")
            }
            declarations.append(found)
        }
        if let unknown = byName.keys.min() { throw Mismatch("the schema has no column \(unknown)") }
        guard let time = declarations[schema.eventTimeColumn]?.offset else {
            throw Mismatch("the event time \(schema.columns[schema.eventTimeColumn].name) is not declared")
        }
        eventTimeOffset = time
        // Only now that nothing can fail any more: an object that is not finished frees nothing.
        var plans: [ColumnPlan] = []
        for (column, found) in zip(schema.columns, declarations) {
            if let found {
                plans.append(
                    ColumnPlan(
                        isDeclared: true, storage: found.storage, offset: found.offset, nullOffset: found.nullOffset ?? -1,
                        rule: Self.rule(column.type, &memberTables), indices: RawBuffer(capacity: 0)))
            } else {
                plans.append(
                    ColumnPlan(isDeclared: false, storage: .fixed, offset: 0, nullOffset: -1, rule: .any, indices: RawBuffer(capacity: 0)))
            }
        }
        blockBytes = zip(schema.columns, plans).reduce(Self.ownColumnBytes) { sum, pair in sum + Self.blockBytes(of: pair.0, pair.1) }
        nameColumns = plans.count { $0.isDeclared && $0.storage == .name }
        columns = .allocate(capacity: plans.count)
        _ = columns.initialize(from: plans)
    }

    /// How many rows take at most this many bytes in the block, beside their texts and arrays; at least one. An interned name is four
    /// bytes in the ring and may be 257 there, and a default is none at all.
    public func rows(within bytes: Int, names: NameTable) -> Int { max(1, bytes / (blockBytes + nameColumns * names.longest)) }

    /// `spool_writer`, with its length, and `spool_seq`.
    private static let ownColumnBytes = 1 + FormatLimits.writerIDBytes + 8

    private static func blockBytes(of column: Column, _ plan: ColumnPlan) -> Int {
        let mark = column.type.shape == .plain ? 0 : 8
        if plan.isDeclared { return mark + (plan.storage == .fixed ? column.type.width ?? 0 : plan.storage == .name ? 0 : 3) }
        return mark + (column.type.width ?? 3 + (column.defaultText?.utf8.count ?? 0))
    }

    deinit {
        for column in columns { column.indices.free() }
        columns.deallocate()
        for table in memberTables { table.deallocate() }
    }

    private static func check(_ found: DeclaredColumn, against column: Column, rowBytes: Int) throws(Mismatch) {
        // Longer than any way to write the schema's type: to read it would only cost time.
        guard found.type.utf8.count <= 2 * column.type.wireText.utf8.count + 64 else {
            throw Mismatch(
                "column \(found.name) is declared as \(printable(found.type, limit: 40)), the schema has \(column.type.wireText)")
        }
        let type: ColumnType
        do {
            type = try ColumnType(found.type)
        } catch {
            throw Mismatch("column \(found.name): \(error.reason)")
        }
        guard type == column.type else {
            throw Mismatch("column \(found.name) is declared as \(found.type), the schema has \(column.type.wireText)")
        }
        let isText = type.scalar == .string
        let fits: Bool =
            switch found.storage {
            case .fixed: type.shape != .array && !isText
            case .string, .name: type.shape != .array && isText
            case .array: type.shape == .array
            }
        guard fits else { throw Mismatch("column \(found.name): storage \(found.storage) does not hold \(found.type)") }
        guard (found.nullOffset != nil) == (type.shape == .nullable) else {
            throw Mismatch("column \(found.name): a null byte belongs to Nullable columns, and to them only")
        }
        let bytes =
            switch found.storage {
            case .fixed: type.width ?? 0
            case .string, .array: 8
            case .name: 4
            }
        guard found.offset + bytes <= rowBytes, (found.nullOffset ?? 0) < rowBytes else {
            throw Mismatch("column \(found.name) lies outside of the row's \(rowBytes) bytes")
        }
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
