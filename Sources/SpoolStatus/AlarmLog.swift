import Logging
import SpoolConfig

/// Passes entries on to another log, and raises an alarm for each critical one, whose line begins with `RecorderFailure`.
struct AlarmLog: LogHandler {
    static let word = "RecorderFailure: "

    var inner: any LogHandler
    let alarms: Alarms

    var logLevel: Logger.Level {
        get { inner.logLevel }
        set { inner.logLevel = newValue }
    }
    var metadata: Logger.Metadata {
        get { inner.metadata }
        set { inner.metadata = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { inner[metadataKey: key] }
        set { inner[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        guard event.level == .critical else { return inner.log(event: event) }
        var event = event
        if !"\(event.message)".hasPrefix(Self.word) { event.message = "\(Self.word)\(event.message)" }
        alarms.raise("\(event.message)", table: (event.metadata?["table"] ?? metadata["table"]).map { "\($0)" })
        inner.log(event: event)
    }
}

/// A logger to standard error, one line an entry, whose critical entries raise alarms.
public func makeLogger(_ label: String, alarms: Alarms) -> Logger {
    var logger = Logger(label: label) { AlarmLog(inner: makeLogHandler($0), alarms: alarms) }
    logger.logLevel = .info
    return logger
}
