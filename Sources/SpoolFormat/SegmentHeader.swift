/// How far a named producer's events have reached the spool (`docs/spool-format.md` §6).
public struct SourcePosition: Equatable, Sendable {
    /// The producer's name, such as `socket:engine-1`.
    public var source: String
    /// Every row of this table that the source sent before this position is in the spool.
    public var end: UInt64
    /// Everything, whatever its table, that the source sent before this position is durable or refused once this is durable.
    public var complete: UInt64

    public init(source: String, end: UInt64, complete: UInt64) {
        self.source = source
        self.end = end
        self.complete = complete
    }

    func encode(into writer: inout ByteWriter) {
        writer.putText8(source)
        writer.put(end)
        writer.put(complete)
    }

    init(from reader: inout ByteReader) throws(FormatError) {
        source = try reader.takeText8()
        end = try reader.take()
        complete = try reader.take()
    }
}

/// A column as the Native blocks of a segment carry it.
public struct WireColumn: Equatable, Sendable {
    public let name: String
    /// ClickHouse type text, exactly as in the block.
    public let type: String

    public init(name: String, type: String) {
        self.name = name
        self.type = type
    }
}

/// The frame that opens a segment (`docs/spool-format.md` §5): who wrote it, and the columns of all its chunks.
public struct SegmentHeader: Equatable, Sendable {
    /// Of the frame's flags (§5).
    static let shedFlag: UInt16 = 2

    public var table: String
    public var writer: String
    public var number: UInt64
    public var firstSequence: UInt64
    /// Rows `[lostFrom, firstSequence)` had their sequences and are gone.
    public var lostFrom: UInt64
    /// Those rows were given up on purpose, for want of room; `system_events` names them. Otherwise a damage took them.
    public var isShed: Bool
    /// Nanoseconds since the Unix epoch.
    public var created: Int64
    public var columns: [WireColumn] { didSet { fingerprint = schemaFingerprint(columns) } }
    public var eventTimeColumn: Int
    public var partitionRule: PartitionRule
    public var sources: [SourcePosition]

    public init(
        table: String, writer: String, number: UInt64, firstSequence: UInt64, lostFrom: UInt64, isShed: Bool = false, created: Int64,
        columns: [WireColumn], eventTimeColumn: Int, partitionRule: PartitionRule, sources: [SourcePosition]
    ) {
        self.table = table
        self.writer = writer
        self.number = number
        self.firstSequence = firstSequence
        self.lostFrom = lostFrom
        self.isShed = isShed
        self.created = created
        self.columns = columns
        fingerprint = schemaFingerprint(columns)
        self.eventTimeColumn = eventTimeColumn
        self.partitionRule = partitionRule
        self.sources = sources
    }

    public var name: SegmentName { SegmentName(number: number, firstSequence: firstSequence) }

    /// FNV-1a over names and types (§7). Kept: every chunk is compared with it.
    public private(set) var fingerprint: UInt64

    /// The rows that are gone before its first; empty if none are.
    public var lost: Range<UInt64> { lostFrom..<firstSequence }

    public func encode() -> [UInt8] {
        precondition(columns.count <= FormatLimits.columns && sources.count <= FormatLimits.segmentSources)
        precondition(lostFrom <= firstSequence, "lost from \(lostFrom), first \(firstSequence)")
        precondition(!isShed || lostFrom < firstSequence, "no rows before \(firstSequence) are shed")
        var writer = SkippableFrame.begin(.segmentHeader, flags: isShed ? Self.shedFlag : 0)
        writer.put(UInt32(columns.count))
        writer.put(number)
        writer.put(firstSequence)
        writer.put(lostFrom)
        writer.put(created)
        writer.put(fingerprint)
        writer.put(UInt16(eventTimeColumn))
        writer.put(partitionRule.rawValue)
        writer.putText8(table)
        writer.putText8(self.writer)
        for column in columns {
            writer.putText16(column.name)
            writer.putText16(column.type)
        }
        writer.put(UInt32(sources.count))
        for source in sources { source.encode(into: &writer) }
        return SkippableFrame.finish(writer)
    }

    /// Bytes that the frame takes, from its first eight.
    public static func frameSize(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> Int {
        try SkippableFrame.size(of: bytes, expecting: .segmentHeader)
    }

    /// Reads the frame at the start of `bytes`.
    ///
    /// - Returns: the header and the frame's size in bytes, which is where the first chunk begins.
    public static func decode(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> (SegmentHeader, frameSize: Int) {
        var (reader, size, flags) = try SkippableFrame.open(bytes, expecting: .segmentHeader)
        do {
            return (try SegmentHeader(from: &reader, isShed: flags & shedFlag != 0), size)
        } catch .truncated {
            // Its checksum holds, so nothing more will come: the fields themselves are wrong.
            throw .malformed("the segment header's fields run past its end")
        }
    }

    private init(from reader: inout ByteReader, isShed: Bool) throws(FormatError) {
        self.isShed = isShed
        let columnCount = Int(try reader.take(UInt32.self))
        number = try reader.take()
        firstSequence = try reader.take()
        lostFrom = try reader.take()
        created = try reader.take()
        fingerprint = try reader.take()
        eventTimeColumn = Int(try reader.take(UInt16.self))
        let rule: UInt8 = try reader.take()
        guard let partitionRule = PartitionRule(rawValue: rule) else { throw .malformed("unknown partition rule \(rule)") }
        self.partitionRule = partitionRule
        table = try reader.takeText8()
        writer = try reader.takeText8()
        guard NameRule.isTable(table), NameRule.isWriterID(writer) else {
            throw .malformed("the segment header names table \"\(table)\", writer \"\(writer)\"")
        }
        guard columnCount > 0, columnCount <= FormatLimits.columns, eventTimeColumn < columnCount else {
            throw .malformed("\(columnCount) columns, event time in column \(eventTimeColumn)")
        }
        columns = []
        for _ in 0..<columnCount {
            columns.append(WireColumn(name: try reader.takeText16(), type: try reader.takeText16()))
        }
        let sourceCount = Int(try reader.take(UInt32.self))
        guard sourceCount <= FormatLimits.segmentSources else { throw .malformed("\(sourceCount) source positions") }
        sources = []
        for _ in 0..<sourceCount { sources.append(try SourcePosition(from: &reader)) }
        guard reader.remaining == 0 else { throw .malformed("\(reader.remaining) unknown bytes in the segment header") }
        guard number > 0, number <= 9_999_999_999, lostFrom <= firstSequence, !isShed || lostFrom < firstSequence,
            fingerprint == schemaFingerprint(columns)
        else {
            throw .malformed("the segment header contradicts itself")
        }
    }
}

/// FNV-1a, 64 bit, over names and wire types, each followed by a zero byte (§7).
public func schemaFingerprint(_ columns: [WireColumn]) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    for column in columns {
        column.name.utf8.forEach(mix)
        mix(0)
        column.type.utf8.forEach(mix)
        mix(0)
    }
    return hash
}
