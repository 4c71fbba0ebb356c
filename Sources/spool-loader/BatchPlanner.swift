import SpoolFormat
import SpoolIO

/// Gathers chunks into batches.
struct BatchPlanner {
    enum Plan {
        /// Full if more of the same was there than the limits allow: waiting would not make it larger.
        case batch(Batch, isFull: Bool)
        /// Nothing up to there is wanted.
        case skip(to: TailPosition)
        /// The first thing at the position is no chunk; see there.
        case other(TailItem)
    }

    let tail: SpoolTail
    var limits: BatchLimits
    /// Which rows are wanted, by event time and by sequence; nil for all.
    var times: TimeRange?
    var selection: SequenceSet?
    /// Whose rows are not wanted.
    var dropped = DroppedDays()

    /// The next batch from the position, which may be within a chunk.
    ///
    /// - Parameter until: where the batch must end, if not before; may be within a chunk.
    func plan(from position: TailPosition, until: UInt64? = nil) throws -> Plan {
        var chunks: [LocatedChunk] = []
        var segment: OpenSegment?
        var size = (rows: 0, bytes: 0, memory: 0)
        var place = position
        func gathered(isFull: Bool) -> Plan? {
            segment.map { .batch(Batch(segment: $0, chunks: chunks), isFull: isFull) }
        }
        while true {
            if let until, place.next >= until {
                return gathered(isFull: true) ?? (place == position ? .other(.end) : .skip(to: place))
            }
            let item = try tail.item(at: place)
            guard case .chunk(let chunk, let owner) = item else {
                // Only at the end of what is durable more may come; a segment that is over has no more.
                var isFull = true
                if case .end = item { isFull = false }
                return gathered(isFull: isFull) ?? (place == position ? .other(item) : .skip(to: place))
            }
            let header = chunk.header
            let after = TailPosition(segmentNumber: owner.name.number, offset: chunk.end, next: header.endSequence)
            guard let wanted = wanted(of: header, from: place.next, until: until) else {
                if let plan = gathered(isFull: true) { return plan }
                place = after
                continue
            }
            if !isWhole(wanted, header) {
                // A slice is a batch of its own.
                if let plan = gathered(isFull: true) { return plan }
                if let batch = try sliced(chunk, in: owner, to: wanted) { return .batch(batch, isFull: true) }
                place = wanted.upperBound == header.endSequence ? after : place
                place.next = wanted.upperBound
                continue
            }
            let next = (
                rows: size.rows + header.rows, bytes: size.bytes + Int(chunk.end - chunk.offset),
                memory: size.memory + header.blockBytes + header.rows * owner.unfixedColumns * BatchLimits.overheadPerValue
            )
            if let first = chunks.first {
                guard header.partition == first.header.partition, next.rows <= limits.rows, next.bytes <= limits.bytes,
                    next.memory <= BatchLimits.memoryBytes, chunks.count < BatchLimits.chunks
                else { return .batch(Batch(segment: owner, chunks: chunks), isFull: true) }
            }
            segment = owner
            chunks.append(chunk)
            size = next
            place = after
        }
    }

    /// The first run of wanted rows from a sequence on; nil if the chunk has none.
    private func wanted(of header: ChunkHeader, from sequence: UInt64, until: UInt64?) -> Range<UInt64>? {
        if let times, times.share(of: header) == .none { return nil }
        if dropped.hold(header) { return nil }
        let first = max(sequence, header.firstSequence)
        let end = min(header.endSequence, until ?? .max)
        guard first < end else { return nil }
        guard let selection else { return first..<end }
        return selection.intersection(first..<end).ranges.first
    }

    /// Behind a sealed segment of which nothing is wanted, without a look at its chunks.
    ///
    /// - Parameter start: the start of a segment; any other place is given back as it is.
    func behindUnwanted(from start: TailPosition) throws -> TailPosition {
        guard times != nil || selection != nil, start.offset == 0, let segment = try? tail.segment(number: start.segmentNumber),
            let trailer = try? SegmentReader.trailer(of: segment.reader.file), trailer.firstSequence == start.next,
            UInt64(clamping: trailer.indexBytes) <= trailer.fileBytes - segment.reader.start
        else { return start }
        let isInTime = times.map { $0.share(min: trailer.minEventTime, max: trailer.maxEventTime) != .none } ?? true
        let isSelected = selection.map { !$0.intersection(trailer.firstSequence..<trailer.endSequence).isEmpty } ?? true
        guard !isInTime || !isSelected else { return start }
        return TailPosition(
            segmentNumber: start.segmentNumber, offset: trailer.fileBytes - UInt64(trailer.indexBytes), next: trailer.endSequence)
    }

    private func isWhole(_ wanted: Range<UInt64>, _ header: ChunkHeader) -> Bool {
        (times?.share(of: header) ?? .all) == .all && wanted == header.firstSequence..<header.endSequence
    }

    /// Some rows of a chunk as a batch; nil if none of them is in the range of event times.
    private func sliced(_ chunk: LocatedChunk, in segment: OpenSegment, to sequences: Range<UInt64>) throws -> Batch? {
        let first = chunk.header.firstSequence
        let column = try segment.reader.block(of: chunk).columns[segment.reader.header.eventTimeColumn]
        var rows: [Int] = []
        var (least, most) = (Int64.max, Int64.min)
        for row in Int(sequences.lowerBound - first)..<Int(sequences.upperBound - first) {
            let time = Int64(truncatingIfNeeded: column.integer(row))
            guard times?.contains(time) ?? true else { continue }
            rows.append(row)
            (least, most) = (min(least, time), max(most, time))
        }
        guard !rows.isEmpty else { return nil }
        return Batch(
            segment: segment, chunks: [chunk],
            slice: Batch.Slice(sequences: sequences, rows: rows, minEventTime: least, maxEventTime: most))
    }

    /// The batch that a checkpoint notes as in flight; its bytes are not read yet.
    ///
    /// - Throws: `CommandFailure` if it is not the same any more.
    func batch(of inflight: InflightBatch) throws -> Batch {
        guard let segment = try tail.segment(number: inflight.segmentNumber) else { throw cannotRead(inflight, "it is not in the spool") }
        var chunks: [LocatedChunk] = []
        var offset = inflight.fromOffset
        var sequence: UInt64?
        while offset < inflight.toOffset {
            guard case .chunk(let chunk) = try segment.reader.item(at: offset, limit: inflight.toOffset) else {
                throw cannotRead(inflight, "no chunk at \(offset)")
            }
            do throws(FormatError) {
                try chunk.header.check(against: segment.reader.header, expecting: sequence ?? chunk.header.firstSequence)
            } catch {
                throw cannotRead(inflight, "\(error)")
            }
            chunks.append(chunk)
            offset = chunk.end
            sequence = chunk.header.endSequence
        }
        guard let first = chunks.first?.header.firstSequence, let end = sequence, first < end else {
            throw cannotRead(inflight, "it has no chunk")
        }
        let wanted = inflight.firstSequence..<inflight.endSequence
        let isInTime = chunks.allSatisfy { (times?.share(of: $0.header) ?? .all) == .all }
        if wanted == first..<end, isInTime { return Batch(segment: segment, chunks: chunks) }
        guard chunks.count == 1, first <= wanted.lowerBound, wanted.upperBound <= end,
            let batch = try sliced(chunks[0], in: segment, to: wanted)
        else { throw cannotRead(inflight, "there it begins at sequence \(first) and ends at sequence \(end)") }
        return batch
    }

    func cannotRead(_ inflight: InflightBatch, _ why: String) -> CommandFailure {
        CommandFailure(
            "\(tail.table): the batch in flight, rows \(inflight.firstSequence) to \(inflight.endSequence - 1), cannot be read "
                + "again from segment \(inflight.segmentNumber): \(why); whether ClickHouse has it, `spool-loader audit` tells",
            code: 74)
    }

    /// Whether the segment of a batch in flight is not there any more, or a tombstone stands in its place.
    func isGone(_ inflight: InflightBatch) throws -> Bool {
        guard let segment = try tail.segment(number: inflight.segmentNumber) else { return true }
        return segment.name.firstSequence > inflight.firstSequence
    }
}
