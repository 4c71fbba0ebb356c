import Testing

@testable import spool_loader

/// How soon a batch may follow another one, and how large it may be.
@Suite struct BatchPaceTests {
    private static let second: Int64 = 1_000_000_000
    private let limits = BatchLimits(rows: 500_000, bytes: 32 << 20)

    private func pace(linger: Int64 = second / 10) -> BatchPace { BatchPace(limits: limits, linger: linger) }

    @Test func theFirstBatchWaitsForNothingAndASmallOneForMoreRows() {
        var pace = pace()
        #expect(pace.earliest(isFull: false) == nil && pace.earliest(isFull: true) == nil)
        pace.sent(at: 1_000)
        #expect(pace.earliest(isFull: false) == 1_000 + Self.second / 10)
    }

    @Test func whatCannotBecomeLargerLeavesAtOnce() {
        var pace = pace()
        pace.sent(at: 1_000)
        #expect(pace.earliest(isFull: true) == nil)
    }

    @Test func tooManyPartsMakeBatchesFewerAndLargerUntilTheyGoWell() {
        var pace = pace()
        pace.sent(at: 0)
        pace.tooManyParts()
        #expect(pace.earliest(isFull: true) == Self.second && pace.earliest(isFull: false) == Self.second)
        #expect(pace.limits == BatchLimits(rows: BatchLimits.blockRows, bytes: BatchLimits.memoryBytes))
        pace.tooManyParts()
        #expect(pace.earliest(isFull: true) == 2 * Self.second)
        pace.finished()
        #expect(pace.earliest(isFull: true) == Self.second)
        pace.finished()
        #expect(pace.earliest(isFull: true) == nil && pace.limits == limits)
    }

    @Test func theWaitBetweenBatchesHasALimit() {
        var pace = pace()
        pace.sent(at: 0)
        for _ in 0..<80 { pace.tooManyParts() }
        #expect(pace.earliest(isFull: true) == 32 * Self.second)
    }

    @Test func largerLimitsThanUsualAreKept() {
        let large = BatchLimits(rows: BatchLimits.blockRows, bytes: 256 << 20)
        var pace = BatchPace(limits: large, linger: 0)
        pace.tooManyParts()
        #expect(pace.limits == large)
    }

    @Test func manyPartsMakeBatchesFewerAndLargerBeforeClickHouseRefuses() {
        var pace = pace()
        pace.sent(at: 0)
        pace.crowding = .crowded
        #expect(pace.earliest(isFull: true) == Self.second && pace.limits.rows == BatchLimits.blockRows)
        pace.crowding = .critical
        #expect(pace.earliest(isFull: false) == 3 * Self.second)
        pace.tooManyParts()
        pace.finished()
        #expect(pace.earliest(isFull: true) == 3 * Self.second)
        pace.crowding = .calm
        #expect(pace.earliest(isFull: true) == nil && pace.limits == limits)
    }
}
