// A producer in Swift: an order. In a clone, after `make build`:
//
//     .build/release/spool-writer codegen --lang swift --schemas schemas --output clients/swift/Sources/example/Events.swift
//     swift run -c release --package-path clients/swift example /tmp/coldpath/rings
import Glibc
import SpoolClient

func now() -> Time {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Time(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
}

func produce(into directory: String) throws {
    // Once for each producing thread, at its start. The writer need not run: it finds the ring when it does.
    let ring = try Ring(directory: directory, producer: "example", tables: ColdpathTables.all, dataBytes: 1 << 20)
    // Names that repeat: four bytes in each row from here on.
    let symbol = ring.intern("BTCUSDT")
    let strategy = ring.intern("maker")
    guard let price = Decimal128<Scale10>("61800.5") else { fatalError("a literal that is no price") }

    // A field that is missing or misspelt does not compile; Nullable columns and those with a default may be left out.
    let order = Orders(
        tsIntent: now(), tsSend: now(), clientOrderId: "C-3", strategy: strategy, symbol: symbol, side: .buy,
        qty: Decimal128(units: 1_250_000_000), limitPx: price, orderType: .limit, tif: .day, status: .sent)
    let published = order.publish(to: ring)
    guard published == .accepted else { return print("not published: \(published)") }
    let isDurable = ring.waitDurable(ring.position, timeout: .seconds(2))
    print(isDurable ? "durable" : "accepted; not durable yet, is spool-writer running with --rings?")
}

guard CommandLine.arguments.count == 2 else {
    print("usage: example RINGS")
    exit(64)
}
do {
    try produce(into: CommandLine.arguments[1])
} catch {
    print("example: \(error)")
    exit(74)
}
