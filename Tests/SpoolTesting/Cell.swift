import SpoolFormat

/// One value of a row, as a test writes it down and as it reads it back.
public enum Cell: Equatable, Sendable {
    case null
    /// Integers, enums, decimals, dates and times: the number that is stored.
    case integer(Int128)
    case double(Double)
    /// `String` and `FixedString`.
    case bytes([UInt8])
    case uuid(high: UInt64, low: UInt64)
    case array([Cell])

    public static func text(_ text: String) -> Cell { .bytes(Array(text.utf8)) }
}

extension NativeBlock {
    /// A whole row.
    public func row(_ row: Int) -> [Cell] { columns.map { $0.cell(row) } }
    public var allRows: [[Cell]] { (0..<rows).map(row) }
}

extension NativeColumn {
    public func cell(_ row: Int) -> Cell {
        if isNull(row) { return .null }
        let values = elements(row).map(value)
        return type.shape == .array ? .array(values) : values[0]
    }

    private func value(_ element: Int) -> Cell {
        switch type.scalar {
        case .float32, .float64: return .double(double(element))
        case .string, .fixedString: return .bytes(Array(string(element)))
        case .uuid:
            let digits = text(element).filter { $0 != "-" }
            return .uuid(high: UInt64(digits.prefix(16), radix: 16)!, low: UInt64(digits.suffix(16), radix: 16)!)
        default: return .integer(integer(element))
        }
    }
}

extension BlockBuilder {
    /// Appends a value of the unfinished row.
    public func append(_ cell: Cell, to column: Int) {
        precondition(give(column), "column \(column) was given")
        let lane = lanes.baseAddress! + column
        switch cell {
        case .null: lane.pointee.appendNull()
        case .array(let cells):
            for cell in cells {
                append(value: cell, to: lane, schema.columns[column].type)
                lane.pointee.finishValue()
            }
            lane.pointee.finishArray()
        default:
            append(value: cell, to: lane, schema.columns[column].type)
            lane.pointee.finishValue()
        }
    }

    /// Appends all values of the unfinished row and finishes it.
    public func append(row: [Cell]) -> Finish {
        for (column, cell) in row.enumerated() { append(cell, to: column) }
        return finishRow()
    }

    private func append(value: Cell, to lane: UnsafeMutablePointer<ColumnLane>, _ type: ColumnType) {
        switch (value, type.scalar) {
        case (.double(let number), .float32): lane.pointee.values.append(Float(number))
        case (.double(let number), .float64): lane.pointee.values.append(number)
        case (.bytes(let bytes), .string) where lane.pointee.kind == .name:
            bytes.withUnsafeBytes { lane.pointee.appendName($0.baseAddress ?? UnsafeRawPointer(lane), count: $0.count) }
        case (.bytes(let bytes), .string):
            lane.pointee.values.appendVarint(UInt64(bytes.count))
            lane.pointee.values.append(contentsOf: bytes)
        case (.bytes(let bytes), .fixedString): lane.pointee.values.append(contentsOf: bytes)
        case (.uuid(let high, let low), .uuid):
            lane.pointee.values.append(high)
            lane.pointee.values.append(low)
        case (.integer(let number), _):
            switch type.width {
            case 1: lane.pointee.values.append(Int8(truncatingIfNeeded: number))
            case 2: lane.pointee.values.append(Int16(truncatingIfNeeded: number))
            case 4: lane.pointee.values.append(Int32(truncatingIfNeeded: number))
            case 8: lane.pointee.values.append(Int64(truncatingIfNeeded: number))
            default: lane.pointee.values.append(number)
            }
        default: preconditionFailure("\(value) in a column of type \(type.wireText)")
        }
    }
}
