import ArgumentParser
import SpoolConfig
import SpoolIO

@main
struct SpoolLoader: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spool-loader",
        abstract: "Bring a spool to ClickHouse, exactly once, and look into it.",
        discussion: """
            The loader only reads the spool; `prune` alone deletes from it. What ClickHouse has confirmed it keeps in checkpoints, apart \
            from the spool.

            Exit status: 0 done, 1 found or refused something, 64 wrong usage or configuration, 74 a file or the server failed.
            """,
        version: coldpathVersion,
        subcommands: [
            Run.self, Ls.self, Cat.self, Verify.self, Audit.self, BackfillCommand.self, RequeueCommand.self, Prune.self, Migrate.self,
            RollUpCommand.self, RetainCommand.self, StatusCommand.self, Top.self, Last.self,
            ReplayCommand.self, Answers.self,
        ])

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
    @Option(help: ArgumentHelp("Directory of the checkpoints.", valueName: "dir"))
    var checkpoints: String?

    func configuration(_ more: [String: String?] = [:]) throws -> Configuration {
        let environment = processEnvironment()
        let flags = ["spool": spool, "loader.checkpoints": checkpoints].merging(more) { $1 }
        return try Configuration(
            file: config ?? environment["COLDPATH_CONFIG"], environment: environment, flags: flags.compactMapValues(\.self))
    }
}

/// What commands that talk to ClickHouse take.
struct ServerOptions: ParsableArguments {
    @Option(help: ArgumentHelp("ClickHouse's HTTP address; may be given several times.", valueName: "url"))
    var url: [String] = []
    @Option(help: ArgumentHelp("Database of the tables.", valueName: "name"))
    var database: String?
    @Option(help: ArgumentHelp("User at ClickHouse.", valueName: "name"))
    var user: String?
    @Option(help: ArgumentHelp("File whose first line is the password.", valueName: "file"))
    var passwordFile: String?

    var flags: [String: String?] {
        [
            "loader.url": url.isEmpty ? nil : url.joined(separator: ","), "loader.database": database, "loader.user": user,
            "loader.password_file": passwordFile,
        ]
    }
}

/// What commands take that send rows.
struct SchemasOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Directory of the table definitions, only to name the migration that is missing; it need not be there.", valueName: "dir"))
    var schemas: String?

    var flags: [String: String?] { ["schemas": schemas] }
}

/// Runs a command's work, and turns what fails into one line on standard error and the exit status that belongs to it.
func reporting(_ work: () throws -> Void) throws {
    do {
        try work()
        try finishStandardOutput()
    } catch let exit as ExitCode {
        throw exit
    } catch {
        printToStandardError("spool-loader: \(error)")
        throw ExitCode((error as? CommandFailure)?.code ?? exitStatus(of: error))
    }
}
