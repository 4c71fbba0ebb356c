import SpoolTesting
import Testing

@testable import SpoolFormat

/// The parts of a chunk header that are there only if a flag says so (`docs/spool-format.md` §6).
@Suite struct ChunkHeaderTests {
    private static func header(_ random: inout SeededRandom) -> ChunkHeader {
        var header = ChunkHeader(
            table: "t", writer: "w", segmentNumber: 3, firstSequence: 7, rows: 2, partition: 20_000, fingerprint: 1, minEventTime: 5,
            maxEventTime: 6, firstIngest: 4, dataChecksum: 9, dataBytes: 10, blockBytes: 11,
            sources: random.oneIn(2) ? [] : [SourcePosition(source: "socket:p", end: 9, complete: 8)])
        header.continues = random.oneIn(2)
        header.syncedBytes = random.oneIn(2) ? nil : random.next()
        header.losses = (0..<Int.random(in: 0...3, using: &random)).map { index in
            ChunkLoss(symbol: index == 0 ? "" : "Ü\(index)", reason: "sampling", count: random.next(), from: .min, to: .max)
        }
        return header
    }

    @Test("whatever parts it has, it is read as it was written", arguments: Seeds.take(40))
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let header = Self.header(&random)
        let bytes = header.encode()
        let (read, size) = try bytes.withUnsafeBytes { try ChunkHeader.decode($0) }
        #expect(read == header)
        #expect(size == bytes.count)
    }

    @Test("no flipped bit and no cut passes for another header", arguments: Seeds.take(6))
    func damage(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let bytes = Self.header(&random).encode()
        for bit in 0..<bytes.count * 8 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: FormatError.self, "bit \(bit)") { try flipped.withUnsafeBytes { try ChunkHeader.decode($0) } }
        }
        for count in 0..<bytes.count {
            #expect(throws: FormatError.self, "prefix of \(count)") { try bytes[..<count].withUnsafeBytes { try ChunkHeader.decode($0) } }
        }
    }

    @Test("sums of losses that a file may claim do not overflow")
    func sums() {
        let one = ChunkLoss(symbol: "A", reason: "disk", count: .max - 1, from: 3, to: 4)
        let sum = one.adding(ChunkLoss(symbol: "B", reason: "shed", count: 5, from: 1, to: 9))
        #expect(sum == ChunkLoss(symbol: "A", reason: "disk", count: .max, from: 1, to: 9))
    }

    @Test("a segment header that says shed is read as such, and one that sheds nothing cannot be")
    func shed() throws {
        var header = SegmentHeader(
            table: "t", writer: "w", number: 4, firstSequence: 20, lostFrom: 10, isShed: true, created: 1,
            columns: [WireColumn(name: "ts", type: "DateTime64(9, 'UTC')")], eventTimeColumn: 0, partitionRule: .day, sources: [])
        #expect(try header.encode().withUnsafeBytes { try SegmentHeader.decode($0) }.0 == header)
        #expect(header.lost == 10..<20)
        header.isShed = false
        header.lostFrom = 20
        // The flag without lost rows, with a checksum that fits: a file made by somebody else.
        var bytes = header.encode()
        bytes[14] |= 2
        for offset in 16..<20 { bytes[offset] = 0 }
        let crc = bytes.withUnsafeBytes { crc32c($0) }
        withUnsafeBytes(of: crc.littleEndian) { for offset in 0..<4 { bytes[16 + offset] = $0[offset] } }
        let error = #expect(throws: FormatError.self) { try bytes.withUnsafeBytes { try SegmentHeader.decode($0) } }
        #expect(error?.description.contains("contradicts itself") == true)
    }
}
