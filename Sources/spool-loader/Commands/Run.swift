import ArgumentParser
import SpoolConfig

extension SpoolLoader {
    struct Run: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Load what is durable in the spool, and what comes, until SIGTERM.",
            discussion: "With --once it ends when everything durable is loaded; then it prints a line a table.")
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: ServerOptions
        @OptionGroup var definitions: SchemasOption
        @Flag(help: "End when everything durable is loaded.")
        var once = false
        @Option(help: ArgumentHelp("Load this table only; may be given several times.", valueName: "name"))
        var table: [String] = []

        func run() throws {
            try reporting {
                let configuration = try common.configuration(server.flags.merging(definitions.flags) { $1 })
                let loader = try Loader(
                    configuration: configuration, tables: table, once: once, log: makeLogger("spool-loader"))
                let status = try loader.run()
                if status != 0 { throw ExitCode(status) }
            }
        }
    }
}
