import FoundationEssentials

/// What `/status` of a process says, and what `spool-loader status` and `top` read. Fields that one of the two processes does not know are absent.
public struct StatusReport: Codable, Sendable {
    public struct Table: Codable, Sendable {
        public var table: String
        public var tableClass: String
        /// Rows of all times that were taken, are durable, are dealt with by the loader.
        public var accepted: UInt64?
        public var durable: UInt64?
        public var loaded: UInt64?
        public var lagRows: UInt64?
        public var lagSeconds: Double?
        public var quarantined: UInt64?
        public var refused: UInt64?
        public var dropped: UInt64?
        public var undurableBytes: UInt64?
        /// What the process does with it, or what is in its way.
        public var state: String?

        public init(_ table: String, class tableClass: String) {
            self.table = table
            self.tableClass = tableClass
        }
    }

    public struct Disk: Codable, Sendable {
        /// From 0 to 1.
        public var used: Double
        public var available: UInt64
        public var level: String

        public init(used: Double, available: UInt64, level: String) {
            self.used = used
            self.available = available
            self.level = level
        }
    }

    public struct LastAlarm: Codable, Sendable {
        public var text: String
        /// Nanoseconds since the Unix epoch.
        public var at: Int64
    }

    public var process: String
    public var version: String
    public var writer: String
    /// Nanoseconds since the Unix epoch.
    public var at: Int64
    public var healthy: Bool
    public var ready: Bool
    public var reasons: [String]
    public var alarms: UInt64
    public var lastAlarm: LastAlarm?
    /// Shares of the queues that are used, by class.
    public var queue: [String: Double]?
    public var disk: Disk?
    /// ClickHouse's address.
    public var server: String?
    public var tables: [Table]

    public init(
        process: String, writer: String, at: Int64, health: Health, readiness: Health, figures: ProcessFigures, tables: [Table]
    ) {
        self.process = process
        self.writer = writer
        self.at = at
        version = figures.version
        healthy = health.isGood
        ready = readiness.isGood
        reasons = health.reasons + readiness.reasons.filter { !health.reasons.contains($0) }
        alarms = figures.alarms.count
        if figures.alarms.count > 0 { lastAlarm = LastAlarm(text: figures.alarms.last, at: figures.alarms.lastAt) }
        self.tables = tables
    }

    public func encoded() -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Numbers that JSON does not have are no reason to say nothing at all.
        encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return (try? encoder.encode(self)).map { Array($0) + [0x0A] } ?? Array("{}\n".utf8)
    }

    /// - Throws: if the bytes are no such report.
    public init(decoding bytes: [UInt8]) throws {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        self = try decoder.decode(StatusReport.self, from: Data(bytes))
    }
}
