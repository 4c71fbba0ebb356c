final class RateLimit {
    func earliest(at now: Int64) -> Int64? { nil }
    func take(rows: UInt64, bytes: UInt64, at now: Int64) {}
}
