import SpoolFormat
import SpoolIO

@testable import spool_loader

/// What a tail yields from a position on, as one line a step: what the loader would do, in the order in which it would.
struct TailWalk {
    var lines: [String] = []
    var position: TailPosition
    /// Bytes of the chunks that it yielded whole, by their first sequence.
    var chunks: [UInt64: [UInt8]] = [:]

    /// - Parameter spool: refreshed before the walk.
    init(_ tail: SpoolTail, from position: TailPosition = TailPosition(segmentNumber: 0, offset: 0, next: 1)) throws {
        self.position = position
        try tail.refresh()
        // Every step goes on, so a walk that does not end is an error of the tail.
        for _ in 0..<10_000 {
            switch try tail.item(at: self.position) {
            case .chunk(let chunk, let segment):
                try take(chunk, segment, tail)
            case .end:
                lines.append("end")
                return
            case .notHereYet(let why):
                lines.append("wait: \(why)")
                return
            case .stop(let why):
                lines.append("stop: \(why)")
                return
            case .move(let next):
                lines.append("segment \(next.segmentNumber) from \(next.next)")
                self.position = next
            case .lost(let rows, let isShed, let then):
                lines.append("\(isShed ? "shed" : "lost") \(rows.lowerBound) to \(rows.upperBound - 1)")
                self.position = then
            case .damaged(let damage): pass(damage)
            }
        }
        lines.append("no end")
    }

    /// As the loader does it: the data is checked before it is sent.
    private mutating func take(_ chunk: LocatedChunk, _ segment: OpenSegment, _ tail: SpoolTail) throws {
        let checked = try BatchReader().check(Batch(segment: segment, chunks: [chunk]))
        if let error = checked.error { return pass(tail.damage(of: chunk, in: segment, error)) }
        lines.append("rows \(chunk.header.firstSequence) to \(chunk.header.endSequence - 1)")
        chunks[chunk.header.firstSequence] = try segment.reader.file.read(Int(chunk.end - chunk.offset), at: chunk.offset)
        position = TailPosition(segmentNumber: segment.name.number, offset: chunk.end, next: chunk.header.endSequence)
    }

    private mutating func pass(_ damage: TailItem.Damage) {
        let rows = damage.rows.isEmpty ? "no rows" : "\(damage.rows.lowerBound) to \(damage.rows.upperBound - 1)"
        lines.append("quarantine \(rows): \(damage.reason)")
        position = damage.then
    }
}

extension TestSpool {
    /// Walks anew, as a loader that was just started.
    func walk(settled: Bool = false, from position: TailPosition = TailPosition(segmentNumber: 0, offset: 0, next: 1)) throws -> [String] {
        try TailWalk(tail(settled: settled), from: position).lines
    }

    func tail(settled: Bool = false) -> SpoolTail {
        SpoolTail(spool: spool, table: table, mayQuarantineShort: settled, settleTime: settled ? 0 : SpoolTail.settleTime)
    }
}
