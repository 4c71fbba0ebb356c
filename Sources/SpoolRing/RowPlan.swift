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
    private var memberTables: [UnsafeMutablePointer<Bool>] = []

    /// Why a declaration does not fit: rows of that table are refused.
    public struct Mismatch: Error, Equatable, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }
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
        var plans: [ColumnPlan] = []
        var time: Int?
        for (index, column) in schema.columns.enumerated() {
            guard let found = byName.removeValue(forKey: column.name) else {
                guard !column.isRequired else {
                    throw Mismatch("column \(column.name) is not declared; it has no default")
                }
                plans.append(
                    ColumnPlan(isDeclared: false, storage: .fixed, offset: 0, nullOffset: -1, rule: .any, indices: RawBuffer(capacity: 0)))
                continue
            }
            try Self.check(found, against: column, rowBytes: declared.rowBytes)
            if index == schema.eventTimeColumn { time = found.offset }
            plans.append(
                ColumnPlan(
                    isDeclared: true, storage: found.storage, offset: found.offset, nullOffset: found.nullOffset ?? -1,
                    rule: Self.rule(column.type, &memberTables), indices: RawBuffer(capacity: 0)))
        }
        if let unknown = byName.keys.min() { throw Mismatch("the schema has no column \(unknown)") }
        guard let time else { throw Mismatch("the event time \(schema.columns[schema.eventTimeColumn].name) is not declared") }
        eventTimeOffset = time
        columns = .allocate(capacity: plans.count)
        _ = columns.initialize(from: plans)
    }

    deinit {
        for column in columns { column.indices.free() }
        columns.deallocate()
        for table in memberTables { table.deallocate() }
    }

    private static func check(_ found: DeclaredColumn, against column: Column, rowBytes: Int) throws(Mismatch) {
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
