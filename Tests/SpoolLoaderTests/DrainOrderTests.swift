import SpoolConfig
import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

/// Who waits for whom.
@Suite struct DrainOrderTests {
    private func state(_ tableClass: TableClass, _ outstanding: UInt64, progress: Bool = true) -> DrainOrder.TableState {
        DrainOrder.TableState(tableClass: tableClass, outstanding: outstanding, makesProgress: progress)
    }

    @Test func marketWaitsForAnAuditTableThatIsBehind() {
        let behind = [state(.market, 900_000), state(.audit, 3), state(.audit, DrainOrder.backlogRows + 1)]
        #expect(DrainOrder.isHeld(.market, by: behind, batchRows: 500_000))
        #expect(!DrainOrder.isHeld(.audit, by: behind, batchRows: 500_000))
    }

    @Test func liveTrafficHoldsNobodyUp() {
        #expect(!DrainOrder.isHeld(.market, by: [state(.audit, DrainOrder.backlogRows), state(.audit, 0)], batchRows: 500_000))
        #expect(!DrainOrder.isHeld(.market, by: [], batchRows: 500_000))
        #expect(!DrainOrder.isHeld(.market, by: [state(.market, .max)], batchRows: 500_000))
    }

    @Test func moreThanABatchIsBehindWhereBatchesAreSmall() {
        #expect(DrainOrder.isHeld(.market, by: [state(.audit, 201)], batchRows: 200))
        #expect(!DrainOrder.isHeld(.market, by: [state(.audit, 200)], batchRows: 200))
    }

    @Test func aTableThatCannotGoOnHoldsNobodyUp() {
        #expect(!DrainOrder.isHeld(.market, by: [state(.audit, .max, progress: false)], batchRows: 1))
        #expect(DrainOrder.isHeld(.market, by: [state(.audit, .max, progress: false), state(.audit, 2)], batchRows: 1))
    }

    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<4 { try spool.chunk(2) }
        return spool
    }

    @Test func aHeldTableBeginsNoBatchAndEndsTheOneItHas() throws {
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool(), server, ["loader.batch_rows": "2"])
        while server.inserts.isEmpty { bench.run(steps: 1) }
        for _ in 0..<200 {
            bench.loader.step(now: Clock.monotonic(), mayBegin: false)
            bench.http.wait(milliseconds: 1)
        }
        #expect(bench.loader.status == .held)
        let sent = server.inserts.count
        #expect(bench.checkpoint.next == UInt64(sent * 2 + 1) && bench.checkpoint.inflight.isEmpty && sent < 4)
        #expect(bench.run() && server.holdsOnce(1..<9))
    }

    @Test func aTableThatIsHeldForLongGetsABatchNowAndThen() throws {
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool(), server, ["loader.batch_rows": "2"])
        var now = Clock.monotonic()
        func settle() {
            for _ in 0..<200 {
                bench.loader.step(now: now, mayBegin: false)
                bench.http.wait(milliseconds: 1)
            }
        }
        for batches in 1...4 {
            settle()
            #expect(bench.loader.status == .held)
            now += DrainOrder.longestHold
            settle()
            #expect(server.inserts.count == batches)
        }
        #expect(server.holdsOnce(1..<9))
    }

    @Test func whatATableSaysOfItselfFollowsItsState() throws {
        let (spool, server) = (try spool(), FakeClickHouse())
        let bench = try LoaderBench(spool, server, ["loader.batch_rows": "2"])
        bench.loader.step(now: Clock.monotonic())
        #expect(bench.loader.drainState == state(.audit, 8))
        #expect(bench.run())
        #expect(bench.loader.drainState == state(.audit, 0, progress: false))
        let refusing = FakeClickHouse(Array(repeating: .exception(241), count: 50))
        let failing = try LoaderBench(self.spool(), refusing)
        while failing.loader.failures == 0 { failing.run(steps: 1) }
        #expect(!failing.loader.drainState.makesProgress && failing.loader.drainState.outstanding == 8)
    }
}
