import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

/// The audit against a server whose rows the test knows, and against one that answers nonsense.
@Suite struct TableAuditTests {
    private func audit(_ spool: TestSpool, _ url: String, from: Int64 = .min, to: Int64 = .max) throws -> TableAudit.Result {
        let settings = try configuration(["loader.url": url, "loader.timeout": "2s"])
        return try TableAudit(
            spool: spool.spool, table: spool.table, checkpoints: spool.checkpoints,
            server: ClickHouse(configuration: settings, http: HTTPClient()),
            times: (from, to)
        ).run()
    }

    private func spool(chunks: Int = 4) throws -> TestSpool {
        let spool = try TestSpool()
        for _ in 0..<chunks { try spool.chunk(2) }
        return spool
    }

    @Test func afterALoadNothingIsMissing() throws {
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool(), server)
        #expect(bench.run())
        let result = try audit(bench.spool, server.url)
        #expect(result.isClean && result.rows == 8 && result.present == 8)
    }

    @Test func whatTheLoaderHasNotComeToIsPending() throws {
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool(), server)
        #expect(bench.run())
        try bench.spool.chunk(3)
        let result = try audit(bench.spool, server.url)
        #expect(result.isClean && result.pending.ranges == [[9, 12]])
    }

    @Test func rowsInQuarantineAreNamedAndNotClean() throws {
        let server = FakeClickHouse()
        let spool = try spool()
        let segment = try spool.segments()[0]
        try spool.flip(spool.path(of: segment), at: spool.chunks(of: segment)[1].dataOffset + 9)
        let bench = try LoaderBench(spool, server)
        #expect(bench.run())
        let result = try audit(spool, server.url)
        #expect(result.quarantined.ranges == [[3, 5]] && result.missing.rows == 0 && !result.isClean)
    }

    @Test func expiredRowsAreNotMissing() throws {
        let server = FakeClickHouse()
        server.change { $0.engine = "MergeTree ORDER BY ts TTL toDateTime(ts) + toIntervalDay(1)" }
        let spool = try TestSpool()
        try spool.chunk(2, at: TestSpool.start - 90 * TestSpool.day)
        let result = try audit(spool, server.url)
        #expect(result.expired.ranges == [[1, 3]] && result.isClean)
    }

    @Test func aSpoolThatIsNotWhollyHereIsNotClean() throws {
        let server = FakeClickHouse()
        let bench = try LoaderBench(spool(), server)
        #expect(bench.run())
        let path = bench.spool.path(of: try bench.spool.segments()[0])
        try bench.spool.truncate(path, to: File.openForReading(path).size() - 5)
        #expect(try !audit(bench.spool, server.url).isClean)
    }

    @Test func sequencesAtTheEndOfAllNumbersDoNotTrap() throws {
        let server = FakeClickHouse()
        let last = UInt64.max
        server.change { $0.copies = [1: 1, last: 1, last - 1: 1] }
        let result = try audit(spool(), server.url)
        #expect(result.unknown.ranges == [[last - 1, last]])
        #expect(result.missing.ranges == [[2, 9]])
    }

    @Test(arguments: [
        "18446744073709551615\t1\t1\t1\t1\n", "281474976710656\t1\t1\t1\t1\n", "0\t8\t8\t1\t0\n", "x\n", "0\t1\n", "\n\n\t\t\t\t\n",
    ])
    func nonsenseFromTheServerDoesNotTrapAndIsNotClean(buckets: String) throws {
        let target = "engine\t\tMergeTree\n" + TestSpool.schema().wireColumns.map { "column\t\($0.name)\t\($0.type)\n" }.joined()
        let server = RawServer { request in
            let sql = String(decoding: request.body, as: UTF8.self)
            return sql.hasPrefix("SELECT kind") ? .ok(target) : sql.hasPrefix("SELECT intDiv") ? .ok(buckets) : .ok("seven b")
        }
        defer { server.stop() }
        do {
            #expect(try !audit(spool(), server.url).isClean)
        } catch let failure as CommandFailure {
            #expect(failure.code == 74)
        }
    }
}
