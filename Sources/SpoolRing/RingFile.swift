import CSpoolRing
import CSystem
import Glibc
import SpoolFormat
import SpoolIO

/// A ring's file as its reader maps it (`docs/ring.md`). Whoever made it is not trusted: what lies in shared memory is copied before it
/// is looked at, and a file that is cut while it is mapped is an error, not a SIGBUS.
public final class RingFile {
    public let path: String
    public let header: RingHeader
    public let tables: [DeclaredTable]
    public let device: UInt64
    public let inode: UInt64
    private let descriptor: Int32
    private let base: UnsafeMutableRawPointer

    /// The producer's name in chunk headers: the inode cannot be chosen by whoever makes a file, so no ring can pass for another.
    public var sourceName: String { "ring:\(hex(header.ringID)).\(String(inode, radix: 16))" }

    /// Opens and checks a ring.
    ///
    /// - Parameter owners: users whose files are taken.
    public init(_ path: String, owners: Set<UInt32>) throws(RingDefect) {
        // O_NONBLOCK: a named pipe would else hold us up for ever.
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw errno == ELOOP ? .notARing("it is a link") : Self.failure("opened", errno) }
        do throws(RingDefect) {
            let status = try Self.check(descriptor, owners: owners)
            let size = UInt64(status.st_size)
            let page = try Self.read(descriptor, RingHeader.bytes, at: 0)
            let header = try RingHeader(page, fileBytes: size, pageBytes: sysconf(Int32(_SC_PAGESIZE)))
            let declarations = try Self.read(descriptor, header.tablesBytes, at: Int(SPOOL_RING_TABLES))
            try header.check(page, declarations: declarations)
            tables = try DeclaredTable.decode(declarations, count: header.tableCount)
            guard let base = cp_map_ring(descriptor, header.headerBytes, header.dataBytes) else {
                throw Self.failure("mapped", errno)
            }
            self.base = base
            self.header = header
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        self.descriptor = descriptor
    }

    deinit {
        cp_unmap_ring(base, header.headerBytes, header.dataBytes)
        close(descriptor)
    }

    /// A want of this process must not be held against the ring: set aside, its rows would wait for somebody who looks.
    private static func failure(_ what: String, _ code: Int32) -> RingDefect {
        let why = "it cannot be \(what): \(String(cString: strerror(code)))"
        switch code {
        case EMFILE, ENFILE, ENOMEM, EAGAIN, EINTR, ENOENT: return .unavailable(why)
        default: return .notARing(why)
        }
    }

    private static func check(_ descriptor: Int32, owners: Set<UInt32>) throws(RingDefect) -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .notARing(String(cString: strerror(errno))) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notARing("it is no regular file") }
        guard owners.contains(status.st_uid) else {
            throw .notARing("it belongs to user \(status.st_uid), who is not in writer.ring_users")
        }
        guard status.st_nlink == 1 else { throw .notARing("it has \(status.st_nlink) names") }
        return status
    }

    private static func read(_ descriptor: Int32, _ count: Int, at offset: Int) throws(RingDefect) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, count, off_t(offset)) }
        guard got == count else { throw .notARing("it ends within its header") }
        return bytes
    }

    // MARK: What the producer says

    /// Every byte before it is part of a committed record.
    public func writePosition() throws(RingDefect) -> UInt64 { try load(Int(SPOOL_RING_PRODUCER_PAGE)) }

    /// Rows that found the ring full, by table.
    public func fullRows(table: Int) throws(RingDefect) -> UInt64 { try load(Int(SPOOL_RING_PRODUCER_PAGE) + 128 + table * 8) }

    /// Copies the bytes from a position on.
    ///
    /// - Parameter count: at most the size of the ring.
    public func copy(from position: UInt64, count: Int, to target: UnsafeMutableRawPointer) throws(RingDefect) {
        let offset = Int(position & UInt64(header.dataBytes - 1))
        try guarded(cp_guarded_copy(target, base + header.headerBytes + offset, count))
    }

    /// Names interned so far.
    public func nameCount() throws(RingDefect) -> Int {
        var value: UInt32 = 0
        try guarded(cp_guarded_load32(&value, (base + header.namesOffset).assumingMemoryBound(to: UInt32.self)))
        return Int(value)
    }

    /// Copies bytes of the names' region; the caller keeps within its size.
    public func copyNames(at offset: Int, count: Int, to target: UnsafeMutableRawPointer) throws(RingDefect) {
        precondition(offset >= 0 && count >= 0 && offset + count <= header.namesBytes, "names \(offset)+\(count)")
        try guarded(cp_guarded_copy(target, base + header.namesOffset + offset, count))
    }

    /// Makes this process the one that drains the ring, whatever became of its directory's lock.
    ///
    /// - Throws: `.unavailable` while another writer does.
    public func claim() throws(RingDefect) {
        guard cp_lock_byte(descriptor) == 0 else { throw .unavailable("another writer drains it") }
    }

    /// Whether nobody can publish any more: the producer has closed the ring or is gone. From the first yes on the lock is ours.
    public func isAbandoned() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 }

    /// Whether the ring's name still leads to this file.
    public func isStillThere() -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && UInt64(status.st_ino) == inode && UInt64(status.st_dev) == device
    }

    // MARK: What the writer says

    private enum Field {
        static let durable = Int(SPOOL_RING_CONSUMER_PAGE)
        static let taken = durable + 128
        static let loaded = durable + 136
        static let refusedRows = durable + 144
        static let refusedPosition = durable + 152
        static let state = durable + 160
        static let tableStates = durable + 168
    }

    public func durablePosition() throws(RingDefect) -> UInt64 { try load(Field.durable) }
    public func loadedPosition() throws(RingDefect) -> UInt64 { try load(Field.loaded) }
    public func refusedRows() throws(RingDefect) -> UInt64 { try load(Field.refusedRows) }
    public func refusedPosition() throws(RingDefect) -> UInt64 { try load(Field.refusedPosition) }

    public func setDurable(_ position: UInt64) throws(RingDefect) { try store(position, Field.durable) }
    public func setTaken(_ position: UInt64) throws(RingDefect) { try store(position, Field.taken) }
    public func setLoaded(_ position: UInt64) throws(RingDefect) { try store(position, Field.loaded) }

    public func setRefused(_ rows: UInt64, before position: UInt64) throws(RingDefect) {
        try store(rows, Field.refusedRows)
        try store(position, Field.refusedPosition)
    }

    public func setState(_ state: spool_ring_state) throws(RingDefect) { try store(UInt64(state.rawValue), Field.state) }

    /// - Parameter states: one for each declared table.
    public func setTableStates(_ states: [spool_table_state]) throws(RingDefect) {
        for first in stride(from: 0, to: states.count, by: 8) {
            var word: UInt64 = 0
            for (index, state) in states[first..<min(first + 8, states.count)].enumerated() {
                word |= UInt64(state.rawValue & 0xFF) << UInt64(index * 8)
            }
            try store(word, Field.tableStates + first)
        }
    }

    // MARK: Guarded access

    private func load(_ offset: Int) throws(RingDefect) -> UInt64 {
        var value: UInt64 = 0
        try guarded(cp_guarded_load(&value, (base + offset).assumingMemoryBound(to: UInt64.self)))
        return value
    }

    private func store(_ value: UInt64, _ offset: Int) throws(RingDefect) {
        try guarded(cp_guarded_store((base + offset).assumingMemoryBound(to: UInt64.self), value))
    }

    @inline(__always)
    private func guarded(_ result: Int32) throws(RingDefect) {
        if _slowPath(result != 0) { throw .cut }
    }
}
