import Logging
import SpoolIO

/// A log in which what is tried again and again is said now and then. Failures of several kinds may take turns.
public struct RepeatedLog {
    private static let again: Int64 = 30_000_000_000
    private static let maxTexts = 64

    private let log: Logger
    /// When a text was last said.
    private var said: [String: Int64] = [:]

    public init(_ log: Logger) { self.log = log }

    public mutating func say(_ level: Logger.Level, _ text: String, now: Int64 = Clock.monotonic()) {
        if let last = said[text], now - last < Self.again { return }
        if said.count >= Self.maxTexts { said.removeAll() }
        said[text] = now
        log.log(level: level, "\(text)")
    }
}
