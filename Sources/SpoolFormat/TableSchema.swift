/// One column that an event may give.
public struct Column: Equatable, Sendable {
    public let name: String
    public let type: ColumnType
    /// The literal of the DDL's `DEFAULT`, which the writer fills in itself; nil if there is none.
    public let defaultText: String?
    /// Whether the DDL says `LowCardinality`: its values repeat, so a ring carries them as interned names, and a block has each of them once.
    public let isLowCardinality: Bool

    public init(name: String, type: ColumnType, defaultText: String? = nil, isLowCardinality: Bool = false) {
        self.name = name
        self.type = type
        self.defaultText = defaultText
        self.isLowCardinality = isLowCardinality
    }

    /// Whether a block carries the column as a dictionary.
    var isDictionary: Bool { isLowCardinality && type == ColumnType(.string) }

    /// The type as a block has it.
    public var wireText: String { isDictionary ? ColumnType.dictionaryText : type.wireText }

    /// Whether an event without this field is refused.
    public var isRequired: Bool { type.shape == .plain && defaultText == nil }
}

/// How rows are told apart into partitions of the target table, by their event time in UTC.
public enum PartitionRule: UInt8, Sendable {
    /// `toDate`: days since 1970-01-01.
    case day = 1
    /// `toYYYYMM`: `year * 100 + month`.
    case month = 2

    /// The partition of an event time.
    ///
    /// - Parameter time: nanoseconds since the Unix epoch, not before it.
    public func partition(of time: Int64) -> Int32 {
        let day = CivilDate.day(of: time)
        switch self {
        case .day: return Int32(clamping: day)
        case .month:
            let date = CivilDate(day: day)
            return Int32(clamping: date.year * 100 + date.month)
        }
    }

    /// The event times `[from, to)` that share the partition of `time`, in nanoseconds since the Unix epoch.
    public func range(around time: Int64) -> (from: Int64, to: Int64) {
        let day = CivilDate.day(of: time)
        let first: Int
        let next: Int
        switch self {
        case .day:
            first = day
            next = day + 1
        case .month:
            let date = CivilDate(day: day)
            first = CivilDate(year: date.year, month: date.month, day: 1).daysSinceEpoch
            next =
                date.month == 12
                ? CivilDate(year: date.year + 1, month: 1, day: 1).daysSinceEpoch
                : CivilDate(year: date.year, month: date.month + 1, day: 1).daysSinceEpoch
        }
        return (CivilDate.nanoseconds(ofDay: first), CivilDate.nanoseconds(ofDay: next))
    }
}

/// How long ClickHouse keeps a row, counted from its event time.
public struct Retention: Equatable, Sendable {
    public enum Unit: String, Sendable { case second, minute, hour, day, week, month, year }
    /// ClickHouse adds the retention in `DateTime`, which ends in 2106; event times end in 2090.
    public static let maxYears = 16

    public let count: Int
    public let unit: Unit

    public init(count: Int, unit: Unit) {
        self.count = count
        self.unit = unit
    }

    /// Whether ClickHouse can count it without wrapping.
    var isCountable: Bool {
        let perYear: Int =
            switch unit {
            case .second: 31_536_000
            case .minute: 525_600
            case .hour: 8_760
            case .day: 365
            case .week: 52
            case .month: 12
            case .year: 1
            }
        return count > 0 && count <= Self.maxYears * perYear
    }

    /// The latest event time that is expired at `now`; both in nanoseconds since the Unix epoch.
    public func expired(at now: Int64) -> Int64 {
        let second: Int64 = 1_000_000_000
        let fixed: Int64? =
            switch unit {
            case .second: second
            case .minute: 60 * second
            case .hour: 3_600 * second
            case .day: 86_400 * second
            case .week: 7 * 86_400 * second
            case .month, .year: nil
            }
        if let fixed {
            let (span, overflow) = Int64(count).multipliedReportingOverflow(by: fixed)
            let (limit, below) = now.subtractingReportingOverflow(span)
            return overflow || below ? .min : limit
        }
        // ClickHouse adds calendar months to the event time; going back from now gives the same day or, at a month's
        // end, one to three days earlier: never a row called expired that still lives.
        let day = CivilDate.day(of: now)
        let date = CivilDate(day: day)
        let months = date.year * 12 + (date.month - 1) - count * (unit == .year ? 12 : 1)
        let target = CivilDate(year: months / 12, month: months % 12 + 1, day: min(date.day, 28))
        return CivilDate.nanoseconds(ofDay: target.daysSinceEpoch) + (now - CivilDate.nanoseconds(ofDay: day))
    }
}

/// What became of a column that a table had once.
public enum RetiredName: Equatable, Sendable {
    case dropped
    case renamed(String)
}

/// A table as `schemas/` defines it: what an event of it may say, and how its rows lie in ClickHouse.
public struct TableSchema: Equatable, Sendable {
    public static let writerColumn = "spool_writer"
    public static let sequenceColumn = "spool_seq"

    public let table: String
    /// The columns an event may give, in the order of the block; without `spool_writer` and `spool_seq`.
    public let columns: [Column]
    /// Index of the column whose value is the row's event time.
    public let eventTimeColumn: Int
    public let partitionRule: PartitionRule
    public let retention: Retention?
    /// Whether the DDL has `spool_writer` as `LowCardinality(String)`.
    public let isWriterLowCardinality: Bool
    /// Columns that it had and has no more, by name: producers that do not know yet still send them.
    public let retired: [String: RetiredName]

    public init(
        table: String, columns: [Column], eventTimeColumn: Int, partitionRule: PartitionRule, retention: Retention?,
        isWriterLowCardinality: Bool = false, retired: [String: RetiredName] = [:]
    ) {
        precondition(columns[eventTimeColumn].type == ColumnType(.dateTime64))
        self.table = table
        self.columns = columns
        self.eventTimeColumn = eventTimeColumn
        self.partitionRule = partitionRule
        self.retention = retention
        self.isWriterLowCardinality = isWriterLowCardinality
        self.retired = retired
    }

    /// The column that a name means, be it the one of today or one that it had before; nil if there is none, or it was dropped.
    public func column(named name: String) -> Int? {
        if let index = columns.firstIndex(where: { $0.name == name }) { return index }
        guard case .renamed(let now)? = retired[name] else { return nil }
        return columns.firstIndex { $0.name == now }
    }

    /// Names that a column had before.
    public func olderNames(of column: String) -> [String] { retired.filter { $0.value == .renamed(column) }.keys.sorted() }

    /// All columns of a block, `spool_writer` and `spool_seq` last.
    public var wireColumns: [WireColumn] {
        columns.map { WireColumn(name: $0.name, type: $0.wireText) } + [
            WireColumn(name: Self.writerColumn, type: isWriterLowCardinality ? ColumnType.dictionaryText : "String"),
            WireColumn(name: Self.sequenceColumn, type: "UInt64"),
        ]
    }

    public var fingerprint: UInt64 { schemaFingerprint(wireColumns) }
}
