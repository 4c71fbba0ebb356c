// What compressing a segment's blocks costs and nothing else: memcpy, bare LZ4, and LZ4 frames with their checksum as the writer makes them.
//
//   lz4-floor ROUNDS SEGMENT...
import CBench
import Glibc
import SpoolFormat

struct Blocks {
    var contents: [[UInt8]] = []
    var rows = 0
    var dataBytes = 0

    mutating func read(_ path: String) throws {
        guard let file = fopen(path, "rb") else { exit(74) }
        defer { fclose(file) }
        fseek(file, 0, SEEK_END)
        var bytes = [UInt8](repeating: 0, count: ftell(file))
        rewind(file)
        guard fread(&bytes, 1, bytes.count, file) == bytes.count else { exit(74) }
        try bytes.withUnsafeBytes { raw in
            var offset = Int(raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) + 8
            while offset + 8 <= raw.count, raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self) == 0x184D_2A51 {
                let (header, size) = try ChunkHeader.decode(UnsafeRawBufferPointer(rebasing: raw[offset...]))
                let frame = UnsafeRawBufferPointer(rebasing: raw[offset + size..<offset + size + header.dataBytes])
                contents.append(try LZ4Frame.decompress(frame, contentBytes: header.blockBytes))
                rows += header.rows
                dataBytes += header.dataBytes
                offset += size + header.dataBytes
            }
        }
    }
}

/// CPU nanoseconds a row, the median of several rounds.
func measure(_ rounds: Int, _ rows: Int, _ work: () -> Void) -> Double {
    let times = (0..<rounds).map { _ in
        let start = bench_cpu()
        work()
        return (bench_cpu() - start) / Double(rows) * 1e9
    }
    return times.sorted()[rounds / 2]
}

var blocks = Blocks()
for path in CommandLine.arguments.dropFirst(2) { try blocks.read(path) }
guard CommandLine.arguments.count > 2, let rounds = Int(CommandLine.arguments[1]), blocks.rows > 0 else { exit(64) }
let largest = blocks.contents.map(\.count).max() ?? 0
let room = LZ4FrameWriter.bound(largest)
let output = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 16)
let frames = LZ4FrameWriter()
var sink = 0
let copied = measure(rounds, blocks.rows) {
    for block in blocks.contents {
        block.withUnsafeBytes { _ = memcpy(output.baseAddress!, $0.baseAddress!, $0.count) }
        sink += Int(output[block.count / 2])
    }
}
let bare = measure(rounds, blocks.rows) {
    for block in blocks.contents { block.withUnsafeBytes { sink += bench_bare_lz4($0.baseAddress, $0.count, output.baseAddress, room) } }
}
let framed = measure(rounds, blocks.rows) {
    for block in blocks.contents { block.withUnsafeBytes { sink += frames.compress($0, into: output) } }
}
let raw = blocks.contents.reduce(0) { $0 + $1.count }
print(
    """
    {"rows":\(blocks.rows),"raw_bytes":\(Double(raw) / Double(blocks.rows)),"disk_bytes":\(Double(blocks.dataBytes) / Double(blocks.rows)),\
    "memcpy_ns":\(copied),"bare_lz4_ns":\(bare),"frame_ns":\(framed),"sink":\(sink & 1)}
    """)
