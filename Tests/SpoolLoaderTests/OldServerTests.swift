import Glibc
import SpoolFormat
import SpoolTesting
import Synchronization
import Testing

@testable import spool_loader

/// Servers before 22.2: what they are asked, what they are sent, and when a batch may be sent to them again.
@Suite struct OldServerTests {
    private static let old = ServerVersion(18, 16)

    // MARK: Versions

    @Test(arguments: [
        ("18.16.1", 18, 16), ("26.9.2.1", 26, 9), ("22.2.3.5-altinity", 22, 2), ("22.2", 22, 2),
    ])
    func versionsAreRead(text: String, year: Int, release: Int) {
        #expect(ServerVersion(text) == ServerVersion(year, release))
    }

    @Test(arguments: ["", "x", "22", "22.", ".2", "twenty.two", "99999999999999999999.1"])
    func whatIsNoVersionIsNone(text: String) { #expect(ServerVersion(text) == nil) }

    @Test func theVersionDecidesUnlessTheSettingDoes() {
        for (version, knowsTokens) in [
            (Self.old, false), (ServerVersion(22, 1), false), (ServerVersion(22, 2), true), (ServerVersion(26, 9), true),
        ] {
            #expect(Dialect(version: version).knowsTokens == knowsTokens)
            #expect(Dialect(version: version).isPlain == !knowsTokens)
            #expect(Dialect(version: version, wire: .plain).isPlain && !Dialect(version: version, wire: .lz4).isPlain)
            #expect(Dialect(version: version, wire: .plain).knowsTokens == knowsTokens)
        }
        #expect(!Dialect().isPlain && Dialect().knowsTokens)
    }

    // MARK: The target

    private func table(_ columns: [String: String], version: String = "18.16.1", wire: Dialect.Wire = .auto) throws -> TargetTable {
        let text =
            "version\t\t\(version)\nengine\t\tMergeTree ORDER BY ts SETTINGS non_replicated_deduplication_window = 100\n"
            + columns.map { "column\t\($0)\t\($1)\n" }.joined()
        return try #require(TargetTable(answer: Array(text.utf8), wire: wire))
    }

    @Test(arguments: [
        ("Int64", "DateTime64(9, 'UTC')"), ("UInt8", "Bool"), ("Nullable(Int64)", "Nullable(DateTime64(9, 'UTC'))"),
        ("Array(UInt8)", "Array(Bool)"),
        ("Array(Int64)", "Array(DateTime64(9, 'UTC'))"), ("Float64", "Float64"), ("DateTime", "DateTime('UTC')"),
        ("Enum8('b' = 1, 'a' = 2)", "Enum8('a' = 2, 'b' = 1)"),
    ])
    func anOldTableMayHaveTheTypeOfTheSameBytes(target: String, wire: String) throws {
        let columns = [WireColumn(name: "x", type: wire)]
        #expect(try table(["x": target]).complaint(about: columns) == nil)
        // To the letter: it compares the texts.
        #expect(try table(["x": target]).sentTypes(columns) == [target])
    }

    @Test(arguments: [("Int64", "DateTime64(9, 'UTC')"), ("UInt8", "Bool")])
    func aNewServerWouldConvertThem(target: String, wire: String) throws {
        let columns = [WireColumn(name: "x", type: wire)]
        #expect(
            try table(["x": target], version: "26.9.1.1").complaint(about: columns)
                == "column x is \(wire) in the spool and \(target) in ClickHouse, which would convert it silently")
        #expect(try table(["x": target], version: "26.9.1.1", wire: .plain).complaint(about: columns) == nil)
    }

    @Test(arguments: [
        ("UInt64", "DateTime64(9, 'UTC')", "Int64"), ("Int64", "Nullable(DateTime64(9, 'UTC'))", "Nullable(Int64)"),
        ("Int8", "Bool", "UInt8"),
    ])
    func whatAnOldTableMustHaveIsSaid(target: String, wire: String, wanted: String) throws {
        #expect(
            try table(["x": target]).complaint(about: [WireColumn(name: "x", type: wire)])
                == "column x is \(wire) in the spool and \(target) in ClickHouse, which must have it as \(wanted)")
    }

    @Test func dictionariesAreSentOnlyIntoColumnsThatStoreThem() throws {
        let wire = [WireColumn(name: "x", type: "LowCardinality(String)")]
        #expect(try table(["x": "String"]).sentTypes(wire) == ["String"])
        #expect(try table(["x": "LowCardinality(String)"]).sentTypes(wire) == ["LowCardinality(String)"])
        #expect(try table(["x": "LowCardinality(String)"]).sentTypes([WireColumn(name: "x", type: "String")]) == ["String"])
        #expect(
            try table(["x": "LowCardinality(Nullable(String))"]).sentTypes([WireColumn(name: "x", type: "Nullable(String)")])
                == ["Nullable(String)"])
    }

    @Test func timesAreAskedForAsTheColumnHasThem() throws {
        #expect(try table(["ts": "Int64"]).timeText("ts", -5) == "-5")
        #expect(
            try table(["ts": "DateTime64(9, 'Europe/Berlin')"], version: "26.9").timeText("ts", 7) == "fromUnixTimestamp64Nano(7, 'UTC')")
    }

    @Test func anOldTableNeverDeduplicates() throws {
        #expect(try !table([:]).deduplicates && table([:], version: "22.2.1").deduplicates)
    }

    // MARK: The insert

    @Test func anOldServerGetsNoSettingThatItDoesNotKnow() throws {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        #expect(try ClickHouse(server).insert(token: "w/trades/1-2/a'b/0", dialect: Dialect(version: Self.old)).kind == .ok)
        let request = try #require(server.requests.first)
        #expect(request.parameters["query_id"] == "w/trades/1-2/a'b/0")
        for name in ["insert_deduplication_token", "async_insert", "input_format_null_as_default"] {
            #expect(request.parameters[name] == nil)
        }
        #expect(request.headers["content-encoding"] == "gzip" && request.headers["expect"] == "100-continue")
        #expect(request.isComplete && request.body == Array("rows".utf8))
    }

    @Test func aNewServerThatIsSentPlainKeepsTheTokenNet() throws {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        #expect(try ClickHouse(server).insert(token: "t", dialect: Dialect(wire: .plain)).kind == .ok)
        let request = try #require(server.requests.first)
        #expect(request.parameters["insert_deduplication_token"] == "t" && request.parameters["async_insert"] == "0")
        #expect(request.headers["content-encoding"] == "gzip" && request.headers["expect"] == nil)
    }

    @Test func aServerThatDoesNotAskForTheBodyGetsNoneOfIt() throws {
        for reply in [RawServer.Reply.hang, .close, .reset] {
            let server = RawServer(beforeBody: { _ in reply }, { _ in .ok() })
            defer { server.stop() }
            let answer = try ClickHouse(server, timeout: "1s").insert(dialect: Dialect(version: Self.old))
            #expect(answer.kind == .unreachable)
            #expect(!answer.leavesInsertOpen)
            #expect(server.requests.allSatisfy { $0.body.isEmpty && !$0.isComplete })
        }
    }

    @Test func aRefusalBeforeTheBodyIsTheServersAnswer() throws {
        let refusal = Array("Code: 193, e.displayText() = DB::Exception: Wrong password".utf8)
        let server = RawServer(beforeBody: { _ in .answer(401, body: refusal) }, { _ in .ok() })
        defer { server.stop() }
        #expect(try ClickHouse(server).insert(dialect: Dialect(version: Self.old)).kind == .exception(193))
    }

    @Test func aServerThatTookTheBodyAndIsSilentMayStillBeAtWork() throws {
        for reply in [RawServer.Reply.hang, .close, .reset, .raw("HTTP/1.1 200")] {
            let server = RawServer { _ in reply }
            defer { server.stop() }
            // Long enough for the body to leave, however busy the machine is.
            let answer = try ClickHouse(server, timeout: "10s").insert(dialect: Dialect(version: Self.old))
            #expect(answer.kind == .doubt && answer.leavesInsertOpen)
        }
    }

    @Test func eachInsertHasAConnectionOfItsOwn() throws {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        let client = try ClickHouse(server)
        for _ in 0..<3 {
            #expect(client.insert(dialect: Dialect(version: Self.old)).kind == .ok)
            #expect(client.answer().kind == .ok)
        }
        let inserts = server.requests.filter { $0.parameters["query"] != nil }
        #expect(Set(inserts.map(\.connection)).count == 3)
        #expect(
            Set(server.requests.filter { $0.parameters["query"] == nil }.map(\.connection)).isDisjoint(with: inserts.map(\.connection)))
    }

    /// A body whose bytes never come to an end that the server could see: it waits until the timeout.
    private struct StalledBody: RequestBody {
        let count = 64 << 20
        func read(into room: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
            room.initializeMemory(as: UInt8.self, repeating: 7)
            return room.count
        }
    }

    @Test func nothingOfABodyThatWasBrokenOffIsSentOn() throws {
        // A server that asks for the body and then reads none of it, until the client has given up.
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && getsockname(listener, $0, &size) == 0 && listen(listener, 1) == 0
            }
        }
        try #require(isListening)
        let settings = try configuration([
            "loader.url": "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))", "loader.timeout": "5s",
        ])
        let client = try ClickHouse(configuration: settings, http: HTTPClient())
        var answer: ServerAnswer?
        client.insert(StalledBody(), table: "t", columns: [], token: "t", dialect: Dialect(version: Self.old)) { answer = $0 }
        client.http.wait(milliseconds: 100)
        let connection = accept(listener, nil, nil)
        defer { close(connection) }
        let go = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
        #expect(send(connection, go, go.count, Int32(MSG_NOSIGNAL)) == go.count)
        while answer == nil { client.http.wait(milliseconds: 100) }
        #expect(answer?.kind == .doubt)
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var last = 0
        repeat { last = recv(connection, &buffer, buffer.count, 0) } while last > 0
        // Reset, and not an orderly end: an orderly one would come after all that the kernel had taken.
        #expect(last == -1 && errno == ECONNRESET)
    }

    @Test func thatTheSameInsertStillRunsLeavesItOpen() {
        #expect(ServerAnswer.exception(code: 216, text: "").leavesInsertOpen)
        #expect(!ServerAnswer.exception(code: 60, text: "").leavesInsertOpen)
        #expect(!ServerAnswer.ok([]).leavesInsertOpen && ServerAnswer.doubt("").leavesInsertOpen)
    }

    @Test func itIsAskedForByItsID() throws {
        let server = RawServer { _ in .ok("1\n") }
        defer { server.stop() }
        let client = try ClickHouse(server)
        var answer: ServerAnswer?
        client.askWhetherRunning("w/it's/1-2") { answer = $0 }
        while answer == nil { client.http.wait(milliseconds: 100) }
        #expect(answer?.kind == .ok)
        #expect(
            server.requests.map { String(decoding: $0.body, as: UTF8.self) }
                == ["SELECT count() FROM system.processes WHERE query_id = 'w/it\\'s/1-2' FORMAT TSV"])
    }

    // MARK: When it is over

    @Test func anInsertIsOverWhenItWasNotSeenForAWhile() {
        var settling = Settling()
        var now: Int64 = 5
        var answers = 0
        while !settling.isOver(isRunning: false, now: now) {
            now += Settling.askAgainAfter
            answers += 1
        }
        #expect(now - 5 == Settling.quietTime && answers == 10)
    }

    @Test func anInsertThatIsSeenIsNotOver() {
        var settling = Settling()
        let answers = (0..<1_000).map { settling.isOver(isRunning: $0 % 9 == 0, now: Int64($0) * Settling.askAgainAfter) }
        #expect(answers.allSatisfy { !$0 })
    }

    @Test func timeInWhichTheServerDidNotAnswerCountsForLittle() {
        var settling = Settling()
        let answers = [0, 3_600_000_000_000, 7_200_000_000_000].map { settling.isOver(isRunning: false, now: $0) }
        #expect(answers == [false, false, false])
    }
}
