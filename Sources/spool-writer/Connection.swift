import Glibc
import SpoolFormat
import SpoolIO

/// One producer on the socket: JSON lines in, answers out.
///
/// Answers are JSON lines too:
/// `{"accepted":A,"refused":R,"durable":D}` — of the lines since the connection's start position, how many were taken
/// and refused, and up to which position all are durable or refused; with `"dropped":N` if N market rows were not recorded under pressure;
/// `{"refused":{"line":L,...,"reason":"..."}}` — one for each refused line, L counted from 1;
/// `{"client":"NAME","durable":D}` — the answer to `{"client":"NAME"}`, which must be the first line.
final class Connection {
    /// Answers that a producer does not read are kept up to this many bytes; refusals beyond it are only counted.
    private static let maxAnswerBytes = 256 << 10
    static let readBytes = 256 << 10

    let descriptor: Int32
    /// Who is at the other end, as the kernel says.
    let user: UInt32?
    private var lines = LineBuffer(limit: Recorder.maxLineBytes)
    private var answers = RawBuffer(capacity: 1_024)
    private(set) var source = Source(name: nil)
    private var hasSentLines = false
    /// Lines that came, whatever became of them.
    private(set) var lineCount = 0
    private var reported: (accepted: UInt64, refused: UInt64, durable: UInt64) = (0, 0, 0)
    private var reportedDropped: UInt64 = 0
    private var droppedBefore: UInt64 = 0
    private var unreported = 0
    /// Counts of the source before this connection.
    private var before: (accepted: UInt64, refused: UInt64, repeated: UInt64) = (0, 0, 0)

    /// The producer has ended its side; what it sent is still answered.
    private(set) var inputEnded = false
    /// The producer does not listen any more; what it sent before it went away is still recorded.
    private var isDeaf = false

    init(descriptor: Int32, user: UInt32? = nil) {
        self.descriptor = descriptor
        self.user = user
    }

    deinit {
        close(descriptor)
        lines.free()
        answers.free()
    }

    var hasAnswers: Bool { answers.count > 0 }
    /// Whether everything that came is durable and answered, and nothing more will come.
    var isDone: Bool { inputEnded && answers.count == 0 && source.complete == source.position }

    /// Reads once and records every whole line.
    ///
    /// - Returns: bytes read.
    func receive(into recorder: Recorder, server: SocketServer) -> Int {
        let room = lines.room(Self.readBytes)
        switch LocalSocket.receive(descriptor, into: room) {
        case .wait: return 0
        case .ended:
            inputEnded = true
            // A line without its newline may be cut short: it was never whole, so it is not taken.
            if case .none = lines.rest() { return 0 }
            put("{\"error\":\"the last line has no newline, so it may be cut short: not taken\"}\n")
            return 0
        case .bytes(let count):
            lines.filled(count)
            record(into: recorder, server: server)
            return count
        }
    }

    private func record(into recorder: Recorder, server: SocketServer) {
        let now = Clock.now()
        let monotonic = Clock.monotonic()
        while !inputEnded {
            switch lines.next() {
            case .none: return
            case .tooLong:
                lineCount += 1
                recorder.refuse(from: source)
                answer(Refusal("line of more than \(Recorder.maxLineBytes) bytes"))
            case .line(let line):
                lineCount += 1
                if _slowPath(!hasSentLines) {
                    hasSentLines = true
                    if introduces(line, recorder, server) { continue }
                }
                if line.isEmpty || line.isBlank {
                    recorder.refuse(from: source)
                    answer(Refusal("empty line"))
                    continue
                }
                do throws(Refusal) {
                    try recorder.append(line, readAhead: LineBuffer.readAhead, from: source, now: now, monotonic: monotonic)
                } catch {
                    answer(error)
                }
            }
        }
    }

    // MARK: The first line

    /// Whether the first line is a producer's introduction; if so it is answered.
    private func introduces(_ line: UnsafeRawBufferPointer, _ recorder: Recorder, _ server: SocketServer) -> Bool {
        let introduction: Introduction
        do throws(Refusal) {
            guard let parsed = try Introduction(line) else { return false }
            introduction = parsed
        } catch {
            put("{\"error\":\(RowText.quoted(error.reason))}\n")
            inputEnded = true
            return true
        }
        let name = "socket:\(introduction.client)"
        if !server.release(name, for: self, recorder) {
            put("{\"error\":\(RowText.quoted("client \(introduction.client) is connected already"))}\n")
            inputEnded = true
            return true
        }
        source = recorder.source(named: name, resume: introduction.resumes, from: introduction.from)
        before = (source.accepted, source.refused, source.repeated)
        reported = (0, 0, source.position)
        (droppedBefore, reportedDropped) = (source.dropped, source.dropped)
        put("{\"client\":\(RowText.quoted(introduction.client)),\"durable\":\(source.position)}\n")
        return true
    }

    /// Takes all that the producer sent before it went away.
    ///
    /// - Returns: false if it is still there.
    func drainToEnd(_ recorder: Recorder, _ server: SocketServer) -> Bool {
        while !inputEnded {
            if receive(into: recorder, server: server) == 0 && !inputEnded { return false }
        }
        return true
    }

    // MARK: Answers

    /// Queues the counts if they changed.
    func answerProgress() {
        let accepted = source.accepted - before.accepted + source.repeated - before.repeated
        let refused = source.refused - before.refused
        let durable = source.complete
        guard
            accepted != reported.accepted || source.dropped != reportedDropped || refused != reported.refused || durable != reported.durable
        else { return }
        guard answers.count < Self.maxAnswerBytes else { return }
        reported = (accepted, refused, durable)
        reportedDropped = source.dropped
        if unreported > 0 {
            put("{\"unreported_refusals\":\(unreported)}\n")
            unreported = 0
        }
        let dropped = source.dropped - droppedBefore
        put("{\"accepted\":\(accepted),\"refused\":\(refused)\(dropped > 0 ? ",\"dropped\":\(dropped)" : ""),\"durable\":\(durable)}\n")
    }

    private func answer(_ refusal: Refusal) {
        guard answers.count < Self.maxAnswerBytes else {
            unreported += 1
            return
        }
        put("{\"refused\":\(refusal.json(line: source.position))}\n")
    }

    private func put(_ text: String) {
        if !isDeaf { answers.append(contentsOf: text.utf8) }
    }

    /// Sends what the producer takes now.
    func sendAnswers() {
        while answers.count > 0 {
            switch LocalSocket.send(descriptor, answers.bytes) {
            case .bytes(let count): answers.dropFirst(count)
            case .wait: return
            case .ended:
                // It may have closed with lines still on their way to us: reading goes on to their end.
                answers.truncate(to: 0)
                isDeaf = true
            }
        }
    }
}

extension Refusal {
    /// The refusal as a JSON object.
    ///
    /// - Parameter line: number of the line, from 1.
    func json(line: UInt64) -> String {
        var text = "{\"line\":\(line)"
        if let table { text += ",\"table\":\(RowText.quoted(table))" }
        if let field { text += ",\"field\":\(RowText.quoted(field))" }
        return text + ",\"reason\":\(RowText.quoted(reason))}"
    }
}

/// A producer's first line, `{"client":"NAME"}` or `{"client":"NAME","resume":true,"from":N}`.
struct Introduction {
    let client: String
    /// It will send again everything from the position that it is told.
    private(set) var resumes = false
    /// The first line that it can still send: those before it were told to be durable, and it has forgotten them.
    private(set) var from: UInt64 = 0

    /// - Returns: nil if the line does not begin with `"client"`, so is an event.
    /// - Throws: `Refusal` if it does and is no proper introduction.
    init?(_ line: UnsafeRawBufferPointer) throws(Refusal) {
        var scanner = JSONScanner(line)
        guard scanner.taken(0x7B), let key = try? scanner.takeString(), Self.text(key) == "client" else { return nil }
        try scanner.expect(0x3A, "\":\"")
        let value = try scanner.takeString()
        client = Self.text(value)
        guard NameRule.isSource("socket:\(client)"), !client.isEmpty else {
            throw Refusal("client must be 1 to \(FormatLimits.sourceBytes - 7) printable ASCII characters without spaces")
        }
        while scanner.taken(0x2C) {
            let option = Self.text(try scanner.takeString())
            try scanner.expect(0x3A, "\":\"")
            scanner.skipSpace()
            switch option {
            case "resume":
                if scanner.takenLiteral("true") {
                    resumes = true
                } else if !scanner.takenLiteral("false") {
                    throw Refusal("\"resume\" must be true or false")
                }
            case "from":
                guard let position = try DecimalNumber(from: &scanner).whole(upTo: UInt64(Int64.max)) else {
                    throw Refusal("\"from\" must be a whole number")
                }
                from = position
            default: throw Refusal("after \"client\" only \"resume\" and \"from\" can follow")
            }
        }
        try scanner.expect(0x7D, "\"}\"")
        scanner.skipSpace()
        guard scanner.next == nil else { throw scanner.syntax("expected the end of the line") }
    }

    private static func text(_ raw: JSONScanner.RawString) -> String {
        String(decoding: UnsafeBufferPointer(start: raw.bytes, count: raw.count), as: UTF8.self)
    }
}
