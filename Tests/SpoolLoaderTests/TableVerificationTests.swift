import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

extension TestSpool {
    /// What `verify` says of the table: `DAMAGE file at offset: text`.
    func verify() throws -> [String] {
        var verification = TableVerification(spool: try SpoolDirectory.open(path), table: table)
        try verification.run()
        return verification.findings.map {
            "\($0.isDamage ? "DAMAGE" : "note") \($0.file)\($0.offset.map { " at \($0)" } ?? ""): \($0.text)"
        }
    }

    /// Whether `verify` fails; a spool that cannot even be opened is one that fails.
    func isDamaged() -> Bool {
        guard let findings = try? verify() else { return true }
        return findings.contains { $0.hasPrefix("DAMAGE") }
    }
}

/// The damage table of `docs/spool-format.md` §10, column "verify".
@Suite struct TableVerificationTests {
    /// A sealed segment with rows 1-2 and 3-4, then an active one with rows 5-6 and 7-8.
    private func spool() throws -> (TestSpool, sealed: String, active: String) {
        let spool = try TestSpool()
        for _ in 0..<2 { try spool.chunk(2) }
        try spool.seal()
        for _ in 0..<2 { try spool.chunk(2) }
        let names = try spool.segments()
        return (spool, spool.path(of: names[0]), spool.path(of: names[1]))
    }

    private let first = "0000000001-00000000000000000001.lz4"
    private let second = "0000000002-00000000000000000005.lz4"

    @Test func aCleanSpoolHasNoFindings() throws {
        let (spool, _, _) = try spool()
        var verification = TableVerification(spool: spool.spool, table: spool.table)
        try verification.run()
        #expect(verification.findings == [])
        #expect(verification.segments == 2 && verification.chunks == 4 && verification.rows == 8)
        try spool.seal()
        #expect(try spool.verify() == [])
    }

    @Test func aTableWithoutRowsHasNoFindings() throws {
        let spool = try TestSpool()
        try Directory.create(spool.directory)
        #expect(try spool.verify() == [])
    }

    @Test func aTornTailAboveTheMarkIsNoted() throws {
        let (spool, _, active) = try spool()
        let mark = try spool.bytes(of: spool.markPath)
        let durable = try File.openForReading(active).size()
        try spool.chunk(2)
        try spool.overwrite(spool.markPath, mark)
        let end = try File.openForReading(active).size()
        #expect(try spool.verify() == [])
        try spool.truncate(active, to: end - 3)
        #expect(try spool.verify() == ["note \(second) at \(durable): a torn tail of \(end - 3 - durable) bytes"])
        try spool.truncate(active, to: durable)
        try spool.append([1, 2, 3, 4, 5, 6, 7, 8, 9], to: active)
        #expect(
            try spool.verify() == [
                "note \(second) at \(durable): a torn tail: no chunk header: the LZ4 magic is 0x04030201, expected 0x184d2a51"
            ])
    }

    @Test func aWholeChunkWithAWrongChecksumIsATornTailOnlyIfNothingValidFollows() throws {
        let (spool, _, active) = try spool()
        let mark = try spool.bytes(of: spool.markPath)
        try spool.chunk(2)
        let chunk = try #require(try spool.chunks(of: spool.segments()[1]).last)
        try spool.overwrite(spool.markPath, mark)
        try spool.flip(active, at: chunk.dataOffset + 10)
        #expect(
            try spool.verify().first?.hasPrefix("note \(second) at \(chunk.offset): a torn tail: checksum of the data frame differs: ")
                == true)
        try spool.chunk(2)
        try spool.overwrite(spool.markPath, mark)
        #expect(
            try spool.verify().first?.hasPrefix("DAMAGE \(second) at \(chunk.offset): rows 9 to 10: checksum of the data frame differs: ")
                == true)
    }

    @Test func zerosAfterTheLastChunkAreNoted() throws {
        let (spool, _, active) = try spool()
        let size = try File.openForReading(active).size()
        try spool.append([UInt8](repeating: 0, count: 4_096), to: active)
        #expect(try spool.verify() == ["note \(second) at \(size): 4096 zero bytes after the last chunk"])
    }

    @Test func bytesAfterTheIndexAreDamage() throws {
        let (spool, sealed, _) = try spool()
        let size = try File.openForReading(sealed).size()
        try spool.append([0, 0, 0], to: sealed)
        #expect(try spool.verify() == ["DAMAGE \(first) at \(size): 3 bytes after the index"])
    }

    @Test func aSealedSegmentWithoutItsIndexIsDamage() throws {
        let (spool, sealed, _) = try spool()
        let end = try #require(try spool.chunks(of: spool.segments()[0]).last?.end)
        try spool.truncate(sealed, to: end)
        #expect(try spool.verify() == ["DAMAGE \(first) at \(end): the segment is over, but has no index"])
    }

    @Test func aFlipInDataNamesTheRowsAndTheRestIsChecked() throws {
        let (spool, sealed, active) = try spool()
        let one = try spool.chunks(of: spool.segments()[0])[0]
        let two = try spool.chunks(of: spool.segments()[1])[1]
        try spool.flip(sealed, at: one.dataOffset + 12)
        try spool.flip(active, at: two.dataOffset + 12)
        let findings = try spool.verify()
        try #require(findings.count == 2)
        #expect(findings[0].hasPrefix("DAMAGE \(first) at \(one.offset): rows 1 to 2: checksum of the data frame differs: stored "))
        #expect(findings[1].hasPrefix("DAMAGE \(second) at \(two.offset): rows 7 to 8: checksum of the data frame differs: stored "))
    }

    @Test func aFrameWithAWrongSizeDoesNotHideDamageBehindIt() throws {
        let (spool, sealed, _) = try spool()
        let chunks = try spool.chunks(of: spool.segments()[0])
        try spool.flip(sealed, at: chunks[0].offset + 5, mask: 0x40)
        try spool.flip(sealed, at: chunks[1].dataOffset + 12)
        let findings = try spool.verify()
        #expect(findings.contains { $0.hasPrefix("DAMAGE \(first) at \(chunks[0].offset): ") }, "\(findings)")
        #expect(findings.contains { $0.hasPrefix("DAMAGE \(first) at \(chunks[1].offset): rows 3 to 4: ") }, "\(findings)")
    }

    @Test func fewerBytesThanTheMarkSaysAreDamage() throws {
        let (spool, _, active) = try spool()
        let size = try File.openForReading(active).size()
        let chunk = try #require(try spool.chunks(of: spool.segments()[1]).last)
        try spool.truncate(active, to: size - 1)
        #expect(
            try spool.verify() == [
                "DAMAGE \(second) at \(chunk.offset): \(size - chunk.offset) bytes below the durable mark are gone",
                "DAMAGE durable: \(size) durable bytes end within a chunk of \(second), or behind its end",
            ])
    }

    @Test func aMissingSegmentIsDamage() throws {
        let (spool, _, active) = try spool()
        try spool.seal()
        try spool.chunk(1)
        try Directory.remove(active)
        #expect(
            try spool.verify() == ["DAMAGE 0000000003-00000000000000000009.lz4 at 0: begins at sequence 9, expected 5"])
        try Directory.remove(spool.path(of: spool.segments()[1]))
        #expect(try spool.verify() == ["DAMAGE durable: names segment 0000000003-00000000000000000009.lz4, which is not here"])
    }

    @Test func aMissingMarkIsNotedAndADamagedOneIsDamage() throws {
        let (spool, _, _) = try spool()
        try spool.flip(spool.markPath, at: 40)
        #expect(try spool.verify().first?.hasPrefix("DAMAGE durable: checksum of the durable mark differs: stored ") == true)
        try Directory.remove(spool.markPath)
        #expect(try spool.verify() == ["note durable: is missing: what of an active segment is durable cannot be told"])
    }

    @Test func aMarkThatPromisesOtherRowsIsDamage() throws {
        let (spool, _, _) = try spool()
        var mark = try #require(try spool.spool.mark(of: spool.table))
        mark.durableEnd += 1
        try spool.overwrite(spool.markPath, mark.encode())
        #expect(try spool.verify() == ["DAMAGE durable: says that rows before 10 are durable; \(second) has those before 9 there"])
    }

    @Test func aDeclaredLossIsDamage() throws {
        let (spool, sealed, _) = try spool()
        let path = spool.path(of: try spool.segments()[1])
        var header = try SegmentReader(path: path).header
        header.lostFrom = 3
        try spool.overwrite(path, header.encode())
        try Directory.remove(sealed)
        #expect(try spool.verify() == ["DAMAGE \(second) at 0: declares rows 3 to 4 lost"])
    }

    @Test func aTornTailThatRecoveryCutIsNoted() throws {
        let (spool, sealed, _) = try spool()
        try spool.overwrite("\(sealed).torn-900", [1])
        #expect(try spool.verify() == ["note \(first).torn-900: is a torn tail that a recovery cut off"])
    }

    @Test func anIndexThatLiesWithAValidChecksumIsDamageAndDoesNotTrap() throws {
        let (spool, sealed, _) = try spool()
        let chunks = try spool.chunks(of: spool.segments()[0])
        let end = chunks[1].end
        // The last entry's first sequence: behind the frame's prefix, the count and one entry.
        try spool.overwrite(sealed, [UInt8](repeating: 0xFF, count: 8), at: end + 24 + 48 + 8)
        try spool.reseal(sealed, frame: end)
        #expect(try spool.verify() == ["DAMAGE \(first) at \(end): the index does not list the chunks that are there"])
    }
}
