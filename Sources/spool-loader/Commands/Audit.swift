import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct Audit: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare the spool's rows with what ClickHouse holds; name every missing and every duplicate row.",
            discussion: """
                Exit status 1 if a row is missing, doubled or unknown to the spool. Rows that the loader has not come to yet are \
                pending, rows older than the table's TTL, and of days that `retain` has dropped, expired, rows that the writer gave up for want of room shed: none of them is \
                missing. Rows that were pruned from the spool are not compared. With --since and --until whole chunks are compared \
                that have a row in the range.
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: ServerOptions
        @Option(help: ArgumentHelp("Audit this table only; may be given several times.", valueName: "name"))
        var table: [String] = []
        @Option(help: ArgumentHelp("Only chunks with rows since this event time.", valueName: "time"))
        var since: EventTime?
        @Option(help: ArgumentHelp("Only chunks with rows before this event time.", valueName: "time"))
        var until: EventTime?
        @Flag(help: "Print JSON.")
        var json = false
        @Option(help: ArgumentHelp("With --json: write the whole report to this file instead.", valueName: "file"))
        var output: String?
        @Option(
            help: ArgumentHelp(
                "With --output: sign it with the private key in this PEM file (Ed25519, ECDSA or RSA); the signature is FILE.sig.",
                valueName: "key"))
        var sign: String?

        func validate() throws {
            if output != nil, !json { throw ValidationError("--output needs --json: the report is JSON") }
            if sign != nil, output == nil { throw ValidationError("--sign needs --output: a signature is of a file's bytes") }
        }

        func run() throws {
            try reporting {
                let begun = Clock.now()
                let key = try sign.map { try SigningKey(path: $0) }
                let files = output.map { ReportFiles(path: $0) }
                try files?.checkWritable()
                let configuration = try common.configuration(server.flags)
                let spool = try SpoolDirectory.open(configuration.required("spool"))
                let known = try spool.tables()
                for name in table where !known.contains(name) {
                    throw CommandFailure("the spool \(spool.path) has no table \(name); it has \(known.joined(separator: ", "))", code: 64)
                }
                let clickHouse = try ClickHouse(configuration: configuration, http: HTTPClient(), log: makeLogger("spool-loader"))
                var results: [TableAudit.Result] = []
                for name in known where table.isEmpty || table.contains(name) {
                    let audit = TableAudit(
                        spool: spool, table: name, checkpoints: configuration.required("loader.checkpoints"), server: clickHouse,
                        times: (since?.time ?? .min, until?.time ?? .max))
                    results.append(try audit.run())
                }
                if let files {
                    let report = try self.report(results, spool, clickHouse, key, begun: begun).encoded()
                    try files.write(report, signature: try key?.sign(report))
                } else if json {
                    try printJSON(results)
                } else {
                    show(results)
                }
                if results.contains(where: { !$0.isClean }) { throw ExitCode(1) }
            }
        }

        private func report(
            _ results: [TableAudit.Result], _ spool: SpoolDirectory, _ server: ClickHouse, _ key: SigningKey?, begun: Int64
        ) throws -> AuditReport {
            let version = String(decoding: try server.query("SELECT version() FORMAT TSVRaw"), as: UTF8.self)
            return AuditReport(
                tool: "spool-loader \(SpoolLoader.configuration.version)", begun: rfc3339(begun), ended: rfc3339(Clock.now()),
                spool: AuditReport.Spool(path: spool.path, writer: spool.writer),
                clickhouse: AuditReport.Server(
                    url: AuditReport.withoutCredentials(server.url), database: server.database,
                    version: String(version.prefix { !$0.isNewline })),
                since: since.map { rfc3339($0.time) }, until: until.map { rfc3339($0.time) }, clean: results.allSatisfy(\.isClean),
                signature: key.map { AuditReport.Signature(algorithm: $0.algorithm, key: $0.fingerprint) }, tables: results)
        }

        private func show(_ results: [TableAudit.Result]) {
            var text = TextTable(
                [
                    "TABLE", "ROWS IN SPOOL", "IN CLICKHOUSE", "MISSING", "DUPLICATE", "UNKNOWN", "PENDING", "EXPIRED", "QUARANTINED",
                    "SHED", "RESULT",
                ],
                numbers: [1, 2, 3, 4, 5, 6, 7, 8, 9])
            for result in results {
                text.add([
                    result.table, "\(result.rows)", "\(result.present)", "\(result.missing.rows)", "\(result.duplicate.rows)",
                    "\(result.unknown.rows)", "\(result.pending.rows)", "\(result.expired.rows)", "\(result.quarantined.rows)",
                    "\(result.shed.rows)", result.isClean ? "ok" : "NOT COMPLETE",
                ])
            }
            print(text.text, terminator: "")
            for result in results {
                for (name, part) in [
                    ("missing", result.missing), ("duplicate", result.duplicate), ("unknown", result.unknown),
                    ("quarantined", result.quarantined), ("shed", result.shed),
                ]
                where part.rows > 0 {
                    print("\(result.table): \(name) sequences: \(part.sequences)")
                }
                for problem in result.problems { print("\(result.table): \(problem)") }
            }
        }
    }
}
