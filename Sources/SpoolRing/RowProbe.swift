import SpoolFormat

/// Looks at single values of a ring's rows before they are gathered, to decide which are.
public struct RowProbe {
    private let rows: RingRows
    private let plan: RowPlan
    private let names: NameTable

    public init(_ rows: RingRows, plan: RowPlan, names: NameTable) {
        self.rows = rows
        self.plan = plan
        self.names = names
    }

    public func eventTime(_ row: Int) -> Int64 { RowGather.eventTime(rows, row, plan: plan) }

    /// The number of an interned name; nil if the row carries a text, or nothing, or a name that nobody knows.
    @inline(__always)
    public func nameID(_ row: Int, column: Int) -> Int? {
        let column = plan.columns[column]
        guard column.isDeclared, column.storage == .name, column.nullOffset < 0 else { return nil }
        let id = rows.row(row).loadUnaligned(fromByteOffset: column.offset, as: UInt32.self)
        return id < UInt32(names.count) ? Int(id) : nil
    }

    /// The value's text; empty if the row does not give it, it is null, or it does not lie in the row.
    public func text(_ row: Int, column index: Int) -> UnsafeRawBufferPointer {
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        let column = plan.columns[index]
        guard column.isDeclared, !isNull(row, column) else { return empty }
        switch column.storage {
        case .name:
            let id = rows.row(row).loadUnaligned(fromByteOffset: column.offset, as: UInt32.self)
            if let text = names.text(id) { return text }
            return inlineText(row, id) ?? empty
        case .string:
            let slot = rows.row(row).loadUnaligned(fromByteOffset: column.offset, as: UInt64.self)
            return bytes(row, at: Int(slot & 0xFFFF_FFFF), count: Int(slot >> 32)) ?? empty
        case .fixed: return plan.widenings[index]?.text(at: rows.row(row) + column.offset) ?? empty
        case .array: return empty
        }
    }

    /// A value of fixed width, as ``valueBits(_:width:)`` sees it, and whether it is null, in one word: enough to see that it changed.
    ///
    /// - Parameter width: of the schema's type.
    @inline(__always)
    public func bits(_ row: Int, column index: Int, width: Int) -> UInt64 {
        let column = plan.columns[index]
        guard column.isDeclared, column.storage == .fixed else { return 0 }
        if isNull(row, column) { return .max }
        let place = rows.row(row) + column.offset
        if _slowPath(column.isWidened) { return plan.widenings[index]?.bits(at: place) ?? 0 }
        return valueBits(place, width: width)
    }

    @inline(__always)
    private func isNull(_ row: Int, _ column: ColumnPlan) -> Bool {
        column.nullOffset >= 0 && rows.row(row).load(fromByteOffset: column.nullOffset, as: UInt8.self) != 0
    }

    private func inlineText(_ row: Int, _ id: UInt32) -> UnsafeRawBufferPointer? {
        guard id & 0x8000_0000 != 0 else { return nil }
        let offset = Int(id & 0x7FFF_FFFF)
        guard offset + 4 <= rows.rowBytes(row) else { return nil }
        return bytes(row, at: offset + 4, count: Int(rows.row(row).loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }

    private func bytes(_ row: Int, at offset: Int, count: Int) -> UnsafeRawBufferPointer? {
        guard offset + count <= rows.rowBytes(row) else { return nil }
        let text = UnsafeRawBufferPointer(start: rows.row(row) + offset, count: count)
        return isUTF8(text) ? text : nil
    }
}
