import Glibc
import Logging
import SpoolIO

/// The environment of this process.
public func processEnvironment() -> [String: String] {
    var values: [String: String] = [:]
    var entry: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> = environ
    while let text = entry.pointee {
        let pair = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if pair.count == 2 { values[String(pair[0])] = String(pair[1]) }
        entry += 1
    }
    return values
}

public func printToStandardError(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(STDERR_FILENO, line, line.count)
}

/// What writes log entries to standard error: as lines with time, level and message, or as the journal wants them.
public func makeLogHandler(_ label: String) -> any LogHandler {
    JournalLog.isThere(stream: processEnvironment()["JOURNAL_STREAM"])
        ? JournalLog(label: label) : StreamLogHandler.standardError(label: label)
}

/// A logger to standard error, one line an entry.
public func makeLogger(_ label: String) -> Logger {
    var logger = Logger(label: label) { makeLogHandler($0) }
    logger.logLevel = .info
    return logger
}

/// Lets this process open as many files as it is allowed to ask for: shells start it with 1,024, which a few hundred rings and
/// connections use up.
public func raiseOpenFilesLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// Files that this process may have open.
public func openFilesLimit() -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1_024 }
    return Int(clamping: limit.rlim_cur)
}

/// Opens /dev/null for standard input, output and error where they are closed: the first file to be opened would else take
/// their number, and a message would be written into the spool.
public func claimStandardDescriptors() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 { _ = open("/dev/null", O_RDWR) }
}

/// Writes all bytes to standard output; a reader that went away ends the process as it does for other tools.
public func writeToStandardOutput(_ bytes: [UInt8]) throws(IOFailure) {
    var done = 0
    while done < bytes.count {
        let count = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress.unsafelyUnwrapped + done, $0.count - done) }
        if count < 0 {
            if errno == EINTR { continue }
            throw IOFailure("write", "standard output", errno)
        }
        done += count
    }
}

/// The exit status that belongs to what ended a command: 74 for the system's refusals, 64 for everything that was asked wrongly.
public func exitStatus(of error: any Error) -> Int32 {
    switch error {
    case is IOFailure: 74
    case SpoolFailure.io: 74
    default: 64
    }
}

/// Makes sure that everything printed so far arrived, so that a report into a full disk is not taken for a whole one.
public func finishStandardOutput() throws(IOFailure) {
    guard fflush(nil) == 0 else { throw IOFailure("write", "standard output", errno) }
}
