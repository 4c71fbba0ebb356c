import Glibc
import SpoolFormat
import SpoolTesting
import Testing

@testable import SpoolRing

struct NameTableTests {
    private func ring(_ names: [[UInt8]], room: Int = 0, in directory: TemporaryDirectory) throws -> (RingProducer, RingFile) {
        let table = DeclaredTable(
            name: "t", fingerprint: 0, rowBytes: 8,
            columns: [DeclaredColumn(name: "ts", type: "DateTime64(9, 'UTC')", storage: .fixed, offset: 0, nullOffset: nil)])
        let producer = try RingProducer(directory.path, [table], names: room)
        for name in names { _ = producer.intern(name) }
        return (producer, try RingFile(producer.path, owners: [0, geteuid()]))
    }

    private func text(_ names: NameTable, _ id: Int) -> [UInt8]? {
        let cell = names.table.base.loadUnaligned(fromByteOffset: id * 8, as: NameTable.Cell.self)
        guard cell.count > 0 else { return nil }
        return Array(UnsafeRawBufferPointer(start: names.cells.base + Int(cell.offset), count: Int(cell.count)))
    }

    @Test("names are read as they come, each with its length in front")
    func reads() throws {
        let directory = TemporaryDirectory()
        let long = [UInt8](repeating: 0x61, count: 255)
        let (producer, file) = try ring([Array("BTC".utf8), long], in: directory)
        let names = NameTable()
        try names.refresh(from: file)
        #expect(names.count == 3)
        #expect(text(names, 0) == [0])
        #expect(text(names, 1) == [3, 0x42, 0x54, 0x43])
        #expect(text(names, 2) == [0xFF, 0x01] + long)
        #expect(names.longest == 257)
        // Known names keep their ids, and a name is interned once.
        #expect(producer.intern("BTC") == 1)
        #expect(producer.intern("Zürich") == 3)
        try names.refresh(from: file)
        #expect(names.count == 4)
        #expect(text(names, 3) == [7] + Array("Zürich".utf8))
    }

    @Test("thousands of names, and as many as the room holds")
    func many() throws {
        let directory = TemporaryDirectory()
        let all = (0..<3_000).map { Array("name \($0)".utf8) }
        let (producer, file) = try ring(all, in: directory)
        let names = NameTable()
        try names.refresh(from: file)
        #expect(names.count == 3_001)
        for id in 1...3_000 { #expect(text(names, id) == [UInt8(all[id - 1].count)] + all[id - 1]) }
        var more = 0
        while producer.intern("another \(more)") != 0x8000_0000 { more += 1 }
        try names.refresh(from: file)
        #expect(names.count == 3_001 + more)
        #expect(more > 100)
    }

    @Test("a name that is not UTF-8 has an id that no row may use")
    func notUTF8() throws {
        let directory = TemporaryDirectory()
        let (_, file) = try ring([[0xFF, 0xFE], Array("ok".utf8)], in: directory)
        let names = NameTable()
        try names.refresh(from: file)
        #expect(text(names, 1) == nil)
        #expect(text(names, 2) == [2, 0x6F, 0x6B])
    }

    @Test("names that change after they were read stay as they were")
    func changed() throws {
        let directory = TemporaryDirectory()
        let (producer, file) = try ring([Array("BTC".utf8)], in: directory)
        let names = NameTable()
        try names.refresh(from: file)
        producer.names[6] = 0xFF
        try names.refresh(from: file)
        #expect(text(names, 1) == [3, 0x42, 0x54, 0x43])
    }

    @Test("a count that shrinks, and one that the room cannot hold, are corrupt")
    func wildCounts() throws {
        let directory = TemporaryDirectory()
        let (producer, file) = try ring([Array("A".utf8), Array("B".utf8)], in: directory)
        let names = NameTable()
        try names.refresh(from: file)
        func setCount(_ count: UInt32) { UnsafeMutableRawPointer(producer.names).storeBytes(of: count, as: UInt32.self) }
        setCount(1)
        #expect(throws: RingDefect.corrupt("it has 1 names, and had 2 before")) { try names.refresh(from: file) }
        for wild in [UInt32(3), 1_000, 0x7FFF_FFFF, .max] {
            setCount(wild)
            // What follows the second name is zeros: a name of no bytes.
            #expect(throws: RingDefect.corrupt("name 3 has 0 bytes")) { try names.refresh(from: file) }
        }
        // Names up to the very end of the room, and one more.
        for offset in stride(from: 8, to: file.header.namesBytes, by: 1) { producer.names[offset] = 1 }
        setCount(.max)
        let failure = #expect(throws: RingDefect.self) { try names.refresh(from: file) }
        #expect("\(failure!)".contains("corrupt"))
    }
}
