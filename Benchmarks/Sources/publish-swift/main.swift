// Publishes rows of bench_events from Swift while the real writer drains: what publish-c does, without the copies.
//
//   publish-swift DIRECTORY KIB latency|burst ROWS [INTERVAL_NS]
import CBench
import Glibc
import SpoolClient

struct Names: ~Copyable {
    let symbols, venues, strategies, accounts: UnsafeMutablePointer<Name>

    init(_ ring: borrowing Ring) {
        symbols = Self.intern(["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOTUSDT", "LTCUSDT", "BNBUSDT"], ring)
        venues = Self.intern(["BNCE", "OKX", "BYBT", "KRKN"], ring)
        strategies = Self.intern(["mm1", "mm2", "arb", "hdg", "st7"], ring)
        accounts = Self.intern(["a-01", "a-02", "a-03"], ring)
    }

    private static func intern(_ texts: [String], _ ring: borrowing Ring) -> UnsafeMutablePointer<Name> {
        let names = UnsafeMutablePointer<Name>.allocate(capacity: texts.count)
        for (index, text) in texts.enumerated() { (names + index).initialize(to: ring.intern(text)) }
        return names
    }
}

@inline(__always)
func publish(_ ring: borrowing Ring, _ names: borrowing Names, _ v: UnsafePointer<bench_values>) -> Publication {
    let id = UnsafeRawPointer(v) + clientIDOffset
    return BenchEvents(
        ts: Time(nanoseconds: v.pointee.ts),
        tsLocal: Time(nanoseconds: v.pointee.ts_local),
        seqNo: v.pointee.seq_no,
        orderId: v.pointee.order_id,
        price: Decimal64(units: v.pointee.price),
        qty: Decimal64(units: v.pointee.qty),
        bid: v.pointee.bid,
        ask: v.pointee.ask,
        bidSize: v.pointee.bid_size,
        askSize: v.pointee.ask_size,
        latencyNs: v.pointee.latency_ns,
        flags: v.pointee.flags,
        level: v.pointee.level,
        kind: v.pointee.kind & 1 == 0 ? .cancel : .trade,
        isMaker: v.pointee.is_maker != 0,
        symbol: names.symbols[Int(v.pointee.symbol)],
        venue: names.venues[Int(v.pointee.venue)],
        strategy: names.strategies[Int(v.pointee.strategy)],
        account: names.accounts[Int(v.pointee.account)],
        clientId: Text(UnsafeRawBufferPointer(start: id, count: 20))
    ).publish(to: ring)
}

let clientIDOffset = MemoryLayout<bench_values>.offset(of: \.client_id)!

func run(_ arguments: [String]) throws -> Int32 {
    guard arguments.count >= 5, let kib = Int(arguments[2]), let rows = UInt64(arguments[4]) else { return 64 }
    let interval = arguments.count > 5 ? Double(arguments[5]) ?? 1_000 : 1_000
    let ring = try Ring(directory: arguments[1], producer: "publish-swift", tables: [BenchEvents.table], dataBytes: UInt64(kib) << 10)
    guard ring.waitAttached(timeout: .seconds(10)) else { return 74 }
    let names = Names(ring)
    // As publish-c: few enough for the first cache.
    let made = 64
    let values = UnsafeMutablePointer<bench_values>.allocate(capacity: made)
    let source = UnsafeMutablePointer<bench_source>.allocate(capacity: 1)
    let histogram = UnsafeMutablePointer<bench_histogram>.allocate(capacity: 1)
    bench_begin(source, 1)
    for index in 0..<made { bench_next(source, values + index) }
    bench_histogram_begin(histogram)
    var full: UInt64 = 0
    var cpu = 0.0
    if arguments[3] == "latency" {
        let start = bench_ticks()
        for number in 0..<rows {
            let row = values + Int(number % UInt64(made))
            bench_next(source, row)
            bench_pace(histogram, start, number, interval)
            let before = bench_ticks()
            let result = publish(ring, names, row)
            bench_record(histogram, bench_ticks() &- before)
            if result != .accepted { full += 1 }
        }
    } else {
        cpu = bench_cpu()
        for number in 0..<rows {
            let row = values + Int(number % UInt64(made))
            row.pointee.seq_no = number
            if publish(ring, names, row) != .accepted { full += 1 }
        }
        cpu = (bench_cpu() - cpu) / Double(rows) * 1e9
        histogram.pointee.count = rows
    }
    _ = ring.waitDurable(ring.position, timeout: .seconds(60))
    bench_print(arguments[3], histogram, cpu, full, ring.refusedRows)
    fflush(nil)
    return 0
}

exit(try run(CommandLine.arguments))
