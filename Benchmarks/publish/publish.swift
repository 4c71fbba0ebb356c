// What publishing a row costs in Swift, as publish.c does it for C. Run by Benchmarks/publish/run.
//
// usage: publish DIRECTORY ROUNDS
import CSpoolRing
import Glibc
import SpoolClient

let rowCount: UInt64 = 1_000_000

func cpuNanoseconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return Double(now.tv_sec) * 1e9 + Double(now.tv_nsec)
}

struct Fields: ~Copyable {
    let symbols: UnsafeMutableBufferPointer<Name>
    let venue, strategy, account: Name
    let clientIDs: UnsafeMutableRawPointer

    init(_ ring: borrowing Ring) {
        let texts = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LTCUSDT", "BNBUSDT"]
        symbols = .allocate(capacity: texts.count)
        for (index, text) in texts.enumerated() { symbols.initializeElement(at: index, to: ring.intern(text)) }
        venue = ring.intern("BINANCE")
        strategy = ring.intern("maker-1")
        account = ring.intern("acc-main")
        clientIDs = .allocate(byteCount: 1024 * 20, alignment: 8)
        for i in 0..<1024 {
            let digits = String(i * 7_919)
            let text = Array(("C-" + String(repeating: "0", count: 18 - digits.count) + digits).utf8)
            (clientIDs + i * 20).copyMemory(from: text, byteCount: 20)
        }
    }
}

@inline(never)
func publishRow(_ ring: borrowing Ring, _ from: borrowing Fields, _ i: UInt64) -> Publication {
    let n = Int64(truncatingIfNeeded: i)
    return BenchEvents(
        ts: Time(nanoseconds: 1_790_000_000_000_000_000 &+ n &* 40_000),
        tsLocal: Time(nanoseconds: 1_790_000_000_000_012_345 &+ n &* 40_000),
        seqNo: i,
        orderId: i >> 1,
        price: Decimal64(units: 6_180_000_000_000 &+ (n & 1023) &* 1_000_000),
        qty: Decimal64(units: 12_500_000 &+ (n & 7)),
        bid: 61_800.5 + Double(i & 63),
        ask: 61_801.0 + Double(i & 63),
        bidSize: 1.5,
        askSize: 0.25,
        latencyNs: UInt32(truncatingIfNeeded: i & 4_095),
        flags: UInt32(truncatingIfNeeded: i & 7),
        level: UInt16(truncatingIfNeeded: i & 3),
        kind: i & 1 == 1 ? .new : .fill,
        isMaker: i & 1 == 1,
        symbol: from.symbols[Int(truncatingIfNeeded: i & 7)],
        venue: from.venue,
        strategy: from.strategy,
        account: from.account,
        clientId: Text(UnsafeRawBufferPointer(start: from.clientIDs + Int(truncatingIfNeeded: (i & 1023) &* 20), count: 20))
    ).publish(to: ring)
}

/// A copy of the ring's handle would not do: the rows must go through the same claim and commit.
func copied(_ ring: borrowing Ring, _ row: [UInt8]) -> Double {
    ring.rewind()
    let start = cpuNanoseconds()
    row.withUnsafeBytes { bytes in
        for _ in 0..<rowCount {
            guard let to = spool_ring_claim(ring.benchmarkHandle, 0, UInt32(bytes.count)) else { fatalError("full") }
            memcpy(to, bytes.baseAddress!, bytes.count)
            spool_ring_commit(ring.benchmarkHandle, 0, UInt32(bytes.count))
        }
    }
    return (cpuNanoseconds() - start) / Double(rowCount)
}

func typed(_ ring: borrowing Ring, _ from: borrowing Fields) -> Double {
    ring.rewind()
    let start = cpuNanoseconds()
    for i in 0..<rowCount where publishRow(ring, from, i) != .accepted { fatalError("not published") }
    return (cpuNanoseconds() - start) / Double(rowCount)
}

extension Ring {
    /// The handle, which is nobody's business but this benchmark's.
    var benchmarkHandle: UnsafeMutablePointer<spool_ring> { unsafeBitCast(copy: self) }

    private func unsafeBitCast(copy ring: borrowing Ring) -> UnsafeMutablePointer<spool_ring> {
        withUnsafeBytes(of: ring) { $0.loadUnaligned(as: UnsafeMutablePointer<spool_ring>.self) }
    }

    /// A new burst into an empty ring: nobody else touches the file, so the producer may take back its rows itself.
    func rewind() {
        let handle = benchmarkHandle
        handle.pointee.position = 0
        handle.pointee.limit = handle.pointee.data_bytes
        handle.pointee.producer.pointee.write_position = 0
    }
}

@main
struct Main {
    static func main() throws {
        let arguments = CommandLine.arguments
        let ring = try Ring(directory: arguments[1], producer: "bench", tables: ColdpathTables.all, dataBytes: 256 << 20)
        defer { unlink(ring.path) }
        let fields = Fields(ring)
        _ = publishRow(ring, fields, 12_345)
        let bytes = Int(ring.position - 8) & ~7
        let row = [UInt8](UnsafeRawBufferPointer(start: ring.benchmarkHandle.pointee.data + 8, count: bytes))
        for _ in 0..<(Int(arguments[2]) ?? 5) {
            let (a, b) = (copied(ring, row), typed(ring, fields))
            print("memcpy \(Double(Int(a * 100)) / 100) typed \(Double(Int(b * 100)) / 100) ns/row")
        }
    }
}
