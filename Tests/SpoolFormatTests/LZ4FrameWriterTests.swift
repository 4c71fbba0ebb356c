import CLZ4
import Foundation
import SpoolTesting
import Testing

@testable import SpoolFormat

/// The oracle is liblz4's own frame writer with the settings that the format asks for.
@Suite struct LZ4FrameWriterTests {
    /// Contents of one length that compress in different ways.
    enum Kind: CaseIterable {
        case zeros, text, noise, counters
        /// Blocks that compress between blocks that do not.
        case mixed

        func content(_ count: Int) -> [UInt8] {
            var random = SeededRandom(seed: UInt64(count) + 1)
            let words = ["BTCUSDT", "quote", "fill", "2026-11-22", "0.00012", ","].map { Array($0.utf8) }
            var bytes: [UInt8] = []
            while bytes.count < count {
                switch self {
                case .zeros: bytes.append(0)
                case .text: bytes += words[Int(random.next() % UInt64(words.count))]
                case .noise: bytes.append(UInt8(truncatingIfNeeded: random.next()))
                case .counters: withUnsafeBytes(of: UInt64(bytes.count / 8)) { bytes.append(contentsOf: $0) }
                case .mixed:
                    let isNoise = bytes.count / 50_000 % 2 == 1
                    bytes.append(isNoise ? UInt8(truncatingIfNeeded: random.next()) : UInt8(truncatingIfNeeded: random.next() & 3))
                }
            }
            return Array(bytes.prefix(count))
        }
    }

    private func frame(_ content: [UInt8], by writer: LZ4FrameWriter = LZ4FrameWriter()) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: LZ4FrameWriter.bound(content.count)) { room, count in
            count = content.withUnsafeBytes { writer.compress($0, into: UnsafeMutableRawBufferPointer(room)) }
        }
    }

    private func liblz4Frame(_ content: [UInt8]) -> [UInt8] {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.blockSizeID = LZ4F_max64KB
        preferences.frameInfo.blockMode = LZ4F_blockLinked
        preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled
        preferences.frameInfo.contentSize = UInt64(content.count)
        return [UInt8](unsafeUninitializedCapacity: LZ4F_compressFrameBound(content.count, &preferences)) { room, count in
            count = LZ4F_compressFrame(room.baseAddress, room.count, content, content.count, &preferences)
        }
    }

    private static let counts = [
        1, 2, 12, 13, 14, 100, 4_096, 65_535, 65_536, 65_537, 65_548, 131_071, 131_072, 131_073, 196_608, 400_000,
    ]

    @Test("frames are liblz4's own, byte for byte", arguments: Kind.allCases, counts)
    func identical(kind: Kind, count: Int) throws {
        let content = kind.content(count)
        let frame = frame(content)
        #expect(frame == liblz4Frame(content))
        #expect(frame.count <= LZ4FrameWriter.bound(count))
        #expect(try frame.withUnsafeBytes { try LZ4Frame.decompress($0, contentBytes: count) } == content)
    }

    @Test("and so for contents of random length and make-up, by one writer for all", arguments: [UInt64(1), 2, 3])
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let writer = LZ4FrameWriter()
        for round in 0..<60 {
            let kind = Kind.allCases[Int(random.next() % UInt64(Kind.allCases.count))]
            let content = kind.content(1 + Int(random.next() % 200_000))
            #expect(frame(content, by: writer) == liblz4Frame(content), "seed \(seed), round \(round): \(kind), \(content.count) bytes")
        }
    }

    @Test("what does not compress takes the bound and no byte more")
    func bound() {
        for count in [1, 65_536, 65_537, 200_000] {
            #expect(frame(Kind.noise.content(count)).count == LZ4FrameWriter.bound(count))
        }
    }

    @Test("the lz4 command takes the frames", arguments: Kind.allCases)
    func command(kind: Kind) throws {
        let directory = TemporaryDirectory()
        let content = kind.content(300_000)
        let (path, output) = (directory.file("frame.lz4"), directory.file("content"))
        try Data(frame(content)).write(to: URL(fileURLWithPath: path))
        let lz4 = Process()
        lz4.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        lz4.arguments = ["lz4", "-q", "-d", path, output]
        try lz4.run()
        lz4.waitUntilExit()
        #expect(lz4.terminationStatus == 0)
        #expect(try Array(Data(contentsOf: URL(fileURLWithPath: output))) == content)
    }
}
