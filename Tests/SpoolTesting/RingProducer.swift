import CSpoolRing
import SpoolRing

/// A producer in the test's own process: the C functions that any producer uses, with doors for what no honest one would do.
public final class RingProducer {
    public let ring: UnsafeMutablePointer<spool_ring>
    public let path: String
    private let strings: [UnsafeMutablePointer<CChar>]

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    /// Makes a ring.
    ///
    /// - Parameter bytes: of its data; a power of two from 64 KiB.
    public init(
        _ directory: String, _ tables: [DeclaredTable], producer: String = "test", bytes: Int = 64 << 10, names: Int = 0
    ) throws {
        ring = .allocate(capacity: 1)
        var strings: [UnsafeMutablePointer<CChar>] = []
        func text(_ text: String) -> UnsafePointer<CChar> {
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: text.utf8.count + 1)
            for (index, byte) in (text.utf8CString).enumerated() { copy[index] = byte }
            strings.append(copy)
            return UnsafePointer(copy)
        }
        let columns = tables.map { table in
            table.columns.map { column in
                spool_column(
                    name: text(column.name), type: text(column.type), storage: UInt32(column.storage.rawValue),
                    offset: UInt32(column.offset), null_offset: column.nullOffset.map { UInt32($0) } ?? SPOOL_NOT_NULLABLE)
            }
        }
        let lists = columns.map { list in
            let copy = UnsafeMutablePointer<spool_column>.allocate(capacity: max(list.count, 1))
            copy.initialize(from: list, count: list.count)
            return copy
        }
        let declared = zip(tables, lists).map { table, list in
            spool_table(
                name: text(table.name), fingerprint: table.fingerprint, row_bytes: UInt32(table.rowBytes),
                column_count: UInt32(table.columns.count), columns: UnsafePointer(list))
        }
        let code = spool_ring_open_sized(ring, directory, producer, UInt64(bytes), UInt32(names), declared, UInt32(declared.count))
        for list in lists { list.deallocate() }
        self.strings = strings
        path = Self.text(&ring.pointee.path)
        if code != 0 { throw Failure(description: Self.text(&ring.pointee.error)) }
    }

    private static func text<Characters>(_ characters: inout Characters) -> String {
        withUnsafeBytes(of: &characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    deinit {
        spool_ring_close(ring)
        for string in strings { string.deallocate() }
        ring.deallocate()
    }

    /// Publishes a row: fixed part and tail.
    ///
    /// - Returns: false if the ring is full, or the row too long.
    @discardableResult
    public func publish(_ row: [UInt8], table: Int = 0) -> Bool {
        guard let room = spool_ring_claim(ring, UInt32(table), UInt32(row.count)) else { return false }
        room.update(from: row, count: row.count)
        spool_ring_commit(ring, UInt32(table), UInt32(row.count))
        return true
    }

    /// Publishes any bytes as if they were records.
    public func publish(raw bytes: [UInt8]) {
        let start = ring.pointee.data + Int(ring.pointee.position & ring.pointee.mask)
        start.update(from: bytes, count: bytes.count)
        ring.pointee.position &+= UInt64(bytes.count)
        setWritePosition(ring.pointee.position)
    }

    public func intern(_ name: String) -> UInt32 { intern(Array(name.utf8)) }
    public func intern(_ name: [UInt8]) -> UInt32 { spool_ring_intern(ring, name, UInt32(name.count)) }

    /// The end of the process that has the ring.
    public func close() { spool_ring_close(ring) }

    // MARK: Watermarks

    public var position: UInt64 { spool_ring_position(ring) }
    public var durable: UInt64 { spool_ring_durable(ring) }
    public var loaded: UInt64 { spool_ring_loaded(ring) }
    public var refused: UInt64 { spool_ring_refused(ring) }
    public var taken: UInt64 { ring.pointee.consumer.pointee.taken_position }
    public var state: spool_ring_state { spool_ring_state_now(ring) }
    public func state(of table: Int) -> spool_table_state { spool_ring_table_state(ring, UInt32(table)) }
    public func full(_ table: Int) -> UInt64 { spool_ring_full(ring, UInt32(table)) }

    // MARK: What no honest producer does

    public var consumer: UnsafeMutablePointer<spool_ring_consumer_page> { ring.pointee.consumer }
    public var producerPage: UnsafeMutablePointer<spool_ring_producer_page> { ring.pointee.producer }
    public var names: UnsafeMutablePointer<UInt8> { ring.pointee.names }

    public func setWritePosition(_ position: UInt64) {
        ring.pointee.producer.pointee.write_position = position
    }
}
