import ArgumentParser
import SpoolConfig
import SpoolIO

extension SpoolLoader {
    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check every byte of a spool and name each damage.",
            discussion: "Exit status 1 if there is damage. What a crash leaves behind the durable mark is noted, and is no damage.")
        @OptionGroup var common: CommonOptions
        @Flag(help: "Print JSON.")
        var json = false

        struct Report: Encodable {
            let table: String
            let segments: Int
            let chunks: Int
            let rows: UInt64
            let bytes: UInt64
            let findings: [Finding]
        }

        func run() throws {
            try reporting {
                let spool = try SpoolDirectory.open(try common.configuration().required("spool"))
                var reports: [Report] = []
                for table in try spool.tables() {
                    var verification = TableVerification(spool: spool, table: table)
                    try verification.run()
                    reports.append(
                        Report(
                            table: table, segments: verification.segments, chunks: verification.chunks, rows: verification.rows,
                            bytes: verification.bytes, findings: verification.findings))
                }
                if json { try printJSON(reports) } else { show(reports) }
                if reports.contains(where: { $0.findings.contains(where: \.isDamage) }) { throw ExitCode(1) }
            }
        }

        private func show(_ reports: [Report]) {
            var text = TextTable(["TABLE", "SEGMENTS", "CHUNKS", "ROWS", "SIZE", "RESULT"], numbers: [1, 2, 3, 4])
            for report in reports {
                let damages = report.findings.count { $0.isDamage }
                text.add([
                    report.table, "\(report.segments)", "\(report.chunks)", "\(report.rows)", byteText(report.bytes),
                    damages == 0 ? "ok" : "\(damages) damage\(damages == 1 ? "" : "s")",
                ])
            }
            print(text.text, terminator: "")
            for finding in reports.flatMap(\.findings) {
                let place = "\(finding.table)/\(finding.file)" + (finding.offset.map { " at \($0)" } ?? "")
                print("\(finding.isDamage ? "DAMAGE" : "note") \(place): \(finding.text)")
            }
        }
    }
}
