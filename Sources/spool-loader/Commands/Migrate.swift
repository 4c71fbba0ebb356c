import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct Migrate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bring ClickHouse's tables in line with schemas/.", subcommands: [Apply.self])

        struct Apply: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Run every file of schemas/ in order; what is there already stays as it is.")
            @OptionGroup var common: CommonOptions
            @OptionGroup var server: ServerOptions
            @Option(help: ArgumentHelp("Directory of the table definitions.", valueName: "dir"))
            var schemas: String?

            func run() throws {
                try reporting {
                    let configuration = try common.configuration(server.flags.merging(["schemas": schemas]) { $1 })
                    let directory = configuration.required("schemas")
                    // Parsed first: nothing is sent of a set of files that the writer would not take.
                    let tables = try SchemaDirectory.tables(directory)
                    let clickHouse = try ClickHouse(configuration: configuration, http: HTTPClient(), log: makeLogger("spool-loader"))
                    try checkVersion(clickHouse)
                    for file in try SchemaDirectory.files(directory) {
                        do throws(CommandFailure) {
                            _ = try clickHouse.query(statement(file.text))
                        } catch {
                            throw CommandFailure("\(directory)/\(file.name): \(error)", code: error.code)
                        }
                        print("applied \(file.name)")
                    }
                    for table in tables { try check(table, clickHouse) }
                }
            }

            /// Old servers know too little of what stands in the files.
            private func checkVersion(_ clickHouse: ClickHouse) throws {
                let answer = String(decoding: try clickHouse.query("SELECT version() FORMAT TSVRaw"), as: UTF8.self)
                let text = answer.prefix { !$0.isNewline }
                guard let version = ServerVersion(text), !Dialect(version: version).knowsTokens else { return }
                throw CommandFailure(
                    "ClickHouse at \(clickHouse.url) is \(text), and these tables need 22.2 or later; docs/clickhouse.md, \"Old servers\", says how to "
                        + "make tables for it by hand", code: 1)
            }

            /// The text without its last semicolon, which HTTP's one statement does not take.
            private func statement(_ text: String) -> String {
                var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
                while let last = lines.last {
                    let code = last.split(separator: "--", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
                    if code.allSatisfy(\.isWhitespace) {
                        lines.removeLast()
                        continue
                    }
                    if let semicolon = last.lastIndex(of: ";") { lines[lines.count - 1] = String(last[..<semicolon]) }
                    break
                }
                return lines.joined(separator: "\n")
            }

            /// A table that was there before may differ from what its file says.
            private func check(_ table: TableSchema, _ clickHouse: ClickHouse) throws {
                guard let target = TargetTable(answer: try clickHouse.query(TargetTable.query(table.table)), wire: clickHouse.wire) else {
                    throw CommandFailure("table \(table.table) is still not in ClickHouse", code: 1)
                }
                if let complaint = target.complaint(about: table.wireColumns) {
                    throw CommandFailure("table \(table.table): \(complaint)", code: 1)
                }
            }
        }
    }
}
