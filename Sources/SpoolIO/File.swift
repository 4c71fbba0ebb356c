import CSystem
import Glibc

/// An open file. Every method that writes says what is durable when it returns.
public final class File {
    public let path: String
    public let descriptor: Int32

    private init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    public static func openForReading(_ path: String) throws(IOFailure) -> File { try open(path, O_RDONLY) }

    /// Opens for reading and writing, creating the file if need be. Nothing is durable.
    public static func openForWriting(_ path: String) throws(IOFailure) -> File { try open(path, O_RDWR | O_CREAT) }

    /// Creates a file that must not be there. Nothing is durable, not even its name.
    public static func create(_ path: String) throws(IOFailure) -> File { try open(path, O_RDWR | O_CREAT | O_EXCL) }

    private static func open(_ path: String, _ flags: Int32) throws(IOFailure) -> File {
        let (descriptor, code) = retrying { Glibc.open(path, flags | O_CLOEXEC, 0o644) }
        guard descriptor >= 0 else { throw IOFailure("open", path, code) }
        return File(path: path, descriptor: descriptor)
    }

    public func size() throws(IOFailure) -> UInt64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw IOFailure("stat", path, errno) }
        return UInt64(status.st_size)
    }

    /// Whether a name leads to this very file: what is written to one that was moved away or removed nobody finds.
    public func isAt(_ path: String) -> Bool {
        var own = stat()
        var named = stat()
        return fstat(descriptor, &own) == 0 && stat(path, &named) == 0 && own.st_ino == named.st_ino && own.st_dev == named.st_dev
    }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Its size; nil if it is not there.
    public static func bytes(_ path: String) -> UInt64? {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(clamping: status.st_size) : nil
    }

    /// Reads up to `buffer.count` bytes at `offset`.
    ///
    /// - Returns: bytes read; fewer than asked only at the end of the file.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(IOFailure) -> Int {
        var done = 0
        while done < buffer.count {
            let (count, code) = retrying {
                pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            }
            guard count >= 0 else { throw IOFailure("read", path, code) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Reads up to `count` bytes at `offset`; fewer only at the end of the file.
    public func read(_ count: Int, at offset: UInt64) throws(IOFailure) -> [UInt8] {
        var failure: IOFailure?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do {
                initialized = try read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
            } catch {
                failure = error as? IOFailure
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Writes all bytes at `offset`. Nothing is durable until ``sync()``; after an error any part may be written.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(IOFailure) {
        var done = 0
        while done < bytes.count {
            let (count, code) = retrying {
                pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done))
            }
            guard count > 0 else { throw IOFailure("write", path, count == 0 ? ENOSPC : code) }
            done += count
        }
    }

    public func write(_ bytes: [UInt8], at offset: UInt64) throws(IOFailure) {
        var failure: IOFailure?
        bytes.withUnsafeBytes {
            do { try write($0, at: offset) } catch { failure = error as? IOFailure }
        }
        if let failure { throw failure }
    }

    /// Makes the file's bytes and size durable. After an error nothing may be assumed of what was unsynced.
    public func sync() throws(IOFailure) {
        let (result, code) = retrying { fdatasync(descriptor) }
        guard result == 0 else { throw IOFailure("sync", path, code) }
    }

    /// Takes the disk's room for the file's first `count` bytes, whatever is written there later.
    public func allocate(_ count: UInt64) throws(IOFailure) {
        let code = cp_allocate(descriptor, Int64(count))
        guard code == 0 else { throw IOFailure("allocate", path, code) }
    }

    /// Cuts the file. Not durable until ``sync()``.
    public func truncate(to count: UInt64) throws(IOFailure) {
        let (result, code) = retrying { ftruncate(descriptor, off_t(count)) }
        guard result == 0 else { throw IOFailure("truncate", path, code) }
    }

    /// Takes the file's exclusive lock without waiting.
    ///
    /// - Returns: false if another process holds it. The lock lives as long as this object.
    public func lock() throws(IOFailure) -> Bool {
        let (result, code) = retrying { flock(descriptor, LOCK_EX | LOCK_NB) }
        if result == 0 { return true }
        if code == EWOULDBLOCK { return false }
        throw IOFailure("lock", path, code)
    }
}

/// Directories and names.
public enum Directory {
    /// Makes the directory and those above it, and makes their names durable.
    public static func create(_ path: String) throws(IOFailure) {
        if exists(path) { return }
        let parent = parent(of: path)
        if !parent.isEmpty && parent != path { try create(parent) }
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw IOFailure("create directory", path, errno) }
        try sync(parent.isEmpty ? "." : parent)
    }

    public static func exists(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// File names, sorted: those that do not begin with a dot, or those that do.
    public static func list(_ path: String, hidden: Bool = false) throws(IOFailure) -> [String] {
        guard let stream = opendir(path) else { throw IOFailure("list", path, errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw IOFailure("list", path, errno) }
                break
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name.hasPrefix(".") == hidden { names.append(name) }
        }
        return names.sorted()
    }

    /// Makes the names in the directory durable.
    public static func sync(_ path: String) throws(IOFailure) {
        let (descriptor, code) = retrying { open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw IOFailure("open directory", path, code) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw IOFailure("sync directory", path, errno) }
    }

    /// Renames within a directory, replacing the target. Not durable until the directory is synced.
    public static func rename(_ from: String, to: String) throws(IOFailure) {
        guard Glibc.rename(from, to) == 0 else { throw IOFailure("rename to \(to)", from, errno) }
    }

    public static func remove(_ path: String) throws(IOFailure) {
        guard unlink(path) == 0 else { throw IOFailure("remove", path, errno) }
    }

    public static func removeIfPresent(_ path: String) throws(IOFailure) {
        guard unlink(path) == 0 || errno == ENOENT else { throw IOFailure("remove", path, errno) }
    }

    /// Whether two paths are the same file, by whatever name.
    public static func areSame(_ first: String, _ second: String) -> Bool {
        var one = stat()
        var two = stat()
        return stat(first, &one) == 0 && stat(second, &two) == 0 && one.st_dev == two.st_dev && one.st_ino == two.st_ino
    }

    /// Whether a file lies, or would lie, somewhere below a directory.
    public static func isWithin(_ path: String, _ directory: String) -> Bool {
        func real(_ path: String) -> String? {
            guard let resolved = realpath(path, nil) else { return nil }
            defer { free(resolved) }
            return String(cString: resolved)
        }
        let parent = parent(of: path)
        guard let inner = real(parent.isEmpty ? "." : parent), let outer = real(directory) else { return false }
        return inner == outer || inner.hasPrefix(outer + "/")
    }

    public static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

/// Small text files, read whole.
public enum TextFile {
    public static let maxBytes: UInt64 = 4 << 20

    /// The file's text; nil if there is no such file.
    public static func read(_ path: String) throws(IOFailure) -> String? {
        let file: File
        do {
            file = try File.openForReading(path)
        } catch {
            if error.isMissing { return nil }
            throw error
        }
        let size = try file.size()
        guard size <= maxBytes else { throw IOFailure("read", path, EFBIG) }
        return String(decoding: try file.read(Int(size), at: 0), as: UTF8.self)
    }

    /// Replaces the file; when this returns the new text and its name are durable.
    public static func replace(_ path: String, with text: String) throws(IOFailure) {
        let temporary = path + ".tmp"
        try Directory.removeIfPresent(temporary)
        let file = try File.create(temporary)
        try file.write(Array(text.utf8), at: 0)
        // Sync before the rename: otherwise a power loss can leave the name without the bytes.
        try file.sync()
        try Directory.rename(temporary, to: path)
        let parent = Directory.parent(of: path)
        try Directory.sync(parent.isEmpty ? "." : parent)
    }
}
