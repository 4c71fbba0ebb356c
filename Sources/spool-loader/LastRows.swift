import SpoolFormat
import SpoolIO

/// The newest row of each key as of a time, wherever it is: in ClickHouse, or in the spool and not there yet.
struct LastRows {
    /// Which rows are told apart by what.
    struct Subject: Equatable {
        let table: String
        /// Columns whose values name one thing, such as a position.
        let keys: [String]
        /// Column of the event time.
        let time: String

        /// What an execution engine starts from.
        static let usual = [
            Subject(table: "positions_intraday", keys: ["account_id", "symbol", "strategy"], time: "ts"),
            Subject(table: "account_state", keys: ["account_id"], time: "ts"),
        ]
    }

    struct Row: Equatable {
        /// Event time, nanoseconds since the Unix epoch.
        let time: Int64
        let sequence: UInt64
        /// As `cat` prints it.
        let line: String
    }

    let subject: Subject
    /// Event times that count, both included.
    let times: ClosedRange<Int64>
    /// By key: the key's texts in hex, as ClickHouse writes them too.
    private(set) var rows: [String: Row] = [:]
    /// What of the spool could not be read.
    private(set) var problems: [String] = []

    init(of subject: Subject, times: ClosedRange<Int64>) {
        self.subject = subject
        self.times = times
    }

    /// The lines, in the order of their keys.
    var lines: [String] { rows.sorted { $0.key < $1.key }.map(\.value.line) }

    private mutating func take(_ key: String, _ row: Row) {
        if let known = rows[key], (known.time, known.sequence) >= (row.time, row.sequence) { return }
        rows[key] = row
    }

    // MARK: ClickHouse

    /// The question to ClickHouse.
    var query: String {
        let keys = subject.keys.map(quotedIdentifier)
        let time = quotedIdentifier(subject.time)
        func moment(_ nanoseconds: Int64) -> String { "fromUnixTimestamp64Nano(\(nanoseconds), 'UTC')" }
        return """
            SELECT arrayStringConcat([\(keys.map { "hex(toString(\($0)))" }.joined(separator: ", "))], '-'), toUnixTimestamp64Nano(\(time)), spool_seq,
                formatRowNoNewline('JSONEachRow', *)
            FROM
            (
                SELECT * FROM \(quotedIdentifier(subject.table))
                WHERE \(time) >= \(moment(times.lowerBound)) AND \(time) <= \(moment(times.upperBound))
                ORDER BY \(keys.joined(separator: ", ")), \(time) DESC, spool_seq DESC
                LIMIT 1 BY \(keys.joined(separator: ", "))
            )
            FORMAT TSVRaw
            """
    }

    /// With which ClickHouse writes values as `cat` does.
    static let settings = [
        "output_format_json_quote_64bit_integers": "0", "output_format_json_quote_decimals": "1",
        "output_format_decimal_trailing_zeros": "1",
        "output_format_json_escape_forward_slashes": "0", "date_time_output_format": "iso",
    ]

    /// Takes ClickHouse's answer.
    ///
    /// - Throws: `CommandFailure` for one that is none.
    mutating func take(answer: [UInt8]) throws(CommandFailure) {
        for line in answer.split(separator: 0x0A) {
            let fields = line.split(separator: 0x09, maxSplits: 3, omittingEmptySubsequences: false).map {
                String(decoding: $0, as: UTF8.self)
            }
            guard fields.count == 4, let time = Int64(fields[1]), let sequence = UInt64(fields[2]), fields[3].hasPrefix("{") else {
                throw CommandFailure(
                    "ClickHouse answers the question for the last rows of \(subject.table) with: \(plainLine(bytes: Array(line), limit: 200))",
                    code: 74)
            }
            take(
                fields[0],
                Row(time: time, sequence: sequence, line: "{\"table\":\(RowText.quoted(subject.table)),\(fields[3].dropFirst())"))
        }
    }

    // MARK: The spool

    /// Takes the spool's durable rows.
    mutating func take(_ spool: SpoolDirectory) throws {
        let mark = try spool.mark(of: subject.table)
        for name in try spool.standingSegments(of: subject.table).reversed() {
            // Behind the mark nothing is durable.
            if let mark, name.number > mark.segmentNumber { continue }
            let path = spool.path(of: name, table: subject.table)
            do {
                try take(path, limit: mark?.segmentNumber == name.number ? mark?.durableBytes : nil)
            } catch let failure as IOFailure where failure.isMissing {
                // Pruned, or given up, since the directory was listed.
                continue
            } catch let error as FormatError {
                problems.append("\(path): \(error)")
            }
        }
    }

    private mutating func take(_ path: String, limit: UInt64?) throws {
        let file = try File.openForReading(path)
        if limit == nil, let trailer = try SegmentReader.trailer(of: file),
            trailer.maxEventTime < times.lowerBound || trailer.minEventTime > times.upperBound
        {
            return
        }
        let reader = try SegmentReader(file: file)
        let size = try file.size()
        let limit = min(limit ?? size, size)
        try reader.walk(limit: limit) { step in
            switch step {
            case .chunk(let chunk):
                guard chunk.header.maxEventTime >= times.lowerBound, chunk.header.minEventTime <= times.upperBound else { return }
                do {
                    try take(try reader.block(of: chunk), chunk.header.firstSequence, reader.header)
                } catch let error as FormatError {
                    problems.append("\(path) at \(chunk.offset): \(error)")
                }
            case .damage(let offset, let why): problems.append("\(path) at \(offset): \(why)")
            }
        }
    }

    /// Of a chunk only the newest row of each key becomes text.
    private mutating func take(_ block: NativeBlock, _ first: UInt64, _ header: SegmentHeader) throws(FormatError) {
        let time = block.columns[header.eventTimeColumn]
        var keys: [NativeColumn] = []
        for name in subject.keys {
            guard let column = block.column(name) else { throw .malformed("its rows have no column \(name)") }
            keys.append(column)
        }
        var newest: [[ArraySlice<UInt8>]: (time: Int64, row: Int)] = [:]
        for row in 0..<block.rows {
            let at = Int64(truncatingIfNeeded: time.integer(row))
            guard times.contains(at) else { continue }
            let key = keys.map { Self.bytes($0, row) }
            if let known = newest[key], known.time > at { continue }
            newest[key] = (at, row)
        }
        for (key, (at, row)) in newest {
            let sequence = first + UInt64(row)
            let key = key.map { hex($0) }.joined(separator: "-")
            if let known = rows[key], (known.time, known.sequence) >= (at, sequence) { continue }
            take(key, Row(time: at, sequence: sequence, line: RowText.json(block, row: row, table: subject.table)))
        }
    }

    private static func bytes(_ column: NativeColumn, _ row: Int) -> ArraySlice<UInt8> {
        if column.isNull(row) { return [] }
        return column.type.scalar == .string ? column.string(row) : Array(column.text(column.elements(row).lowerBound).utf8)[...]
    }
}

/// Upper case, as ClickHouse's `hex`.
private func hex(_ bytes: ArraySlice<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined()
}
