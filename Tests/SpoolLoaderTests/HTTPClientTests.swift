import Glibc
import SpoolIO
import SpoolTesting
import Synchronization
import Testing

@testable import spool_loader

/// The client against a server that misbehaves in every way: nothing traps, nothing hangs, and doubt stays doubt.
@Suite struct HTTPClientTests {
    private func kind(_ reply: RawServer.Reply, timeout: String = "5s") throws -> ServerAnswer.Kind {
        let server = RawServer { _ in reply }
        defer { server.stop() }
        return try ClickHouse(server, timeout: timeout).insert().kind
    }

    @Test func anEmptyAnswerWith200IsSuccess() throws {
        #expect(try kind(.ok()) == .ok)
    }

    @Test func anyTextAfterAnInsertIsNoSuccess() throws {
        #expect(try kind(.ok("Code: 241. DB::Exception: Memory limit exceeded")) == .exception(241))
        #expect(try kind(.ok("\n")) == .doubt)
    }

    @Test func anExceptionHeaderIsSeenWhateverStandsAroundIt() throws {
        #expect(try kind(.answer(200, headers: ["X-ClickHouse-Exception-Code: 241"])) == .exception(241))
        #expect(try kind(.answer(200, headers: ["x-clickhouse-exception-code:241"])) == .exception(241))
        #expect(try kind(.answer(200, headers: ["X-CLICKHOUSE-EXCEPTION-CODE: \t241 \t"])) == .exception(241))
        #expect(try kind(.answer(200, headers: (0..<500).map { "X-Filler-\($0): x" } + ["X-ClickHouse-Exception-Code: 241"])) != .ok)
    }

    @Test func anExceptionHeaderInATrailerIsSeen() throws {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-ClickHouse-Exception-Code: 241\r\n\r\n"
        #expect(try kind(.raw(answer)) == .exception(241))
    }

    @Test func errorsOfClickHouseCarryTheirCode() throws {
        #expect(try kind(.exception(60, status: 404)) == .exception(60))
        #expect(try kind(.exception(252)) == .exception(252))
        #expect(try kind(.answer(500, body: Array("Code: 60, e.displayText()".utf8))) == .exception(60))
        #expect(try kind(.answer(401)) == .doubt)
        #expect(try kind(.answer(503, headers: ["Retry-After: 1"])) == .doubt)
    }

    @Test func anAnswerThatIsThereBeforeTheWaitIsNotSleptOver() throws {
        let hasCome = Atomic(false)
        let mayAnswer = Atomic(false)
        let server = RawServer { _ in
            hasCome.store(true, ordering: .sequentiallyConsistent)
            while !mayAnswer.load(ordering: .sequentiallyConsistent) { usleep(1_000) }
            return .ok()
        }
        defer { server.stop() }
        let http = HTTPClient()
        var isDone = false
        http.start(HTTPRequest(url: server.url, headers: [], body: BytesBody([1]), timeout: 20_000_000_000, maxAnswerBytes: 100)) { _ in
            isDone = true
        }
        while !hasCome.load(ordering: .sequentiallyConsistent) { http.wait(milliseconds: 1) }
        mayAnswer.store(true, ordering: .sequentiallyConsistent)
        usleep(200_000)
        let before = Clock.monotonic()
        while !isDone { http.wait(milliseconds: 5_000) }
        #expect(Clock.monotonic() - before < 4_000_000_000)
    }

    @Test func aRedirectIsNotFollowed() throws {
        #expect(try kind(.answer(307, headers: ["Location: http://127.0.0.1:1/"])) == .doubt)
    }

    @Test(arguments: [
        RawServer.Reply.close, .reset, .raw("HTTP/1.1 200 OK\r\n"), .raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        .raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123"), .raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        .raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12"),
        .raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        .raw("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
        .raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\nfail"),
        .raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\nfail"),
        .raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
    ])
    func anAnswerThatIsCutShortIsDoubt(reply: RawServer.Reply) throws {
        #expect(try kind(reply) == .doubt)
    }

    @Test(arguments: [
        "garbage\n", "\0\0\0\0", "\u{16}\u{3}\u{1}", "SSH-2.0-OpenSSH\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 \r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
    ])
    func bytesThatAreNoHTTPAreDoubtSinceTheServerHasTheRows(text: String) throws {
        // Not "unreachable": the request was sent, whatever came back.
        #expect(try kind(.raw(text)) == .doubt)
    }

    @Test func aServerThatHangsIsDoubtAfterTheTimeout() throws {
        #expect(try kind(.hang, timeout: "1s") == .doubt)
        #expect(try kind(.rawAndOpen("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12"), timeout: "1s") == .doubt)
    }

    @Test(arguments: [
        RawServer.Reply.endless("HTTP/1.1 200 OK\r\n", "X-Endless: 1234567890\r\n"),
        .endless("HTTP/1.1 200 OK\r\nX: ", "xxxxxxxxxxxxxxxxxxxx"),
        .endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "8\r\n12345678\r\n"),
        .endless("HTTP/1.1 200 OK\r\n\r\n", "12345678"), .endless("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ])
    func anEndlessAnswerIsCutOff(reply: RawServer.Reply) throws {
        #expect(try kind(reply, timeout: "3s") == .doubt)
    }

    @Test func aFailureSaysWhatExactlyItWasAndWhatToDo() throws {
        func answer(_ url: String) throws -> ServerAnswer {
            try ClickHouse(configuration: configuration(["loader.url": url, "loader.timeout": "2s"]), http: HTTPClient()).insert()
        }
        let refused = try answer("http://127.0.0.1:1")
        #expect(refused.reaction == .backOff && !refused.alarms && refused.problem.contains("127.0.0.1 port 1"))
        let unknown = try answer("http://nowhere.invalid:1")
        #expect(unknown.reaction == .backOff && unknown.alarms && unknown.problem.contains("nowhere.invalid"))
        let server = RawServer { _ in .raw("SSH-2.0-OpenSSH\r\n") }
        defer { server.stop() }
        let noHTTP = try ClickHouse(server).insert()
        #expect(noHTTP.reaction == .backOff && noHTTP.alarms)
        let closing = RawServer { _ in .close }
        defer { closing.stop() }
        #expect(try ClickHouse(closing).insert().reaction == .retryNow)
    }

    @Test func aPasswordThatComesBackIsNotShown() throws {
        let server = RawServer { .answer(500, body: Array("you sent \($0.headers["x-clickhouse-key"] ?? "nothing")".utf8)) }
        defer { server.stop() }
        let home = TemporaryDirectory()
        try Bytes.write(Array("hunter2\n".utf8), to: home.file("password"))
        let client = try ClickHouse(
            configuration: configuration(["loader.url": server.url, "loader.password_file": home.file("password")]), http: HTTPClient())
        #expect(client.insert().problem == "HTTP status 500: you sent ***")
        #expect(client.answer().problem == "HTTP status 500: you sent ***")
    }

    @Test func nobodyAtThePortIsUnreachable() throws {
        let server = RawServer { _ in .ok() }
        server.stop()
        #expect(try ClickHouse(server).insert().kind == .unreachable)
    }

    @Test func aNameThatDoesNotResolveIsUnreachable() throws {
        let client = try ClickHouse(configuration: configuration(["loader.url": "http://nowhere.invalid:1"]), http: HTTPClient())
        #expect(client.insert().kind == .unreachable)
    }

    @Test func theBodyArrivesByteForByte() throws {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        let client = try ClickHouse(server)
        for count in [1, 1_000, 65_536, 3_000_001] {
            let body = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            #expect(client.insert(body).kind == .ok)
            #expect(server.requests.last?.body == body)
        }
        #expect(Set(server.requests.map(\.connection)).count == 1, "the connection is kept alive")
    }

    @Test func manyRequestsRunAtOnce() throws {
        let server = RawServer { request in
            usleep(200_000)
            return .ok("\(request.parameters["database"] ?? "")")
        }
        defer { server.stop() }
        let client = try ClickHouse(server)
        var answers = 0
        for _ in 0..<8 { client.query("SELECT 1") { if case .ok = $0 { answers += 1 } } }
        while !client.http.isIdle { client.http.wait(milliseconds: 100) }
        #expect(answers == 8)
    }
}
