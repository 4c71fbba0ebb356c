import Foundation
import Logging
import Testing

@testable import SpoolStatus

/// Signs of life, the clock, and alarms.
@Suite struct SupervisionTests {
    private static let second: Int64 = 1_000_000_000

    @Test func aSupervisorThatAsksIsFedFourTimesInItsPatience() {
        var watchdog = Watchdog(environment: ["WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "77"], pid: 77)
        #expect(watchdog.interval == Self.second / 2)
        let fed = (0..<100).filter { watchdog.isDue(Int64($0) * Self.second / 10, progresses: true) }
        #expect(fed == Array(stride(from: 0, to: 100, by: 5)))
    }

    @Test func workThatDoesNotGetOnFeedsNobody() {
        var watchdog = Watchdog(environment: ["WATCHDOG_USEC": "2000000"])
        let first = watchdog.isDue(0, progresses: false)
        // Whoever sleeps until the next time would else never sleep again.
        #expect(watchdog.nextFeed == Self.second / 2)
        let (early, later) = (watchdog.isDue(1, progresses: true), watchdog.isDue(Self.second / 2, progresses: true))
        #expect(!first && !early && later)
    }

    @Test(arguments: [
        [:], ["WATCHDOG_USEC": "0"], ["WATCHDOG_USEC": "x"], ["WATCHDOG_USEC": "-5"], ["WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"],
    ])
    func nobodyElseIsFed(_ environment: [String: String]) {
        var watchdog = Watchdog(environment: environment, pid: 77)
        #expect(watchdog.interval == nil && watchdog.nextFeed == nil && !watchdog.isDue(5, progresses: true))
    }

    @Test func aClockThatIsSetIsNoticedAndOneThatIsSlewedIsNot() {
        var clock = ClockWatch()
        var steps: [Int64] = []
        var wall: Int64 = 1_700_000_000 * Self.second
        for tick in 0..<100 {
            let monotonic = Int64(tick) * Self.second
            // Half a millisecond a second, as NTP slews at most; then an hour back and forth.
            wall += Self.second + 500_000
            if tick == 40 { wall -= 3_600 * Self.second }
            if tick == 60 { wall += 25_000_000 }
            if let step = clock.look(wall: wall, monotonic: monotonic) { steps.append(step) }
        }
        #expect(steps == [-3_600 * Self.second + 500_000, 25_500_000] && clock.steps == 2)
    }

    @Test(arguments: [Int64.min, .max, 0]) func aClockThatSaysAnythingTrapsNothing(_ wall: Int64) {
        var clock = ClockWatch()
        for other in [0, wall, -1, Int64.max] { _ = clock.look(wall: other, monotonic: 5) }
    }

    @Test func everyCriticalEntryIsAnAlarmAndNoOtherIs() {
        let alarms = Alarms(process: "test")
        var log = Logger(label: "x") { _ in AlarmLog(inner: SwiftLogNoOpLogHandler(), alarms: alarms) }
        log[metadataKey: "table"] = "orders"
        log.error("no alarm")
        log.critical("first")
        log.critical("second", metadata: ["table": "fills"])
        #expect(alarms.summary.count == 2 && alarms.summary.last == "RecorderFailure: second" && alarms.summary.lastAt > 0)
        log.critical("RecorderFailure: third")
        #expect(alarms.summary.last == "RecorderFailure: third")
    }

    @Test(arguments: [1, 999, 1_000, 1_001, 100_000], ["x", "\"", "\u{0}", "é", "😀"])
    func whatTheCommandIsToldIsOneWholeObjectThatFitsIntoAPipe(_ count: Int, _ character: String) throws {
        let text = String(repeating: character, count: count)
        let alert = AlertCommand("/bin/true", process: "spool-writer", log: Logger(label: "x") { _ in SwiftLogNoOpLogHandler() })
        let json = alert.json(Alarms.Alarm(text: text, table: "orders", at: 1_700_000_000 * Self.second))
        #expect(json.utf8.count < 16_384 && json.hasSuffix("}\n"))
        struct Told: Decodable {
            let time: String
            let process: String
            let table: String
            let alert: String
        }
        let told = try JSONDecoder().decode(Told.self, from: Data(json.utf8))
        #expect(told.table == "orders" && told.process == "spool-writer" && told.time == "2023-11-14T22:13:20.000000000Z")
        #expect(told.alert == (count <= 1_000 ? text : String(repeating: character, count: 1_000) + "..."))
    }

    @Test func healthIsThatThereIsNothingToSay() {
        #expect(Health().isGood && !Health(["x"]).isGood)
    }
}
