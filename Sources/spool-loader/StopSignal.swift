import CSystem
import Glibc
import SpoolIO

/// SIGTERM and SIGINT, as something that a loop can wait for beside its requests.
final class StopSignal {
    /// How long requests in flight may still end after a stop was asked for, so that they need not be asked for at the next start. Nanoseconds.
    static let grace: Int64 = 5_000_000_000

    private let descriptor: Int32
    private var wasAsked = false

    /// From here on the signals end nothing by themselves.
    init() throws(IOFailure) {
        descriptor = cp_stop_signals()
        guard descriptor >= 0 else { throw IOFailure("wait for signals on", "signalfd", errno) }
    }

    private init(descriptor: Int32) { self.descriptor = descriptor }

    /// One that nobody can give.
    static var never: StopSignal { StopSignal(descriptor: -1) }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Readable once a stop was asked for; none if nothing is left to wait for.
    var descriptors: [Int32] { descriptor >= 0 && !wasAsked ? [descriptor] : [] }

    /// Whether a stop was asked for; once it was, it stays so.
    var isAsked: Bool {
        if !wasAsked, descriptor >= 0 {
            wasAsked = withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { read(descriptor, $0.baseAddress, $0.count) > 0 }
        }
        return wasAsked
    }
}
