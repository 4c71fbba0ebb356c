import Glibc
import Logging

/// Log entries for systemd's journal: each line begins with its priority, so that `journalctl -p warning` finds it. The journal has the time itself.
struct JournalLog: LogHandler {
    let label: String
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    init(label: String) { self.label = label }

    /// Whether standard error goes to the journal.
    ///
    /// - Parameters:
    ///   - stream: the environment's `JOURNAL_STREAM`, device and inode with a colon between.
    ///   - descriptor: it may have been redirected since.
    static func isThere(stream: String?, descriptor: Int32 = STDERR_FILENO) -> Bool {
        var status = stat()
        guard let stream, fstat(descriptor, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        printToStandardError(
            Self.lines(event.level, label, metadata.merging(event.metadata ?? [:]) { $1 }, "\(event.message)"))
    }

    /// One entry; each line of it with the priority before it.
    static func lines(_ level: Logger.Level, _ label: String, _ metadata: Logger.Metadata, _ message: String) -> String {
        let about = metadata.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value) " }.joined()
        return "\(level) \(label): \(about)\(message)".split(separator: "\n", omittingEmptySubsequences: false)
            .map { "<\(priority(level))>\($0)" }.joined(separator: "\n")
    }

    /// As syslog(3) numbers them.
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
