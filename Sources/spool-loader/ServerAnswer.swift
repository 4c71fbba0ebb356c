import SpoolFormat

/// What ClickHouse said, or that nothing certain is known. What to do about it: ``reaction``.
enum ServerAnswer {
    /// Status 200, no exception header, a clean end.
    case ok([UInt8])
    /// ClickHouse's own error. The text is as it came, which may be several lines; ``problem`` is for people.
    case exception(code: Int, text: String)
    /// Nothing reached the server.
    case unreachable(String, Outcome = .refused)
    /// The server may have done anything.
    ///
    /// - Parameter retryAfter: nanoseconds for which it asks to be left alone.
    case doubt(String, Outcome = .closed, retryAfter: Int64? = nil)

    /// Most bytes of an answer that are searched for an error, and kept of one.
    private static let maxErrorBytes = 64 << 10

    init(_ result: HTTPResult) {
        switch result {
        case .unreachable(let why, let outcome): self = .unreachable(why, outcome)
        case .broken(let why, let outcome): self = .doubt(why, outcome)
        case .abandoned(let why): self = .doubt(why, .unreadableBody)
        case .answered(let status, let headers, let body): self.init(status: status, headers, body)
        }
    }

    private init(status: Int, _ headers: [String: String], _ body: [UInt8]) {
        let encoding = headers["content-encoding"]?.lowercased()
        let isEncoded = !body.isEmpty && encoding.map { !["", "identity"].contains($0) } ?? false
        let text = isEncoded ? "" : String(decoding: body.prefix(Self.maxErrorBytes), as: UTF8.self)
        let stated = ErrorText(beginningOf: text)
        if let code = headers["x-clickhouse-exception-code"] {
            // That it is there says that something failed, whatever it says.
            let said = body.isEmpty ? "" : "Code: \(code). \(Self.shown(body, isEncoded, encoding))"
            self = .exception(code: Int(code) ?? stated?.code ?? 0, text: stated?.text ?? said)
        } else if status != 200, let stated {
            self = .exception(code: stated.code, text: stated.text)
        } else if status == 200 {
            if isEncoded {
                self = .doubt("an answer compressed with \(encoding ?? ""), which was not asked for", .compressed)
            } else if let late = Self.lateError(headers, body, text) {
                self = late
            } else {
                self = .ok(body)
            }
        } else {
            self = Self.refusal(status, headers, Self.shown(body, isEncoded, encoding))
        }
    }

    /// As ``init(_:)``, to an insert. It has nothing to say: any text is an error that came after the status line.
    var toInsert: ServerAnswer {
        guard case .ok(let body) = self, !body.isEmpty else { return self }
        let text = String(decoding: body.prefix(Self.maxErrorBytes), as: UTF8.self)
        if let stated = ErrorText(beginningOf: text) { return .exception(code: stated.code, text: stated.text) }
        let said = Self.shown(body, false, nil)
        return .doubt("an answer where there should be none: \(said.isEmpty ? "white space" : said)", .text200)
    }

    // MARK: What to do

    /// What the loader does after this answer to an insert. For success there is nothing to do: `backOff`.
    var reaction: Reaction {
        switch self {
        case .ok: .backOff
        case .exception: entry.reaction
        case .unreachable(_, let outcome), .doubt(_, let outcome, _): outcome.reaction
        }
    }

    /// The same for a question. It carries no rows, so no row can be at fault: what is refused is mended by a person.
    var reactionToQuestion: Reaction {
        switch reaction {
        case .poison, .splitPartitions, .payloadSuspect: .configuration
        case .tooManyParts: .backOff
        case .retryNow, .backOff, .refreshSchema, .configuration: reaction
        }
    }

    /// Whether a person should know at once.
    var alarms: Bool {
        switch self {
        case .ok: false
        case .exception: entry.alarms
        case .unreachable(_, let outcome), .doubt(_, let outcome, _): outcome.alarms
        }
    }

    /// What a person can do.
    var advice: String {
        switch self {
        case .ok: "nothing"
        case .exception: entry.advice
        case .unreachable(_, let outcome), .doubt(_, let outcome, _): outcome.advice
        }
    }

    /// Nanoseconds for which the server asks to be left alone, if that is a sane time: a lower bound for the next try.
    var retryAfter: Int64? {
        guard case .doubt(_, _, let time) = self else { return nil }
        return time
    }

    private var entry: AnswerTable.Entry {
        guard case .exception(let code, let text) = self else { return AnswerTable.unknown }
        return AnswerTable.entry(number: code, name: ErrorText.name(in: text), text: text)
    }

    /// Whether the insert that got this answer may still be under way: the server has not ended it, as far as is known.
    var leavesInsertOpen: Bool {
        switch self {
        case .ok, .unreachable: false
        case .exception(let code, _): code == Self.stillRunning
        case .doubt: true
        }
    }

    /// QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING.
    private static let stillRunning = 216

    // MARK: For people

    /// One clean line of at most 300 characters.
    var problem: String {
        switch self {
        case .ok: return "none"
        case .exception(let code, let text):
            let name = ErrorText.name(in: text).map { " (\($0))" } ?? ""
            guard !text.isEmpty else { return "ClickHouse error \(code)\(entry.name.isEmpty ? "" : " (\(entry.name))")" }
            let line = ErrorText.withoutStackAndVersion(text)
            // What is too long is cut in the middle: the name stands at the end.
            let shown = plainLine(line)
            return shown.unicodeScalars.count < Self.maxProblem ? shown : plainLine(line, limit: Self.maxProblem - name.utf8.count) + name
        case .unreachable(let why, _): return plainLine(why)
        case .doubt(let why, let outcome, _):
            guard outcome.reaction == .configuration else { return plainLine(why) }
            return plainLine(why, limit: Self.maxProblem - outcome.advice.utf8.count - 2) + "; " + outcome.advice
        }
    }

    private static let maxProblem = 300

    /// ``problem`` without these: a server, or a proxy, can send back what we sent.
    func scrubbed(_ secrets: [String]) -> String { withoutSecrets(secrets).problem }

    /// The same answer with the secrets taken out of its texts.
    func withoutSecrets(_ secrets: [String]) -> ServerAnswer {
        let scrub = SecretScrubber(secrets).scrubbed
        switch self {
        case .ok: return self
        case .exception(let code, let text): return .exception(code: code, text: scrub(text))
        case .unreachable(let why, let outcome): return .unreachable(scrub(why), outcome)
        case .doubt(let why, let outcome, let retryAfter): return .doubt(scrub(why), outcome, retryAfter: retryAfter)
        }
    }

    // MARK: Reading

    /// An error that came after the status line; nil if the answer is what it seems.
    ///
    /// Servers since 25.11 frame it in a tag that the head announced; older ones just write its text and stop.
    private static func lateError(_ headers: [String: String], _ body: [UInt8], _ head: String) -> ServerAnswer? {
        let tail = Array(body.suffix(maxErrorBytes))
        if let tag = headers["x-clickhouse-exception-tag"], !tag.isEmpty,
            let start = tail.lastRange(of: Array("__exception__\r\n\(tag)\r\n".utf8)),
            tail.lastRange(of: Array(" \(tag)\r\n__exception__".utf8)).map({ $0.lowerBound > start.upperBound }) ?? false
        {
            let text = String(decoding: tail[start.upperBound...], as: UTF8.self)
            guard let stated = ErrorText(beginningOf: text) else { return .exception(code: 0, text: plainLine(text, limit: .max)) }
            // Behind the text stand its length and the tag.
            let lines = stated.text.split(separator: "\n", omittingEmptySubsequences: true).prefix { !$0.contains(" \(tag)") }
            return .exception(code: stated.code, text: lines.joined(separator: "\n"))
        }
        for stated in [ErrorText(beginningOf: head), ErrorText(endOf: String(decoding: tail, as: UTF8.self))] {
            if let stated, stated.isCertain { return .exception(code: stated.code, text: stated.text) }
        }
        return nil
    }

    private static func refusal(_ status: Int, _ headers: [String: String], _ said: String) -> ServerAnswer {
        let outcome = Outcome(status: status)
        var text = "HTTP status \(status)"
        switch outcome {
        case .redirect: text += headers["location"].map { " points to \($0)" } ?? " without an address"
        case .notFound, .tooLarge, .proxyLogin, .networkLogin: text += " (\(outcome.meaning))"
        default: break
        }
        if !said.isEmpty { text += ": \(said)" }
        // What nginx answers to a client without a certificate, or with one that it does not trust.
        if status == 400, said.contains("SSL certificate") {
            text += "; the server wants a client certificate: see loader.client_certificate"
        }
        if status == 400, said.contains("plain HTTP request") { text += "; is https:// meant?" }
        return .doubt(text, outcome, retryAfter: headers["retry-after"].flatMap { retryTime($0, date: headers["date"]) })
    }

    /// What a body says, uncut: secrets are taken out later.
    private static func shown(_ body: [UInt8], _ isEncoded: Bool, _ encoding: String?) -> String {
        if isEncoded { return "\(body.count) bytes compressed with \(plainLine(encoding ?? "", limit: 20)), not shown" }
        let kept = Array(body.prefix(maxErrorBytes))
        guard kept.first(where: { $0 > 0x20 }) == UInt8(ascii: "<") else { return plainLine(bytes: kept, limit: .max) }
        // Of a page its title says most.
        let page = String(decoding: kept, as: UTF8.self)
        return plainLine(page.text(inTag: "title") ?? page.text(inTag: "h1") ?? page.withoutTags, limit: .max)
    }

    /// Longest time that a server is left alone because it says so.
    private static let maxRetryAfter: Int64 = 3_600

    /// Seconds, or a date that is compared with the answer's own.
    private static func retryTime(_ text: String, date: String?) -> Int64? {
        let seconds = Int64(text) ?? httpDate(text).flatMap { then in date.flatMap(httpDate).map { then - $0 } }
        guard let seconds, seconds > 0, seconds <= maxRetryAfter else { return nil }
        return seconds * 1_000_000_000
    }

    /// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`.
    private static func httpDate(_ text: String) -> Int64? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let parts = text.split(whereSeparator: { " :".contains($0) })
        guard parts.count == 8, parts[7] == "GMT", let day = Int(parts[1]), let month = months.firstIndex(of: String(parts[2])),
            let year = Int(parts[3]), let hour = Int(parts[4]), let minute = Int(parts[5]), let second = Int(parts[6]),
            (1_970...9_999).contains(year), (0..<24).contains(hour), (0..<60).contains(minute), (0...60).contains(second)
        else { return nil }
        let date = CivilDate(year: year, month: month + 1, day: day)
        return date.exists ? Int64(date.daysSinceEpoch) * 86_400 + Int64(hour * 3_600 + minute * 60 + second) : nil
    }
}
