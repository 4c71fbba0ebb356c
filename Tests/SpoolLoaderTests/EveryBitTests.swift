import SpoolFormat
import SpoolIO
import Testing

@testable import spool_loader

/// Any single flipped bit and any truncation below the mark is found by `verify`: the promise of `docs/spool-format.md`.
@Suite struct EveryBitTests {
    /// Two chunks in one segment, and the files that hold them.
    private func spool(sealed: Bool) throws -> (TestSpool, files: [String]) {
        let spool = try TestSpool()
        try spool.append(px: 1.5, note: "first", tags: [1, 2])
        try spool.commit()
        try spool.append(px: -2.5)
        try spool.commit()
        if sealed { try spool.seal() }
        return (spool, [spool.path(of: try spool.segments()[0]), spool.markPath, "\(spool.path)/spool.id"])
    }

    @Test(arguments: [false, true])
    func everyFlippedBitIsFound(sealed: Bool) throws {
        let (spool, files) = try spool(sealed: sealed)
        #expect(try spool.verify() == [])
        for path in files {
            let bytes = try spool.bytes(of: path)
            let file = try File.openForWriting(path)
            for offset in bytes.indices {
                for bit in 0..<UInt8(8) {
                    try file.write([bytes[offset] ^ (1 << bit)], at: UInt64(offset))
                    if !spool.isDamaged() { Issue.record("bit \(bit) at \(offset) of \(path.split(separator: "/").last ?? "")") }
                }
                try file.write([bytes[offset]], at: UInt64(offset))
            }
        }
        #expect(try spool.verify() == [])
    }

    @Test(arguments: [false, true])
    func everyTruncationIsFound(sealed: Bool) throws {
        let (spool, files) = try spool(sealed: sealed)
        for path in files {
            let bytes = try spool.bytes(of: path)
            for size in bytes.indices {
                try spool.truncate(path, to: UInt64(size))
                if !spool.isDamaged() { Issue.record("\(path.split(separator: "/").last ?? "") cut to \(size) of \(bytes.count)") }
            }
            try spool.truncate(path, to: 0)
            try spool.overwrite(path, bytes)
        }
        #expect(try spool.verify() == [])
    }

    @Test func everyByteAddedToASealedSpoolIsFound() throws {
        let (spool, files) = try spool(sealed: true)
        for path in files {
            let size = try File.openForReading(path).size()
            try spool.append([0], to: path)
            #expect(spool.isDamaged(), "\(path.split(separator: "/").last ?? "")")
            try spool.truncate(path, to: size)
        }
    }
}
