/// Whether a process does what it is there for; if not, why.
public struct Health: Equatable, Sendable {
    /// One line each, for people; none if all is well.
    public var reasons: [String]

    public init(_ reasons: [String] = []) { self.reasons = reasons }

    public var isGood: Bool { reasons.isEmpty }
}

/// What a process says of itself at one moment: values only, made by its loop; the texts are made by whoever is asked for them.
public protocol StatusPage: Sendable {
    /// In the Prometheus text format.
    func metrics() -> String
    /// Whether it is alive and gets on. A supervisor may restart a process that does not.
    var health: Health { get }
    /// Whether it can do its work at present. A restart would not help.
    var readiness: Health { get }
    /// One JSON object, for `spool-loader status` and `top`.
    func status() -> [UInt8]
}
