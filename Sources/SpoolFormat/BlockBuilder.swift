#if canImport(Glibc)
    import Glibc
#endif

/// A column while rows are gathered: its values in the very layout that the Native block will have.
///
/// A lane holds only trivial values, so that hot loops touch no reference count.
public struct ColumnLane {
    /// What a parser has to produce for a value.
    public enum Kind: UInt8, Sendable {
        case int8, int16, int32, int64, uint8, uint16, uint32, uint64
        case float32, float64, bool
        case decimal32, decimal64, decimal128
        case date, dateTime, dateTime64
        case enum8, enum16, uuid, fixedString, string
        /// A text of a `LowCardinality` column: ``ColumnLane/values`` holds an index of ``ColumnLane/names`` for each.
        case name
    }

    /// One enum name as bytes, for a comparison without `String`.
    public struct EnumName {
        public let bytes: UnsafePointer<UInt8>
        public let count: Int
        public let value: Int16
    }

    public let kind: Kind
    public let shape: ColumnType.Shape
    /// Bytes of a value; 0 for strings.
    public let width: Int
    /// Digits and decimals of a `Decimal`.
    public let precision: Int
    public let scale: Int
    public let enumNames: UnsafeBufferPointer<EnumName>

    /// The texts of a column of kind `name`.
    public var names: NameDictionary
    /// The values so far, those of the unfinished row last.
    public var values: RawBuffer
    /// Null map (one byte a row) or array ends (eight bytes a row).
    public var marks: RawBuffer
    /// Values of all arrays so far.
    public var elements: UInt64 = 0
    /// Row in which a value was last given, counted from 1 over the builder's life.
    @usableFromInline var givenInRow: UInt64 = 0

    var finishedValues = 0
    var finishedMarks = 0
    var finishedElements: UInt64 = 0
    var finishedNames = 1

    let isRequired: Bool
    let defaultBytes: RawBuffer

    /// Notes that the row gives this column a value.
    ///
    /// - Returns: false if the row gave it before.
    @inlinable @inline(__always)
    public mutating func give(inRow row: UInt64) -> Bool {
        if givenInRow == row { return false }
        givenInRow = row
        return true
    }

    /// Closes a value: for a nullable column says that it is not null, for an array column counts an element.
    @inlinable @inline(__always)
    public mutating func finishValue() {
        switch shape {
        case .plain: break
        case .nullable: marks.append(UInt8(0))
        case .array: elements += 1
        }
    }

    /// Closes the array of this row, after its elements.
    @inlinable @inline(__always)
    public mutating func finishArray() { marks.append(elements) }

    /// The same for an array whose elements were appended to ``values`` alone.
    @inlinable @inline(__always)
    public mutating func finishArray(adding count: UInt64) {
        elements += count
        finishArray()
    }

    @inlinable
    public mutating func appendNull() {
        marks.append(UInt8(1))
        if width == 0 { values.append(UInt8(0)) } else { values.appendZeros(width) }
    }

    /// Appends the value of a row that does not give this column.
    public mutating func appendDefault() {
        switch shape {
        case .array: finishArray()
        case .nullable where defaultBytes.count == 0: appendNull()
        case .plain where kind == .name:
            let (text, count) = defaultText
            appendName(text, count: count)
        case .plain, .nullable:
            values.append(defaultBytes.base, count: defaultBytes.count)
            finishValue()
        }
    }

    /// The default's bytes without the length in front.
    private var defaultText: (UnsafeRawPointer, Int) {
        var length = 0
        var offset = 0
        while true {
            let byte = defaultBytes.base.load(fromByteOffset: offset, as: UInt8.self)
            length |= Int(byte & 0x7F) << (offset * 7)
            offset += 1
            if byte < 0x80 { return (UnsafeRawPointer(defaultBytes.base + offset), length) }
        }
    }

    /// Appends the unfinished row of another lane of the same column.
    mutating func takeUnfinished(from other: ColumnLane) {
        if kind == .name {
            let (bytes, count) = other.names.text(other.lastName)
            return appendName(bytes, count: count)
        }
        values.append(other.values.base + other.finishedValues, count: other.values.count - other.finishedValues)
        guard shape == .array else {
            marks.append(other.marks.base + other.finishedMarks, count: other.marks.count - other.finishedMarks)
            return
        }
        elements += other.elements - other.finishedElements
        finishArray()
    }

    /// Appends a text to a column of kind `name`.
    public mutating func appendName(_ bytes: UnsafeRawPointer, count: Int) { values.append(names.index(of: bytes, count: count)) }

    fileprivate var lastName: UInt32 { values.base.loadUnaligned(fromByteOffset: values.count - 4, as: UInt32.self) }

    mutating func undoRow() {
        values.truncate(to: finishedValues)
        marks.truncate(to: finishedMarks)
        elements = finishedElements
        names.truncate(to: finishedNames)
    }

    mutating func finishRow() {
        finishedNames = names.count
        finishedValues = values.count
        finishedMarks = marks.count
        finishedElements = elements
    }

    private mutating func dropFinishedNames() {
        let unfinished = values.count > finishedValues ? lastName : 0
        let (bytes, count) = names.text(unfinished)
        let text = Array(UnsafeRawBufferPointer(start: bytes, count: count))
        let wasUnfinished = values.count > finishedValues
        names.clear()
        finishedNames = 1
        values.truncate(to: 0)
        if wasUnfinished { text.withUnsafeBytes { appendName($0.baseAddress ?? bytes, count: count) } }
        finishedValues = 0
    }

    /// Forgets the finished rows; those bytes of an unfinished row move to the front.
    mutating func dropFinished() {
        if kind == .name { return dropFinishedNames() }
        values.dropFirst(finishedValues)
        marks.dropFirst(finishedMarks)
        if shape == .array {
            for offset in stride(from: 0, to: marks.count, by: 8) {
                let end = marks.base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                marks.base.storeBytes(of: end - finishedElements, toByteOffset: offset, as: UInt64.self)
            }
        }
        elements -= finishedElements
        finishedValues = 0
        finishedMarks = 0
        finishedElements = 0
    }
}

extension ColumnLane {
    /// A column by itself, of which no block is made: for values on their way into a column of another type. Its owner calls ``free()``.
    public init(of type: ColumnType) {
        self.init(
            kind: type.laneKind, shape: type.shape, width: type.width ?? 0, precision: type.precision, scale: type.scale,
            enumNames: UnsafeBufferPointer(start: nil, count: 0), names: NameDictionary(), values: RawBuffer(capacity: 64),
            marks: RawBuffer(capacity: 64), isRequired: true, defaultBytes: RawBuffer(capacity: 64))
    }

    public func free() {
        values.free()
        marks.free()
        names.free()
        defaultBytes.free()
    }

    /// Forgets all values.
    public mutating func clear() {
        values.truncate(to: 0)
        marks.truncate(to: 0)
        elements = 0
    }
}

/// Gathers the rows of one table into columns and assembles them into a Native block (`docs/spool-format.md` §7).
///
/// Use: append a row's fields to ``lanes`` (each once, after ``give(_:)``), then ``finishRow()``, or ``undoRow()`` if the
/// row is refused. A finished row belongs to the block; an unfinished one never shows.
public final class BlockBuilder {
    /// What became of a row that was to be finished.
    public enum Finish: Equatable, Sendable {
        case finished
        /// The column with this index is required and was not given. The row is still unfinished.
        case missing(column: Int)
        /// The row belongs to another partition than the rows before it; it is complete and still unfinished. Move it to a
        /// builder that takes it, or assemble and drop the rows before it and finish again.
        case otherPartition
    }

    public let schema: TableSchema
    public let lanes: UnsafeMutableBufferPointer<ColumnLane>
    /// Finished rows.
    public private(set) var rows = 0
    /// The partition of all finished rows.
    public private(set) var partition: Int32 = 0
    /// Nanoseconds since the Unix epoch; meaningful while `rows > 0`.
    public private(set) var minEventTime = Int64.max
    public private(set) var maxEventTime = Int64.min

    private var partitionRange: (from: Int64, to: Int64) = (0, 0)
    @usableFromInline internal private(set) var row: UInt64 = 1
    /// Columns whose values take a different number of bytes in each row; those of the others are counted, not measured.
    private let ragged: UnsafeMutableBufferPointer<Int>
    /// Bytes of a row in all other columns, `spool_writer` and `spool_seq` included.
    private let evenRowBytes: Int
    private let preludes: [[UInt8]]
    private let writerCell: [UInt8]
    private let enumStorage: [UnsafeMutablePointer<UInt8>]

    /// - Parameters:
    ///   - writer: the writer id that every row carries.
    ///   - parseDefault: turns a column's DEFAULT literal into the bytes of one value.
    public init(
        schema: TableSchema, writer: String,
        parseDefault: (Column) throws(SchemaError) -> [UInt8]
    ) throws(SchemaError) {
        self.schema = schema
        preludes = schema.wireColumns.map(Self.prelude)
        writerCell = [UInt8(writer.utf8.count)] + Array(writer.utf8)
        var defaults: [[UInt8]] = []
        for column in schema.columns { defaults.append(column.defaultText == nil ? [] : try parseDefault(column)) }
        var storage: [UnsafeMutablePointer<UInt8>] = []
        lanes = .allocate(capacity: schema.columns.count)
        for (index, column) in schema.columns.enumerated() {
            var defaultBytes = RawBuffer(capacity: defaults[index].count)
            defaultBytes.append(contentsOf: defaults[index])
            lanes.initializeElement(
                at: index,
                to: ColumnLane(
                    kind: column.isDictionary ? .name : column.type.laneKind, shape: column.type.shape, width: column.type.width ?? 0,
                    precision: column.type.precision, scale: column.type.scale,
                    enumNames: Self.enumNames(column.type, storage: &storage), names: NameDictionary(),
                    values: RawBuffer(capacity: 1_024), marks: RawBuffer(capacity: column.type.shape == .plain ? 0 : 512),
                    isRequired: column.isRequired, defaultBytes: defaultBytes))
        }
        enumStorage = storage
        let types = schema.columns.map(\.type)
        let uneven = types.indices.filter { types[$0].width == nil || types[$0].shape != .plain }
        ragged = .allocate(capacity: uneven.count)
        _ = ragged.initialize(from: uneven)
        evenRowBytes = types.reduce(writerCell.count + 8) { $0 + ($1.shape == .plain ? $1.width ?? 0 : 0) }
    }

    deinit {
        for lane in lanes {
            lane.free()
            lane.enumNames.deallocate()
        }
        for bytes in enumStorage { bytes.deallocate() }
        lanes.deallocate()
        ragged.deallocate()
    }

    /// Bytes that the finished rows take in the block, `spool_writer` and `spool_seq` included.
    public private(set) var byteCount = 0

    /// Notes that the unfinished row gives this column a value.
    ///
    /// - Returns: false if the row gave it before.
    @inlinable @inline(__always)
    public func give(_ column: Int) -> Bool {
        lanes[column].give(inRow: row)
    }

    /// Number of the unfinished row over the builder's life: what ``ColumnLane/give(inRow:)`` wants to know.
    @inlinable public var unfinishedRow: UInt64 { row }

    /// Completes the unfinished row with defaults.
    ///
    /// - Returns: the index of a column that is required and was not given; nil if none is missing.
    @inline(__always)
    public func completeRow() -> Int? {
        let count = lanes.count
        let base = lanes.baseAddress.unsafelyUnwrapped
        for index in 0..<count where base[index].givenInRow != row {
            if base[index].isRequired { return index }
            base[index].appendDefault()
            base[index].givenInRow = row
        }
        return nil
    }

    /// Completes the row with defaults and makes it part of the block.
    public func finishRow() -> Finish {
        if let missing = completeRow() { return .missing(column: missing) }
        let base = lanes.baseAddress.unsafelyUnwrapped
        let times = base[schema.eventTimeColumn].values
        let time = times.base.loadUnaligned(fromByteOffset: times.count - 8, as: Int64.self)
        if rows == 0 {
            if time < partitionRange.from || time >= partitionRange.to {
                partitionRange = schema.partitionRule.range(around: time)
                partition = schema.partitionRule.partition(of: time)
            }
        } else if time < partitionRange.from || time >= partitionRange.to {
            return .otherPartition
        }
        finish(1, earliest: time, latest: time)
        return .finished
    }

    /// The event times `[from, to)` that the block takes, in nanoseconds since the Unix epoch; an empty builder first turns to
    /// the partition of `time`.
    public func openRange(for time: Int64) -> (from: Int64, to: Int64) {
        if rows == 0, time < partitionRange.from || time >= partitionRange.to {
            partitionRange = schema.partitionRule.range(around: time)
            partition = schema.partitionRule.partition(of: time)
        }
        return partitionRange
    }

    /// Makes rows, whose values the caller has appended to every lane, part of the block.
    ///
    /// - Parameters:
    ///   - earliest: the least event time among them, within ``openRange(for:)``, as is `latest`.
    public func finishRows(_ count: Int, earliest: Int64, latest: Int64) {
        precondition(earliest >= partitionRange.from && latest < partitionRange.to, "rows of another partition")
        finish(count, earliest: earliest, latest: latest)
    }

    @inline(__always)
    private func finish(_ count: Int, earliest: Int64, latest: Int64) {
        rows += count
        row += 1
        byteCount = rows * evenRowBytes
        for place in 0..<ragged.count {
            let lane = lanes.baseAddress.unsafelyUnwrapped + ragged[place]
            lane.pointee.finishRow()
            byteCount += lane.pointee.finishedValues + lane.pointee.finishedMarks + lane.pointee.names.byteCount
        }
        minEventTime = min(minEventTime, earliest)
        maxEventTime = max(maxEventTime, latest)
    }

    /// Brings up to date how far the even columns are finished: doing that with every row would cost more than it is worth.
    private func settle() {
        for index in lanes.indices where lanes[index].shape == .plain && lanes[index].width > 0 {
            lanes[index].finishedValues = rows * lanes[index].width
        }
    }

    /// Whether the builder could take a row of this event time without changing its partition.
    public func takes(_ time: Int64) -> Bool { rows == 0 || (time >= partitionRange.from && time < partitionRange.to) }

    /// Event time of the unfinished row, once ``finishRow()`` has completed it.
    public var unfinishedEventTime: Int64 {
        let times = lanes[schema.eventTimeColumn].values
        return times.base.loadUnaligned(fromByteOffset: times.count - 8, as: Int64.self)
    }

    /// A text of the unfinished row, which ``completeRow()`` has completed; valid until the next value is appended.
    public func unfinishedText(_ column: Int) -> UnsafeRawBufferPointer {
        let lane = lanes[column]
        if lane.kind == .name {
            let (bytes, count) = lane.names.text(lane.lastName)
            return UnsafeRawBufferPointer(start: bytes, count: count)
        }
        guard lane.kind == .string, lane.shape != .array else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        // Length in front, as many bytes as a varint takes.
        let cell = UnsafeRawBufferPointer(rebasing: lane.values.bytes[lane.finishedValues...])
        let lengthBytes = (cell.firstIndex { $0 < 0x80 } ?? 0) + 1
        return UnsafeRawBufferPointer(rebasing: cell.dropFirst(lengthBytes))
    }

    /// A value of fixed width of the unfinished row, and whether it is null, in one word: enough to see that it changed.
    public func unfinishedBits(_ column: Int) -> UInt64 {
        let lane = lanes[column]
        guard lane.shape != .array, lane.values.count >= lane.width else { return 0 }
        if lane.shape == .nullable, lane.marks.base.load(fromByteOffset: lane.marks.count - 1, as: UInt8.self) != 0 { return .max }
        return valueBits(lane.values.base + (lane.values.count - lane.width), width: lane.width)
    }

    /// Moves the unfinished row, which ``finishRow()`` has completed, to another builder of the same table.
    public func moveUnfinishedRow(to other: BlockBuilder) {
        settle()
        precondition(other.schema.table == schema.table, "a row of \(schema.table) moved to \(other.schema.table)")
        for index in lanes.indices {
            other.lanes[index].takeUnfinished(from: lanes[index])
            other.lanes[index].givenInRow = other.row
        }
        undoRow()
    }

    /// Takes back whatever the unfinished row appended.
    public func undoRow() {
        settle()
        for index in lanes.indices { lanes[index].undoRow() }
        row += 1
    }

    /// Writes the Native block of the finished rows to `output`.
    public func assemble(firstSequence: UInt64, into output: inout RawBuffer) {
        precondition(rows > 0, "a block without rows is refused by ClickHouse (code 49)")
        settle()
        output.reserve(byteCount + preludes.reduce(32) { $0 + $1.count })
        output.appendVarint(UInt64(preludes.count))
        output.appendVarint(UInt64(rows))
        for (index, lane) in lanes.enumerated() {
            output.append(contentsOf: preludes[index])
            if lane.kind == .name {
                lane.names.assemble(indices: lane.values.base, rows: rows, into: &output)
                continue
            }
            if lane.finishedMarks > 0 { output.append(lane.marks.base, count: lane.finishedMarks) }
            output.append(lane.values.base, count: lane.finishedValues)
        }
        output.append(contentsOf: preludes[lanes.count])
        assembleWriter(into: &output)
        output.append(contentsOf: preludes[lanes.count + 1])
        output.reserve(rows * 8)
        for index in 0..<UInt64(rows) { output.append(firstSequence &+ index) }
    }

    private func assembleWriter(into output: inout RawBuffer) {
        writerCell.withUnsafeBytes { cell in
            guard let base = cell.baseAddress else { return }
            guard schema.isWriterLowCardinality else {
                for _ in 0..<rows { output.append(base, count: cell.count) }
                return
            }
            // Every row has the one key beside the empty one.
            output.append(NameDictionary.version)
            output.append(NameDictionary.hasOwnKeys | NameDictionary.replacesKeys)
            output.append(UInt64(2))
            output.append(UInt8(0))
            output.append(base, count: cell.count)
            output.append(UInt64(rows))
            output.reserve(rows)
            memset(output.base + output.count, 1, rows)
            output.extend(by: rows)
        }
    }

    /// Forgets the finished rows, after they were assembled; an unfinished row stays.
    public func dropFinished() {
        settle()
        for index in lanes.indices { lanes[index].dropFinished() }
        rows = 0
        byteCount = 0
        minEventTime = .max
        maxEventTime = .min
    }

    private static func prelude(_ column: WireColumn) -> [UInt8] {
        var bytes = RawBuffer(capacity: 64)
        defer { bytes.free() }
        for text in [column.name, column.type] {
            bytes.appendVarint(UInt64(text.utf8.count))
            bytes.append(contentsOf: text.utf8)
        }
        return Array(bytes.bytes)
    }

    private static func enumNames(
        _ type: ColumnType, storage: inout [UnsafeMutablePointer<UInt8>]
    ) -> UnsafeBufferPointer<ColumnLane.EnumName> {
        let cases = type.enumCases
        let names = UnsafeMutableBufferPointer<ColumnLane.EnumName>.allocate(capacity: cases.count)
        for (index, item) in cases.enumerated() {
            let utf8 = Array(item.name.utf8)
            let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: max(utf8.count, 1))
            bytes.initialize(from: utf8, count: utf8.count)
            storage.append(bytes)
            names.initializeElement(
                at: index, to: ColumnLane.EnumName(bytes: UnsafePointer(bytes), count: utf8.count, value: item.value))
        }
        return UnsafeBufferPointer(names)
    }
}

extension ColumnType {
    /// Names and values of an enum type; empty for others.
    public var enumCases: [EnumCase] {
        switch scalar {
        case .enum8(let cases), .enum16(let cases): cases
        default: []
        }
    }

    var precision: Int { if case .decimal(let precision, _) = scalar { precision } else { 0 } }
    var scale: Int { if case .decimal(_, let scale) = scalar { scale } else { 0 } }

    var laneKind: ColumnLane.Kind {
        switch scalar {
        case .int(let bits): bits == 8 ? .int8 : bits == 16 ? .int16 : bits == 32 ? .int32 : .int64
        case .uint(let bits): bits == 8 ? .uint8 : bits == 16 ? .uint16 : bits == 32 ? .uint32 : .uint64
        case .float32: .float32
        case .float64: .float64
        case .bool: .bool
        case .decimal: width == 4 ? .decimal32 : width == 8 ? .decimal64 : .decimal128
        case .date: .date
        case .dateTime: .dateTime
        case .dateTime64: .dateTime64
        case .enum8: .enum8
        case .enum16: .enum16
        case .uuid: .uuid
        case .fixedString: .fixedString
        case .string: .string
        }
    }
}

/// The bytes of a value in one word: all of them up to eight, else enough to tell most values apart; 0 for a width that no number has.
public func valueBits(_ place: UnsafeRawPointer, width: Int) -> UInt64 {
    switch width {
    case 1: return UInt64(place.load(as: UInt8.self))
    case 2: return UInt64(place.loadUnaligned(as: UInt16.self))
    case 4: return UInt64(place.loadUnaligned(as: UInt32.self))
    case 8: return place.loadUnaligned(as: UInt64.self)
    case 16:
        let (low, high) = (place.loadUnaligned(as: UInt64.self), place.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        return low ^ high &* 0x9E37_79B9_7F4A_7C15
    default: return 0
    }
}
