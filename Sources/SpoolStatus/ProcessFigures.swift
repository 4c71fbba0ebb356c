import Glibc
import SpoolIO

/// What every process says of itself: memory, processor, clock.
public struct ProcessFigures: Sendable {
    public let residentBytes: UInt64
    public let cpuSeconds: Double
    /// Seconds since the Unix epoch.
    public let started: Double
    public let version: String
    public let clock: ClockWatch
    public let alarms: Alarms.Summary

    public init(started: Double, version: String, clock: ClockWatch, alarms: Alarms.Summary) {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        cpuSeconds = seconds(usage.ru_utime) + seconds(usage.ru_stime)
        residentBytes = Self.residentPages() * UInt64(sysconf(Int32(_SC_PAGESIZE)))
        self.started = started
        self.version = version
        self.clock = clock
        self.alarms = alarms
    }

    private static func residentPages() -> UInt64 {
        guard let file = try? File.openForReading("/proc/self/statm"), let bytes = try? file.read(64, at: 0) else { return 0 }
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        return words.count > 1 ? UInt64(words[1]) ?? 0 : 0
    }

    public func add(to text: inout MetricsText) {
        text.add("recorder_build_info", .gauge, "1; the version stands in the label.", [("version", version)], 1)
        text.add(
            "recorder_alarms_total", .counter,
            "Times that a person was called since the process started: each is a critical line in the log, RecorderFailure.", [],
            Double(alarms.count))
        text.add(
            "recorder_clock_steps_total", .counter, "Times that the wall clock was set by more than 20 ms since the process started.", [],
            Double(clock.steps))
        text.add("process_start_time_seconds", .gauge, "Start of the process, seconds since the Unix epoch.", [], started)
        text.add("process_cpu_seconds_total", .counter, "Processor time of the process.", [], cpuSeconds)
        text.add("process_resident_memory_bytes", .gauge, "Memory of the process.", [], Double(residentBytes))
    }
}

/// Notices that the wall clock was set: event times and lags are then wrong by as much.
public struct ClockWatch: Equatable, Sendable {
    /// Nanoseconds between two looks that no slewing clock moves by: it does half a millisecond a second.
    static let least: Int64 = 20_000_000

    public private(set) var steps: UInt64 = 0
    private var offset: Int64?

    public init() {}

    /// Takes a look.
    ///
    /// - Parameters:
    ///   - wall: nanoseconds since the Unix epoch.
    ///   - monotonic: nanoseconds of the clock that never jumps, read at the same time.
    /// - Returns: by how much the clock was set since the last look, nanoseconds; nil if it was not.
    public mutating func look(wall: Int64 = Clock.now(), monotonic: Int64 = Clock.monotonic()) -> Int64? {
        let now = wall &- monotonic
        defer { offset = now }
        guard let offset else { return nil }
        let step = now &- offset
        guard step.magnitude >= Self.least.magnitude else { return nil }
        steps += 1
        return step
    }
}
