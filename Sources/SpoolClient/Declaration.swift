/// A table as a ring declares it (`docs/ring.md` §4). Generated code has one for each table.
public struct TableDeclaration: Sendable {
    public let name: String
    /// Of the schema that the code was made from.
    public let fingerprint: UInt64
    /// Bytes of a row's fixed part.
    public let rowBytes: UInt32
    public let columns: [ColumnDeclaration]

    public init(_ name: String, fingerprint: UInt64, rowBytes: UInt32, columns: [ColumnDeclaration]) {
        self.name = name
        self.fingerprint = fingerprint
        self.rowBytes = rowBytes
        self.columns = columns
    }
}

public struct ColumnDeclaration: Sendable {
    public enum Storage: UInt32, Sendable {
        case fixed = 0
        case string = 1
        case name = 2
        case array = 3
    }

    public let name: String
    public let type: String
    public let storage: Storage
    public let offset: UInt32
    public let nullOffset: UInt32

    public init(_ name: String, _ type: String, _ storage: Storage, _ offset: UInt32, null nullOffset: UInt32 = .max) {
        self.name = name
        self.type = type
        self.storage = storage
        self.offset = offset
        self.nullOffset = nullOffset
    }
}

/// A row that `spool-writer codegen --lang swift` made.
public protocol RingRow {
    static var table: TableDeclaration { get }
    /// Publishes the row: no lock, no system call, no allocation, no wait.
    @discardableResult
    func publish(to ring: borrowing Ring) -> Publication
}
