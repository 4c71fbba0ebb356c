// What test_clients.py lets Swift say to a ring: usage producer DIRECTORY MODE. Prints what publish returned.
import Glibc
import SpoolClient

func d128(_ text: String) -> Decimal128<Scale10> { Decimal128(text)! }

func types(_ ring: borrowing Ring) {
    let id = UUIDBits(high: 0x0011_2233_4455_6677, low: 0x8899_aabb_ccdd_eeff)
    let zero = UUIDBits(high: 0, low: 0)
    // A String that is made at run time, and one that is too long to lie within the String itself.
    let seven = String("neves".reversed())
    let first = EveryType(
        flag: true, ts: Time(nanoseconds: 1_790_000_000_123_456_789), i8: .min, i16: .min, i32: .min, i64: .min, u8: .max, u16: .max,
        u32: .max, u64: .max, f32: 0.5, f64: -1e300, d32: Decimal32("-9999999.99")!, d64: Decimal64(units: 6_180_050_000_000),
        d128: d128("9999999999999999999999999999.9999999999"), day: Day(65_535), sec: Seconds(1_790_000_000), id: id, code: "EUR",
        text: Text(String(repeating: "0", count: 17).withCString { "C-" + String(cString: $0) + "1" }), name: ring.intern("BTCUSDT"),
        side: .sell, kind: .aB,
        nFlag: false, nTs: Time(nanoseconds: 1_790_000_000_000_000_007), nI64: -7, nU8: 7, nF64: 7.5, nD32: Decimal32(units: 700),
        nD128: d128("-7.7"), nDay: Day(7), nId: id, nCode: "US", nText: Text(seven), nName: "SEVEN", nSide: .buy,
        aFlag: [true, false, true], aTs: [Time(nanoseconds: 1_790_000_000_000_000_000), Time(nanoseconds: 1_790_000_000_000_000_001)],
        aI16: [-1, 0, 32_767], aU64: [0, .max], aF32: [0.5, -2], aF64: [1e-300, 2.5, 3], aD64: [Decimal64(units: 1), Decimal64("-1")!],
        aD128: [d128("0.0000000001"), d128("-1")], aDay: [Day(0), Day(19_782)], aId: [id, zero], aText: ["one", "", "zwei €"],
        aSide: [.sell, .buy],
        oZero: 1, oFlag: false, oI32: 0, oU64: 0, oF64: 0, oD128: d128("0"), oTs: Time(nanoseconds: 1_790_000_000_000_000_000),
        oDay: Day(1),
        oId: zero, oCode: "", oSide: .buy, oText: "", oEmpty: "e", oName: "", oNothing: "n", nOF64: nil, nOName: "x", row: 3, from: 7,
        class_: "c", switch_: 9
    ).publish(to: ring)
    let second = EveryType(
        flag: false, ts: Time(nanoseconds: 1_790_000_000_000_000_000), i8: 0, i16: 0, i32: 0, i64: 0, u8: 0, u16: 0, u32: 0, u64: 0, f32: 0,
        f64: 0, d32: Decimal32(units: 0), d64: Decimal64(units: 0), d128: Decimal128(units: 0), day: Day(0), sec: Seconds(1_790_000_000),
        id: zero, code: "", text: "", name: "", side: .buy, kind: .value2
    ).publish(to: ring)
    print(first.rawValue, second.rawValue)
}

func tick(_ ring: borrowing Ring, _ number: UInt32, _ symbol: Name, _ note: Text) -> UInt8 {
    Ticks(ts: Time(nanoseconds: 1_790_000_000_000_000_000 + Int64(number)), symbol: symbol, number: number, note: note)
        .publish(to: ring).rawValue
}

func notes(_ ring: borrowing Ring) {
    let alphabet = Array("abcdefghijklmnopqrstuvwxyz".utf8)
    let symbol = ring.intern("A")
    for i in 0..<70 {
        let text = (0..<i).map { alphabet[$0 % 26] }
        // By turns as bytes and as a String.
        let code =
            i % 2 == 0
            ? text.withUnsafeBytes { bytes in
                Ticks(ts: Time(nanoseconds: 1_790_000_000_000_000_000 + Int64(i)), symbol: symbol, number: UInt32(i), note: Text(bytes))
                    .published(ring)
            } : tick(ring, UInt32(i), symbol, Text(String(decoding: text, as: UTF8.self)))
        print(code, terminator: " ")
    }
}

extension Ticks {
    func published(_ ring: borrowing Ring) -> UInt8 { publish(to: ring).rawValue }
}

func names(_ ring: borrowing Ring) throws {
    for _ in 0..<2 {
        for i in 0..<12 {
            print(tick(ring, UInt32(i), ring.intern("SYMBOL-" + (i < 10 ? "0" : "") + String(i)), "n"), terminator: " ")
        }
    }
    print(tick(ring, 50, "LITERAL-THAT-FINDS-NO-ROOM", "n"), terminator: " ")
    let other = try Ring(directory: "/dev/shm", producer: "other", tables: ColdpathTables.all, dataBytes: 65_536)
    defer { unlink(other.path) }
    print(tick(ring, 99, other.intern("FOREIGN"), "n"))
}

func full(_ ring: borrowing Ring) {
    let symbol = ring.intern("A")
    var number: UInt32 = 0
    for _ in 0..<4 {
        var code: UInt8 = 0
        while true {
            code = tick(ring, number, symbol, "a note of some length")
            if code != 0 { break }
            number += 1
        }
        print(number, code)
        fflush(nil)
        if readLine() == nil { break }
    }
}

func tooLong(_ ring: borrowing Ring) {
    let symbol = ring.intern("A")
    let most = 65_536 / 4 - 8 - Int(Ticks.table.rowBytes)
    let texts = [most, most + 1, 20_000].map { String(repeating: "x", count: $0) }
    print(
        texts.enumerated().map { String(tick(ring, UInt32($0.offset), symbol, Text($0.element))) }.joined(separator: " "), terminator: " ")
    var row = Ticks(ts: Time(nanoseconds: 1), symbol: symbol, number: 0, note: "")
    row.note = Text(UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: 4_096), count: 4_000_000_000))
    print(row.publish(to: ring).rawValue, terminator: " ")
    let zero = UUIDBits(high: 0, low: 0)
    print(
        EveryType(
            flag: false, ts: Time(nanoseconds: 0), i8: 0, i16: 0, i32: 0, i64: 0, u8: 0, u16: 0, u32: 0, u64: 0, f32: 0, f64: 0,
            d32: Decimal32(units: 0), d64: Decimal64(units: 0), d128: Decimal128(units: 0), day: Day(0), sec: Seconds(0), id: zero,
            code: "four", text: "", name: "", side: .buy, kind: .value2
        ).publish(to: ring).rawValue)
}

@main
struct Main {
    static func main() throws {
        let mode = CommandLine.arguments[2]
        let ring = try Ring(
            directory: CommandLine.arguments[1], producer: "swift", tables: ColdpathTables.all,
            dataBytes: mode == "full" || mode == "long" ? 65_536 : 1 << 20, nameBytes: mode == "names" ? 64 : 65_536)
        switch mode {
        case "types": types(ring)
        case "notes": notes(ring)
        case "names": try names(ring)
        case "full": full(ring)
        case "long": tooLong(ring)
        default: exit(64)
        }
    }
}
