import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolRing

extension SpoolWriter {
    struct Codegen: ParsableCommand {
        enum Language: String, ExpressibleByArgument, CaseIterable { case c, swift, python }

        static let configuration = CommandConfiguration(
            abstract: "Make typed rows for the shared-memory ring out of the schemas, so that a wrong field does not compile.",
            discussion: """
                The code goes to standard output or to --output, and is the same each time. Make it again when a schema changes; a ring \
                declares its columns by name and type, so that old and new producers can run side by side. See docs/clients.md.
                """)
        @OptionGroup var common: CommonOptions
        @Option(help: "c (C11 and C++17), swift or python.")
        var lang: Language
        @Option(help: ArgumentHelp("Only this table; may stand several times. All tables by default.", valueName: "name"))
        var table: [String] = []
        @Option(help: ArgumentHelp("Write here instead of to standard output.", valueName: "file"))
        var output: String?

        func run() throws {
            try reporting {
                let directory = try common.configuration().required("schemas")
                let source = try CodeSource(directory: directory, only: table)
                let text =
                    switch lang {
                    case .c: try CodegenC.text(source)
                    case .swift: try CodegenSwift.text(source)
                    case .python: try CodegenPython.text(source)
                    }
                if let output { try TextFile.replace(output, with: text) } else { print(text, terminator: "") }
            }
        }
    }
}

/// The tables that code is made of, and where they come from.
struct CodeSource {
    let layouts: [RowLayout]
    /// What stands at the top of the file.
    let notice: [String]

    /// - Parameter only: the tables to take; all of them if it is empty.
    init(directory: String, only: [String]) throws {
        let files = try SchemaDirectory.files(directory)
        let tables = try SchemaText.tables(from: files.map { ("\(directory)/\($0.name)", $0.text) })
        for name in only where !tables.contains(where: { $0.table == name }) {
            throw SchemaError(
                file: directory, line: 0,
                reason: "has no table \(name) (--table); it has " + tables.map(\.table).joined(separator: ", "))
        }
        let chosen = only.isEmpty ? tables : tables.filter { only.contains($0.table) }
        guard chosen.count <= RowLayout.maxTables else {
            throw SchemaError(
                file: directory, line: 0,
                reason: "has \(chosen.count) tables, a ring at most \(RowLayout.maxTables): choose with --table")
        }
        layouts = try chosen.map { try RowLayout($0, parseDefault: defaultBytes) }
        let origins = try Self.origins(files)
        notice =
            ["Made by `spool-writer codegen`. Do not edit: change the schemas and make it anew.", ""]
            + chosen.map {
                "table \($0.table): \(origins[$0.table, default: []].joined(separator: ", ")), fingerprint \(hex($0.fingerprint))"
            }
    }

    /// The files that made or changed each table: reading them one after the other shows which one did what.
    private static func origins(_ files: [(name: String, text: String)]) throws -> [String: [String]] {
        var origins: [String: [String]] = [:]
        for (index, file) in files.enumerated() {
            let words = try SchemaText.tables(from: Array(files[...index]))
            let before = try SchemaText.tables(from: Array(files[..<index]))
            for table in words where !before.contains(table) { origins[table.table, default: []].append(file.name) }
        }
        return origins
    }

    /// Tells one set of tables from another.
    var key: UInt64 { layouts.reduce(0) { $0 &* 31 &+ $1.key } }
}

/// Sixteen hexadecimal digits.
func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

/// Text that can stand in a comment of one line in every language: to C a backslash, or `??/` for it, would join the next line.
func oneLine(_ text: String) -> String {
    text.unicodeScalars.map { $0.value < 0x20 || $0 == "\\" || $0 == "?" ? " " : String($0) }.joined()
}
