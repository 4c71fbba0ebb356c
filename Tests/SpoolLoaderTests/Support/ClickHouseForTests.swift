import Glibc
import SpoolConfig
import SpoolFormat

@testable import spool_loader

/// Settings as flags would give them.
func configuration(_ flags: [String: String] = [:]) throws -> Configuration {
    try Configuration(file: nil, environment: [:], flags: flags)
}

extension ClickHouse {
    /// A client of the server; short waits.
    convenience init(_ server: RawServer, timeout: String = "5s", http: HTTPClient = HTTPClient()) throws {
        try self.init(configuration: configuration(["loader.url": server.url, "loader.timeout": timeout]), http: http)
    }

    /// Runs one insert to its end.
    func insert(
        _ body: [UInt8] = Array("rows".utf8), token: String = "t", table: String = "trades", columns: [String] = ["px"],
        dialect: Dialect = Dialect()
    ) -> ServerAnswer {
        var answer: ServerAnswer?
        let columns = columns.map { WireColumn(name: $0, type: "Float64") }
        insert(BytesBody(body), table: table, columns: columns, token: token, dialect: dialect) { answer = $0 }
        while true {
            if let answer { return answer }
            http.wait(milliseconds: 100)
        }
    }

    /// Runs one query to its end, as the table loader would.
    func answer(to sql: String = "SELECT 1") -> ServerAnswer {
        var answer: ServerAnswer?
        query(sql) { answer = $0 }
        while true {
            if let answer { return answer }
            http.wait(milliseconds: 100)
        }
    }
}

extension ServerAnswer {
    /// Without the texts.
    enum Kind: Equatable {
        case ok
        case exception(Int)
        case unreachable, doubt
    }

    var kind: Kind {
        switch self {
        case .ok: .ok
        case .exception(let code, _): .exception(code)
        case .unreachable: .unreachable
        case .doubt: .doubt
        }
    }
}
