import Glibc

/// How full a file system is.
public struct DiskUsage: Equatable, Sendable {
    public let total: UInt64
    /// For those who are not root.
    public let available: UInt64
    public let used: UInt64

    /// As `df` says it.
    public var ratio: Double { used + available == 0 ? 0 : Double(used) / Double(used + available) }

    /// - Throws: `IOFailure` if the file system does not tell.
    public init(path: String) throws(IOFailure) {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { throw IOFailure("statvfs", path, errno) }
        let unit = UInt64(status.f_frsize)
        self.init(total: UInt64(status.f_blocks) * unit, available: UInt64(status.f_bavail) * unit, free: UInt64(status.f_bfree) * unit)
    }

    public init(total: UInt64, available: UInt64, free: UInt64) {
        self.total = total
        self.available = available
        used = total > free ? total - free : 0
    }

    /// Bytes that must go so that the ratio is this.
    public func excess(over ratio: Double) -> UInt64 {
        let target = Double(used + available) * ratio
        return Double(used) > target ? UInt64(Double(used) - target) : 0
    }
}
