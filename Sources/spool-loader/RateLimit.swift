import ArgumentParser
import SpoolConfig

/// How fast rows may be sent: rows a second, bytes a second, or both, as token buckets. The clock is the caller's.
///
/// A batch may begin whenever no bucket is overdrawn, and may overdraw it: so a batch larger than a second's allowance goes too,
/// and the wait after it keeps the average.
struct RateLimit: Equatable {
    /// What `--rate` says: `100000` (rows a second) or `20MiB` (bytes a second, as they lie in the spool).
    enum Bound: Equatable, ExpressibleByArgument {
        case rows(Int64)
        case bytes(Int64)

        init?(argument: String) {
            let text = argument.hasSuffix("/s") ? String(argument.dropLast(2)) : argument
            if let rows = Int64(text) {
                guard rows > 0 else { return nil }
                self = .rows(rows)
            } else if let bytes = Quantity.bytes(text), bytes > 0 {
                self = .bytes(bytes)
            } else {
                return nil
            }
        }
    }

    private var rows: Bucket?
    private var bytes: Bucket?

    /// - Parameter bounds: at most one of each kind.
    init(_ bounds: [Bound]) {
        for bound in bounds {
            switch bound {
            case .rows(let perSecond): rows = Bucket(perSecond: perSecond)
            case .bytes(let perSecond): bytes = Bucket(perSecond: perSecond)
            }
        }
    }

    /// How long the next batch must wait, in nanoseconds; 0 if it may begin now.
    ///
    /// - Parameter now: nanoseconds of a clock that never jumps.
    func wait(now: Int64) -> Int64 { max(rows?.wait(now: now) ?? 0, bytes?.wait(now: now) ?? 0) }

    /// Counts a batch that is sent now.
    mutating func take(rows rowCount: UInt64, bytes byteCount: UInt64, now: Int64) {
        rows?.take(rowCount, now: now)
        bytes?.take(byteCount, now: now)
    }

    /// Batches of no more than a second's allowance, so that the rate is kept within seconds and not only on average.
    func limits(_ limits: BatchLimits) -> BatchLimits {
        BatchLimits(
            rows: min(limits.rows, rows.map { Int(clamping: $0.perSecond) } ?? .max),
            bytes: min(limits.bytes, bytes.map { Int(clamping: $0.perSecond) } ?? .max))
    }

    private struct Bucket: Equatable {
        let perSecond: Int64
        /// What may be taken; below 0 it is overdrawn. Never more than a second's allowance.
        private var level: Double
        private var since: Int64?

        init(perSecond: Int64) {
            self.perSecond = perSecond
            level = 0
        }

        private func level(at now: Int64) -> Double {
            guard let since else { return level }
            return min(level + Double(max(0, now - since)) / 1e9 * Double(perSecond), Double(perSecond))
        }

        func wait(now: Int64) -> Int64 {
            let level = level(at: now)
            guard level < 0 else { return 0 }
            let nanoseconds = (-level / Double(perSecond) * 1e9).rounded(.up)
            return nanoseconds < 1e18 ? Int64(nanoseconds) : Int64(1e18)
        }

        mutating func take(_ count: UInt64, now: Int64) {
            level = level(at: now) - Double(count)
            since = now
        }
    }
}
