import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

@Suite struct QuarantineListTests {
    private let home = TemporaryDirectory()

    private func list() throws -> QuarantineList {
        _ = try home.directory("w1")
        return QuarantineList(directory: home.path, writer: "w1", table: "orders")
    }

    private func place(_ rows: Range<UInt64>) -> QuarantineList.Place {
        QuarantineList.Place(rows: rows, segment: SegmentName(number: 3, firstSequence: 1), offset: 4_096, bytes: 700)
    }

    private func refusal(_ text: String = "Constraint is violated", values: String = #"{"px":1}"#) -> QuarantineList.Refusal {
        QuarantineList.Refusal(code: 469, name: "VIOLATED_CONSTRAINT", text: text, values: values)
    }

    @Test("what is appended is read back, in order")
    func roundTrip() throws {
        let list = try list()
        #expect(try list.entries() == [])
        let entries: [QuarantineList.Entry] = [
            .damaged(place(1..<9), reason: "checksum of the data frame differs: stored 1, computed 2"), .refused(place(12..<13), refusal()),
            .requeued(12..<13, at: "2026-01-02T03:04:05Z"), .refused(place(20..<21), refusal(values: "")),
        ]
        for entry in entries { try list.append(entry) }
        #expect(try list.entries() == entries)
        #expect(
            try Bytes.text(list.path) == """
                1 9 0000000003-00000000000000000001.lz4 4096 700 checksum of the data frame differs: stored 1, computed 2
                12 13 0000000003-00000000000000000001.lz4 4096 700 refused 469 VIOLATED_CONSTRAINT: Constraint is violated values {"px":1}
                requeued 12 13 2026-01-02T03:04:05Z
                20 21 0000000003-00000000000000000001.lz4 4096 700 refused 469 VIOLATED_CONSTRAINT: Constraint is violated

                """)
    }

    @Test("lines that the loader wrote before are read, and it reads the new ones")
    func compatible() throws {
        let spool = try TestSpool()
        try Directory.create("\(spool.checkpoints)/\(TestSpool.writer)")
        try TextFile.replace(
            "\(spool.checkpoints)/\(TestSpool.writer)/\(spool.table).quarantine",
            with: "1 9 0000000003-00000000000000000001.lz4 4096 700 two lines\n")
        let list = QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table)
        #expect(try list.entries() == [.damaged(place(1..<9), reason: "two lines")])
        try list.append(.refused(place(12..<13), refusal()))
        #expect(
            try QuarantineList(directory: spool.checkpoints, writer: TestSpool.writer, table: spool.table).outstandingRows().ranges == [
                1..<9, 12..<13,
            ])
    }

    @Test("requeued rows are no longer outstanding, unless they are passed over again")
    func outstanding() throws {
        let list = try list()
        try list.append(.damaged(place(1..<9), reason: "torn"))
        try list.append(.refused(place(20..<21), refusal()))
        try list.append(.requeued(3..<5, at: "t"))
        try list.append(.requeued(20..<21, at: "t"))
        #expect(try list.outstandingRows() == SequenceSet([1..<3, 5..<9]))
        try list.append(.refused(place(20..<21), refusal("again")))
        let outstanding = try list.outstanding()
        #expect(outstanding.map(\.entry) == [.damaged(place(1..<9), reason: "torn"), .refused(place(20..<21), refusal("again"))])
        #expect(outstanding.map(\.rows) == [SequenceSet([1..<3, 5..<9]), SequenceSet([20..<21])])
        try list.append(.requeued(1..<100, at: "t"))
        #expect(try list.outstanding().isEmpty)
    }

    @Test("the same range written twice, as after a crash, is outstanding once")
    func twice() throws {
        let list = try list()
        for _ in 0..<2 { try list.append(.damaged(place(1..<9), reason: "torn")) }
        #expect(try list.outstanding().map(\.rows) == [SequenceSet([1..<9])])
    }

    @Test("whatever a refusal says, it comes back as one line")
    func hostileTexts() throws {
        let list = try list()
        let texts = [
            "two\r\nlines", #"a values {"b":1} in it"#, "", "refused 1 X: y", String(repeating: "é", count: 1_000), "colon: colon",
        ]
        for text in texts { try list.append(.refused(place(1..<2), refusal(text, values: #"{"note":" values {"}"#))) }
        let entries = try list.entries()
        #expect(entries.count == texts.count)
        for entry in entries {
            guard case .refused(_, let refusal) = entry else {
                Issue.record("\(entry)")
                continue
            }
            #expect(refusal.code == 469 && refusal.name == "VIOLATED_CONSTRAINT")
            #expect(refusal.values == #"{"note":" values {"}"#)
            #expect(refusal.text.utf8.count < 520)
        }
        guard case .refused(_, let second) = entries[1] else { return }
        #expect(second.text == #"a values ({"b":1} in it"#)
    }

    @Test("values beyond all measure are left out")
    func longValues() throws {
        let list = try list()
        try list.append(.refused(place(1..<2), refusal(values: #"{"note":""# + String(repeating: "x", count: 70_000) + #""}"#)))
        #expect(try list.entries() == [.refused(place(1..<2), refusal(values: ""))])
    }

    @Test("cut at any byte, a list gives the whole lines before the cut and no wrong number, and is appended to as if nothing were")
    func torn() throws {
        let list = try list()
        let entries: [QuarantineList.Entry] = [
            .damaged(place(100..<250), reason: "a b"), .refused(place(300..<301), refusal()),
            .requeued(120..<230, at: "2026-01-02T03:04:05Z"),
        ]
        for entry in entries { try list.append(entry) }
        let bytes = try Bytes.read(list.path)
        let ends = bytes.indices.filter { bytes[$0] == 0x0A }.map { $0 + 1 }
        func rows(_ entry: QuarantineList.Entry) -> Range<UInt64> {
            switch entry {
            case .damaged(let place, _), .refused(let place, _): place.rows
            case .requeued(let rows, _): rows
            }
        }
        for cut in 0...bytes.count {
            try Bytes.write(Array(bytes[..<cut]), to: list.path)
            let whole = ends.count { $0 <= cut }
            let found = try list.entries()
            #expect(Array(found.prefix(whole)) == Array(entries.prefix(whole)))
            // Of the torn one at most its text is short.
            #expect(found.count <= whole + 1)
            if found.count > whole { #expect(rows(found[whole]) == rows(entries[whole])) }
            try list.append(.requeued(7..<8, at: "t"))
            #expect(try list.entries().last == .requeued(7..<8, at: "t"), "cut at \(cut)")
            #expect(try list.entries().dropLast() == found[...])
        }
    }
}
