import Foundation
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
        #expect(answer.problem == "Code: 60. DB::Exception: no table stack")
    }

    @Test func oldServersNameTheCodeInTheText() {
        #expect(answer(404, [:], "Code: 60, e.displayText() = DB::Exception: Table default.trades doesn't exist.").kind == .exception(60))
    }

    @Test(arguments: [401, 403, 404, 500, 502, 503, 204, 301, 100])
    func anyOtherStatusIsDoubt(status: Int) {
        let answer = answer(status, [:], "<html>\nBad gateway")
        #expect(answer.kind == .doubt)
        #expect(answer.problem.hasPrefix("HTTP status \(status)"))
        #expect(answer.problem.contains(": Bad gateway"))
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
        #expect(answer(500, [:], String(repeating: "x", count: 9_000)).problem.count == 300)
    }

    @Test func whatNeverLeftIsKeptApartFromWhatBroke() {
        #expect(ServerAnswer(.unreachable("no", .refused)).kind == .unreachable)
        #expect(ServerAnswer(.broken("no", .closed)).kind == .doubt)
    }

    // MARK: Errors that come late

    private static let error =
        "Code: 395. DB::Exception: Value passed to 'throwIf' function is non-zero. (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)"

    @Test func anErrorBehindRowsIsSeenUnderStatus200() {
        let late = "1\n2\n" + Self.error + " (version 24.8.1.1 (official build))\n"
        #expect(answer(200, [:], late).kind == .exception(395))
        #expect(answer(200, [:], Self.error).kind == .exception(395))
        #expect(answer(200, [:], "Code: 60, e.displayText() = DB::Exception: no table\n").kind == .exception(60))
    }

    @Test func anErrorInItsFrameIsSeenAndReadWithoutTheFrame() {
        let tag = "dngjzjnxkvlwkeua"
        let body = "1\n2\n\r\n__exception__\r\n\(tag)\r\n\(Self.error)\n\(Self.error.utf8.count) \(tag)\r\n__exception__\r\n"
        let late = answer(200, ["x-clickhouse-exception-tag": tag], body)
        #expect(late.kind == .exception(395))
        #expect(late.problem == Self.error)
        #expect(late.reaction == .configuration)
        // The tag is random, so that rows cannot hold it by chance.
        #expect(answer(200, ["x-clickhouse-exception-tag": "other"], body).kind == .ok)
        #expect(answer(200, ["x-clickhouse-exception-tag": tag], "1\n2\n").kind == .ok)
    }

    @Test func anErrorInAFrameIsSeenBehindManyMegabytesOfRows() {
        let tag = "dngjzjnxkvlwkeua"
        let rows = [UInt8](repeating: 0x31, count: 4 << 20)
        let frame = Array("\r\n__exception__\r\n\(tag)\r\n\(Self.error)\n9 \(tag)\r\n__exception__\r\n".utf8)
        #expect(
            ServerAnswer(.answered(status: 200, headers: ["x-clickhouse-exception-tag": tag], body: rows + frame)).kind == .exception(395))
    }

    @Test(arguments: [
        "Code: 60. and so on", "rows\nCode: 60. DB::Exception: said a row", "Code: 60", "1\tCode: 60. DB::Exception: x (version 1)\t2\n",
    ])
    func rowsThatSpeakOfErrorsAreRows(text: String) {
        #expect(answer(200, [:], text).kind == .ok)
    }

    @Test func textAfterAnInsertIsNoSuccess() {
        #expect(answer(200, [:], Self.error).toInsert.kind == .exception(395))
        #expect(answer(200, [:], "1\n").toInsert.kind == .doubt)
        #expect(answer(200).toInsert.kind == .ok)
        #expect(answer(200, [:], "<html><title>Log in</title></html>").toInsert.reaction == .backOff)
    }

    // MARK: What stands before ClickHouse

    @Test func aRedirectSaysWhereItPointsAndWhatToDo() {
        let answer = answer(307, ["location": "https://ch.example:8443/"])
        #expect(answer.reaction == .configuration)
        #expect(answer.problem == "HTTP status 307 points to https://ch.example:8443/; set loader.url to the address that answers itself")
    }

    @Test func somethingThatIsNoClickHouseIsNamed() {
        let answer = answer(404, [:], "<!doctype html><html><head><TITLE>\n404 Not Found\n</TITLE></head><body>a lot</body></html>")
        #expect(answer.reaction == .configuration)
        #expect(
            answer.problem
                == "HTTP status 404 (something answers, but is no ClickHouse): 404 Not Found; set loader.url to ClickHouse's http://HOST:PORT, without a path"
        )
    }

    @Test func aBodyThatIsTooLargeForAProxySaysWhichSettingsToMend() {
        let text = answer(413, [:], "<html><h1>413 Request Entity Too Large</h1></html>").problem
        #expect(text.contains("client_max_body_size") && text.contains("loader.batch_bytes"))
    }

    @Test func theOldServersRefusalOfAPasswordIsConfiguration() {
        let old = answer(
            401, [:], "Code: 193, e.displayText() = DB::Exception: Wrong password for user default, e.what() = DB::Exception\n")
        #expect(old.kind == .exception(193))
        #expect(old.reaction == .configuration)
    }

    @Test(arguments: [
        ("1", 1), ("120", 120), ("3600", 3_600), ("0", nil), ("-5", nil), ("3601", nil), ("99999999999999999999", nil), ("soon", nil),
        ("", nil),
        ("Wed, 25 Nov 2026 22:00:30 GMT", 30), ("Wed, 25 Nov 2026 21:00:00 GMT", nil), ("Wed, 25 Nov 2027 22:00:30 GMT", nil),
        ("Wed, 31 Feb 2026 22:00:30 GMT", nil),
    ])
    func retryAfterIsALowerBoundIfItIsSane(value: String, seconds: Int64?) {
        let answer = answer(503, ["retry-after": value, "date": "Wed, 25 Nov 2026 22:00:00 GMT"])
        #expect(answer.retryAfter == seconds.map { $0 * 1_000_000_000 })
        #expect(answer.reaction == .backOff)
    }

    @Test func aDateNeedsTheServersOwnDate() {
        #expect(answer(503, ["retry-after": "Wed, 25 Nov 2026 22:00:30 GMT"]).retryAfter == nil)
    }

    // MARK: What people see

    @Test(arguments: ["gzip", "zstd", "br", "deflate", "lz4"])
    func aCompressedAnswerIsNamedAndNotShown(encoding: String) {
        let bytes: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0]
        let refused = ServerAnswer(.answered(status: 502, headers: ["content-encoding": encoding], body: bytes))
        #expect(refused.problem == "HTTP status 502: 8 bytes compressed with \(encoding), not shown")
        let accepted = ServerAnswer(.answered(status: 200, headers: ["content-encoding": encoding], body: bytes))
        #expect(accepted.kind == .doubt)
    }

    @Test(arguments: [
        ([UInt8](arrayLiteral: 0x1F, 0x8B, 8), "gzip"), ([0x28, 0xB5, 0x2F, 0xFD, 1], "zstd"), ([0x04, 0x22, 0x4D, 0x18, 1], "lz4"),
    ])
    func compressionIsToldByTheFirstBytesToo(bytes: [UInt8], name: String) {
        #expect(
            ServerAnswer(.answered(status: 500, headers: [:], body: bytes)).problem
                == "HTTP status 500: \(bytes.count) bytes compressed with \(name), not shown")
    }

    @Test func binaryIsNotShown() {
        let text = ServerAnswer(.answered(status: 500, headers: [:], body: [0, 1, 2, 255])).problem
        #expect(text == "HTTP status 500: 4 bytes that are no text: 00 01 02 ff")
    }

    @Test func aProblemIsOneCleanLineOfAtMost300() {
        let nasty = "\u{1B}[31mred\u{07}\r\n\u{202E}gnp\u{2028}next\u{200B}\t\tend" + String(repeating: "\u{301}", count: 1_000)
        for answer in [
            answer(500, [:], nasty), answer(307, ["location": nasty]), answer(404, [:], nasty), answer(200, [:], nasty).toInsert,
            answer(500, ["x-clickhouse-exception-code": "60"], "Code: 60. DB::Exception: " + nasty + " (UNKNOWN_TABLE) (version 1)"),
            answer(500, ["x-clickhouse-exception-code": nasty], nasty), .unreachable(nasty), .doubt(nasty),
            .unreachable(nasty, .tls),
        ] {
            let scalars = answer.problem.unicodeScalars
            #expect(scalars.count <= 300 && !scalars.isEmpty)
            #expect(
                scalars.allSatisfy { ![.control, .format, .lineSeparator].contains($0.properties.generalCategory) }, "\(answer.problem)")
        }
    }

    @Test func aLongErrorKeepsItsName() {
        let text = "Code: 60. DB::Exception: " + String(repeating: "x ", count: 500) + "(UNKNOWN_TABLE) (version 26.9.2.1)"
        let problem = answer(404, ["x-clickhouse-exception-code": "60"], text).problem
        #expect(problem.hasPrefix("Code: 60. DB::Exception: x x") && problem.hasSuffix("… (UNKNOWN_TABLE)"))
    }

    /// Found by the fuzzer: room for the text is what the name leaves, and a name can be of any length.
    @Test(arguments: [10, 63, 64, 65, 280, 299, 300, 301, 5_000]) func aNameOfAnyLengthLeavesAProblemOfALine(_ length: Int) {
        let name = String(repeating: "N", count: length)
        let text = "Code: 60. DB::Exception: \(String(repeating: "x", count: 400)). (\(name)) (version 26.5.1.1)"
        let problem = answer(404, ["x-clickhouse-exception-code": "60"], text).problem
        #expect(problem.unicodeScalars.count <= 300 && problem.hasPrefix("Code: 60. DB::Exception: x"), "\(problem.count)")
    }

    @Test func anErrorWithoutATextIsNamedFromTheTable() {
        #expect(answer(500, ["x-clickhouse-exception-code": "241"]).problem == "ClickHouse error 241 (MEMORY_LIMIT_EXCEEDED)")
        #expect(answer(500, ["x-clickhouse-exception-code": "9999"]).problem == "ClickHouse error 9999")
    }

    @Test(arguments: ["hunter2", "a", "p&ss<w>\"'d", "two  spaces", "100%/ä", "back\\slash\"", "***", "\u{301}accent"])
    func aPasswordIsTakenOutOfEveryText(secret: String) {
        let page = secret.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;").replacingOccurrences(
            of: ">", with: "&gt;"
        )
        .replacingOccurrences(of: "\"", with: "&quot;").replacingOccurrences(of: "'", with: "&#39;")
        let encoded = [CharacterSet.alphanumerics, .urlPathAllowed, .urlQueryAllowed, CharacterSet()].map {
            secret.addingPercentEncoding(withAllowedCharacters: $0) ?? ""
        }
        for echoed in [secret, page] + encoded + encoded.map({ $0.lowercased() }).filter({ secret.lowercased() == secret && !$0.isEmpty }) {
            let said = "X-ClickHouse-Key: \(echoed)|"
            for answer in [
                answer(500, [:], said), answer(401, [:], said), answer(302, ["location": "/?password=\(echoed)|"]),
                answer(200, [:], said).toInsert,
                answer(403, ["x-clickhouse-exception-code": "516"], "Code: 516. DB::Exception: \(said)"), .doubt(said), .unreachable(said),
            ] {
                let line = answer.scrubbed(["", secret])
                #expect(line.contains("***"), "\(line)")
                #expect(secret == "***" || !line.contains(echoed) || echoed == "a", "\(line)")
                #expect(line == answer.withoutSecrets([secret]).problem)
            }
        }
    }

    @Test func aPasswordThatTheCutWouldSplitIsTakenOutBefore() {
        for padding in 250...310 {
            let text = String(repeating: "x", count: padding) + "hunter2hunter2"
            #expect(!answer(500, [:], text).scrubbed(["hunter2hunter2"]).contains("hun"), "\(padding)")
        }
    }
}
