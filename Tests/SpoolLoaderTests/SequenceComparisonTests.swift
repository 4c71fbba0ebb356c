import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// The audit against what sets of single numbers say: rows missing, doubled and unknown at random.
@Suite struct SequenceComparisonTests {
    /// Some segments of one chunk each, of many rows, so that buckets and leaves are crossed; some of them given up or pruned.
    private struct World {
        let spool: TestSpool
        var rows: Set<UInt64> = []
        var shed: Set<UInt64> = []

        init(_ random: inout SeededRandom) throws {
            spool = try TestSpool()
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                let first = spool.end
                try spool.chunk(random.oneIn(3) ? Int.random(in: 1...3_000, using: &random) : Int.random(in: 1...40, using: &random))
                rows.formUnion(first..<spool.end)
                try spool.seal()
            }
            let names = try spool.segments()
            for (index, name) in names.enumerated() where random.oneIn(4) {
                let range = name.firstSequence..<(index + 1 < names.count ? names[index + 1].firstSequence : spool.end)
                rows.subtract(range)
                shed.formUnion(range)
                try spool.shed(name)
            }
            if random.oneIn(4), names.count > 1, let name = try spool.segments().first, name == names.first {
                try Directory.remove(spool.path(of: name))
                rows.subtract(1..<names[1].firstSequence)
            }
        }
    }

    private func part(_ part: TableAudit.Part) -> Set<UInt64> { Set(part.ranges.map { $0[0]..<$0[1] }.joined()) }

    private func audit(_ spool: TestSpool, _ server: FakeClickHouse) throws -> TableAudit.Result {
        let settings = try configuration(["loader.url": server.url, "loader.timeout": "20s"])
        return try TableAudit(
            spool: spool.spool, table: spool.table, checkpoints: spool.checkpoints,
            server: ClickHouse(configuration: settings, http: HTTPClient()), times: (.min, .max)
        ).run()
    }

    @Test(arguments: Seeds.take(40))
    func whatIsNamedIsWhatSetsOfNumbersSay(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let world = try World(&random)
        let end = world.spool.end
        var copies = Dictionary(uniqueKeysWithValues: (1..<end).map { ($0, 1) })
        // From hardly any to every second row.
        let share = [2, 10, 200, 100_000].randomElement(using: &random) ?? 2
        for sequence in 1..<end {
            if random.oneIn(share) { copies[sequence] = nil }
            if random.oneIn(share * 2) { copies[sequence] = Int.random(in: 2...3, using: &random) }
        }
        for sequence in world.shed where !random.oneIn(3) { copies[sequence] = nil }
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            copies[end + UInt64.random(in: 0...(random.oneIn(2) ? 5 : 5_000_000), using: &random)] = 1
        }
        let server = FakeClickHouse()
        server.change { $0.copies = copies }
        let result = try audit(world.spool, server)
        let there = Set(copies.keys)
        let context = "replay with SPOOL_TEST_SEED=\(seed)"
        #expect(part(result.missing) == world.rows.subtracting(there), "\(context)")
        #expect(part(result.duplicate) == Set(copies.filter { $0.value > 1 }.keys), "\(context)")
        #expect(part(result.unknown) == there.filter { $0 >= end }, "\(context)")
        #expect(part(result.shed) == world.shed.subtracting(there), "\(context)")
        #expect(result.rows == UInt64(world.rows.count), "\(context)")
        #expect(result.present == UInt64(world.rows.intersection(there).count), "\(context)")
        for found in [result.missing, result.duplicate, result.unknown, result.shed] {
            #expect(found.rows == found.ranges.reduce(0) { $0 + $1[1] - $1[0] }, "\(context)")
        }
    }

    @Test func oneQueryIsEnoughWhereEverythingIsThere() throws {
        let spool = try TestSpool()
        for _ in 0..<3 { try spool.chunk(2_000) }
        let server = FakeClickHouse()
        server.change { $0.copies = Dictionary(uniqueKeysWithValues: (1..<spool.end).map { ($0, 1) }) }
        #expect(try audit(spool, server).isClean)
        // The table itself, and the counts.
        #expect(server.requests == 2)
        server.change { $0.copies[3_000] = nil }
        #expect(try audit(spool, server).missing.ranges == [[3_000, 3_001]])
        // The table, the counts, the counts of the bucket, the rows of one leaf.
        #expect(server.requests == 6)
    }

    @Test func rowsPublishedWhileItRunsAreNotUnknown() throws {
        let spool = try TestSpool()
        try spool.chunk(4)
        let server = FakeClickHouse()
        server.change { $0.copies = [1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1] }
        #expect(try audit(spool, server).unknown.ranges == [[5, 7]])
        // The mark says at the end that 5 was published since; the segments were looked through before.
        var mark = try #require(try spool.spool.mark(of: spool.table))
        mark.durableEnd = 6
        try spool.overwrite(spool.markPath, mark.encode())
        #expect(try audit(spool, server).unknown.ranges == [[6, 7]])
    }

    @Test(arguments: [
        "9\t1\t1\t9437184\t9437184\n0\t1\t1\t1\t1\n", "0\t1\t2\t1\t2\n", "0\t2\t2\t5\t4\n", "0\t1\t1\t1\t1", "0\t1\t1\t1\t1048576\n",
        "0\t1\t1\t1\t1\nCode: 241\n",
    ])
    func countsThatContradictThemselvesAreAnError(buckets: String) throws {
        let target = "engine\t\tMergeTree\n" + TestSpool.schema().wireColumns.map { "column\t\($0.name)\t\($0.type)\n" }.joined()
        let server = RawServer { request in
            String(decoding: request.body, as: UTF8.self).hasPrefix("SELECT kind") ? .ok(target) : .ok(buckets)
        }
        defer { server.stop() }
        let spool = try TestSpool()
        try spool.chunk(2)
        let settings = try configuration(["loader.url": server.url, "loader.timeout": "2s"])
        #expect {
            try TableAudit(
                spool: spool.spool, table: spool.table, checkpoints: spool.checkpoints,
                server: ClickHouse(configuration: settings, http: HTTPClient()), times: (.min, .max)
            ).run()
        } throws: {
            ($0 as? CommandFailure)?.description.contains("an answer that is no count of sequences") == true
        }
    }
}
