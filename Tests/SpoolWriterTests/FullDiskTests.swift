import Foundation
import Glibc
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_writer

/// A small file system of a test's own that fills up.
final class SmallDisk {
    let path: String
    private let directory = TemporaryDirectory()

    /// - Returns: nil where this process may not mount one.
    init?(bytes: Int) {
        path = directory.file("disk")
        guard mkdir(path, 0o755) == 0, mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0 else { return nil }
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    static let isPossible = SmallDisk(bytes: 1 << 20) != nil

    /// Takes up the room that is left, but for some bytes.
    func fill(leaving: Int, as name: String = "ballast") throws {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { throw IOFailure("statvfs", path, errno) }
        let free = Int(status.f_bavail) * Int(status.f_frsize)
        try Bytes.write([UInt8](repeating: 1, count: max(0, free - leaving)), to: "\(path)/\(name)")
    }

    func makeRoom() { for name in ["ballast", "more ballast"] { unlink("\(path)/\(name)") } }
}

@Suite(.enabled(if: SmallDisk.isPossible, "a file system of its own needs the right to mount"))
struct FullDiskTests {
    private static func line(_ n: UInt64, _ random: inout SeededRandom) -> String {
        let note = (0..<100).map { _ in String(random.next(), radix: 36) }.joined()
        return "{\"table\":\"ticks\",\"ts\":\(TestSpool.time),\"n\":\(n),\"note\":\"\(note)\"}"
    }

    @Test("rows accepted while the disk is full are kept, and written once there is room: no gap, none twice", arguments: Seeds.take(8))
    func keepsRows(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let disk = try #require(SmallDisk(bytes: 4 << 20))
        let spool = try TestSpool(["writer.chunk_rows": "5", "writer.segment_bytes": "65536"])
        spool.spoolPath = "\(disk.path)/spool"
        let recorder = try spool.recorder()
        let source = Source(name: nil)
        var n: UInt64 = 0
        var blocked = 0
        for _ in 0..<6 {
            try disk.fill(leaving: Int.random(in: 0...90_000, using: &random))
            for _ in 0..<60 {
                guard recorder.blockedBy == nil else { break }
                try recorder.take(Self.line(n, &random), from: source)
                n += 1
                if random.oneIn(4) { recorder.commit() }
            }
            recorder.commit()
            if recorder.blockedBy != nil {
                blocked += 1
                #expect(recorder.blockedBy?.isNoSpace == true)
                // Tried again while there is still no room: nothing changes.
                recorder.tick(monotonic: Clock.monotonic() + 300_000_000)
            }
            let durable = source.complete
            disk.makeRoom()
            recorder.tick(monotonic: Clock.monotonic() + 600_000_000)
            #expect(recorder.commit())
            #expect(recorder.blockedBy == nil)
            #expect(source.complete == n)
            #expect(source.complete >= durable)
        }
        try recorder.finish()
        #expect(blocked > 0, "the disk never filled")
        #expect(try spool.numbers() == (0..<n).map { $0 })
        #expect(try spool.sequences() == (1...n).map { $0 })
    }

    @Test("killed while the disk is full, the writer recovers once there is room, and durable rows are all there")
    func killedWhenFull() throws {
        var random = SeededRandom(seed: 7)
        let disk = try #require(SmallDisk(bytes: 4 << 20))
        let spool = try TestSpool(["writer.chunk_rows": "5"])
        spool.spoolPath = "\(disk.path)/spool"
        var durable: UInt64 = 0
        do {
            let recorder = try spool.recorder()
            let source = Source(name: nil)
            for n in 0..<UInt64(20) { try recorder.take(Self.line(n, &random), from: source) }
            #expect(recorder.commit())
            try disk.fill(leaving: 6_000)
            for n in 20..<UInt64(40) { try recorder.take(Self.line(n, &random), from: source) }
            #expect(!recorder.commit())
            durable = source.complete
        }
        // Still no room to copy the tail aside: the start fails as the disk does, and harms nothing.
        try disk.fill(leaving: 0, as: "more ballast")
        let failure = #expect(throws: IOFailure.self) { try spool.recorder() }
        #expect(failure?.isNoSpace == true)
        disk.makeRoom()
        do {
            let recorder = try spool.recorder()
            try recorder.take(Self.line(1_000, &random), from: Source(name: nil))
            try recorder.finish()
        }
        let numbers = try spool.numbers()
        #expect(durable == 20)
        #expect(numbers.count > Int(durable))
        #expect(numbers == (0..<UInt64(numbers.count - 1)).map { $0 } + [1_000])
        #expect(try spool.sequences() == (1...UInt64(numbers.count)).map { $0 })
    }
}
