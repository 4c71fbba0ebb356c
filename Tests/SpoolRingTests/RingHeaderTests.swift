import CSpoolRing
import Glibc
import SpoolTesting
import Testing

@testable import SpoolRing

/// A ring's header and declarations, whole and in every way broken.
struct RingHeaderTests {
    private static let tables = [
        DeclaredTable(
            name: "orders", fingerprint: 0x0123_4567_89AB_CDEF, rowBytes: 40,
            columns: [
                DeclaredColumn(name: "ts", type: "DateTime64(9, 'UTC')", storage: .fixed, offset: 0, nullOffset: nil),
                DeclaredColumn(name: "size", type: "Nullable(Decimal(38, 10))", storage: .fixed, offset: 8, nullOffset: 24),
                DeclaredColumn(name: "tags", type: "Array(String)", storage: .array, offset: 25, nullOffset: nil),
                DeclaredColumn(name: "symbol", type: "LowCardinality(String)", storage: .name, offset: 36, nullOffset: nil),
            ]),
        DeclaredTable(
            name: "fills", fingerprint: 0, rowBytes: 65_536,
            columns: [DeclaredColumn(name: "Zürich", type: "String", storage: .string, offset: 65_528, nullOffset: nil)]),
    ]

    /// Header and declarations as the C functions write them.
    private static func made() throws -> (page: [UInt8], declarations: [UInt8], size: UInt64) {
        let directory = TemporaryDirectory()
        let producer = try RingProducer(directory.path, tables, producer: "maker-1", bytes: 128 << 10, names: 4_096)
        let bytes = try Bytes.read(producer.path)
        let count = bytes.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: 48, as: UInt32.self)) }
        return (Array(bytes[..<128]), Array(bytes[12_288..<12_288 + count]), UInt64(bytes.count))
    }

    private static func decode(_ page: [UInt8], _ declarations: [UInt8], _ size: UInt64) throws -> (RingHeader, [DeclaredTable]) {
        let header = try RingHeader(page, fileBytes: size, pageBytes: sysconf(Int32(_SC_PAGESIZE)))
        guard header.tablesBytes == declarations.count else { throw RingDefect.notARing("other declarations") }
        try header.check(page, declarations: declarations)
        return (header, try DeclaredTable.decode(declarations, count: header.tableCount))
    }

    /// With the checksum that belongs to it.
    private static func signed(_ page: [UInt8], _ declarations: [UInt8]) -> [UInt8] {
        var page = page
        page.replaceSubrange(60..<64, with: [0, 0, 0, 0])
        let crc = spool_crc32c(spool_crc32c(0, page, page.count), declarations, declarations.count)
        page.replaceSubrange(60..<64, with: RingLayout.little(crc))
        return page
    }

    @Test("what the C functions write is what is read")
    func readsBack() throws {
        let (page, declarations, size) = try Self.made()
        let (header, tables) = try Self.decode(page, declarations, size)
        #expect(tables == Self.tables)
        #expect(header.dataBytes == 128 << 10)
        #expect(header.namesBytes == 4_096)
        #expect(header.producer == "maker-1")
        #expect(header.process == UInt32(getpid()))
        #expect(header.tableCount == 2)
        #expect(header.maxRecordBytes == 32 << 10)
        #expect(header.fileName.hasPrefix("maker-1-\(getpid())-"))
        #expect(Self.signed(page, declarations) == page)
    }

    @Test("every flipped bit of header and declarations is noticed")
    func everyBit() throws {
        let (page, declarations, size) = try Self.made()
        for bit in 0..<page.count * 8 {
            var broken = page
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: RingDefect.self, "bit \(bit)") { try Self.decode(broken, declarations, size) }
        }
        for bit in 0..<declarations.count * 8 {
            var broken = declarations
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: RingDefect.self, "bit \(bit) of the declarations") { try Self.decode(page, broken, size) }
        }
    }

    @Test("every flipped bit under a checksum that belongs to it is read or refused, and never a trap")
    func everyBitSigned() throws {
        let (page, declarations, size) = try Self.made()
        var refused = 0
        for bit in 0..<page.count * 8 {
            var broken = page
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            do {
                let (header, _) = try Self.decode(Self.signed(broken, declarations), declarations, size)
                #expect(header.namesOffset + header.namesBytes <= header.headerBytes)
                #expect(UInt64(header.headerBytes + header.dataBytes) == size)
            } catch is RingDefect {
                refused += 1
            }
        }
        #expect(refused > 200)
        for bit in 0..<declarations.count * 8 {
            var broken = declarations
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            do {
                _ = try Self.decode(Self.signed(page, broken), broken, size)
            } catch is RingDefect {
                refused += 1
            }
        }
    }

    @Test("every truncation of header and declarations is refused, and so is a byte too many")
    func truncations() throws {
        let (page, declarations, _) = try Self.made()
        for count in 0..<page.count {
            #expect(throws: RingDefect.self) { try RingHeader(Array(page[..<count]), fileBytes: UInt64(count), pageBytes: 4_096) }
        }
        for count in 0..<declarations.count {
            #expect(throws: RingDefect.self, "\(count) bytes") { try DeclaredTable.decode(Array(declarations[..<count]), count: 2) }
        }
        #expect(throws: RingDefect.self) { try DeclaredTable.decode(declarations + [0], count: 2) }
        #expect(throws: RingDefect.self) { try DeclaredTable.decode(declarations, count: 1) }
        #expect(throws: RingDefect.self) { try DeclaredTable.decode(declarations, count: 3) }
    }

    @Test("sizes that contradict each other or the file are refused")
    func sizes() throws {
        let (page, declarations, size) = try Self.made()
        func with(_ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
            var changed = page
            changed.replaceSubrange(offset..<offset + bytes.count, with: bytes)
            return Self.signed(changed, declarations)
        }
        let word = { (value: UInt32) in RingLayout.little(value) }
        let long = { (value: UInt64) in RingLayout.little(value) }
        for broken in [
            with(0, long(0)), with(8, word(0)), with(8, word(2)), with(12, word(0)), with(12, word(12_289)), with(12, word(.max)),
            with(16, long(0)), with(16, long(32 << 10)), with(16, long(96 << 10)), with(16, long(256 << 10)), with(16, long(1 << 33)),
            with(16, long(.max)), with(16, long(1 << 63)), with(44, word(0)), with(44, word(65)), with(44, word(.max)),
            with(48, word(.max)),
            with(48, word((1 << 20) + 1)), with(52, word(0)), with(52, word(12_288)), with(52, word(.max)), with(52, word(12_290)),
            with(56, word(0)), with(56, word(3)), with(56, word(.max)), with(56, word(16 << 20)),
        ] {
            #expect(throws: RingDefect.self) { try Self.decode(broken, declarations, size) }
        }
        for other in [0, 127, 128, size - 1, size + 1, size + 4_096, .max] {
            #expect(throws: RingDefect.self) { try Self.decode(page, declarations, other) }
        }
    }

    @Test("random declarations are read or refused, and never a trap", arguments: Seeds.take(4))
    func randomDeclarations(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let (_, declarations, _) = try Self.made()
        for _ in 0..<3_000 {
            var bytes = declarations
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if random.oneIn(4) { bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random))) }
            _ = try? DeclaredTable.decode(bytes, count: Int.random(in: 1...64, using: &random))
        }
    }

    @Test("a table that is declared twice, without columns or without a row is refused")
    func impossibleTables() throws {
        let column = Self.tables[1].columns
        func bytes(_ tables: [DeclaredTable]) -> [UInt8] {
            tables.reduce(into: []) { bytes, table in
                bytes += [UInt8(table.name.utf8.count)] + Array(table.name.utf8) + RingLayout.little(table.fingerprint)
                bytes += RingLayout.little(UInt32(table.rowBytes)) + RingLayout.little(UInt16(table.columns.count))
                for column in table.columns {
                    bytes += [UInt8(column.name.utf8.count)] + Array(column.name.utf8)
                    bytes += RingLayout.little(UInt16(column.type.utf8.count)) + Array(column.type.utf8)
                    bytes += [column.storage.rawValue] + RingLayout.little(UInt32(column.offset))
                    bytes += RingLayout.little(column.nullOffset.map { UInt32($0) } ?? .max)
                }
            }
        }
        func table(_ name: String, _ rowBytes: Int, _ columns: [DeclaredColumn]) -> DeclaredTable {
            DeclaredTable(name: name, fingerprint: 0, rowBytes: rowBytes, columns: columns)
        }
        #expect(try DeclaredTable.decode(bytes(Self.tables), count: 2) == Self.tables)
        let twice = bytes([table("a", 8, column), table("b", 8, column), table("a", 16, column)])
        let failure = #expect(throws: RingDefect.self) { try DeclaredTable.decode(twice, count: 3) }
        #expect("\(failure!)".contains("table a is declared twice"))
        for wrong in [
            table("a", 0, column), table("a", 65_537, column), table("a", 8, []), table("", 8, column), table("A", 8, column),
            table("a/b", 8, column), table(String(repeating: "a", count: 65), 8, column),
            table("a", 8, Array(repeating: column[0], count: 1_025)),
        ] {
            #expect(throws: RingDefect.self) { try DeclaredTable.decode(bytes([wrong]), count: 1) }
        }
    }
}
