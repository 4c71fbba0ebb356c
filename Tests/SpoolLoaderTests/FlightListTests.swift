import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

/// Which batch is next in a list of those on their way: gaps, cuts, and where planning goes on.
@Suite struct FlightListTests {
    /// A flight of a whole chunk for each of the lengths, one behind the other, from sequence 1 on.
    private func flights(_ lengths: [Int]) throws -> [Flight] {
        let spool = try TestSpool()
        for length in lengths { try spool.chunk(length) }
        let tail = spool.tail()
        try tail.refresh()
        let segment = try #require(try tail.segment(number: 1))
        return try spool.chunks(of: spool.segments()[0]).map { chunk in
            let batch = Batch(segment: segment, chunks: [chunk])
            let checked = CheckedBatch(body: BytesBody([]), checksum: 0, sound: 1, error: nil)
            return Flight(batch, checked, BatchMachine(rows: batch.rows), follows: chunk.header.firstSequence)
        }
    }

    private func list(_ flights: [Flight]) -> FlightList {
        var list = FlightList()
        for flight in flights { list.insert(flight, at: list.count) }
        return list
    }

    private let checkpoint = TailPosition(segmentNumber: 1, offset: 77, next: 1)

    @Test func withoutFlightsPlanningBeginsAtTheCheckpointWhereverItWentOnBefore() throws {
        let flights = try flights([2, 2])
        var list = list(flights)
        list.skip(to: TailPosition(segmentNumber: 1, offset: 999, next: 50))
        #expect(list.start(before: 2, checkpoint: checkpoint).next == 50)
        for flight in flights { flight.outcome = .loaded(2, expired: 0) }
        #expect(list.popFinished(next: 1) === flights[0])
        #expect(list.popFinished(next: 3) === flights[1])
        #expect(list.start(before: 0, checkpoint: checkpoint) == checkpoint)
    }

    @Test func whatIsDoneWaitsForThoseBeforeIt() throws {
        let flights = try flights([2, 3, 1])
        var list = list(flights)
        flights[1].outcome = .loaded(3, expired: 0)
        #expect(list.popFinished(next: 1) == nil && list.underWay == 2)
        flights[0].outcome = .loaded(2, expired: 0)
        #expect(list.popFinished(next: 1) === flights[0])
        // Not past rows that are still to be planned.
        #expect(list.popFinished(next: 2) == nil)
        #expect(list.popFinished(next: 3) === flights[1])
        #expect(list.popFinished(next: 6) == nil && list.count == 1)
    }

    @Test func aFlightThatIsCutLeavesAGapThatEndsWithIt() throws {
        let flights = try flights([2, 4, 3])
        var list = list(flights)
        #expect(list.firstGap(next: 1) == nil && !list.isCutting)
        list.replan(flights[1], cutAt: [5])
        #expect(list.firstGap(next: 1) == 1 && list.isCutting)
        #expect(list.start(before: 1, checkpoint: checkpoint) == flights[0].batch.end)
        #expect(list.nextCut(after: 3) == 5 && list.nextCut(after: 5) == 7 && list.nextCut(after: 7) == nil)
        #expect(list.isCut(3) && list.isCut(6) && !list.isCut(7))
        // What is behind all is where it was.
        #expect(list.start(before: 2, checkpoint: checkpoint) == flights[2].batch.end)
        list.passed(5)
        #expect(list.nextCut(after: 1) == 7)
        list.passed(7)
        #expect(!list.isCutting)
    }

    @Test func whereTheLastOrTheOnlyFlightIsCutPlanningGoesOnAtItsStart() throws {
        let flights = try flights([2, 4])
        var list = list(flights)
        list.replan(flights[1], cutAt: [5])
        #expect(list.firstGap(next: 1) == nil)
        #expect(list.start(before: 1, checkpoint: checkpoint) == flights[0].batch.end)
        list.replan(flights[0], cutAt: [])
        #expect(list.isEmpty && list.start(before: 0, checkpoint: checkpoint) == checkpoint)
    }

    @Test func thereAreNoMoreThanACheckpointCanNote() throws {
        var list = list(try flights(Array(repeating: 1, count: Checkpoint.maxInflight - 1)))
        #expect(list.hasRoom)
        list.insert(try flights([1])[0], at: list.count)
        #expect(!list.hasRoom)
    }
}
