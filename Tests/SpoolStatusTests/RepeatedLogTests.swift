import Logging
import Synchronization
import Testing

@testable import SpoolStatus

/// What is tried again and again is said now and then, however many failures take turns.
@Suite struct RepeatedLogTests {
    private final class Sink: LogHandler, @unchecked Sendable {
        let lines = Mutex<[String]>([])
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) { lines.withLock { $0.append("\(event.message)") } }
    }

    private static let second: Int64 = 1_000_000_000

    private func said(_ times: [(text: String, second: Int64)]) -> [String] {
        let sink = Sink()
        var log = RepeatedLog(Logger(label: "test") { _ in sink })
        for (text, second) in times { log.say(.error, text, now: second * Self.second) }
        return sink.lines.withLock { $0 }
    }

    @Test func theSameIsSaidAgainAfterHalfAMinute() {
        #expect(said((0..<65).map { ("down", $0) }) == ["down", "down", "down"])
    }

    @Test func failuresThatTakeTurnsAreEachSaidOnce() {
        #expect(said((0..<29).map { ($0 % 2 == 0 ? "full" : "down", $0) }) == ["full", "down"])
    }

    @Test func textsThatAreAllDifferentAreAllSaidAndNotKept() {
        #expect(said((0..<100).map { ("row \($0)", 0) }).count == 100)
    }
}
