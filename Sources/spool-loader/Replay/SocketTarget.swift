import CSystem
import FoundationEssentials
import Glibc
import SpoolFormat
import SpoolIO

/// Publishes rows as JSON lines to a writer's socket, as a named producer that loses nothing when the writer is restarted (`docs/lines.md`).
final class SocketTarget: ReplayTarget {
    /// Lines that may wait to be durable, in bytes: what is sent again after an interruption. Of market tables the writer syncs each second, or
    /// 8 MiB, which are twice that as JSON: with less it would be the window that sets the pace.
    private static let window = 64 << 20
    private static let retryEvery: Int64 = 50_000_000
    private static let namedRefusals = 10
    private static let longestAnswer = 1 << 20

    /// What the writer says. Each field stands in some of its answers only.
    private struct Answer: Decodable {
        struct Refusal: Decodable {
            let line: UInt64
            let field: String?
            let reason: String
        }
        let client: String?
        let durable: UInt64?
        let dropped: UInt64?
        let unnamedRefusals: UInt64?
        let error: String?
        let refusal: Refusal?

        enum CodingKeys: String, CodingKey {
            case client, durable, dropped, error, refused
            case unnamedRefusals = "unreported_refusals"
        }

        init(from decoder: any Decoder) throws {
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            client = try fields.decodeIfPresent(String.self, forKey: .client)
            durable = try fields.decodeIfPresent(UInt64.self, forKey: .durable)
            dropped = try fields.decodeIfPresent(UInt64.self, forKey: .dropped)
            unnamedRefusals = try fields.decodeIfPresent(UInt64.self, forKey: .unnamedRefusals)
            error = try fields.decodeIfPresent(String.self, forKey: .error)
            // A count in the reports on how things go, an object for a line.
            refusal = try? fields.decodeIfPresent(Refusal.self, forKey: .refused)
        }
    }

    private let path: String
    private let client: String
    private let tables: [RecordedTable]
    private let check: (Int32) throws(CommandFailure) -> Void

    private var descriptor: Int32 = -1
    private var isGreeted = false
    private var triedAt = Int64.min / 2
    /// Why the last connection failed or ended.
    private(set) var trouble = "no writer has answered"

    /// Lines that are not known to be durable, one behind the other from `head` on, and where each ends.
    private var lines: [UInt8] = []
    private var head = 0
    private var ends: [Int] = []
    private var names: [(table: Int, sequence: UInt64)] = []
    /// Lines of `ends` and `names` that are durable.
    private var done = 0
    /// Bytes before this are sent.
    private var sent = 0
    private var greeting: [UInt8] = []
    private var received: [UInt8] = []
    /// Number of line `done`, among all that this name ever sent. Nil before the first answer.
    private var number: UInt64?
    /// Line number at which the connection went on, and the lines of it that are known to be refused.
    private var resumedAt: UInt64 = 0
    private var told: Set<UInt64> = []
    /// Market rows that were not recorded under pressure: of earlier connections, and of this one.
    private var dropped: (before: UInt64, now: UInt64) = (0, 0)

    private(set) var moved: UInt64 = 0
    private(set) var refused: UInt64 = 0
    private(set) var refusals: [String] = []

    /// - Parameters:
    ///   - path: of the writer's socket.
    ///   - client: the producer's name.
    ///   - check: looks at each new connection; its error ends the replay.
    init(path: String, client: String, tables: [RecordedTable], check: @escaping (Int32) throws(CommandFailure) -> Void) {
        self.path = path
        self.client = client
        self.tables = tables
        self.check = check
        // Grown by doubling it would take twice as much.
        lines.reserveCapacity(Self.window * 5 / 4 + 2 << 20)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    var isReady: Bool { number != nil }
    var isDurable: Bool { done == ends.count }
    var droppedRows: UInt64 { dropped.before &+ dropped.now }

    func publish(_ row: RecordedRow) throws -> ReplayedRow? {
        guard number != nil, lines.count - head < Self.window else { return nil }
        row.block.json.append(row.row, to: &lines)
        lines.append(0x0A)
        ends.append(lines.count)
        names.append((row.table, row.sequence))
        // A system call for each line would cost more than the line.
        if lines.count - sent >= 1 << 16 { try exchange() }
        return .published
    }

    func wait(_ nanoseconds: Int64, others: [Int32]) throws {
        try exchange()
        var polled = others.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        if descriptor >= 0 {
            let isSending = !greeting.isEmpty || (isGreeted && sent < lines.count)
            polled.append(pollfd(fd: descriptor, events: Int16(POLLIN) | (isSending ? Int16(POLLOUT) : 0), revents: 0))
        }
        let longest = descriptor >= 0 ? nanoseconds : min(nanoseconds, Self.retryEvery)
        _ = cp_poll(&polled, polled.count, max(longest, 0))
        try exchange()
    }

    // MARK: The connection

    private func exchange() throws {
        if descriptor < 0 {
            guard Clock.monotonic() - triedAt >= Self.retryEvery else { return }
            triedAt = Clock.monotonic()
            try connect()
        }
        guard descriptor >= 0 else { return }
        try receive()
        send()
    }

    private func connect() throws {
        do throws(IOFailure) {
            descriptor = try LocalSocket.connect(to: path, waiting: false)
        } catch {
            trouble = "\(error)"
            return
        }
        try check(descriptor)
        // At first behind everything that this name ever sent, be it durable or not; then from the first line that is not known to be.
        let resumption = number.map { ",\"resume\":true,\"from\":\($0)" } ?? ""
        greeting = Array("{\"client\":\(RowText.quoted(client))\(resumption)}\n".utf8)
        isGreeted = false
        received.removeAll()
    }

    private func disconnect(_ why: String) {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        isGreeted = false
        trouble = why
        dropped = (droppedRows, 0)
    }

    private func send() {
        while descriptor >= 0 {
            let isGreeting = !greeting.isEmpty
            let bytes = isGreeting ? greeting[...] : isGreeted ? lines[sent...] : []
            if bytes.isEmpty { return }
            switch bytes.withUnsafeBytes({ LocalSocket.send(descriptor, $0) }) {
            case .bytes(let count): if isGreeting { greeting.removeFirst(count) } else { sent += count }
            case .wait: return
            case .ended: disconnect("the writer at \(path) has closed the connection")
            }
        }
    }

    private func receive() throws {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while descriptor >= 0 {
            switch chunk.withUnsafeMutableBytes({ LocalSocket.receive(descriptor, into: $0) }) {
            case .bytes(let count):
                received.append(contentsOf: chunk[..<count])
                try takeAnswers()
            case .wait: return
            case .ended: disconnect("the writer at \(path) has closed the connection")
            }
        }
    }

    private func takeAnswers() throws {
        var start = 0
        while let end = received[start...].firstIndex(of: 0x0A) {
            let line = received[start..<end]
            start = end + 1
            guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(line)) else {
                throw CommandFailure("\(path) is no writer's socket; it says: \(plainLine(bytes: Array(line), limit: 200))", code: 74)
            }
            try take(answer)
        }
        received.removeFirst(min(start, received.count))
        guard received.count <= Self.longestAnswer else {
            throw CommandFailure("\(path) is no writer's socket: it says more than \(Self.longestAnswer) bytes without an end", code: 74)
        }
    }

    private func take(_ answer: Answer) throws {
        if let error = answer.error {
            // While the last connection is still drained it has the name for a moment.
            guard error.contains("connected already") else { throw CommandFailure("the writer at \(path): \(error)", code: 74) }
            return disconnect("the writer at \(path): \(error); if that is another replay, give another --client")
        }
        if let refusal = answer.refusal { return note(refusal) }
        if let count = answer.unnamedRefusals { refused &+= count }
        guard let durable = answer.durable else { return }
        if let count = answer.dropped { dropped.now = count }
        guard answer.client != nil else { return advance(to: durable) }
        // The first answer says how many lines this name has sent in earlier lives; counting goes on from there.
        if number == nil { number = durable }
        guard let number, durable >= number, durable - number <= UInt64(ends.count - done) else {
            throw CommandFailure(
                "the writer at \(path) asks producer \(client) for line \(durable), and \(number ?? 0) to \((number ?? 0) &+ UInt64(ends.count - done)) can be sent: give another --client",
                code: 74)
        }
        advance(to: durable)
        sent = head
        resumedAt = durable
        told = told.filter { $0 > durable }
        isGreeted = true
    }

    /// Forgets what is durable.
    private func advance(to durable: UInt64) {
        guard let number, durable > number else { return }
        let count = Int(clamping: min(durable - number, UInt64(ends.count - done)))
        guard count > 0 else { return }
        done += count
        head = ends[done - 1]
        sent = max(sent, head)
        self.number = number + UInt64(count)
        moved += UInt64(count)
        // Moved down now and then: a byte moves a few times, and the room for durable lines stays small.
        guard done == ends.count || head >= Self.window / 4 else { return }
        lines.removeFirst(head)
        sent -= head
        ends = ends[done...].map { $0 - head }
        names.removeFirst(done)
        (head, done) = (0, 0)
    }

    /// Each refused line once, however often it was sent.
    private func note(_ refusal: Answer.Refusal) {
        guard let number, refusal.line > resumedAt, told.insert(refusal.line).inserted else { return }
        refused += 1
        guard refusals.count < Self.namedRefusals, refusal.line > number, refusal.line - number <= UInt64(ends.count - done) else { return }
        let (table, sequence) = names[done + Int(refusal.line - number) - 1]
        refusals.append("\(tables[table].name) \(sequence): \(refusal.field.map { "\($0): " } ?? "")\(refusal.reason)")
    }
}
