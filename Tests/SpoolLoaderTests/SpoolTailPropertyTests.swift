import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// Random spools, damaged at random: whatever a tail yields is what the writer wrote, and is durable.
@Suite struct SpoolTailPropertyTests {
    private struct Written {
        let spool: TestSpool
        /// Bytes of every durable chunk by its first sequence.
        var chunks: [UInt64: [UInt8]] = [:]
        let durableEnd: UInt64
    }

    /// Some chunks in some segments; the last ones may not be durable.
    private func write(_ random: inout SeededRandom) throws -> Written {
        let spool = try TestSpool()
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            try spool.chunk(
                Int.random(in: 1...5, using: &random), symbol: String(repeating: "x", count: Int.random(in: 0...300, using: &random)))
            if Int.random(in: 0..<100, using: &random) < 35 { try spool.seal() }
        }
        var written = Written(spool: spool, durableEnd: spool.end)
        for name in try spool.segments() {
            let bytes = try spool.bytes(of: spool.path(of: name))
            for chunk in try spool.chunks(of: name) {
                written.chunks[chunk.header.firstSequence] = Array(bytes[Int(chunk.offset)..<Int(chunk.end)])
            }
        }
        if Int.random(in: 0..<100, using: &random) < 50 {
            // Written, but the mark does not know of it.
            let mark = try spool.bytes(of: spool.markPath)
            try spool.chunk(3)
            if Int.random(in: 0..<100, using: &random) < 50 { try spool.seal() }
            try spool.overwrite(spool.markPath, mark)
        }
        return written
    }

    /// What a disk or a copy may do to the segments.
    private func damage(_ spool: TestSpool, _ random: inout SeededRandom) throws -> String {
        let name = try #require(try spool.segments().randomElement(using: &random))
        let path = spool.path(of: name)
        let size = try File.openForReading(path).size()
        guard size > 0 else { return "nothing" }
        let place = UInt64.random(in: 0..<size, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0, 1:
            let mask = UInt8(1) << UInt8.random(in: 0..<8, using: &random)
            try spool.flip(path, at: place, mask: mask)
            return "\(name): flip \(mask) at \(place)"
        case 2:
            try spool.truncate(path, to: place)
            return "\(name): cut at \(place)"
        case 3:
            let count = min(Int.random(in: 1...200, using: &random), Int(size - place))
            try spool.overwrite(path, [UInt8](repeating: 0, count: count), at: place)
            return "\(name): \(count) zeros at \(place)"
        case 4:
            // A piece of the file itself in the wrong place: every frame in it is valid.
            let bytes = try spool.bytes(of: path)
            let from = (try? spool.chunks(of: name))?.randomElement(using: &random)?.offset ?? 0
            let piece = Array(bytes[Int(from)...].prefix(Int.random(in: 1...1_000, using: &random)))
            try spool.overwrite(path, piece, at: place)
            return "\(name): \(piece.count) bytes from \(from) at \(place)"
        default:
            try Directory.remove(path)
            return "\(name): removed"
        }
    }

    @Test(arguments: Seeds.take(80))
    func whatATailYieldsWasWrittenAndIsDurable(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let written = try write(&random)
        var damages: [String] = []
        var given: Set<UInt64> = []
        let marked = try written.spool.spool.mark(of: written.spool.table)?.segmentNumber ?? 0
        // As the writer does it: what is given up was sealed, and the mark went on, before.
        for name in try written.spool.segments() where name.number < marked && Int.random(in: 0..<100, using: &random) < 15 {
            given.formUnion(try written.spool.chunks(of: name).map(\.header.firstSequence))
            try written.spool.shed(name, removes: Int.random(in: 0..<100, using: &random) < 80)
        }
        for _ in 0..<Int.random(in: 0...3, using: &random) where try !written.spool.segments().isEmpty {
            damages.append(try damage(written.spool, &random))
        }
        for settled in [false, true] {
            let walk = try TailWalk(written.spool.tail(settled: settled))
            let context = "replay with SPOOL_TEST_SEED=\(seed): \(damages): \(walk.lines)"
            for (first, bytes) in walk.chunks { #expect(written.chunks[first] == bytes, "rows from \(first); \(context)") }
            #expect(walk.lines.last != "no end", "\(context)")
            #expect(walk.position.next <= written.durableEnd, "past the mark; \(context)")
            if damages.isEmpty {
                #expect(walk.chunks.count == written.chunks.keys.count { !given.contains($0) } && walk.lines.last == "end", "\(context)")
            }
            try expectEveryRowAccountedFor(walk, context)
        }
    }

    /// Rows come once, in order, and what is passed over is said.
    private func expectEveryRowAccountedFor(_ walk: TailWalk, _ context: String) throws {
        var next: UInt64?
        for line in walk.lines {
            let words = line.split(separator: " ")
            let range: (UInt64, UInt64)? =
                switch words.first {
                case "rows", "lost", "shed": UInt64(words[1]).flatMap { first in UInt64(words[3]).map { (first, $0 + 1) } }
                case "quarantine": UInt64(words[1]).flatMap { first in UInt64(words[3].dropLast()).map { (first, $0 + 1) } }
                case "segment": UInt64(words[3]).map { ($0, $0) }
                default: nil
                }
            guard let range else { continue }
            if let next { #expect(range.0 == next, "\(line); \(context)") }
            next = range.1
        }
    }
}
