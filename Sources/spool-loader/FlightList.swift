import SpoolFormat

/// Batches of a table that the checkpoint has not passed, in the order of their rows, and where further ones are to be planned. Pure.
///
/// ```
///              flights                        frontier
/// ───────────┬─────────┬─────────┬┄┄┄┄┄┄┄┬─────────┬┄┄┄┄┄┄┄┄┄► spool
///  dealt with│  done   │ on its  │  gap  │  done   │ not begun
///            │  (next  │  way    │       │         │
///        checkpoint)
/// ```
///
/// A gap comes about where a batch that ClickHouse refuses is cut in two: its second half is planned when there is a place for it.
struct FlightList {
    private(set) var flights: [Flight] = []
    /// Where planning goes on behind the last flight; without any it is the checkpoint.
    private var behind: TailPosition?
    /// Sequences at which batches must end: where ClickHouse's refusals cut them, or where what is there already begins. Ascending.
    private var cuts: ArraySlice<UInt64> = []

    var isEmpty: Bool { flights.isEmpty }
    var count: Int { flights.count }
    var first: Flight? { flights.first }
    /// How many have not come to their end.
    var underWay: Int { flights.count { $0.outcome == nil } }
    /// Whether there are no more of them than a checkpoint can note.
    var hasRoom: Bool { flights.count < Checkpoint.maxInflight }
    /// Whether a batch is being cut.
    var isCutting: Bool { !cuts.isEmpty }

    subscript(index: Int) -> Flight { flights[index] }

    /// Takes those that an earlier run had on their way.
    mutating func resume(_ resumed: [Flight]) {
        flights = resumed
        behind = resumed.last?.batch.end
    }

    mutating func insert(_ flight: Flight, at index: Int) {
        flights.insert(flight, at: index)
        if index == flights.count - 1 { behind = flight.batch.end }
    }

    /// Takes the first one away if it has come to its end and nothing before it is still to be planned.
    ///
    /// - Parameter next: the first sequence that the checkpoint has not passed.
    mutating func popFinished(next: UInt64) -> Flight? {
        guard let flight = flights.first, flight.outcome != nil, flight.follows == next else { return nil }
        return flights.removeFirst()
    }

    /// Takes a flight away whose rows are to be planned anew, with ends at these sequences.
    mutating func replan(_ flight: Flight, cutAt sequences: [UInt64]) {
        guard let index = flights.firstIndex(where: { $0 === flight }) else { return }
        cuts = ArraySlice(Set(cuts).union(sequences).union([flight.batch.endSequence]).sorted())
        flights.remove(at: index)
        if index == flights.count { behind = flights.last?.batch.end }
    }

    /// Forgets cuts that the checkpoint has passed.
    mutating func passed(_ next: UInt64) { while let cut = cuts.first, cut <= next { cuts.removeFirst() } }

    /// The index of the first flight before which rows are not planned.
    func firstGap(next: UInt64) -> Int? {
        var end = next
        for (index, flight) in flights.enumerated() {
            if flight.follows != end { return index }
            end = flight.batch.endSequence
        }
        return nil
    }

    /// Where the batch that is to go before the flight of the index begins, or the one behind all.
    func start(before index: Int, checkpoint: TailPosition) -> TailPosition {
        if flights.isEmpty { return checkpoint }
        if index == flights.count { return behind ?? checkpoint }
        return index == 0 ? checkpoint : flights[index - 1].batch.end
    }

    /// Nothing of what is up to there, behind the last flight, is to be sent.
    mutating func skip(to next: TailPosition) { if !flights.isEmpty { behind = next } }

    /// Where a batch that begins with the sequence must end.
    func nextCut(after sequence: UInt64) -> UInt64? { cuts.first { $0 > sequence } }

    /// Whether rows from the sequence on belong to a batch that was cut: some of them may be there.
    func isCut(_ sequence: UInt64) -> Bool { sequence < cuts.last ?? 0 }
}
