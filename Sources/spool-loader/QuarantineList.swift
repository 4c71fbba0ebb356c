import Glibc
import SpoolFormat
import SpoolIO

/// The rows of a table that the loader passed over, one line each (`docs/spool-format.md` §13). Lines are only ever appended, also by several
/// processes at once.
struct QuarantineList {
    /// Where the rows stand in the spool.
    struct Place: Equatable {
        let rows: Range<UInt64>
        let segment: SegmentName
        let offset: UInt64
        let bytes: UInt64
    }

    /// ClickHouse's refusal of a row.
    struct Refusal: Equatable {
        /// ClickHouse's number and name of the error.
        let code: Int
        let name: String
        let text: String
        /// The row, as one JSON object; empty if it was too long to keep.
        let values: String

        init(code: Int, name: String, text: String, values: String) {
            (self.code, self.name, self.text, self.values) = (code, name, text, values)
        }

        /// - Parameter answer: ClickHouse's to an insert of the row.
        init(_ answer: ServerAnswer, values: String) {
            guard case .exception(let code, let text) = answer else {
                self.init(code: 0, name: "NO_EXCEPTION", text: answer.problem, values: values)
                return
            }
            self.init(code: code, name: ErrorText.name(in: text) ?? "UNNAMED", text: answer.problem, values: values)
        }
    }

    enum Entry: Equatable {
        /// Bytes that cannot be read, or that are gone.
        case damaged(Place, reason: String)
        /// ClickHouse does not take it.
        case refused(Place, Refusal)
        /// Rows that were brought to ClickHouse after all, and when.
        case requeued(Range<UInt64>, at: String)
    }

    private static let maxTextBytes = 500
    private static let maxValueBytes = 64 << 10

    let path: String

    init(directory: String, writer: String, table: String) { path = "\(directory)/\(writer)/\(table).quarantine" }

    // MARK: Reading

    /// All lines, in the order in which they were written. A line that a crash left unfinished is left out.
    func entries() throws(IOFailure) -> [Entry] {
        let file: File
        do {
            file = try File.openForReading(path)
        } catch {
            if error.isMissing { return [] }
            throw error
        }
        let text = String(decoding: try file.read(Int(clamping: file.size()), at: 0), as: UTF8.self)
        return text.split(separator: "\n").compactMap(Self.entry)
    }

    /// Those entries of which rows are still passed over, with these rows.
    func outstanding() throws(IOFailure) -> [(entry: Entry, rows: SequenceSet)] {
        let entries = try entries()
        var later = SequenceSet()
        var result: [(Entry, SequenceSet)] = []
        // From the end on: a row that was requeued and refused again is outstanding by its last line.
        for entry in entries.reversed() {
            switch entry {
            case .requeued(let rows, _): later.insert(rows)
            case .damaged(let place, _), .refused(let place, _):
                let rows = SequenceSet([place.rows]).subtracting(later)
                if !rows.isEmpty { result.append((entry, rows)) }
                later.insert(place.rows)
            }
        }
        return result.reversed()
    }

    /// The rows that are still passed over.
    func outstandingRows() throws(IOFailure) -> SequenceSet {
        SequenceSet(try outstanding().flatMap(\.rows.ranges))
    }

    private static func entry(_ line: Substring) -> Entry? {
        // A number is whole only if something stands behind it.
        let words = line.split(separator: " ", maxSplits: 5)
        if words.first == "requeued" {
            guard words.count == 4, let rows = range(words[1], words[2]) else { return nil }
            return .requeued(rows, at: String(words[3]))
        }
        guard words.count == 6, let rows = range(words[0], words[1]), let segment = SegmentName(fileName: String(words[2])),
            let offset = UInt64(words[3]), let bytes = UInt64(words[4])
        else { return nil }
        let place = Place(rows: rows, segment: segment, offset: offset, bytes: bytes)
        if let refusal = refusal(words[5]) { return .refused(place, refusal) }
        return .damaged(place, reason: String(words[5]))
    }

    private static func range(_ first: Substring, _ end: Substring) -> Range<UInt64>? {
        guard let first = UInt64(first), let end = UInt64(end), first < end else { return nil }
        return first..<end
    }

    /// `refused CODE NAME: text values {...}`.
    private static func refusal(_ reason: Substring) -> Refusal? {
        let words = reason.split(separator: " ", maxSplits: 2)
        guard words.count == 3, words[0] == "refused", let code = Int(words[1]), let colon = words[2].firstRange(of: ": ") else {
            return nil
        }
        let rest = words[2][colon.upperBound...]
        let values = rest.firstRange(of: Self.beforeValues)
        return Refusal(
            code: code, name: String(words[2][..<colon.lowerBound]), text: String(rest[..<(values?.lowerBound ?? rest.endIndex)]),
            values: values.map { "{" + rest[$0.upperBound...] } ?? "")
    }

    private static let beforeValues = " values {"

    // MARK: Writing

    /// Appends a line. When this returns it is durable.
    func append(_ entry: Entry) throws(IOFailure) {
        let (descriptor, failure) = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC)
        guard let descriptor else { throw IOFailure("open", path, failure) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw IOFailure("stat", path, errno) }
        // A crash may have left a line without its end.
        var last: UInt8 = 0x0A
        if status.st_size > 0, pread(descriptor, &last, 1, status.st_size - 1) != 1 { throw IOFailure("read", path, errno) }
        let line = Array(((last == 0x0A ? "" : "\n") + Self.line(entry) + "\n").utf8)
        // One write: what two processes append at once stands one behind the other.
        let count = line.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard count == line.count else { throw IOFailure("write", path, count < 0 ? errno : ENOSPC) }
        guard fdatasync(descriptor) == 0 else { throw IOFailure("sync", path, errno) }
        if status.st_size == 0 { try Directory.sync(Directory.parent(of: path)) }
    }

    private func open(_ path: String, _ flags: Int32) -> (descriptor: Int32?, code: Int32) {
        while true {
            let descriptor = Glibc.open(path, flags, 0o644)
            if descriptor >= 0 { return (descriptor, 0) }
            if errno != EINTR { return (nil, errno) }
        }
    }

    private static func line(_ entry: Entry) -> String {
        switch entry {
        case .damaged(let place, let reason): return "\(words(place)) \(oneLine(reason))"
        case .requeued(let rows, let time): return "requeued \(rows.lowerBound) \(rows.upperBound) \(oneLine(time))"
        case .refused(let place, let refusal):
            // The text must not look like the place where the values begin.
            let text = cut(oneLine(refusal.text)).replacing(beforeValues, with: " values ({")
            let name = oneLine(refusal.name).replacing(": ", with: " ")
            let line = "\(words(place)) refused \(refusal.code) \(name): \(text)"
            let values = oneLine(refusal.values)
            return values.hasPrefix("{") && values.utf8.count <= maxValueBytes ? "\(line) values \(values)" : line
        }
    }

    private static func words(_ place: Place) -> String {
        "\(place.rows.lowerBound) \(place.rows.upperBound) \(place.segment) \(place.offset) \(place.bytes)"
    }

    private static func oneLine(_ text: String) -> String { text.split(whereSeparator: \.isNewline).joined(separator: " ") }

    private static func cut(_ text: String) -> String {
        text.utf8.count <= maxTextBytes ? text : String(decoding: text.utf8.prefix(maxTextBytes), as: UTF8.self) + "..."
    }
}
