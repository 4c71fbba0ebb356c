import ArgumentParser
import CSystem
import Glibc
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolStatus

@main
struct SpoolWriter: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spool-writer",
        abstract: "Record events durably: JSON lines in, a spool of columnar LZ4 segments out.",
        discussion: """
            The writer checks events against schemas/, appends them to the spool and tells producers how far they are durable. \
            It knows nothing of ClickHouse; spool-loader brings the spool there.

            Exit status: 0 done, 1 refused lines, 64 wrong usage or configuration, 74 the disk or a file failed.
            """,
        version: coldpathVersion,
        subcommands: [Run.self, Import.self, Codegen.self, CheckConfig.self])

    static func main() {
        claimStandardDescriptors()
        main(nil)
    }
}

/// What every command takes.
struct CommonOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Read settings from this TOML file.", valueName: "file"))
    var config: String?
    @Option(help: ArgumentHelp("Directory of the spool.", valueName: "dir"))
    var spool: String?
    @Option(help: ArgumentHelp("Directory of the table definitions.", valueName: "dir"))
    var schemas: String?

    func configuration(_ more: [String: String?] = [:]) throws -> Configuration {
        let environment = processEnvironment()
        let flags = ["spool": spool, "schemas": schemas].merging(more) { $1 }
        return try Configuration(
            file: config ?? environment["COLDPATH_CONFIG"], environment: environment, flags: flags.compactMapValues(\.self))
    }
}

/// Runs a command's work, and turns what fails into one line on standard error and the exit status that belongs to it.
func reporting(_ work: () throws -> Void) throws {
    do {
        try work()
        try finishStandardOutput()
    } catch let exit as ExitCode {
        throw exit
    } catch {
        printToStandardError("spool-writer: \(error)")
        throw ExitCode(exitStatus(of: error))
    }
}

extension SpoolWriter {
    struct Run: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take JSON lines on a unix socket until SIGTERM.",
            discussion: """
                Each line is one event, {"table":"orders",...}. Answers on the same connection: \
                {"accepted":A,"refused":R,"durable":D} as things move on, and {"refused":{"line":L,"table":...,"field":...,"reason":...}} \
                for each refused line. A producer whose first line is {"client":"NAME","resume":true,"from":N}, N being the first line that it \
                still has, is told up to which line it is durable, and sends again from there.
                """)
        @OptionGroup var common: CommonOptions
        @Option(help: ArgumentHelp("Path of the unix socket.", valueName: "path"))
        var socket: String?
        @Option(help: ArgumentHelp("Directory of the shared-memory rings to drain.", valueName: "dir"))
        var rings: String?
        @Option(help: ArgumentHelp("Serve /metrics, /healthz, /readyz and /status over HTTP there.", valueName: "host:port"))
        var metrics: String?

        func run() throws {
            try reporting {
                let configuration = try common.configuration(["writer.socket": socket, "writer.rings": rings, "writer.metrics": metrics])
                let alarms = Alarms(process: "spool-writer")
                let log = makeLogger("spool-writer", alarms: alarms)
                if let command = configuration.text("alert_command") { try alarms.run(command, log: log) }
                raiseOpenFilesLimit()
                let recorder = try Recorder(configuration: configuration, log: log)
                let path = configuration.required("writer.socket")
                try SpoolWriter.bindToProcessor(configuration)
                let rings = try RingSet.open(configuration, recorder: recorder, log: log)
                let server = try SocketServer(
                    recorder: recorder, path: path, maxConnections: configuration.count("writer.connections"),
                    rule: try ConnectionRule(configuration),
                    rings: rings,
                    isBusy: configuration.text("writer.wait") == "busy",
                    status: try StatusPublisher(
                        configuration: configuration, setting: "writer.metrics", version: coldpathVersion, alarms: alarms, log: log),
                    log: log)
                let drained = configuration.text("writer.rings").map { ", rings \($0)" } ?? ""
                log.notice("ready: writer \(recorder.spool.writer), spool \(recorder.spool.path), socket \(path)\(drained)")
                notifySupervisor("READY=1")
                try server.run()
                let open = rings.map(\.count) ?? 0
                let waiting = "all that was taken is durable; \(open) rings stay, and what is published from now on waits in them"
                log.notice("stopped: \(open > 0 ? waiting : "everything is durable")")
            }
        }
    }

    private static func bindToProcessor(_ configuration: Configuration) throws {
        guard configuration.text("writer.processor") != nil else { return }
        let processor = configuration.count("writer.processor")
        let code = cp_pin_thread(Int32(processor))
        guard code == 0 else {
            throw ConfigFailure(description: "writer.processor: cannot run on processor \(processor): \(String(cString: strerror(code)))")
        }
    }

    struct CheckConfig: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check-config", abstract: "Print every setting with its value and origin, and check the schemas.")
        @OptionGroup var common: CommonOptions
        @Flag(help: "Print the reference of all settings instead, as docs/configuration.md has it.")
        var markdown = false

        func run() throws {
            try reporting {
                if markdown { return print(SettingReference.markdown, terminator: "") }
                let configuration = try common.configuration()
                for setting in configuration.listing {
                    print("\(setting.key) = \"\(setting.value)\"    # \(setting.origin): \(setting.meaning)")
                }
                for warning in try configuration.checkConnection() { printToStandardError("spool-writer: \(warning)") }
                let model = try SchemaDirectory.model(configuration.required("schemas"))
                try configuration.checkSections(tables: model.tables.map(\.name))
                if model[LossLedger.table] != nil { try LossLedger.checkClass(configuration) }
                for table in try model.recorded() {
                    print(
                        "table \(table.table): \(table.columns.count) columns, by "
                            + "\(table.partitionRule == .day ? "day" : "month") of \(table.columns[table.eventTimeColumn].name)")
                }
            }
        }
    }
}
