import Foundation
import Glibc
import SpoolIO
import SpoolTesting
import Testing

/// The built `spool-writer`, running.
final class WriterProcess {
    let process = Process()
    let socket: String
    private let errors: String

    /// The executable stands beside the one that runs the tests.
    static let executable: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("spool-writer").path
    }()

    init(_ spool: TestSpool, _ settings: [String: String] = [:]) throws {
        socket = spool.directory.file("s")
        errors = spool.directory.file("errors")
        try Bytes.write([], to: errors)
        process.executableURL = URL(fileURLWithPath: Self.executable)
        process.arguments = ["run", "--spool", spool.spoolPath, "--schemas", spool.schemaPath, "--socket", socket]
        process.environment = ["COLDPATH_WRITER_ID": "w1"].merging(settings) { $1 }
        process.standardError = FileHandle(forWritingAtPath: errors)
        try process.run()
        let deadline = Clock.monotonic() + 10_000_000_000
        while true {
            if let descriptor = try? LocalSocket.connect(to: socket) {
                close(descriptor)
                return
            }
            try #require(process.isRunning && Clock.monotonic() < deadline, "not ready: \((try? Bytes.text(errors)) ?? "")")
            usleep(2_000)
        }
    }

    deinit { if process.isRunning { kill() } }

    func connect() throws -> SocketClient { try SocketClient(socket) }

    /// Asks for a clean stop and waits for it.
    ///
    /// - Returns: the exit status.
    func stop() -> Int32 {
        process.terminate()
        process.waitUntilExit()
        return process.terminationStatus
    }

    func kill() {
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    var messages: String { (try? Bytes.text(errors)) ?? "" }
}

/// A producer on the socket; every wait ends.
final class SocketClient {
    private let descriptor: Int32
    private var buffer: [UInt8] = []

    init(_ path: String) throws {
        descriptor = try LocalSocket.connect(to: path)
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            switch rest.withUnsafeBytes({ LocalSocket.send(descriptor, $0) }) {
            case .bytes(let count): rest = rest.dropFirst(count)
            case .wait, .ended: throw IOFailure("send", "socket", errno)
            }
        }
    }

    /// Ends the sending side only.
    func endInput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// The next answer; nil at the end.
    func answer() -> String? {
        while true {
            if let newline = buffer.firstIndex(of: 0x0A) {
                defer { buffer.removeSubrange(...newline) }
                return String(decoding: buffer[..<newline], as: UTF8.self)
            }
            var bytes = [UInt8](repeating: 0, count: 65_536)
            guard case .bytes(let count) = bytes.withUnsafeMutableBytes({ LocalSocket.receive(descriptor, into: $0) }) else { return nil }
            buffer += bytes[..<count]
        }
    }

    /// Answers up to and with the one that is expected; all up to the end if it never comes.
    func answers(until last: String) -> [String] {
        var all: [String] = []
        while let answer = answer() {
            all.append(answer)
            if answer == last { break }
        }
        return all
    }

    /// All answers up to the end.
    func rest() -> [String] {
        var all: [String] = []
        while let answer = answer() { all.append(answer) }
        return all
    }
}
