import SpoolFormat
import SpoolRing

/// Where the values of a table's rows lie in a ring, and rows in that layout: written for the tests, from `docs/ring.md` §4 alone.
public struct RingLayout: Sendable {
    public let schema: TableSchema
    public let declared: DeclaredTable

    /// Columns one behind the other, without gaps.
    ///
    /// - Parameters:
    ///   - leavingOut: columns that the producer does not declare.
    ///   - named: text columns whose values repeat.
    public init(_ schema: TableSchema, leavingOut: Set<String> = [], named: Set<String> = [], gap: () -> Int = { 0 }) {
        self.schema = schema
        var end = 0
        func take(_ bytes: Int) -> Int {
            end += gap()
            defer { end += bytes }
            return end
        }
        var columns: [DeclaredColumn] = []
        for column in schema.columns where !leavingOut.contains(column.name) {
            let storage: DeclaredColumn.Storage =
                column.type.shape == .array
                ? .array : column.type.scalar != .string ? .fixed : named.contains(column.name) ? .name : .string
            let bytes =
                switch storage {
                case .fixed: column.type.width ?? 0
                case .string, .array: 8
                case .name: 4
                }
            columns.append(
                DeclaredColumn(
                    name: column.name, type: column.type.wireText, storage: storage, offset: take(bytes),
                    nullOffset: column.type.shape == .nullable ? take(1) : nil))
        }
        declared = DeclaredTable(name: schema.table, fingerprint: 0, rowBytes: end, columns: columns)
    }

    /// A row's bytes: fixed part, then its tail.
    ///
    /// - Parameters:
    ///   - row: a value for each column of the schema; those of columns that are not declared do not matter.
    ///   - name: the id of an interned name, nil to write it into the row.
    ///   - underNull: what lies where a null's value would be.
    public func bytes(_ row: [Cell], name: ([UInt8]) -> UInt32? = { _ in nil }, underNull: UInt8 = 0) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: declared.rowBytes)
        func store(_ value: [UInt8], at offset: Int) { bytes.replaceSubrange(offset..<offset + value.count, with: value) }
        func slot(_ offset: Int, _ count: Int) -> [UInt8] { Self.little(UInt32(offset)) + Self.little(UInt32(count)) }
        for column in declared.columns {
            let index = schema.columns.firstIndex { $0.name == column.name }!
            let type = schema.columns[index].type
            let cell = row[index]
            if let mark = column.nullOffset { bytes[mark] = cell == .null ? 1 : 0 }
            if cell == .null {
                let size = column.storage == .fixed ? type.width! : column.storage == .name ? 4 : 8
                store([UInt8](repeating: underNull, count: size), at: column.offset)
                continue
            }
            switch (column.storage, cell) {
            case (.fixed, _): store(Self.fixed(cell, type), at: column.offset)
            case (.string, .bytes(let text)):
                store(slot(bytes.count, text.count), at: column.offset)
                bytes += text
            case (.name, .bytes(let text)):
                if text.isEmpty { continue }
                if let id = name(text) {
                    store(Self.little(id), at: column.offset)
                } else {
                    store(Self.little(0x8000_0000 | UInt32(bytes.count)), at: column.offset)
                    bytes += Self.little(UInt32(text.count)) + text
                }
            case (.array, .array(let cells)):
                let start = bytes.count
                store(slot(start, cells.count), at: column.offset)
                if type.scalar == .string {
                    bytes += [UInt8](repeating: 0, count: cells.count * 8)
                    for (place, item) in cells.enumerated() {
                        guard case .bytes(let text) = item else { preconditionFailure("\(item)") }
                        store(slot(bytes.count, text.count), at: start + place * 8)
                        bytes += text
                    }
                } else {
                    for item in cells { bytes += Self.fixed(item, type) }
                }
            default: preconditionFailure("\(cell) in \(column)")
            }
        }
        return bytes
    }

    /// A row in the record that holds it, as it lies in a ring.
    public static func record(_ row: [UInt8], table: Int = 0) -> [UInt8] {
        let size = (row.count + 8 + 7) & ~7
        return little(UInt32(size)) + little(UInt32(table)) + row + [UInt8](repeating: 0, count: size - 8 - row.count)
    }

    public static func little<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    private static func fixed(_ cell: Cell, _ type: ColumnType) -> [UInt8] {
        switch (cell, type.scalar) {
        case (.double(let number), .float32): return little(Float(number).bitPattern)
        case (.double(let number), _): return little(number.bitPattern)
        case (.bytes(let bytes), _): return bytes
        case (.uuid(let high, let low), _): return little(high) + little(low)
        case (.integer(let number), _): return Array(little(number).prefix(type.width!))
        default: preconditionFailure("\(cell) of \(type)")
        }
    }
}
