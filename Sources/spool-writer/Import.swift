import ArgumentParser
import Glibc
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolWriter {
    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Record JSON lines from files or standard input; ends when all of them are durable.",
            discussion: """
                Refused lines go to the rejects file, each with its reason, and the exit status is 1. With --name an import that was cut \
                short can be run again with the same input: lines that are in the spool already are passed over.
                """)
        @OptionGroup var common: CommonOptions
        @Option(help: ArgumentHelp("Take every line for this table; lines then need no \"table\".", valueName: "name"))
        var table: String?
        @Option(help: ArgumentHelp("Write refused lines with their reasons here; standard error by default.", valueName: "file"))
        var rejects: String?
        @Option(help: ArgumentHelp("Name of this import, to run it again after it was cut short.", valueName: "name"))
        var name: String?
        @Argument(help: "Files of JSON lines; - or none is standard input.")
        var files: [String] = []

        func validate() throws {
            if let table, !NameRule.isTable(table) { throw ValidationError("--table \(table) is no table name") }
            if let name, !NameRule.isSource("import:\(name)") {
                throw ValidationError("--name must be printable ASCII without spaces")
            }
        }

        func run() throws {
            try reporting {
                let configuration = try common.configuration()
                try checkFiles(spool: configuration.required("spool"))
                let recorder = try Recorder(configuration: configuration, log: makeLogger("spool-writer"), givesUp: false)
                let rejects = try RejectsFile(path: rejects)
                var importer = LineImporter(recorder: recorder, table: table, name: name, rejects: rejects)
                defer { importer.free() }
                do {
                    for file in files.isEmpty ? ["-"] : files { try importer.take(file) }
                    try recorder.finish()
                } catch {
                    // What was taken is not taken back; how far that is must be known before anybody tries again.
                    try? recorder.finish()
                    printToStandardError(
                        "spool-writer: stopped; the first \(importer.source.complete) lines of the input are durable"
                            + (name == nil ? "" : ": run the same import again once the cause is mended"))
                    throw error
                }
                try rejects.finish()
                let source = importer.source
                printToStandardError(
                    "imported \(source.accepted) rows, durable in \(recorder.spool.path)"
                        + (source.repeated > 0 ? "; \(source.repeated) were there already" : "")
                        + (source.refused > 0 ? "; \(source.refused) lines refused" + (self.rejects.map { ", see \($0)" } ?? "") : ""))
                if source.refused > 0 { throw ExitCode(1) }
            }
        }

        /// Nothing is recorded, or overwritten, before every file is known to be what it should be.
        private func checkFiles(spool: String) throws {
            for file in files where file != "-" {
                guard !Directory.exists(file) else { throw IOFailure("read (it is a directory)", file, EISDIR) }
                // Asked, not opened: a named pipe that is opened and closed again ends its writer.
                guard access(file, R_OK) == 0 else { throw IOFailure("open", file, errno) }
            }
            guard let rejects else { return }
            for file in files where Directory.areSame(file, rejects) {
                throw ValidationError("--rejects \(rejects) is an input, and would be overwritten")
            }
            if Directory.isWithin(rejects, spool) { throw ValidationError("--rejects \(rejects) is within the spool") }
        }
    }
}

/// Where refused lines go: one JSON object each, with file, line, table, field, reason and the line itself.
final class RejectsFile {
    private let file: File?
    private var offset: UInt64 = 0

    /// - Parameter path: nil for standard error.
    init(path: String?) throws(IOFailure) {
        file = try path.map { path throws(IOFailure) in try File.openForWriting(path) }
        try file?.truncate(to: 0)
    }

    func put(_ refusal: Refusal, file name: String, line: UInt64, text: UnsafeRawBufferPointer?) throws(IOFailure) {
        let place = "{\"file\":\(RowText.quoted(name)),"
        var entry = place + refusal.json(line: line).dropFirst().dropLast()
        if let text { entry += ",\"event\":\(RowText.quoted(String(decoding: text, as: UTF8.self)))" }
        entry += "}"
        guard let file else { return printToStandardError(entry) }
        let bytes = Array((entry + "\n").utf8)
        try file.write(bytes, at: offset)
        offset += UInt64(bytes.count)
    }

    /// When this returns the rejects are durable.
    func finish() throws(IOFailure) { try file?.sync() }
}

/// Reads files line by line into the recorder.
struct LineImporter {
    private static let readBytes = 1 << 20

    let recorder: Recorder
    let source: Source
    private let rejects: RejectsFile
    /// What stands before each line when all are of one table.
    private let prefix: [UInt8]?
    private var assembled = RawBuffer(capacity: 4_096)

    init(recorder: Recorder, table: String?, name: String?, rejects: RejectsFile) {
        self.recorder = recorder
        self.rejects = rejects
        prefix = table.map { Array("{\"table\":\"\($0)\"".utf8) }
        source = name.map { recorder.source(named: "import:\($0)", resume: true) } ?? Source(name: nil)
        // A resumed import reads its input from the start; positions count from there.
        source.position = 0
    }

    func free() { assembled.free() }

    mutating func take(_ path: String) throws {
        let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw IOFailure("open", path, errno) }
        defer { if path != "-" { close(descriptor) } }
        var lines = LineBuffer(limit: Recorder.maxLineBytes, capacity: Self.readBytes * 2)
        defer { lines.free() }
        var number: UInt64 = 0
        while true {
            let room = lines.room(Self.readBytes)
            let count = read(descriptor, room.baseAddress, min(room.count, Self.readBytes))
            if count < 0 {
                if errno == EINTR { continue }
                throw IOFailure("read", path, errno)
            }
            if count == 0 { break }
            lines.filled(count)
            try drain(path, &number) { lines.next() }
            recorder.tick(monotonic: Clock.monotonic())
            if let failure = recorder.blockedBy { throw failure }
        }
        // A file's last line may lack its newline.
        try drain(path, &number) { lines.rest() }
    }

    private mutating func drain(_ path: String, _ number: inout UInt64, _ next: () -> LineBuffer.Line) throws {
        let now = Clock.now()
        let monotonic = Clock.monotonic()
        while true {
            switch next() {
            case .none: return
            case .tooLong:
                number += 1
                recorder.refuse(from: source)
                try rejects.put(Refusal("line of more than \(Recorder.maxLineBytes) bytes"), file: path, line: number, text: nil)
            case .line(let line):
                number += 1
                // Blank lines separate records in many files; they are no events.
                if line.isBlank {
                    source.position += 1
                    continue
                }
                do throws(Refusal) {
                    try recorder.append(event(line), readAhead: LineBuffer.readAhead, from: source, now: now, monotonic: monotonic)
                } catch {
                    try rejects.put(error, file: path, line: number, text: line)
                }
            }
        }
    }

    /// The line as an event: with `--table` the table is put before its first field.
    private mutating func event(_ line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard let prefix, let brace = line.firstIndex(of: 0x7B), UnsafeRawBufferPointer(rebasing: line[..<brace]).isBlank else {
            return line
        }
        let rest = UnsafeRawBufferPointer(rebasing: line[(brace + 1)...])
        assembled.truncate(to: 0)
        assembled.append(contentsOf: prefix)
        if rest.first(where: { $0 > 0x20 }) != 0x7D { assembled.append(UInt8(ascii: ",")) }
        if let base = rest.baseAddress { assembled.append(base, count: rest.count) }
        assembled.reserve(LineBuffer.readAhead)
        return assembled.bytes
    }
}
