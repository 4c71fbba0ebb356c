public import CSpoolRing

/// A shared-memory ring between one producing thread and `spool-writer`.
///
/// It belongs to the thread that opened it, and to its process: in a forked child it is not mapped.
public struct Ring: ~Copyable {
    @usableFromInline package let handle: UnsafeMutablePointer<spool_ring>
    private let keptNames = KeptNames()

    /// Creates a ring. The writer need not run: it finds the ring when it does.
    ///
    /// - Parameters:
    ///   - directory: what the writer watches (`--rings`).
    ///   - producer: a name for people, in file names and logs.
    ///   - tables: whose rows will be published.
    ///   - dataBytes: a power of two, 64 KiB to 4 GiB. At 25,000 rows/s of 128 bytes, 1 MiB holds 300 ms.
    ///   - nameBytes: room for interned names.
    public init(
        directory: String, producer: String, tables: [TableDeclaration], dataBytes: UInt64 = 4 << 20, nameBytes: UInt32 = 64 << 10
    ) throws(RingError) {
        // Where this throws there is no ring yet that deinit would close.
        handle = try Self.open(directory, producer, tables, dataBytes, nameBytes)
    }

    private static func open(
        _ directory: String, _ producer: String, _ tables: [TableDeclaration], _ dataBytes: UInt64, _ nameBytes: UInt32
    ) throws(RingError) -> UnsafeMutablePointer<spool_ring> {
        let handle = UnsafeMutablePointer<spool_ring>.allocate(capacity: 1)
        handle.initialize(to: spool_ring())
        // The header copies the declarations; the texts live until it has.
        var texts: [UnsafeMutablePointer<CChar>] = []
        func text(_ string: String) -> UnsafePointer<CChar>? {
            guard let copy = strdup(string) else { return nil }
            texts.append(copy)
            return UnsafePointer(copy)
        }
        let columns = tables.flatMap(\.columns).map {
            spool_column(
                name: text($0.name), type: text($0.type), storage: $0.storage.rawValue, offset: $0.offset, null_offset: $0.nullOffset)
        }
        let code = columns.withUnsafeBufferPointer { columns in
            var next = 0
            let declared = tables.map { table in
                defer { next += table.columns.count }
                return spool_table(
                    name: text(table.name), fingerprint: table.fingerprint, row_bytes: table.rowBytes,
                    column_count: UInt32(table.columns.count), columns: columns.baseAddress.map { $0 + next })
            }
            return spool_ring_open_sized(handle, directory, producer, dataBytes, nameBytes, declared, UInt32(declared.count))
        }
        for text in texts { free(text) }
        guard code == 0 else {
            let message = withUnsafeBytes(of: &handle.pointee.error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            handle.deallocate()
            throw RingError(code: code, message: message)
        }
        return handle
    }

    /// Closes the ring. Rows that are not durable yet stay in its file; the writer drains it, then removes it.
    deinit {
        spool_ring_close(handle)
        handle.deallocate()
    }

    /// The ring's file.
    public var path: String {
        withUnsafeBytes(of: &handle.pointee.path) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// Why a ring could not be made: what failed, where, and what to do.
public struct RingError: Error, Sendable, CustomStringConvertible {
    /// The errno.
    public let code: Int32
    public let message: String
    public var description: String { message }
}

/// What became of a row.
public enum Publication: UInt8, Sendable {
    /// It survives the death of this process and of the writer; once durable, a power loss.
    case accepted
    /// The ring has no room until the writer has come further. The row is counted and not kept.
    case full
    /// More than 1 MiB or a quarter of the ring, or a text longer than its `FixedString`. Not kept.
    case tooLong
    /// The ring was opened without this table.
    case noTable
    /// A name of the row was interned in another ring. Not counted, not kept.
    case foreignName
}

// MARK: - Names

extension Ring {
    /// The name for this ring, to be made once before the hot loop: a row then carries four bytes for it.
    ///
    /// Where the ring has no room for more names (`nameBytes`), rows carry the text itself, and this keeps a copy of it.
    public func intern(_ text: String) -> Name {
        var text = text
        let id = text.withUTF8 { spool_ring_intern(handle, $0.baseAddress, UInt32(clamping: $0.count)) }
        return id == spoolNameInline ? Name(kept: keptNames.copy(of: text)) : Name(word: handle.pointee.name_token | UInt64(id))
    }
}

/// Texts of names that found no room in the ring; they live as long as it does.
final class KeptNames {
    private var texts: [String: UnsafeRawBufferPointer] = [:]

    func copy(of text: String) -> UnsafeRawBufferPointer {
        if let kept = texts[text] { return kept }
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 1)
        copy.copyBytes(from: text.utf8)
        texts[text] = UnsafeRawBufferPointer(copy)
        return UnsafeRawBufferPointer(copy)
    }

    deinit { for text in texts.values { text.deallocate() } }
}

// MARK: - Watermarks: plain loads, no system call

extension Ring {
    public enum State: UInt32, Sendable {
        /// No writer has seen it yet.
        case waiting
        /// A writer drains it.
        case attached
        /// A writer found it corrupt; nothing more is taken from it.
        case setAside
        /// A table does not fit the writer's schemas: nothing is taken and nothing lost, until another writer can. See ``tableState(_:)``.
        case held
    }

    public enum TableState: UInt32, Sendable {
        case unseen
        /// Rows are recorded.
        case taken
        /// The declaration does not fit the schemas, so the ring is held; the writer's log says why.
        case refused
    }

    /// Behind the last row: that row is durable once ``durablePosition`` is there.
    @inlinable public var position: UInt64 { handle.pointee.position }
    /// Rows before it are durable in the spool, or were refused.
    @inlinable public var durablePosition: UInt64 { spool_ring_durable(handle) }
    /// Rows before it are in ClickHouse; 0 where the writer cannot see the loader's checkpoints.
    @inlinable public var loadedPosition: UInt64 { spool_ring_loaded(handle) }
    /// Rows that the writer refused; its log says why.
    public var refusedRows: UInt64 { spool_ring_refused(handle) }
    /// Rows longer than a ring takes.
    public var tooLongRows: UInt64 { handle.pointee.producer.pointee.too_long_rows }
    public var state: State { State(rawValue: spool_ring_state_now(handle).rawValue) ?? .waiting }

    /// Rows of the table at this index of the ring's tables that found the ring full.
    public func fullRows(table index: Int) -> UInt64 { spool_ring_full(handle, UInt32(index)) }
    public func tableState(_ index: Int) -> TableState {
        TableState(rawValue: spool_ring_table_state(handle, UInt32(index)).rawValue) ?? .unseen
    }

    /// Waits until the rows before `position` are durable. It sleeps: not for the hot path.
    ///
    /// - Returns: false after the timeout.
    public func waitDurable(_ position: UInt64, timeout: Duration) -> Bool {
        spool_ring_wait_durable(handle, position, Self.milliseconds(timeout)) != 0
    }
    /// Waits until a writer has looked at the ring; ``state`` and ``tableState(_:)`` then say what it thinks of it.
    public func waitAttached(timeout: Duration) -> Bool { spool_ring_wait_attached(handle, Self.milliseconds(timeout)) != 0 }

    private static func milliseconds(_ duration: Duration) -> Int32 {
        let (seconds, attoseconds) = duration.components
        return Int32(clamping: seconds.multipliedReportingOverflow(by: 1_000).partialValue + attoseconds / 1_000_000_000_000_000)
    }
}
