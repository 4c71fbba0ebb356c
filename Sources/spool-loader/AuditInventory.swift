import SpoolFormat
import SpoolIO

/// What the spool says that it has of a table, by the headers of all its chunks: an index could hide what is between.
struct AuditInventory {
    /// Rows that are there, or should be.
    private(set) var rows = SequenceSet()
    /// Rows that the writer declares given up.
    private(set) var shed = SequenceSet()
    /// The first sequence that is still there: what was pruned before it is not compared.
    private(set) var first: UInt64 = 1
    /// The sequence after the last durable row.
    private(set) var end: UInt64 = 1
    private(set) var problems: [String] = []

    /// How often a walk begins anew because `prune` removed segments in front of it.
    private static let maxWalks = 3

    /// - Parameter times: only chunks with rows in this range of event times count.
    static func take(of table: String, in spool: SpoolDirectory, times: (from: Int64, to: Int64)) throws -> AuditInventory {
        var walks = 0
        while true {
            walks += 1
            var inventory = AuditInventory()
            let ending = try walk(spool, table) { inventory.add($0, times) }
            inventory.first = ending.first
            inventory.end = max(ending.position.next, 1)
            guard let problem = ending.problem else { return inventory }
            let oldest = try spool.standingSegments(of: table).first?.number ?? 0
            if walks < maxWalks, ending.position.segmentNumber > 0, oldest > ending.position.segmentNumber { continue }
            inventory.problems.append(problem)
            return inventory
        }
    }

    private mutating func add(_ item: TailItem, _ times: (from: Int64, to: Int64)) {
        switch item {
        case .chunk(let chunk, _):
            guard chunk.header.maxEventTime >= times.from, chunk.header.minEventTime < times.to else { return }
            rows.insert(chunk.header.firstSequence..<chunk.header.endSequence)
        case .lost(let range, isShed: true, _): shed.insert(range)
        case .lost(let range, isShed: false, _):
            rows.insert(range)
            problems.append("rows \(range.lowerBound) to \(range.upperBound - 1) were lost in the spool, as a segment's header declares")
        // Published once, so they count; whether ClickHouse has them shows.
        case .damaged(let damage): rows.insert(damage.rows)
        case .move, .end, .notHereYet, .stop: break
        }
    }

    /// Calls `visit` for every durable chunk.
    static func eachChunk(_ spool: SpoolDirectory, _ table: String, visit: (LocatedChunk, OpenSegment) throws -> Void) throws {
        _ = try walk(spool, table) { step in
            if case .chunk(let chunk, let segment) = step { try visit(chunk, segment) }
        }
    }

    private struct Ending {
        let position: TailPosition
        let first: UInt64
        let problem: String?
    }

    private static func walk(_ spool: SpoolDirectory, _ table: String, visit: (TailItem) throws -> Void) throws -> Ending {
        let tail = SpoolTail(spool: spool, table: table, mayQuarantineShort: false)
        try tail.refresh()
        var position = TailPosition(segmentNumber: 0, offset: 0, next: 0)
        var first: UInt64?
        while true {
            let item = try tail.item(at: position)
            try visit(item)
            switch item {
            case .chunk(let chunk, let segment):
                first = first ?? chunk.header.firstSequence
                position = TailPosition(segmentNumber: segment.name.number, offset: chunk.end, next: chunk.header.endSequence)
            case .move(let next): position = next
            case .lost(let rows, _, let then):
                first = first ?? rows.lowerBound
                position = then
            case .damaged(let damage):
                first = first ?? damage.rows.lowerBound
                position = damage.then
            case .end: return Ending(position: position, first: first ?? max(position.next, 1), problem: nil)
            case .notHereYet(let why), .stop(let why):
                return Ending(position: position, first: first ?? max(position.next, 1), problem: why)
            }
        }
    }
}
