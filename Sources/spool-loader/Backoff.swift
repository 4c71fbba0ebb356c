/// Waits between tries: doubling from the first to the cap, with jitter so that loaders do not come back in step.
struct Backoff {
    /// Nanoseconds.
    let first: Int64
    let cap: Int64
    private(set) var failures = 0

    init(first: Int64, cap: Int64) {
        self.first = first
        self.cap = max(first, cap)
    }

    /// The next wait in nanoseconds: between half and all of the doubled time.
    mutating func next(random: inout some RandomNumberGenerator) -> Int64 {
        failures += 1
        let full = first.multipliedReportingOverflow(by: 1 << min(failures - 1, 30))
        let wait = min(full.overflow ? cap : full.partialValue, cap)
        return Int64.random(in: wait / 2...wait, using: &random)
    }

    mutating func reset() { failures = 0 }
}
