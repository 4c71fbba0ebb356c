import SpoolFormat

/// How a producer of ours lays a table's rows in a ring (`docs/ring.md` §4): one computation for the generated code of every language, and for
/// `spool-loader replay`.
public struct RowLayout {
    public enum Storage: Int, Sendable {
        case fixed = 0
        case string = 1
        case name = 2
        case array = 3
    }

    public struct Field: Sendable {
        public let column: Column
        public let storage: Storage
        /// In the row's fixed part.
        public let offset: Int
        /// Bytes in the fixed part.
        public let width: Int
        /// Of the byte that is 1 for null; nil if the column cannot be null.
        public let nullOffset: Int?
        /// The value of a row that leaves the field out: bytes of the fixed part, zero without a DEFAULT.
        public let defaultBytes: [UInt8]

        /// Whether zeroed memory says something else than the column's DEFAULT.
        public var hasDefault: Bool {
            switch storage {
            case .fixed: defaultBytes.contains { $0 != 0 }
            case .string, .name: !(column.defaultText ?? "").isEmpty
            case .array: false
            }
        }
        public var isNullable: Bool { nullOffset != nil }
        public var isText: Bool { storage == .string || storage == .name }
    }

    public let schema: TableSchema
    /// In the order of the schema.
    public let fields: [Field]
    /// Bytes of the fixed part; the tail begins right behind it.
    public let rowBytes: Int

    /// - Parameter parseDefault: turns a DEFAULT literal into the bytes of one value.
    public init(_ schema: TableSchema, parseDefault: (Column) throws(SchemaError) -> [UInt8]) throws(SchemaError) {
        self.schema = schema
        let storages = schema.columns.map(Self.storage)
        let widths = zip(schema.columns, storages).map(Self.width)
        // Widest first: then every value is aligned and there is no gap. FixedString needs no alignment, so it follows, and the
        // bytes that say null come last.
        let order = schema.columns.indices.sorted { a, b in
            let (left, right) = (Self.rank(schema.columns[a], widths[a]), Self.rank(schema.columns[b], widths[b]))
            return left != right ? left > right : a < b
        }
        var end = 0
        var offsets = Array(repeating: 0, count: schema.columns.count)
        for column in order {
            offsets[column] = end
            end += widths[column]
        }
        var fields: [Field] = []
        for (index, column) in schema.columns.enumerated() {
            let isNullable = column.type.shape == .nullable
            let given = storages[index] == .fixed ? try parseDefault(column) : []
            fields.append(
                Field(
                    column: column, storage: storages[index], offset: offsets[index], width: widths[index],
                    nullOffset: isNullable ? end : nil,
                    defaultBytes: given.isEmpty ? Array(repeating: 0, count: widths[index]) : given))
            if isNullable { end += 1 }
        }
        self.fields = fields
        rowBytes = end
        guard end <= Self.maxRowBytes else {
            throw SchemaError(
                file: schema.table, line: 0, reason: "its rows have \(end) bytes without texts, a ring's at most \(Self.maxRowBytes)")
        }
        guard fields.count <= Self.maxColumns else {
            throw SchemaError(file: schema.table, line: 0, reason: "has \(fields.count) columns, a ring's table at most \(Self.maxColumns)")
        }
    }

    static let maxRowBytes = 65_536
    static let maxColumns = 1_024
    public static let maxTables = 64

    private static func storage(_ column: Column) -> Storage {
        if column.type.shape == .array { return .array }
        guard column.type.scalar == .string else { return .fixed }
        return column.isLowCardinality ? .name : .string
    }

    private static func width(_ column: Column, _ storage: Storage) -> Int {
        switch storage {
        case .fixed: column.type.width ?? 0
        case .string, .array: 8
        case .name: 4
        }
    }

    private static func rank(_ column: Column, _ width: Int) -> Int {
        if case .fixedString = column.type.scalar, column.type.shape != .array { return 0 }
        return width
    }

    /// The declaration as it stands in a ring's header.
    public var declaration: [UInt8] {
        var bytes: [UInt8] = []
        func put<Value: FixedWidthInteger>(_ value: Value) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        put(UInt8(schema.table.utf8.count))
        bytes.append(contentsOf: schema.table.utf8)
        put(schema.fingerprint)
        put(UInt32(rowBytes))
        put(UInt16(fields.count))
        for field in fields {
            put(UInt8(field.column.name.utf8.count))
            bytes.append(contentsOf: field.column.name.utf8)
            let type = field.column.type.wireText
            put(UInt16(type.utf8.count))
            bytes.append(contentsOf: type.utf8)
            put(UInt8(field.storage.rawValue))
            put(UInt32(field.offset))
            put(field.nullOffset.map(UInt32.init) ?? UInt32.max)
        }
        return bytes
    }

    /// By which generated code finds its table in a ring: `spool_table_key` of `coldpath_ring.h`.
    public var key: UInt64 {
        declaration.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
