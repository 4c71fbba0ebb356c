import Testing

@testable import spool_loader

/// What an answer means: success only where nothing at all speaks against it.
@Suite struct ServerAnswerTests {
    private func answer(_ status: Int, _ headers: [String: String] = [:], _ body: String = "") -> ServerAnswer {
        ServerAnswer(.answered(status: status, headers: headers, body: Array(body.utf8)))
    }

    @Test func status200WithoutAnErrorIsSuccess() {
        guard case .ok(let body) = answer(200, ["content-type": "text/plain"], "1\n") else {
            Issue.record("not a success")
            return
        }
        #expect(body == Array("1\n".utf8))
    }

    @Test func anExceptionHeaderOutweighsStatus200() {
        #expect(answer(200, ["x-clickhouse-exception-code": "241"]).kind == .exception(241))
    }

    @Test(arguments: ["", "none", "60 ", " 60", "99999999999999999999999", "-"])
    func anExceptionHeaderThatIsNoNumberIsNoSuccessEither(value: String) {
        #expect(answer(200, ["x-clickhouse-exception-code": value]).kind != .ok)
    }

    @Test func theHeaderNamesTheCode() {
        let answer = answer(404, ["x-clickhouse-exception-code": "60"], "Code: 60. DB::Exception: no table\nstack\n")
        #expect(answer.kind == .exception(60))
        #expect(answer.problem == "Code: 60. DB::Exception: no table")
    }

    @Test func oldServersNameTheCodeInTheText() {
        #expect(answer(404, [:], "Code: 60, e.displayText() = DB::Exception: Table default.trades doesn't exist.").kind == .exception(60))
    }

    @Test(arguments: [401, 403, 404, 500, 502, 503, 204, 301, 100])
    func anyOtherStatusIsDoubt(status: Int) {
        let answer = answer(status, [:], "<html>\nBad gateway")
        #expect(answer.kind == .doubt)
        #expect(answer.problem == "HTTP status \(status): <html>")
    }

    @Test func aTextThatLooksLikeAnErrorIsNoneUnderStatus200() {
        #expect(answer(200, [:], "Code: 60, said a row").kind == .ok)
    }

    @Test(arguments: ["Code: ", "Code: x", "Code: 99999999999999999999", "code: 60"])
    func aTextWithoutACodeIsDoubt(text: String) {
        #expect(answer(500, [:], text).kind == .doubt)
    }

    @Test func bytesThatAreNoTextDoNotTrap() {
        let bytes = (0..<4_000).map { UInt8(truncatingIfNeeded: $0 &* 37) }
        for status in [200, 500] {
            #expect(!ServerAnswer(.answered(status: status, headers: [:], body: bytes)).problem.isEmpty)
        }
    }

    @Test func aLongErrorIsCutForTheLog() {
        #expect(answer(500, [:], String(repeating: "x", count: 9_000)).problem.count < 400)
    }

    @Test func whatNeverLeftIsKeptApartFromWhatBroke() {
        #expect(ServerAnswer(.unreachable("no")).kind == .unreachable)
        #expect(ServerAnswer(.broken("no")).kind == .doubt)
    }
}
