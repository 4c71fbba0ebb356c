import Glibc

/// A failed call of the operating system: what was tried, on which file, and why it failed.
public struct IOFailure: Error, Sendable, CustomStringConvertible {
    public let operation: String
    public let path: String
    /// The value of `errno`.
    public let code: Int32

    public init(_ operation: String, _ path: String, _ code: Int32) {
        self.operation = operation
        self.path = path
        self.code = code
    }

    public var description: String { "\(operation) \(path): \(String(cString: strerror(code)))" }

    /// Whether it failed for want of space: retrying may help once somebody made room.
    public var isNoSpace: Bool { code == ENOSPC || code == EDQUOT || code == EFBIG }
    public var isMissing: Bool { code == ENOENT || code == ENOTDIR }
}

/// Runs a call again while a signal interrupts it; the one place that knows EINTR.
@inline(__always)
func retrying<Result: SignedInteger>(_ call: () -> Result) -> (result: Result, code: Int32) {
    while true {
        let result = call()
        if result != -1 { return (result, 0) }
        let code = errno
        if code != EINTR { return (result, code) }
    }
}

/// The clocks of this process.
public enum Clock {
    /// Nanoseconds since the Unix epoch.
    public static func now() -> Int64 { read(CLOCK_REALTIME) }
    /// Nanoseconds of a clock that never jumps.
    public static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
