import Glibc
import SpoolFormat

/// Moves rows from a ring's record layout into a block's columns, a column at a time, and checks every value on the way.
///
/// All rows or none: a batch with a bad value is taken back as a whole, and the caller finds the bad row by offering them one by one. Bad
/// rows are rare, and so the loops that all others pass through carry no way out for them.
public struct RowGather {
    /// What is wrong with a batch.
    public enum Fault: Error, Equatable {
        /// A value of this column.
        case column(Int)
        /// Slots share bytes, so that the row would become larger than it is.
        case sharedBytes
    }

    let rows: RingRows
    private let names: NameTable
    /// Bytes that the batch's texts and arrays take; they cannot exceed those that the rows have.
    private var tailBytes = 0

    private init(_ rows: RingRows, _ names: NameTable) {
        self.rows = rows
        self.names = names
    }

    /// Appends the rows to the builder's lanes; the caller then calls `finishRows`, or `undoRow` if this throws.
    public static func append(
        _ rows: RingRows, plan: RowPlan, names: NameTable, to builder: BlockBuilder
    ) throws(Fault) {
        var gather = RowGather(rows, names)
        let most = gather.totalBytes
        let lanes = builder.lanes.baseAddress.unsafelyUnwrapped
        for index in 0..<plan.columns.count {
            let column = plan.columns[index]
            if _slowPath(column.isWidened), let widening = plan.widenings[index] {
                guard gather.takeWidened(column, widening, into: lanes + index) else { throw .column(index) }
            } else if lanes[index].kind == .name, column.isDeclared {
                guard gather.takeIntoDictionary(&plan.columns[index], lanes + index) else { throw .column(index) }
            } else if !column.isDeclared {
                for _ in 0..<rows.count { lanes[index].appendDefault() }
            } else if !gather.take(column, into: lanes + index) {
                throw .column(index)
            }
            // After each column: all of them together could take a thousand times what the rows have.
            guard gather.tailBytes <= most else { throw .sharedBytes }
        }
    }

    /// The least and the greatest event time of the rows.
    public static func eventTimes(_ rows: RingRows, plan: RowPlan) -> (earliest: Int64, latest: Int64) {
        var earliest = Int64.max
        var latest = Int64.min
        for index in 0..<rows.count {
            let time = eventTime(rows, index, plan: plan)
            earliest = min(earliest, time)
            latest = max(latest, time)
        }
        return (earliest, latest)
    }

    @inline(__always)
    public static func eventTime(_ rows: RingRows, _ index: Int, plan: RowPlan) -> Int64 {
        rows.row(index).loadUnaligned(fromByteOffset: plan.eventTimeOffset, as: Int64.self)
    }

    private var totalBytes: Int {
        var total = 0
        for index in 0..<rows.count { total += rows.rowBytes(index) }
        return total
    }

    // MARK: One column

    /// - Returns: false if a value is not what its type allows.
    mutating func take(_ column: ColumnPlan, into lane: UnsafeMutablePointer<ColumnLane>) -> Bool {
        switch column.storage {
        case .array: return lane.pointee.width > 0 ? takeArrays(column, lane) : takeTextArrays(column, lane)
        case .fixed, .string, .name: break
        }
        var nulls: UnsafePointer<UInt8>?
        if column.nullOffset >= 0 {
            switch takeNullMarks(column, lane) {
            case .none: break
            case .some(let marks): nulls = marks
            case .bad: return false
            }
        }
        switch column.storage {
        case .fixed: return takeFixed(column, lane, nulls)
        case .string: return takeTexts(column, lane, nulls)
        case .name: return takeNames(column, lane, nulls)
        case .array: return false
        }
    }

    private enum NullMarks {
        case none
        /// One byte a row; valid until the lane's marks grow.
        case some(UnsafePointer<UInt8>)
        case bad
    }

    private func takeNullMarks(_ column: ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>) -> NullMarks {
        let out = Self.room(&lane.pointee.marks, rows.count)
        var all: UInt8 = 0
        for index in 0..<rows.count {
            let mark = rows.row(index).load(fromByteOffset: column.nullOffset, as: UInt8.self)
            out.storeBytes(of: mark, toByteOffset: index, as: UInt8.self)
            all |= mark
        }
        lane.pointee.marks.extend(by: rows.count)
        return all == 0 ? .none : all == 1 ? .some(UnsafePointer(out.assumingMemoryBound(to: UInt8.self))) : .bad
    }

    // MARK: Values of fixed width

    private func takeFixed(
        _ column: ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>, _ nulls: UnsafePointer<UInt8>?
    ) -> Bool {
        let width = lane.pointee.width
        let out = Self.room(&lane.pointee.values, rows.count * width)
        switch width {
        case 1: move(UInt8.self, column.offset, out)
        case 2: move(UInt16.self, column.offset, out)
        case 4: move(UInt32.self, column.offset, out)
        case 8: move(UInt64.self, column.offset, out)
        case 16: move(SIMD2<UInt64>.self, column.offset, out)
        default:
            for index in 0..<rows.count { memcpy(out + index * width, rows.row(index) + column.offset, width) }
        }
        lane.pointee.values.extend(by: rows.count * width)
        guard let nulls else { return Self.holds(column.rule, out, rows.count) }
        // What lies under a null means nothing: zeros compress best, and are what a JSON null leaves.
        for index in 0..<rows.count {
            if nulls[index] == 1 {
                memset(out + index * width, 0, width)
            } else if !Self.holds(column.rule, out + index * width, 1) {
                return false
            }
        }
        return true
    }

    @inline(__always)
    private func move<Value: BitwiseCopyable>(_: Value.Type, _ offset: Int, _ out: UnsafeMutableRawPointer) {
        let from = rows.base + offset
        let offsets = rows.offsets
        for index in 0..<rows.count {
            let value = from.loadUnaligned(fromByteOffset: Int(offsets[index]), as: Value.self)
            out.storeBytes(of: value, toByteOffset: index &* MemoryLayout<Value>.size, as: Value.self)
        }
    }

    /// Whether `count` values keep to the rule.
    private static func holds(_ rule: ValueRule, _ values: UnsafeMutableRawPointer, _ count: Int) -> Bool {
        switch rule {
        case .any: return true
        case .time: return isWithin(values, count, EventTime.earliest, EventTime.latest)
        case .seconds:
            return isWithin(values, count, UInt32(EventTime.earliest / 1_000_000_000), UInt32(EventTime.latest / 1_000_000_000))
        case .bool: return isWithin(values, count, UInt8(0), UInt8(1))
        case .decimal32(let limit): return isWithin(values, count, -limit, limit)
        case .decimal64(let limit): return isWithin(values, count, -limit, limit)
        case .decimal128(let limit): return isWithin(values, count, -limit, limit)
        case .enum8(let members):
            var all = true
            for index in 0..<count { all = all && members[Int(values.load(fromByteOffset: index, as: UInt8.self))] }
            return all
        case .enum16(let members):
            var all = true
            for index in 0..<count { all = all && members[Int(values.loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self))] }
            return all
        }
    }

    @inline(__always)
    private static func isWithin<Value: FixedWidthInteger & BitwiseCopyable>(
        _ values: UnsafeMutableRawPointer, _ count: Int, _ least: Value, _ greatest: Value
    ) -> Bool {
        // No way out of the loop, so that several values are compared at once.
        var lowest = greatest
        var highest = least
        for index in 0..<count {
            let value = values.loadUnaligned(fromByteOffset: index &* MemoryLayout<Value>.size, as: Value.self)
            lowest = min(lowest, value)
            highest = max(highest, value)
        }
        return lowest >= least && highest <= greatest
    }

    // MARK: Texts

    private mutating func takeTexts(
        _ column: ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>, _ nulls: UnsafePointer<UInt8>?
    ) -> Bool {
        let rows = self.rows
        var total = 0
        for index in 0..<rows.count {
            let slot = rows.row(index).loadUnaligned(fromByteOffset: column.offset, as: UInt64.self)
            let offset = Int(slot & 0xFFFF_FFFF)
            let count = Int(slot >> 32)
            if nulls?[index] == 1 { continue }
            guard offset &+ count <= rows.rowBytes(index) else { return false }
            total &+= count
        }
        tailBytes += total
        let room = total + rows.count * Self.maxLengthBytes + RingRows.slack
        let start = Self.room(&lane.pointee.values, room)
        var out = start
        for index in 0..<rows.count {
            let row = rows.row(index)
            // The slot of a null was not checked, so nothing may be read where it points.
            let slot = nulls?[index] == 1 ? 0 : row.loadUnaligned(fromByteOffset: column.offset, as: UInt64.self)
            Self.put(row + Int(slot & 0xFFFF_FFFF), Int(slot >> 32), &out)
        }
        lane.pointee.values.extend(by: out - start)
        return Self.areUTF8(start, out - start)
    }

    private mutating func takeNames(
        _ column: ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>, _ nulls: UnsafePointer<UInt8>?
    ) -> Bool {
        let rows = self.rows
        let names = self.names
        let known = UInt32(names.count)
        let cells = UnsafeRawPointer(names.cells.base)
        let table = UnsafeRawPointer(names.table.base)
        let longest = names.longest
        var start = Self.room(&lane.pointee.values, rows.count * longest + RingRows.slack)
        var out = start
        for index in 0..<rows.count {
            let row = rows.row(index)
            let id = nulls?[index] == 1 ? 0 : row.loadUnaligned(fromByteOffset: column.offset, as: UInt32.self)
            if _fastPath(id < known) {
                let cell = table.loadUnaligned(fromByteOffset: Int(id) &* 8, as: NameTable.Cell.self)
                guard cell.count > 0 else { return false }
                let from = cells + Int(cell.offset)
                if _fastPath(cell.count <= 32) {
                    out.storeBytes(of: from.loadUnaligned(as: SIMD32<UInt8>.self), as: SIMD32<UInt8>.self)
                } else {
                    memcpy(out, from, Int(cell.count))
                }
                out += Int(cell.count)
            } else {
                guard let text = inlineName(id, index) else { return false }
                tailBytes += text.count
                lane.pointee.values.extend(by: out - start)
                start = Self.room(
                    &lane.pointee.values, text.count + Self.maxLengthBytes + (rows.count - index) * longest + RingRows.slack)
                out = start
                Self.put(text.baseAddress ?? UnsafeRawPointer(row), text.count, &out)
            }
        }
        lane.pointee.values.extend(by: out - start)
        return true
    }

    /// Names and texts of a `LowCardinality` column: a block has each of them once, and a row only its index.
    private mutating func takeIntoDictionary(_ column: inout ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>) -> Bool {
        let out = Self.room(&lane.pointee.values, rows.count * 4)
        let isTaken = column.storage == .name ? takeNameIndices(&column, lane, out) : takeTextIndices(column, lane, out)
        lane.pointee.values.extend(by: rows.count * 4)
        return isTaken
    }

    private mutating func takeNameIndices(
        _ column: inout ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>, _ out: UnsafeMutableRawPointer
    ) -> Bool {
        let rows = self.rows
        let names = self.names
        let known = UInt32(names.count)
        if column.indices.count < names.count * 8 { column.indices.appendZeros(names.count * 8 - column.indices.count) }
        let indices = column.indices.base
        var generation = UInt64(lane.pointee.names.generation) << 32
        for row in 0..<rows.count {
            let id = rows.row(row).loadUnaligned(fromByteOffset: column.offset, as: UInt32.self)
            let index: UInt32
            if _fastPath(id < known) {
                let found = indices.loadUnaligned(fromByteOffset: Int(id) &* 8, as: UInt64.self)
                if _fastPath(found & ~0xFFFF_FFFF == generation) {
                    index = UInt32(truncatingIfNeeded: found)
                } else {
                    guard let text = names.text(id) else { return false }
                    index = lane.pointee.names.index(of: text.baseAddress ?? rows.base, count: text.count)
                    indices.storeBytes(of: generation | UInt64(index), toByteOffset: Int(id) &* 8, as: UInt64.self)
                }
            } else {
                guard let text = inlineName(id, row) else { return false }
                tailBytes += text.count
                index = lane.pointee.names.index(of: text.baseAddress ?? rows.base, count: text.count)
                generation = UInt64(lane.pointee.names.generation) << 32
            }
            out.storeBytes(of: index, toByteOffset: row &* 4, as: UInt32.self)
        }
        return true
    }

    private mutating func takeTextIndices(
        _ column: ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>, _ out: UnsafeMutableRawPointer
    ) -> Bool {
        for row in 0..<rows.count {
            let slot = rows.row(row).loadUnaligned(fromByteOffset: column.offset, as: UInt64.self)
            let offset = Int(slot & 0xFFFF_FFFF)
            let count = Int(slot >> 32)
            guard offset &+ count <= rows.rowBytes(row) else { return false }
            let text = UnsafeRawBufferPointer(start: rows.row(row) + offset, count: count)
            guard isUTF8(text) else { return false }
            tailBytes += count
            let index = lane.pointee.names.index(of: rows.row(row) + offset, count: count)
            out.storeBytes(of: index, toByteOffset: row &* 4, as: UInt32.self)
        }
        return true
    }

    /// The text of a name that lies in its row; nil if it does not lie there, or is not UTF-8.
    private func inlineName(_ id: UInt32, _ index: Int) -> UnsafeRawBufferPointer? {
        guard id & Self.inlineFlag != 0 else { return nil }
        let offset = Int(id & ~Self.inlineFlag)
        let bytes = rows.rowBytes(index)
        guard offset + 4 <= bytes else { return nil }
        let count = Int(rows.row(index).loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        guard offset + 4 + count <= bytes else { return nil }
        let text = UnsafeRawBufferPointer(start: rows.row(index) + offset + 4, count: count)
        return isUTF8(text) ? text : nil
    }

    private static let inlineFlag: UInt32 = 0x8000_0000
    /// Of a length below 2^21, which no record reaches.
    private static let maxLengthBytes = 3

    /// Writes a length and as many bytes. There are ``RingRows/slack`` bytes of room behind both sides.
    @inline(__always)
    private static func put(_ from: UnsafeRawPointer, _ count: Int, _ out: inout UnsafeMutableRawPointer) {
        if _fastPath(count < 0x80) {
            out.storeBytes(of: UInt8(truncatingIfNeeded: count), as: UInt8.self)
            out += 1
        } else {
            var rest = count
            while rest >= 0x80 {
                out.storeBytes(of: UInt8(truncatingIfNeeded: rest) | 0x80, as: UInt8.self)
                out += 1
                rest >>= 7
            }
            out.storeBytes(of: UInt8(truncatingIfNeeded: rest), as: UInt8.self)
            out += 1
        }
        if _fastPath(count <= 32) {
            out.storeBytes(of: from.loadUnaligned(as: SIMD32<UInt8>.self), as: SIMD32<UInt8>.self)
        } else {
            memcpy(out, from, count)
        }
        out += count
    }

    /// Whether texts with their lengths, as they lie in a column, are UTF-8.
    private static func areUTF8(_ start: UnsafeMutableRawPointer, _ count: Int) -> Bool {
        // Lengths below 128 are ASCII themselves, so one pass over everything settles nearly every batch.
        if isASCII(UnsafeRawBufferPointer(start: start, count: count)) { return true }
        var position = UnsafeRawPointer(start)
        let end = position + count
        while position < end {
            var length = 0
            var shift = 0
            while true {
                let byte = position.load(as: UInt8.self)
                position += 1
                length |= Int(byte & 0x7F) << shift
                shift += 7
                if byte < 0x80 { break }
            }
            if !isUTF8(UnsafeRawBufferPointer(start: position, count: length)) { return false }
            position += length
        }
        return true
    }

    // MARK: Arrays

    private mutating func takeArrays(_ column: ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>) -> Bool {
        let rows = self.rows
        let width = lane.pointee.width
        var total = 0
        for index in 0..<rows.count {
            let slot = rows.row(index).loadUnaligned(fromByteOffset: column.offset, as: UInt64.self)
            let bytes = Int(slot >> 32) &* width
            guard Int(slot & 0xFFFF_FFFF) &+ bytes <= rows.rowBytes(index) else { return false }
            total &+= bytes
        }
        tailBytes += total
        let start = Self.room(&lane.pointee.values, total + RingRows.slack)
        let ends = Self.room(&lane.pointee.marks, rows.count * 8)
        var out = start
        for index in 0..<rows.count {
            let row = rows.row(index)
            let slot = row.loadUnaligned(fromByteOffset: column.offset, as: UInt64.self)
            let bytes = Int(slot >> 32) &* width
            let from = row + Int(slot & 0xFFFF_FFFF)
            if bytes <= 32 {
                out.storeBytes(of: from.loadUnaligned(as: SIMD32<UInt8>.self), as: SIMD32<UInt8>.self)
            } else {
                memcpy(out, from, bytes)
            }
            out += bytes
            lane.pointee.elements += slot >> 32
            ends.storeBytes(of: lane.pointee.elements, toByteOffset: index * 8, as: UInt64.self)
        }
        lane.pointee.values.extend(by: total)
        lane.pointee.marks.extend(by: rows.count * 8)
        return Self.holds(column.rule, start, total / width)
    }

    private mutating func takeTextArrays(_ column: ColumnPlan, _ lane: UnsafeMutablePointer<ColumnLane>) -> Bool {
        for index in 0..<rows.count {
            let row = rows.row(index)
            let rowBytes = rows.rowBytes(index)
            let slot = row.loadUnaligned(fromByteOffset: column.offset, as: UInt64.self)
            let first = Int(slot & 0xFFFF_FFFF)
            let count = Int(slot >> 32)
            guard first &+ count &* 8 <= rowBytes else { return false }
            var own = count &* 8
            for element in 0..<count {
                let text = row.loadUnaligned(fromByteOffset: first + element * 8, as: UInt64.self)
                let bytes = Int(text >> 32)
                own &+= bytes
                guard Int(text & 0xFFFF_FFFF) &+ bytes <= rowBytes, own <= rowBytes else { return false }
            }
            tailBytes += own
            let start = Self.room(&lane.pointee.values, own + count * Self.maxLengthBytes + RingRows.slack)
            var out = start
            for element in 0..<count {
                let text = row.loadUnaligned(fromByteOffset: first + element * 8, as: UInt64.self)
                Self.put(row + Int(text & 0xFFFF_FFFF), Int(text >> 32), &out)
            }
            lane.pointee.values.extend(by: out - start)
            guard Self.areUTF8(start, out - start) else { return false }
            lane.pointee.elements += UInt64(count)
            lane.pointee.marks.append(lane.pointee.elements)
        }
        return true
    }

    /// Room for `bytes` more, and where it begins.
    @inline(__always)
    private static func room(_ buffer: inout RawBuffer, _ bytes: Int) -> UnsafeMutableRawPointer {
        buffer.reserve(bytes)
        return buffer.base + buffer.count
    }
}
