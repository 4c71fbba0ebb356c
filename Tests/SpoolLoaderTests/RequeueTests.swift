import Logging
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// Rows in quarantine and what becomes of them.
@Suite struct RequeueTests {
    /// Rows 1-4, 5-8 in one segment.
    private func spool() throws -> TestSpool {
        let spool = try TestSpool()
        try spool.chunk(4)
        try spool.chunk(4)
        try spool.seal()
        _ = try CheckpointStore(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table)
        return spool
    }

    private func list(_ spool: TestSpool) -> QuarantineList {
        QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table)
    }

    private func place(_ rows: Range<UInt64>, chunk: Int, _ spool: TestSpool) throws -> QuarantineList.Place {
        let segment = try spool.segments()[0]
        let chunk = try spool.chunks(of: segment)[chunk]
        return QuarantineList.Place(rows: rows, segment: segment, offset: chunk.offset, bytes: chunk.end - chunk.offset)
    }

    private func refused(_ rows: Range<UInt64>, chunk: Int, _ spool: TestSpool) throws -> QuarantineList.Entry {
        .refused(
            try place(rows, chunk: chunk, spool), QuarantineList.Refusal(code: 469, name: "VIOLATED_CONSTRAINT", text: "t", values: "{}"))
    }

    private func run(_ spool: TestSpool, _ server: FakeClickHouse) throws -> RequeueTable.Result {
        let settings = try configuration([
            "loader.url": server.url, "loader.backoff": "1ms", "loader.backoff_max": "1ms", "loader.timeout": "2s",
        ])
        var log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        log.logLevel = .critical
        let connection = try RequeueServer(configuration: settings, stopSignal: .never, log: log)
        return try RequeueTable(table: spool.table, spool: spool.spool, list: list(spool), server: connection, schemas: "", log: log).run()
    }

    @Test("refused rows are sent alone once they are taken, and leave the quarantine; the same again has nothing to do")
    func mended() throws {
        let spool = try spool()
        try list(spool).append(refused(2..<3, chunk: 0, spool))
        try list(spool).append(refused(6..<8, chunk: 1, spool))
        let server = FakeClickHouse()
        let result = try run(spool, server)
        #expect(result.loaded == 3 && result.remaining == 0 && result.problems == [])
        #expect(server.copies == [2: 1, 6: 1, 7: 1])
        #expect(try list(spool).outstanding().isEmpty)
        let again = try run(spool, server)
        #expect(again.loaded == 0 && again.remaining == 0)
        #expect(server.inserts.count == 2)
    }

    @Test("rows that are refused still stay in quarantine with the reason, and the others leave it")
    func stillRefused() throws {
        let spool = try spool()
        try list(spool).append(refused(2..<3, chunk: 0, spool))
        try list(spool).append(refused(6..<7, chunk: 1, spool))
        let server = FakeClickHouse([.exception(469)])
        let result = try run(spool, server)
        #expect(result.loaded == 1 && result.remaining == 1)
        #expect(try #require(result.problems.first).hasPrefix("rows 2: ClickHouse refuses them still: "))
        #expect(server.copies == [6: 1])
        #expect(try list(spool).outstandingRows() == SequenceSet([2..<3]))
    }

    @Test("whatever happens to an insert, the row is there once", arguments: [.answerLost, .tokenOnly, .broken] as [FakeClickHouse.Fate])
    func doubts(fate: FakeClickHouse.Fate) throws {
        let spool = try spool()
        try list(spool).append(refused(2..<4, chunk: 0, spool))
        let server = FakeClickHouse([fate, fate])
        #expect(try run(spool, server).remaining == 0)
        #expect(server.copies == [2: 1, 3: 1])
    }

    @Test("failures are counted in a row, not over the whole list")
    func failures() throws {
        let spool = try spool()
        for row in UInt64(1)..<9 { try list(spool).append(refused(row..<row + 1, chunk: row < 5 ? 0 : 1, spool)) }
        // Three of each row: more in all than end the command in a row.
        let server = FakeClickHouse((0..<8).flatMap { _ in [.exception(241), .broken, .exception(241), .loads] as [FakeClickHouse.Fate] })
        #expect(try run(spool, server).remaining == 0)
        #expect(server.holdsOnce(1..<9))
    }

    @Test("what is in ClickHouse already is not sent, and leaves the quarantine")
    func present() throws {
        let spool = try spool()
        try list(spool).append(refused(2..<4, chunk: 0, spool))
        let server = FakeClickHouse()
        server.change { $0.copies = [1: 1, 2: 1] }
        let result = try run(spool, server)
        #expect(result.loaded == 1 && result.present == 1 && result.remaining == 0)
        #expect(server.copies == [1: 1, 2: 1, 3: 1])
    }

    @Test("a damaged chunk stays until its file is restored")
    func damaged() throws {
        let spool = try spool()
        let spot = try place(5..<9, chunk: 1, spool)
        let path = spool.path(of: spot.segment)
        try spool.flip(path, at: spot.offset + spot.bytes - 10)
        try list(spool).append(.damaged(spot, reason: "checksum"))
        let server = FakeClickHouse()
        let result = try run(spool, server)
        #expect(result.remaining == 4 && result.loaded == 0)
        #expect(try #require(result.problems.first).contains("checksum of the data frame differs"))
        try spool.flip(path, at: spot.offset + spot.bytes - 10)
        #expect(try run(spool, server).loaded == 4)
        #expect(server.holdsOnce(5..<9))
    }

    @Test("rows over several chunks, as where a header was damaged, come all")
    func severalChunks() throws {
        let spool = try spool()
        let first = try place(1..<5, chunk: 0, spool)
        let second = try place(5..<9, chunk: 1, spool)
        try list(spool).append(
            .damaged(
                QuarantineList.Place(rows: 1..<9, segment: first.segment, offset: first.offset, bytes: first.bytes + second.bytes),
                reason: "r"))
        let server = FakeClickHouse()
        #expect(try run(spool, server).loaded == 8)
        #expect(server.holdsOnce(1..<9))
    }

    @Test("what the spool does not have any more stays, and says so")
    func gone() throws {
        let spool = try spool()
        let here = try place(1..<5, chunk: 0, spool)
        try list(spool).append(.damaged(QuarantineList.Place(rows: 20..<30, segment: here.segment, offset: 0, bytes: 0), reason: "lost"))
        try list(spool).append(
            .damaged(
                QuarantineList.Place(rows: 30..<40, segment: SegmentName(number: 9, firstSequence: 30), offset: 100, bytes: 5), reason: "r")
        )
        try list(spool).append(
            .damaged(QuarantineList.Place(rows: 3..<20, segment: here.segment, offset: here.offset, bytes: here.bytes), reason: "r"))
        let server = FakeClickHouse()
        let result = try run(spool, server)
        #expect(result.loaded == 2 && result.remaining == 35)
        #expect(result.problems.count == 3)
        #expect(result.problems[0].contains("the spool declares them lost"))
        #expect(result.problems[1].contains("is not in the spool any more"))
        #expect(result.problems[2].contains("do not have rows 5 to 19"))
    }

    @Test("a table that is not in ClickHouse is named, and nothing leaves the quarantine")
    func noTable() throws {
        let spool = try spool()
        try list(spool).append(refused(2..<4, chunk: 0, spool))
        let server = FakeClickHouse()
        server.change { $0.isThere = false }
        let result = try run(spool, server)
        #expect(result.remaining == 2)
        #expect(result.problems == ["table trades is not in ClickHouse; run `spool-loader migrate apply`"])
    }
}
