/// A ClickHouse column type, as far as rows can be recorded in it (`docs/spool-format.md` §7).
///
/// `LowCardinality` is not here: it says how a column is stored, not what its values are (see ``Column/isLowCardinality``).
public struct ColumnType: Equatable, Sendable {
    public enum Shape: UInt8, Sendable {
        case plain, nullable, array
    }

    /// One named value of an enum.
    public struct EnumCase: Equatable, Sendable {
        public let name: String
        public let value: Int16
    }

    public enum Scalar: Equatable, Sendable {
        case int(bits: Int)
        case uint(bits: Int)
        case float32, float64
        case bool
        /// Scaled integer: the value times ten to the power of `scale`.
        case decimal(precision: Int, scale: Int)
        /// Days since 1970-01-01.
        case date
        /// Seconds since the Unix epoch.
        case dateTime
        /// Nanoseconds since the Unix epoch.
        case dateTime64
        case enum8([EnumCase])
        case enum16([EnumCase])
        case uuid
        case fixedString(bytes: Int)
        case string
    }

    /// How a block's header names a text column whose values stand in a dictionary.
    public static let dictionaryText = "LowCardinality(String)"

    public let shape: Shape
    public let scalar: Scalar

    public init(_ scalar: Scalar, shape: Shape = .plain) {
        self.scalar = scalar
        self.shape = shape
    }

    /// Bytes of one value in a block; nil for `String`, whose values differ in length.
    public var width: Int? {
        switch scalar {
        case .int(let bits), .uint(let bits): bits / 8
        case .float32, .dateTime: 4
        case .float64, .dateTime64: 8
        case .bool, .enum8: 1
        case .enum16, .date: 2
        case .uuid: 16
        case .decimal(let precision, _): precision <= 9 ? 4 : precision <= 18 ? 8 : 16
        case .fixedString(let bytes): bytes
        case .string: nil
        }
    }

    /// The text that stands in the block's header: exact, because ClickHouse converts silently where it differs.
    public var wireText: String {
        switch shape {
        case .plain: scalar.wireText
        case .nullable: "Nullable(\(scalar.wireText))"
        case .array: "Array(\(scalar.wireText))"
        }
    }
}

extension ColumnType.Scalar {
    var wireText: String {
        switch self {
        case .int(let bits): "Int\(bits)"
        case .uint(let bits): "UInt\(bits)"
        case .float32: "Float32"
        case .float64: "Float64"
        case .bool: "Bool"
        case .decimal(let precision, let scale): "Decimal(\(precision), \(scale))"
        case .date: "Date"
        case .dateTime: "DateTime('UTC')"
        case .dateTime64: "DateTime64(9, 'UTC')"
        case .enum8(let cases): "Enum8(\(Self.list(cases)))"
        case .enum16(let cases): "Enum16(\(Self.list(cases)))"
        case .uuid: "UUID"
        case .fixedString(let bytes): "FixedString(\(bytes))"
        case .string: "String"
        }
    }

    private static func list(_ cases: [ColumnType.EnumCase]) -> String {
        cases.map { "\(quotedString($0.name)) = \($0.value)" }.joined(separator: ", ")
    }
}

extension ColumnType {
    /// Reads a type as DDL or a block header writes it.
    ///
    /// - Throws: `SchemaError` naming the part that is not supported, and what is.
    public init(_ text: String) throws(SchemaError) {
        var tokens = try SQLTokens(text, file: "type")
        self = try tokens.takeType()
        guard tokens.isAtEnd else { throw tokens.error("text after the type \(wireText)") }
    }
}

extension SQLTokens {
    /// `LowCardinality(Nullable(T))` is all that there is.
    private static let maxDepth = 3

    /// - Parameter depth: types around it; without a limit a text of nothing but `Array(` would use up the stack.
    mutating func takeType(depth: Int = 0) throws(SchemaError) -> ColumnType {
        let name = try takeWord("a column type")
        guard depth < Self.maxDepth else { throw error("types within types: one level only") }
        switch name {
        case "Nullable": return ColumnType(try takeInner(of: name, depth), shape: .nullable)
        case "Array":
            let inner = try takeInner(of: name, depth)
            // A line of `"",` would become kilobytes a value, and a block beyond all limits.
            if case .fixedString = inner { throw error("Array of FixedString: use Array(String)") }
            return ColumnType(inner, shape: .array)
        case "LowCardinality":
            try take("(")
            let inner = try takeType(depth: depth + 1)
            try take(")")
            guard inner.shape != .array else { throw error("LowCardinality of an Array") }
            return inner
        default: return ColumnType(try takeScalar(name))
        }
    }

    private mutating func takeInner(of outer: String, _ depth: Int) throws(SchemaError) -> ColumnType.Scalar {
        try take("(")
        let inner = try takeType(depth: depth + 1)
        try take(")")
        guard inner.shape == .plain else { throw error("\(outer) of \(inner.wireText): one level only") }
        return inner.scalar
    }

    private mutating func takeScalar(_ name: String) throws(SchemaError) -> ColumnType.Scalar {
        switch name {
        case "Int8": return .int(bits: 8)
        case "Int16": return .int(bits: 16)
        case "Int32": return .int(bits: 32)
        case "Int64": return .int(bits: 64)
        case "UInt8": return .uint(bits: 8)
        case "UInt16": return .uint(bits: 16)
        case "UInt32": return .uint(bits: 32)
        case "UInt64": return .uint(bits: 64)
        case "Float32": return .float32
        case "Float64": return .float64
        case "Bool": return .bool
        case "String": return .string
        case "UUID": return .uuid
        case "Date": return .date
        case "DateTime":
            if taken("(") {
                try takeUTC()
                try take(")")
            } else {
                throw error("DateTime without a time zone: write DateTime('UTC'), so that nobody's server decides")
            }
            return .dateTime
        case "DateTime64":
            try take("(")
            guard try takeInteger() == 9 else { throw error("DateTime64 with other than 9 digits: nanoseconds only") }
            guard taken(",") else { throw error("DateTime64 without a time zone: write DateTime64(9, 'UTC')") }
            try takeUTC()
            try take(")")
            return .dateTime64
        case "Decimal":
            try take("(")
            let precision = try takeInteger()
            try take(",")
            let scale = try takeInteger()
            try take(")")
            guard (1...38).contains(precision), (0...precision).contains(scale) else {
                throw error("Decimal(\(precision), \(scale)): 1 to 38 digits, scale at most that")
            }
            return .decimal(precision: precision, scale: scale)
        case "FixedString":
            try take("(")
            let bytes = try takeInteger()
            try take(")")
            guard (1...4_096).contains(bytes) else { throw error("FixedString(\(bytes)): 1 to 4096 bytes") }
            return .fixedString(bytes: bytes)
        case "Enum8": return .enum8(try takeEnumCases(Int(Int8.min)...Int(Int8.max)))
        case "Enum16": return .enum16(try takeEnumCases(Int(Int16.min)...Int(Int16.max)))
        default:
            throw error(
                "type \(name): supported are Int8..64, UInt8..64, Float32, Float64, Bool, String, FixedString, UUID, Date, "
                    + "DateTime('UTC'), DateTime64(9, 'UTC'), Decimal, Enum8, Enum16, LowCardinality, Nullable, Array")
        }
    }

    private mutating func takeUTC() throws(SchemaError) {
        let zone = try takeString()
        guard zone == "UTC" else { throw error("time zone '\(zone)': 'UTC' only") }
    }

    private mutating func takeEnumCases(_ range: ClosedRange<Int>) throws(SchemaError) -> [ColumnType.EnumCase] {
        try take("(")
        var cases: [ColumnType.EnumCase] = []
        // A ring's producer may declare thousands.
        var names: Set<String> = []
        var values: Set<Int> = []
        repeat {
            let name = try takeString()
            try take("=")
            let value = try takeInteger()
            guard range.contains(value) else { throw error("enum value \(value) is outside \(range)") }
            guard names.insert(name).inserted, values.insert(value).inserted else {
                throw error("enum value '\(name)' = \(value) stands twice")
            }
            cases.append(ColumnType.EnumCase(name: name, value: Int16(value)))
        } while taken(",")
        try take(")")
        return cases
    }
}
