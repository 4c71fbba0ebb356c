import Testing

@testable import spool_loader

/// Health is that the checkpoint moves while there is something to load.
@Suite struct StandstillTests {
    private static let second: Int64 = 1_000_000_000

    private func alarms(_ looks: [(second: Int64, next: UInt64, outstanding: UInt64)]) -> [Int64] {
        var state = Standstill(next: 1, at: 0)
        var alarms: [Int64] = []
        for look in looks {
            let (after, seconds) = state.seen(next: look.next, outstanding: look.outstanding, at: look.second * Self.second)
            if let seconds { alarms.append(seconds) }
            state = after
        }
        return alarms
    }

    @Test func aCheckpointThatMovesIsNoAlarmHoweverMuchThereIs() {
        #expect(alarms((1...300).map { ($0, UInt64($0), 1_000_000) }) == [])
    }

    @Test func nothingToLoadIsNoAlarm() { #expect(alarms((1...300).map { ($0, 1, 0) }) == []) }

    @Test func standingStillWithRowsToLoadIsSaidEachMinute() {
        #expect(alarms((1...185).map { ($0, 1, 5) }) == [60, 120, 180])
    }

    @Test func theTimeCountsFromTheLastMovement() {
        #expect(alarms((1...59).map { ($0, 1, 5) } + (60...119).map { ($0, 2, 5) }) == [])
        #expect(alarms((1...59).map { ($0, 1, 5) } + (60...120).map { ($0, 2, 5) }) == [60])
    }
}
