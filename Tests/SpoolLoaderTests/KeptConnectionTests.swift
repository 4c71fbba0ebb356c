import Glibc
import Testing

@testable import spool_loader

/// A kept-alive connection that ends as the next request comes: libcurl likes to send that request again by itself, and then
/// one success could be the second of two sends.
@Suite struct KeptConnectionTests {
    private static let body = [UInt8](repeating: 7, count: 300_000)

    /// One query to warm the connection up, then an insert; gives what came of it and what the server saw of the insert.
    private func insertOnAKeptConnection(
        _ body: [UInt8], beforeBody: RawServer.Interruption? = nil, _ reply: @escaping @Sendable () -> RawServer.Reply
    ) throws -> (answer: ServerAnswer.Kind, whole: Int, server: RawServer) {
        let server = RawServer(beforeBody: beforeBody) { $0.parameters["query"] == nil ? .ok("1") : reply() }
        let client = try ClickHouse(server, timeout: "2s")
        #expect(client.answer().kind == .ok)
        let answer = client.insert(body)
        usleep(50_000)
        return (answer.kind, server.requests.count { $0.parameters["query"] != nil && $0.isComplete }, server)
    }

    @Test(arguments: [1, 300_000])
    func anInsertWhoseConnectionEndsUnansweredIsSentOnce(bytes: Int) throws {
        let (answer, whole, server) = try insertOnAKeptConnection(Array(Self.body[..<bytes])) { .close }
        defer { server.stop() }
        #expect(whole == 1)
        #expect(answer == .doubt)
    }

    @Test(arguments: [1, 300_000])
    func anInsertWhoseConnectionIsResetIsSentOnce(bytes: Int) throws {
        let (answer, whole, server) = try insertOnAKeptConnection(Array(Self.body[..<bytes])) { .reset }
        defer { server.stop() }
        #expect(whole == 1)
        #expect(answer == .doubt)
    }

    @Test(arguments: [1, 300_000, 8_000_000])
    func aConnectionThatEndsBeforeTheBodyIsReadLeavesAtMostOneWholeSend(bytes: Int) throws {
        for reply in [RawServer.Reply.close, .reset] {
            let body = [UInt8](repeating: 7, count: bytes)
            let (answer, whole, server) = try insertOnAKeptConnection(
                body, beforeBody: { $0.number == 1 ? reply : nil }, { .ok() })
            defer { server.stop() }
            // Sent again by libcurl it may be, if the server then has it exactly once and nothing is cut off.
            #expect(whole == (answer == .ok ? 1 : 0), "\(answer)")
            #expect(answer == .ok || answer == .doubt)
            for request in server.requests where request.isComplete && request.parameters["query"] != nil { #expect(request.body == body) }
        }
    }

    @Test func anInsertThatWasTakenBeforeTheServerWentAwayIsDoubtAndNotUnreachable() throws {
        // The listener goes with the connection: a second try of libcurl finds nobody.
        let box = ServerBox()
        let server = RawServer { request in
            if request.parameters["query"] == nil { return .ok("1") }
            box.server?.stop()
            return .close
        }
        box.server = server
        let client = try ClickHouse(server, timeout: "2s")
        #expect(client.answer().kind == .ok)
        #expect(client.insert(Self.body).kind == .doubt)
    }

    @Test func aConnectionThatTheServerClosedBetweenRequestsIsReplaced() throws {
        let server = RawServer { request in
            request.number == 0 ? .raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") : .ok()
        }
        defer { server.stop() }
        let client = try ClickHouse(server)
        #expect(client.answer().kind == .ok)
        usleep(50_000)
        #expect(client.insert(Self.body).kind == .ok)
        #expect(server.requests.count { $0.isComplete } == 2)
    }

    @Test func aSuccessBeforeTheWholeBodyIsThereIsNone() throws {
        let early = RawServer.Reply.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        let (answer, _, server) = try insertOnAKeptConnection(
            [UInt8](repeating: 7, count: 16_000_000), beforeBody: { $0.number == 1 ? early : nil }, { .ok() })
        defer { server.stop() }
        #expect(answer == .doubt)
    }

    // MARK: Answers to other requests

    /// Answers that name the query as ClickHouse does, but for one.
    private func answers(_ inserts: Int, name: @escaping @Sendable (RawServer.Request) -> String?) throws -> (
        kinds: [ServerAnswer.Kind], connections: Int
    ) {
        let server = RawServer { request in
            .answer(200, headers: name(request).map { ["X-ClickHouse-Query-Id: \($0)"] } ?? [])
        }
        defer { server.stop() }
        let client = try ClickHouse(server, timeout: "2s")
        let kinds = (0..<inserts).map { _ in client.insert().kind }
        return (kinds, Set(server.requests.map(\.connection)).count)
    }

    @Test func anAnswerThatNamesAnotherQueryIsDoubtAndItsConnectionIsNotUsedAgain() throws {
        let (kinds, connections) = try answers(4) { $0.number == 2 ? "another" : $0.parameters["query_id"] }
        #expect(kinds == [.ok, .ok, .doubt, .ok])
        #expect(connections == 2)
    }

    @Test func anAnswerThatNamesNoQueryIsDoubtWhereOthersDid() throws {
        let (kinds, connections) = try answers(4) { $0.number == 2 ? nil : $0.parameters["query_id"] }
        #expect(kinds == [.ok, .ok, .doubt, .ok])
        #expect(connections == 2)
    }

    @Test func aServerThatNeverNamesQueriesIsTakenAtItsWord() throws {
        #expect(try answers(3) { _ in nil }.kinds == [.ok, .ok, .ok])
    }

    @Test func aProxyThatBeginsToDropTheNameIsNotDoubtedForEver() throws {
        let (kinds, _) = try answers(6) { $0.number == 0 ? $0.parameters["query_id"] : nil }
        #expect(kinds == [.ok, .doubt, .doubt, .doubt, .ok, .ok])
    }

    @Test func everyRequestHasAQueryIdOfItsOwn() throws {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        let client = try ClickHouse(server, timeout: "2s")
        for _ in 0..<50 { #expect(client.insert().kind == .ok) }
        #expect(Set(server.requests.compactMap { $0.parameters["query_id"] }).count == 50)
    }

    private final class ServerBox: @unchecked Sendable { var server: RawServer? }
}
