import Logging
import SpoolStatus
import SpoolTesting
import Testing

@testable import spool_writer

/// What the metrics say of refused lines.
@Suite struct RefusedCountTests {
    @Test("a line counts for its table, or for none if it names none; no count ever falls, whatever rings refuse beside")
    func counts() throws {
        let spool = try TestSpool()
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        func refuse(_ line: String) { #expect(throws: Refusal.self) { try recorder.take(line, from: source) } }
        func counted() -> [String] {
            let process = ProcessFigures(started: 0, version: "x", clock: ClockWatch(), alarms: Alarms.Summary())
            let text = recorder.figures(connections: 0, rings: 0, process: process, monotonic: 0).metrics()
            return text.split(separator: "\n").filter { $0.hasPrefix("recorder_refused_rows_total{") }
                .map { String($0.dropFirst("recorder_refused_rows_total".count)) }
        }
        refuse("{\"table\":\"ticks\",\"ts\":\"never\"}")
        refuse("{\"table\":\"nothing\",\"ts\":1}")
        refuse("no JSON")
        recorder.refuse(from: source)
        #expect(counted().contains("{table=\"ticks\"} 1") && counted().last == "{table=\"\"} 3")
        // As a ring that refuses rows of the table does.
        recorder.recordable("ticks")?.refused += 5
        #expect(counted().contains("{table=\"ticks\"} 6") && counted().last == "{table=\"\"} 3")
        #expect(source.refused == 4)
        try recorder.finish()
    }
}
