import Glibc

/// Unix stream sockets, without blocking.
public enum LocalSocket {
    private static let backlog: Int32 = 128

    /// Listens at `path`. A socket file that nobody answers is replaced.
    ///
    /// - Returns: the listening descriptor.
    public static func listen(at path: String) throws(IOFailure) -> Int32 {
        var address = try Self.address(path)
        try makeRoom(at: path)
        let parent = Directory.parent(of: path)
        if !parent.isEmpty { try Directory.create(parent) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | 0o2000000 | 0o4000, 0)
        guard descriptor >= 0 else { throw IOFailure("socket", path, errno) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // Producers of the same group may write; others may not.
        guard bound == 0, chmod(path, 0o660) == 0, Glibc.listen(descriptor, backlog) == 0 else {
            let code = errno
            close(descriptor)
            throw IOFailure("listen at", path, code)
        }
        return descriptor
    }

    /// Removes the socket file of a process that is gone; refuses anything else that is there.
    private static func makeRoom(at path: String) throws(IOFailure) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw IOFailure("listen at (there is another file)", path, EEXIST) }
        do throws(IOFailure) {
            close(try connect(to: path, waiting: false))
            throw IOFailure("listen at", path, EADDRINUSE)
        } catch {
            // A full backlog (EAGAIN) is somebody too, and without permission nobody can tell.
            guard error.code == ECONNREFUSED else { throw IOFailure("listen at", path, EADDRINUSE) }
            try Directory.removeIfPresent(path)
        }
    }

    /// Connects to a listening socket.
    ///
    /// - Parameter waiting: whether to wait where its backlog is full, rather than to fail with EAGAIN.
    public static func connect(to path: String, waiting: Bool = true) throws(IOFailure) -> Int32 {
        var address = try Self.address(path)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | 0o2000000 | (waiting ? 0 : 0o4000), 0)
        guard descriptor >= 0 else { throw IOFailure("socket", path, errno) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else {
            let code = errno
            close(descriptor)
            throw IOFailure("connect to", path, code)
        }
        return descriptor
    }

    /// The next waiting connection; nil if there is none.
    public static func accept(_ listener: Int32) -> Int32? {
        let (descriptor, _) = retrying { Glibc.accept(listener, nil, nil) }
        guard descriptor >= 0 else { return nil }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }

    /// The user whose process is at the other end, as the kernel noted it when it connected; nil if it does not tell.
    public static func peerUser(of descriptor: Int32) -> UInt32? { peer(of: descriptor)?.user }

    /// The process at the other end, when it connected or listened; nil if the kernel does not tell.
    public static func peerProcess(of descriptor: Int32) -> Int32? { peer(of: descriptor)?.process }

    private static func peer(of descriptor: Int32) -> (process: Int32, user: UInt32)? {
        // struct ucred: process, user, group.
        var credentials: (Int32, UInt32, UInt32) = (0, .max, .max)
        var length = socklen_t(MemoryLayout.size(ofValue: credentials))
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0, length == 12 else { return nil }
        return (credentials.0, credentials.1)
    }

    public enum Transfer {
        case bytes(Int)
        /// Nothing can move now.
        case wait
        /// The peer is gone or has ended.
        case ended
    }

    public static func receive(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
        let (count, code) = retrying { recv(descriptor, buffer.baseAddress, buffer.count, 0) }
        if count > 0 { return .bytes(count) }
        return count < 0 && (code == EAGAIN || code == EWOULDBLOCK) ? .wait : .ended
    }

    public static func send(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Transfer {
        let (count, code) = retrying { Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
        if count >= 0 { return .bytes(count) }
        return code == EAGAIN || code == EWOULDBLOCK ? .wait : .ended
    }

    private static func address(_ path: String) throws(IOFailure) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard bytes.count < room else { throw IOFailure("socket path of more than \(room - 1) bytes", path, ENAMETOOLONG) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return address
    }
}

/// Tells a supervisor such as systemd that the process is ready or stopping; nothing if none listens.
public func notifySupervisor(_ state: String) {
    guard let raw = getenv("NOTIFY_SOCKET") else { return }
    var path = Array(String(cString: raw).utf8)
    guard !path.isEmpty else { return }
    // An abstract socket is written with @ and begins with a zero byte.
    if path[0] == UInt8(ascii: "@") { path[0] = 0 }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | 0o2000000, 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
    let bytes = Array(state.utf8)
    withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = sendto(descriptor, bytes, bytes.count, 0, $0, length) }
    }
}
