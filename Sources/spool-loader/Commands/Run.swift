import ArgumentParser
import SpoolConfig
import SpoolStatus

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

        @Option(help: ArgumentHelp("Serve /metrics, /healthz, /readyz and /status over HTTP there.", valueName: "host:port"))
        var metrics: String?

        func run() throws {
            try reporting {
                let flags = server.flags.merging(definitions.flags) { $1 }.merging(["loader.metrics": metrics]) { $1 }
                let configuration = try common.configuration(flags)
                let alarms = Alarms(process: "spool-loader")
                let log = makeLogger("spool-loader", alarms: alarms)
                if let command = configuration.text("alert_command") { try alarms.run(command, log: log) }
                let loader = try Loader(configuration: configuration, tables: table, once: once, alarms: alarms, log: log)
                let status = try loader.run()
                if status != 0 { throw ExitCode(status) }
            }
        }
    }
}
