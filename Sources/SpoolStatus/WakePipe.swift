import CSystem
import Glibc

/// A pipe that one thread waits at and others wake it through.
final class WakePipe: Sendable {
    private let ends: (read: Int32, write: Int32)

    init() {
        var pair: [Int32] = [-1, -1]
        _ = cp_pipe(&pair)
        // A full pipe wakes as well as one more byte in it.
        if pair[1] >= 0 { _ = fcntl(pair[1], F_SETFL, O_NONBLOCK) }
        ends = (pair[0], pair[1])
    }

    deinit {
        if ends.read >= 0 { close(ends.read) }
        if ends.write >= 0 { close(ends.write) }
    }

    func signal() {
        var byte: UInt8 = 0
        _ = write(ends.write, &byte, 1)
    }

    func wait() {
        var bytes = [UInt8](repeating: 0, count: 64)
        if read(ends.read, &bytes, bytes.count) <= 0 { usleep(100_000) }
    }
}
