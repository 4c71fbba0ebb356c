import ArgumentParser
import SpoolConfig
import SpoolFormat
import SpoolIO

extension SpoolLoader {
    struct Cat: ParsableCommand {
        enum Format: String, ExpressibleByArgument, CaseIterable { case json, csv }

        static let configuration = CommandConfiguration(
            abstract: "Print rows of a segment file, or of a table of the spool.",
            discussion: """
                One JSON object a line, or CSV with a line of names. Of an active segment only durable rows are printed. Chunks that \
                cannot be read are named on standard error, and the exit status is 1.
                """)
        @OptionGroup var common: CommonOptions
        @Option(help: ArgumentHelp("First sequence to print.", valueName: "seq"))
        var from: UInt64 = 0
        @Option(help: ArgumentHelp("Last sequence to print.", valueName: "seq"))
        var to: UInt64 = .max
        @Option(help: ArgumentHelp("Earliest event time to print: RFC 3339, a date, or nanoseconds.", valueName: "time"))
        var since: EventTime?
        @Option(help: ArgumentHelp("Print event times before this.", valueName: "time"))
        var until: EventTime?
        @Option(help: "json or csv.")
        var format = Format.json
        @Flag(help: "The same as --format json.")
        var json = false
        @Argument(help: ArgumentHelp("A segment file, or the name of a table.", valueName: "segment|table"))
        var target: String

        func validate() throws {
            if from > to { throw ValidationError("--from \(from) is behind --to \(to)") }
        }

        func run() throws {
            try reporting {
                var printer = RowPrinter(
                    sequences: from...to, times: (since?.time ?? .min, until?.time ?? .max), csv: format == .csv && !json)
                if NameRule.isTable(target) {
                    let spool = try SpoolDirectory.open(common.configuration().required("spool"))
                    guard try spool.tables().contains(target) else {
                        throw CommandFailure(
                            "the spool \(spool.path) has no table \(target); it has \(try spool.tables().joined(separator: ", "))", code: 64
                        )
                    }
                    let mark = try spool.mark(of: target)
                    for name in try spool.standingSegments(of: target) where name.firstSequence <= to {
                        try printer.print(
                            spool.path(of: name, table: target), limit: mark?.segmentNumber == name.number ? mark?.durableBytes : nil)
                    }
                } else {
                    try printer.print(target, limit: nil)
                }
                try printer.end()
                if printer.foundDamage { throw ExitCode(1) }
            }
        }
    }
}

/// Prints the rows of segments that lie in the ranges.
private struct RowPrinter {
    let sequences: ClosedRange<UInt64>
    let times: (from: Int64, to: Int64)
    let csv: Bool
    private(set) var foundDamage = false
    private var header: [WireColumn]?
    private var buffer: [UInt8] = []

    init(sequences: ClosedRange<UInt64>, times: (from: Int64, to: Int64), csv: Bool) {
        self.sequences = sequences
        self.times = times
        self.csv = csv
    }

    mutating func print(_ path: String, limit: UInt64?) throws {
        let reader: SegmentReader
        do {
            reader = try SegmentReader(path: path)
        } catch let error as FormatError {
            return complain("\(path): \(error)")
        }
        let size = try reader.file.size()
        let limit = min(limit ?? size, size)
        if csv, header != reader.header.columns {
            header = reader.header.columns
            buffer.append(contentsOf: RowText.csvHeader(reader.header.columns).utf8)
            try endLine()
        }
        try reader.walk(limit: limit) { step in
            switch step {
            case .chunk(let chunk):
                let header = chunk.header
                guard header.endSequence > sequences.lowerBound, header.firstSequence <= sequences.upperBound,
                    header.maxEventTime >= times.from, header.minEventTime < times.to
                else { return }
                do {
                    try printRows(of: try reader.block(of: chunk), chunk, reader.header)
                } catch let error as FormatError {
                    complain("\(path) at \(chunk.offset): rows \(header.firstSequence) to \(header.endSequence - 1): \(error)")
                }
            case .damage(let offset, let why): complain("\(path) at \(offset): \(why)")
            }
        }
    }

    private mutating func printRows(of block: NativeBlock, _ chunk: LocatedChunk, _ segment: SegmentHeader) throws(IOFailure) {
        let time = block.columns[segment.eventTimeColumn]
        var rows = JSONRows(block, table: segment.table)
        for row in 0..<block.rows {
            let sequence = chunk.header.firstSequence + UInt64(row)
            let at = Int64(truncatingIfNeeded: time.integer(row))
            guard sequences.contains(sequence), at >= times.from, at < times.to else { continue }
            if csv { buffer.append(contentsOf: RowText.csv(block, row: row).utf8) } else { rows.append(row, to: &buffer) }
            try endLine()
        }
    }

    private mutating func complain(_ text: String) {
        foundDamage = true
        printToStandardError("spool-loader: \(text)")
    }

    private mutating func endLine() throws(IOFailure) {
        buffer.append(0x0A)
        if buffer.count > 1 << 16 { try end() }
    }

    mutating func end() throws(IOFailure) {
        try writeToStandardOutput(buffer)
        buffer.removeAll(keepingCapacity: true)
    }
}
