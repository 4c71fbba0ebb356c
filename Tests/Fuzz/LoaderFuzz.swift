import Glibc
import SpoolFormat
import SpoolIO
import SpoolStatus

@testable import spool_loader

/// What servers answer, and files that the loader finds.
enum LoaderFuzz {
    /// Any status, headers and body: what is made of it, and what people are told.
    static func answers(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 4 else { return }
        let statuses = [200, 200, 200, 204, 301, 400, 401, 403, 404, 408, 500, 502, 503, 504, 599, 0]
        var headers: [String: String] = [:]
        if bytes[1] & 1 == 1 { headers["x-clickhouse-exception-code"] = "\(bytes[2])" }
        if bytes[1] & 2 == 2 { headers["content-encoding"] = ["lz4", "gzip", "", "identity"][Int(bytes[2] % 4)] }
        if bytes[1] & 4 == 4 { headers["retry-after"] = "\(Int(bytes[3]) * 1_000_003)" }
        let body = Array(bytes[4...])
        let answer = ServerAnswer(.answered(status: statuses[Int(bytes[0] % 16)], headers: headers, body: body))
        for answer in [answer, answer.toInsert, answer.withoutSecrets(["secret"])] {
            precondition(answer.problem.unicodeScalars.count <= 400, "a problem of \(answer.problem.unicodeScalars.count) characters")
            _ = (answer.reaction, answer.reactionToQuestion, answer.advice, answer.alarms, answer.retryAfter, answer.leavesInsertOpen)
        }
    }

    /// Answers to questions: the table, its parts, its history, counts.
    static func tables(_ bytes: UnsafeRawBufferPointer) {
        let body = Array(bytes)
        if let table = TargetTable(answer: body) {
            _ = (table.complaint(about: [WireColumn(name: "x", type: "String")]), table.deduplicates)
        }
        let parts = PartsAnswer(body)
        var watch = PartsWatch()
        for (table, crowding) in parts.crowding { _ = watch.seen(table, crowding, parts.merges[table], at: 0) }
        _ = parts.clockOffset(asked: 1, answered: 2)
        _ = try? AppliedSchemas(answer: body)
        _ = try? MigrationLog.entries(body)
        _ = (numbers(inLine: body), sequences(body), noCount(body))
    }

    /// The list of rows that were passed over.
    static func quarantine(_ bytes: UnsafeRawBufferPointer) {
        let directory = Fuzz.file("checkpoints")
        mkdir(directory, 0o700)
        mkdir(directory + "/w", 0o700)
        let list = QuarantineList(directory: directory, writer: "w", table: "t")
        guard let file = try? File.openForWriting(list.path) else { return }
        try? file.truncate(to: 0)
        try? file.write(bytes, at: 0)
        _ = try? list.entries()
        _ = try? QuarantineCount(list)
    }

    /// What a process says of itself, as `status` and `top` read and show it.
    static func status(_ bytes: UnsafeRawBufferPointer) {
        guard let report = try? StatusReport(decoding: Array(bytes)) else { return }
        let tables = report.tables.map { table in
            StatusSnapshot.Table(
                table: table.table, tableClass: table.tableClass, durable: table.durable ?? 0, loaded: table.loaded, lagRows: table.lagRows,
                lagSeconds: table.lagSeconds, bytes: table.undurableBytes ?? 0, refused: table.refused, dropped: table.dropped,
                quarantined: table.quarantined, state: table.state ?? "")
        }
        let process = StatusSnapshot.Process(
            state: "ok", reasons: report.reasons, alarms: report.alarms, lastAlarm: report.lastAlarm, server: report.server,
            queue: report.queue)
        let snapshot = StatusSnapshot(
            spool: "s", writerID: report.writer, at: report.at, writer: process, loader: process,
            disk: report.disk.map { StatusSnapshot.Disk(used: $0.used, available: $0.available) }, tables: tables)
        let rates = Dictionary(tables.map { ($0.table, [Double($0.durable), $0.lagSeconds ?? 0]) }) { $1 }
        for order in StatusView.Order.allCases {
            _ = StatusView(width: 80, hasColor: true, order: order).lines(snapshot, rates: rates, rows: 24)
        }
    }
}
