import CSystem
import SpoolTesting
import Testing

@testable import SpoolFormat

@Suite struct ChecksumTests {
    private func crc(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { crc32c($0) } }

    @Test("CRC-32C gives the values of RFC 3720 B.4")
    func vectors() {
        #expect(crc([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(crc([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(crc((0..<32).map { $0 }) == 0x46DD_794E)
        #expect(crc((0..<32).reversed().map { $0 }) == 0x113F_DB5C)
        let scsi: [UInt8] = [
            0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
            0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        ]
        #expect(crc(scsi) == 0xD996_3A56)
        #expect(crc(Array("123456789".utf8)) == 0xE306_9283)
        #expect(crc([]) == 0)
    }

    @Test("the processor's instruction and the portable way agree at every length and start, whole and in parts")
    func portable() {
        var random = SeededRandom(seed: 3)
        let bytes = (0..<300).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        for start in 0..<9 {
            for end in start...bytes.count {
                let (fast, slow, parts) = bytes[start..<end].withUnsafeBytes { raw in
                    let cut = raw.count / 3
                    let head = crc32c(UnsafeRawBufferPointer(rebasing: raw[..<cut]))
                    return (
                        cp_crc32c(0, raw.baseAddress, raw.count), cp_crc32c_portable(0, raw.baseAddress, raw.count),
                        crc32c(UnsafeRawBufferPointer(rebasing: raw[cut...]), continuing: head)
                    )
                }
                #expect(fast == slow && fast == parts, "\(start)..<\(end)")
            }
        }
    }

    @Test("long stretches, which are summed three at a time, give what the portable way gives, and parts can be put together")
    func stretches() {
        var random = SeededRandom(seed: 4)
        let bytes = (0..<60_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        for _ in 0..<200 {
            let start = Int.random(in: 0..<20, using: &random)
            let end = Int.random(in: start..<bytes.count, using: &random)
            let seed = UInt32(truncatingIfNeeded: random.next())
            bytes[start..<end].withUnsafeBytes { raw in
                #expect(cp_crc32c(seed, raw.baseAddress, raw.count) == cp_crc32c_portable(seed, raw.baseAddress, raw.count))
                let cut = Int.random(in: 0...raw.count, using: &random)
                let (head, tail) = (UnsafeRawBufferPointer(rebasing: raw[..<cut]), UnsafeRawBufferPointer(rebasing: raw[cut...]))
                #expect(combineCRC32C(crc32c(head), crc32c(tail), bytes: UInt64(tail.count)) == crc32c(raw), "\(start)..<\(end) at \(cut)")
            }
        }
    }

    @Test("a checksum field counts as zeros wherever it stands")
    func hole() {
        let bytes: [UInt8] = (0..<40).map { $0 &* 7 }
        for offset in 0...36 {
            var zeroed = bytes
            zeroed.replaceSubrange(offset..<offset + 4, with: [0, 0, 0, 0])
            #expect(bytes.withUnsafeBytes { crc32c($0, zeroing: offset) } == crc(zeroed), "\(offset)")
        }
    }
}
