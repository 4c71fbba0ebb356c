import SpoolStatus
import Testing

@testable import spool_loader

/// What `status` and `top` print.
@Suite struct StatusViewTests {
    private func table(
        _ name: String, durable: UInt64 = 12_345_678, loaded: UInt64? = 12_345_600, lag: Double? = 0.31, bytes: UInt64 = 1 << 30,
        state: String = "up to date", quarantined: UInt64? = nil
    ) -> StatusSnapshot.Table {
        StatusSnapshot.Table(
            table: name, tableClass: "audit", durable: durable, loaded: loaded, lagRows: 3, lagSeconds: lag, bytes: bytes, refused: nil,
            dropped: nil, quarantined: quarantined, state: state)
    }

    private func snapshot(
        _ tables: [StatusSnapshot.Table], reasons: [String] = [], spool: String = "/var/lib/coldpath/spool",
        server: String = "http://127.0.0.1:8123"
    ) -> StatusSnapshot {
        StatusSnapshot(
            spool: spool, writerID: "nyc1-0a1b2c3d", at: 1_767_323_045_000_000_000,
            writer: StatusSnapshot.Process(
                state: "ok", reasons: [], alarms: 0, lastAlarm: nil, server: nil, queue: ["audit": 0.04, "market": .nan]),
            loader: StatusSnapshot.Process(
                state: reasons.isEmpty ? "ok" : "unhealthy", reasons: reasons, alarms: nil, lastAlarm: nil, server: server, queue: nil),
            disk: StatusSnapshot.Disk(used: 0.41, available: 66 << 30), tables: tables)
    }

    /// Without what a terminal does not show.
    private func visible(_ line: String) -> String {
        var text = ""
        var rest = line[...]
        while let start = rest.firstIndex(of: "\u{1B}") {
            text += rest[..<start]
            rest = rest[start...].drop { $0 != "m" }.dropFirst()
        }
        return text + rest
    }

    @Test(arguments: [80, 100, 200], [true, false]) func noLineIsWiderThanTheTerminal(_ width: Int, _ color: Bool) {
        let tables = [
            table("orders"), table("a_table_with_a_very_long_name_indeed", durable: .max, loaded: .max, lag: .infinity, bytes: .max),
            table("fills", lag: nil, state: String(repeating: "x", count: 500), quarantined: 7),
        ]
        let view = StatusView(width: width, hasColor: color)
        let lines = view.lines(snapshot(tables, reasons: [String(repeating: "why ", count: 200)]), rates: ["orders": [1e18, 0, -1, .nan]])
        #expect(lines.allSatisfy { visible($0).count <= width })
        #expect(lines.joined().contains("\u{1B}") == color)
    }

    @Test(arguments: [8, 20, 80], [true, false]) func noNameIsTooLongOrHasControlCharacters(_ width: Int, _ color: Bool) {
        let long = String(repeating: "clickhouse.example.", count: 40) + "\u{1B}[2J\r\n"
        let lines = StatusView(width: width, hasColor: color).lines(
            snapshot([table("orders")], spool: "/srv/\(long)", server: "https://\(long)"))
        #expect(lines.allSatisfy { visible($0).count <= max(width, 60) && !$0.contains("\u{1B}[2J") && !$0.contains("\r") })
        #expect(lines[1...2].allSatisfy { visible($0).count <= width })
    }

    @Test(arguments: [Double.infinity, -.infinity, .nan, 1e300, -1e300, 1e18, 1e21, .leastNonzeroMagnitude])
    func figuresOfAnySizeAreShown(_ value: Double) {
        let view = StatusView(width: 120, hasColor: false)
        let rates = ["orders": [value, 1, value], "fills": [value]]
        #expect(
            view.lines(snapshot([table("orders", lag: value), table("fills", lag: value)]), rates: rates).allSatisfy { $0.count <= 120 })
        #expect(!durationText(value).isEmpty)
    }

    @Test func atEightyColumnsEverythingThatMattersIsThere() {
        let lines = StatusView(width: 80, hasColor: false).lines(snapshot([table("orders")]), rates: ["orders": [0, 2_300, 23_060]])
        #expect(lines[0] == "coldpath  nyc1-0a1b2c3d  /var/lib/coldpath/spool                       03:04:05Z" && lines[0].count == 80)
        #expect(lines[1].hasPrefix("writer  ok   queue audit 4%, market 0%   disk 41%, 66.0 GiB free"))
        #expect(lines[2] == "loader  ok   lag 0.3s   http://127.0.0.1:8123")
        #expect(lines[4] == "TABLE                 ROWS/S                DURABLE      LOADED    LAG   SIZE")
        #expect(lines[5] == "orders                 23.1k         ▁█  12,345,678  12,345,600   0.3s   1.0G")
    }

    @Test func tablesAreSortedAsAsked() {
        let tables = [table("b", lag: 1, bytes: 9), table("a", lag: 2, bytes: 5), table("c", lag: 0, bytes: 7)]
        let rates: [String: [Double]] = ["a": [1], "b": [3], "c": [2]]
        func names(_ order: StatusView.Order, _ isReversed: Bool = false) -> [String] {
            StatusView(width: 80, hasColor: false, order: order, isReversed: isReversed).lines(snapshot(tables), rates: rates).suffix(3)
                .map { String($0.prefix(1)) }
        }
        #expect(names(.name) == ["a", "b", "c"] && names(.name, true) == ["c", "b", "a"])
        #expect(names(.rate) == ["b", "c", "a"] && names(.lag) == ["a", "b", "c"] && names(.size) == ["b", "c", "a"])
        #expect(StatusView.Order.size.next == .name)
    }

    @Test func tablesThatFindNoRoomAreCounted() {
        let lines = StatusView(width: 80, hasColor: false).lines(snapshot((0..<40).map { table("t\($0)") }), rates: ["t0": [1]], rows: 15)
        #expect(lines.count <= 15 && lines.last == "and 32 more tables")
    }

    @Test func aTerminalWithoutUnicodeIsShownASCII() {
        let view = StatusView(width: 80, hasColor: false, isUnicode: false)
        let lines = view.lines(snapshot([table("orders", state: String(repeating: "x", count: 300))]), rates: ["orders": [1, 2, 3]])
        #expect(lines.allSatisfy { $0.allSatisfy(\.isASCII) })
    }

    @Test func whatIsSetAsideOrUnhealthyIsNotWell() {
        #expect(snapshot([table("orders")]).isWell)
        #expect(!snapshot([table("orders", quarantined: 1)]).isWell && !snapshot([], reasons: ["x"]).isWell)
        #expect(!snapshot([table("orders", state: "! durable: damaged")]).isWell)
    }

    @Test func ratesAreRowsASecondBetweenTwoLooks() {
        var history = RateHistory()
        history.add(snapshot([table("orders", durable: 100)]), at: 0)
        #expect(history.rates["orders"] == [])
        history.add(snapshot([table("orders", durable: 350), table("fills", durable: 10)]), at: 500_000_000)
        // A spool that was replaced by another one is no rate of less than nothing.
        history.add(snapshot([table("orders", durable: 0)]), at: 1_500_000_000)
        #expect(history.rates["orders"] == [500, 0] && history.rates["fills"] == [20])
        for second in 0..<200 { history.add(snapshot([table("orders")]), at: Int64(second + 2) * 1_000_000_000) }
        #expect(history.rates["orders"]?.count == 64)
    }
}
