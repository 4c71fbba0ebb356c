import Logging
import SpoolFormat
import SpoolIO

/// Brings the rows of a table that the loader passed over to ClickHouse, once their cause is mended: entry by entry of the quarantine
/// list, each asked for before it is sent.
final class RequeueTable {
    struct Result: Encodable {
        let table: String
        var loaded: UInt64 = 0
        /// Were in ClickHouse before.
        var present: UInt64 = 0
        /// Older than the table's TTL.
        var expired: UInt64 = 0
        /// Still passed over.
        var remaining: UInt64 = 0
        /// Why, for each entry that remains.
        var problems: [String] = []
    }

    private let spool: SpoolDirectory
    private let list: QuarantineList
    private let sender: BatchSender
    private let log: Logger
    private var result: Result

    /// - Parameter schemas: directory of the table definitions, to name the migration that is missing; it need not be there.
    init(table: String, spool: SpoolDirectory, list: QuarantineList, server: RequeueServer, schemas: String, log: Logger) {
        self.spool = spool
        self.list = list
        self.log = log
        sender = BatchSender(table: table, server: server, schemas: schemas)
        result = Result(table: table)
    }

    /// Tries every outstanding entry once. Each that succeeds is noted at once, durably.
    ///
    /// - Throws: `RequeueStopped`, and failures of the server that lasted. All else is a problem of the result.
    func run() throws -> Result {
        let outstanding = try list.outstanding()
        if outstanding.isEmpty { return result }
        do {
            try sender.askTarget()
            for (entry, rows) in outstanding { try requeue(entry, rows) }
        } catch let problem as ProblemOfTable {
            result.problems.append(problem.description)
        }
        result.remaining = try list.outstandingRows().count
        return result
    }

    private func requeue(_ entry: QuarantineList.Entry, _ rows: SequenceSet) throws {
        let place: QuarantineList.Place
        switch entry {
        case .damaged(let its, _), .refused(let its, _): place = its
        case .requeued: return
        }
        do {
            // Of what a segment's header declares lost there are no bytes.
            guard place.bytes > 0 else { throw FormatError.malformed("the spool declares them lost") }
            let reader = try SegmentReader(path: spool.path(of: place.segment, table: result.table))
            let segment = OpenSegment(name: place.segment, reader: reader)
            var offset = place.offset
            var rest = rows
            while !rest.isEmpty, offset < place.offset + place.bytes {
                guard case .chunk(let chunk) = try reader.item(at: offset, limit: reader.file.size()) else {
                    throw FormatError.malformed("no chunk can be read at \(offset)")
                }
                let wanted = rest.intersection(chunk.header.firstSequence..<chunk.header.endSequence)
                rest = rest.subtracting(wanted)
                if !wanted.isEmpty { try requeue(wanted, of: chunk, in: segment) }
                offset = chunk.end
            }
            if !rest.isEmpty { throw FormatError.malformed("the chunks there do not have rows \(rest.text())") }
        } catch let error as FormatError {
            complain(rows, place, "\(error)")
        } catch let failure as IOFailure where failure.isMissing {
            complain(rows, place, "the segment is not in the spool any more")
        }
    }

    private func requeue(_ wanted: SequenceSet, of chunk: LocatedChunk, in segment: OpenSegment) throws {
        let batch = Batch(segment: segment, chunks: [chunk])
        try sender.sentColumns(batch)
        try chunk.header.check(against: segment.reader.header, expecting: chunk.header.firstSequence)
        let block = try segment.reader.block(of: chunk)
        let before = try sender.count(batch)
        let there = before.distinct == 0 ? SequenceSet() : try sender.sequences(batch)
        let times = block.columns[segment.reader.header.eventTimeColumn]
        let expiry = sender.expiry
        var missing = MissingRows()
        missing.present = wanted.intersection(there).count
        for sequence in wanted.subtracting(there).ranges.joined() {
            let row = Int(sequence - chunk.header.firstSequence)
            let time = Int64(truncatingIfNeeded: times.integer(row))
            if time <= expiry {
                missing.expired += 1
                continue
            }
            missing.rows.append(row)
            missing.sequences.insert(sequence..<sequence + 1)
            missing.latest = max(missing.latest, time)
        }
        if !missing.rows.isEmpty {
            missing.body = try BlockSlice.frame(of: block, rows: missing.rows)
            let sent = try sender.send(missing, of: batch, before: before)
            if let refusal = sent.refusal {
                result.problems.append("rows \(wanted.text()): ClickHouse refuses them still: \(refusal)")
                return
            }
            result.loaded += sent.loaded
            missing.expired += sent.expired
        }
        result.present += missing.present
        result.expired += missing.expired
        for range in wanted.ranges { try list.append(.requeued(range, at: rfc3339(Clock.now()))) }
        log.notice("\(result.table): rows \(wanted.text()) are out of quarantine")
    }

    private func complain(_ rows: SequenceSet, _ place: QuarantineList.Place, _ why: String) {
        result.problems.append("rows \(rows.text()), segment \(place.segment) at \(place.offset): \(why)")
    }
}
