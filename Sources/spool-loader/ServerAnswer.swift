/// What ClickHouse said, or that nothing certain is known.
enum ServerAnswer {
    /// Status 200, no exception header, a clean end.
    case ok([UInt8])
    /// ClickHouse's own error.
    case exception(code: Int, text: String)
    /// Nothing reached the server.
    case unreachable(String)
    /// The server may have done anything.
    case doubt(String)

    init(_ result: HTTPResult) {
        switch result {
        case .unreachable(let why): self = .unreachable(why)
        case .broken(let why), .abandoned(let why): self = .doubt(why)
        case .answered(let status, let headers, let body):
            let text = String(decoding: body.prefix(2_000), as: UTF8.self)
            if let code = headers["x-clickhouse-exception-code"] {
                // That it is there says that something failed, whatever it says.
                self = .exception(code: Int(code) ?? 0, text: Self.firstLine(text))
            } else if let code = Self.code(in: text, status) {
                self = .exception(code: code, text: Self.firstLine(text))
            } else if status == 200 {
                self = .ok(body)
            } else {
                self = .doubt("HTTP status \(status): \(Self.firstLine(text))")
            }
        }
    }

    var problem: String {
        switch self {
        case .ok: "none"
        case .exception(let code, let text): text.isEmpty ? "ClickHouse error \(code)" : text
        case .unreachable(let why), .doubt(let why): why
        }
    }

    /// Servers before 2019 name the code only in the text: `Code: 60, ...`.
    private static func code(in text: String, _ status: Int) -> Int? {
        guard status != 200, text.hasPrefix("Code: ") else { return nil }
        return Int(text.dropFirst(6).prefix { $0.isNumber })
    }

    private static func firstLine(_ text: String) -> String {
        String((text.split(separator: "\n").first ?? "").prefix(300))
    }
}
