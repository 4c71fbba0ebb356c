import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolRing
import SpoolStatus

/// When the rows of a table become a chunk.
struct ChunkLimits {
    var rows: Int
    /// Nanoseconds since the first row.
    var age: Int64
    /// Bytes of the block.
    var bytes: Int
}

/// Everything of one table: the rows being gathered, the sources they came from, and the segment they go to.
final class TableRecorder {
    let schema: TableSchema
    let tableClass: TableClass
    let sync: SyncPolicy
    let limits: ChunkLimits
    let names: FieldTable
    let segments: SegmentWriter
    /// What is recorded of it and what is not; nil for a table of which everything is.
    let market: MarketTable?
    /// How long the oldest row of each sync had waited since it was taken.
    private(set) var durableTimes = Histogram()
    /// Lines and rows of a ring that were refused since the start.
    var refused: UInt64 = 0
    /// Rows that their producers could not publish since a ring was full.
    var ringFull: UInt64 = 0
    /// Why the disk took nothing of it the last time, since when, and when that is tried again.
    var failure: (error: IOFailure, since: Int64, retryAt: Int64)?
    /// When the oldest chunk that is not durable was cut, on the clock that never jumps.
    private(set) var dirtySince: Int64?
    /// Whether chunks are cut and not durable.
    var isDirty: Bool { segments.isDirty }

    /// Partitions that are gathered at the same time. Late rows, and producers whose clocks differ around midnight, would else
    /// cut a chunk with every row.
    static let maxOpenPartitions = 8
    private let writerID: String
    /// The builder that events are parsed into.
    private(set) var builder: BlockBuilder
    /// Builders of other partitions that have rows.
    private var others: [BlockBuilder] = []
    /// Builders without rows.
    private var spare: [BlockBuilder] = []

    private var contributions: [Contribution] = []
    /// Sources whose losses of other tables were handed over, and the positions before which they are among the rows being gathered.
    private var lossEnds: [String: UInt64] = [:]
    /// Sources that have rows in chunks that are cut and not yet durable.
    private var cutSources: [Source] = []
    /// When the first gathered row arrived: nanoseconds since the Unix epoch.
    private var firstIngest: Int64 = 0
    /// The same on the clock that never jumps; nil while no row is gathered.
    private(set) var gatheringSince: Int64?

    init(
        schema: TableSchema, tableClass: TableClass, sync: SyncPolicy, limits: ChunkLimits, writer: String, segments: SegmentWriter,
        market: MarketTable?
    ) throws(SchemaError) {
        self.schema = schema
        self.tableClass = tableClass
        self.sync = sync
        self.market = market
        self.limits = limits
        self.segments = segments
        names = FieldTable(schema)
        writerID = writer
        builder = try BlockBuilder(schema: schema, writer: writer, parseDefault: defaultBytes)
    }

    /// Makes the unfinished row of the builder part of the chunk being gathered.
    ///
    /// - Parameter position: the row's place in what its source sent.
    /// - Throws: `Refusal` if a required field is missing; the row is undone.
    @inline(__always)
    func finishRow(from source: Source, position: UInt64, now: Int64, monotonic: Int64) throws(Refusal) {
        var outcome = builder.finishRow()
        if _slowPath(outcome == .otherPartition) {
            try switchPartition(monotonic)
            outcome = builder.finishRow()
        }
        if case .missing(let column) = outcome {
            throw Refusal("missing; the column has no default", field: schema.columns[column].name)
        }
        if gatheringSince == nil {
            gatheringSince = monotonic
            firstIngest = now
        }
        contribute(source, from: position, to: position + 1, monotonic: monotonic)
        if builder.rows >= limits.rows || builder.byteCount >= limits.bytes { cut(monotonic: monotonic) }
    }

    /// Goes on with the builder that takes the unfinished row.
    @inline(never)
    private func switchPartition(_ monotonic: Int64) throws(Refusal) {
        guard let target = try otherBuilder(for: builder.unfinishedEventTime) else {
            // The row stays with its builder, which is empty after this.
            return cut(monotonic: monotonic)
        }
        builder.moveUnfinishedRow(to: target)
        others.append(builder)
        builder = target
    }

    /// A builder that takes rows of this time, which is no longer among the others; nil if there are too many already.
    private func otherBuilder(for time: Int64) throws(Refusal) -> BlockBuilder? {
        if let index = others.firstIndex(where: { $0.takes(time) }) { return others.remove(at: index) }
        if others.count + 1 == Self.maxOpenPartitions { return nil }
        if let free = spare.popLast() { return free }
        do {
            return try BlockBuilder(schema: schema, writer: writerID, parseDefault: defaultBytes)
        } catch {
            throw Refusal(error.description)
        }
    }

    // MARK: Rows of a ring

    /// Where rows of a ring come from, and when.
    struct RingOrigin {
        let source: Source
        /// Position in the ring of the first byte of the copy that the rows lie in.
        let base: UInt64
        /// Nanoseconds since the Unix epoch, and on the clock that never jumps.
        let now: Int64
        let monotonic: Int64
    }

    /// Bytes that rows taken at once may become, so that a block stays far below what the format allows.
    private static let maxRunBytes = 4 << 20

    /// Makes rows of a ring part of the chunks being gathered, in their order.
    ///
    /// - Parameter refuse: is told of each row that fails, by its index.
    func append(
        _ rows: RingRows, plan: RowPlan, names: NameTable, origin: RingOrigin, refuse: (Int, Refusal) -> Void
    ) {
        var next = 0
        while next < rows.count {
            let rest = rows.dropFirst(next)
            do throws(Refusal) {
                next += try appendRun(rest, plan, names, origin) { refuse(next + $0, $1) }
            } catch {
                refuse(next, error)
                next += 1
            }
        }
    }

    /// Takes rows of one partition, up to the chunk's limit.
    ///
    /// - Returns: how many of the rows are dealt with.
    /// - Throws: `Refusal` of the first row.
    private func appendRun(
        _ rows: RingRows, _ plan: RowPlan, _ names: NameTable, _ origin: RingOrigin, refuse: (Int, Refusal) -> Void
    ) throws(Refusal) -> Int {
        let range = try open(RowGather.eventTime(rows, 0, plan: plan), origin.monotonic)
        var run = rows.prefix(max(1, min(limits.rows - builder.rows, plan.rows(within: Self.maxRunBytes, names: names))))
        var times = RowGather.eventTimes(run, plan: plan)
        if times.earliest < range.from || times.latest >= range.to {
            var count = 1
            while count < run.count {
                let time = RowGather.eventTime(run, count, plan: plan)
                if time < range.from || time >= range.to { break }
                count += 1
            }
            run = run.prefix(count)
            times = RowGather.eventTimes(run, plan: plan)
        }
        do throws(RowGather.Fault) {
            try RowGather.append(run, plan: plan, names: names, to: builder)
        } catch {
            builder.undoRow()
            if run.count == 1 { throw RingRefusal.refusal(of: run, error, plan: plan) }
            for index in 0..<run.count {
                append(run.dropFirst(index).prefix(1), plan: plan, names: names, origin: origin) { refuse(index + $0, $1) }
            }
            return run.count
        }
        builder.finishRows(run.count, earliest: times.earliest, latest: times.latest)
        if gatheringSince == nil {
            gatheringSince = origin.monotonic
            firstIngest = origin.now
        }
        let first = run.record(0).start
        contribute(
            origin.source, from: origin.base + UInt64(first), to: origin.base + UInt64(run.record(run.count - 1).end),
            monotonic: origin.monotonic)
        if builder.rows >= limits.rows || builder.byteCount >= limits.bytes { cut(monotonic: origin.monotonic) }
        return run.count
    }

    /// Turns to a builder that takes rows of this time.
    ///
    /// - Returns: the times that it takes.
    private func open(_ time: Int64, _ monotonic: Int64) throws(Refusal) -> (from: Int64, to: Int64) {
        guard time >= EventTime.earliest, time <= EventTime.latest else {
            throw RingRefusal.time(time, table: schema.table, field: schema.columns[schema.eventTimeColumn].name)
        }
        if !builder.takes(time) {
            if let target = try otherBuilder(for: time) {
                others.append(builder)
                builder = target
            } else {
                cut(monotonic: monotonic)
            }
        }
        return builder.openRange(for: time)
    }

    /// Notes that the rows being gathered are of this source, from this position to that; or rows that are not recorded, and counted.
    @inline(__always)
    func contribute(_ source: Source, from position: UInt64, to end: UInt64, monotonic: Int64) {
        if let last = contributions.indices.last, contributions[last].source === source, position >= contributions[last].first {
            contributions[last].end = max(contributions[last].end, end)
            return
        }
        if let index = contributions.firstIndex(where: { $0.source === source }) {
            // Losses of a ring's batch are noted before its rows, whatever their order was.
            if position < contributions[index].first {
                contributions[index].first = position
                source.noteUndurable(self, from: position)
            }
            contributions[index].end = max(contributions[index].end, end)
            contributions.swapAt(index, contributions.count - 1)
            return
        }
        contributions.append(Contribution(source: source, first: position, end: end))
        source.noteUndurable(self, from: position)
        if contributions.count + lossEnds.count >= FormatLimits.chunkSources { cut(monotonic: monotonic) }
    }

    /// Makes chunks of the gathered rows, one a partition, if there are any. They are neither written nor durable yet.
    func cut(monotonic: Int64) {
        guard gatheringSince != nil else { return }
        if dirtySince == nil { dirtySince = monotonic }
        // Where nothing but losses was noted there may be more sources than a chunk can name. The last ones are named: among them are those with
        // rows, since the first row of all leads to a cut then. The others are not asked for what they were told is durable; only one whose
        // answer a kill prevents sends its lines again, and has them counted again.
        var positions = contributions.compactMap { part in
            part.source.name.map { SourcePosition(source: $0, end: part.end, complete: part.source.complete) }
        }.suffix(FormatLimits.chunkSources)
        // Under names of their own: a source may have rows of its own in this table, and what it has lost elsewhere is not told by those.
        for (source, end) in lossEnds.sorted(by: { $0.key < $1.key }).prefix(FormatLimits.chunkSources - positions.count) {
            positions.append(SourcePosition(source: LossLedger.lossSource(of: source), end: end, complete: 0))
        }
        lossEnds.removeAll(keepingCapacity: true)
        let gathered = (others + [builder]).filter { $0.rows > 0 }.sorted { $0.partition < $1.partition }
        let losses = market.map { $0.takeLosses(maxBytes: Self.maxLossBytes) } ?? []
        segments.cut(gathered, firstIngest: firstIngest, sources: Array(positions), losses: losses)
        spare += others
        others.removeAll(keepingCapacity: true)
        for part in contributions where !cutSources.contains(where: { $0 === part.source }) { cutSources.append(part.source) }
        contributions.removeAll(keepingCapacity: true)
        gatheringSince = nil
    }

    /// Writes, syncs and publishes what was cut. When this returns it is durable.
    func commit(now: Int64) throws(IOFailure) {
        segments.noteComplete { name in
            cutSources.first { $0.name == name }.map { $0.complete(onceDurable: self, rest: rest(of: $0)) }
        }
        let oldest = segments.oldestPendingIngest
        try segments.write(now: now)
        try segments.sync(now: now)
        if let oldest { durableTimes.observe(Double(Clock.now() &- oldest) / 1e9) }
        dirtySince = nil
        for source in cutSources { source.noteDurable(self, rest: rest(of: source)) }
        cutSources.removeAll(keepingCapacity: true)
    }

    // MARK: Losses

    /// Bytes of losses that a chunk's header has room for; further ones are summed up without their symbol.
    private static let maxLossBytes = FormatLimits.chunkHeaderBytes / 2

    /// Rows that were taken and are not in a chunk yet.
    var gatheredRows: Int { others.reduce(builder.rows) { $0 + $1.rows } }

    /// Whether there is nothing but losses to be made durable: no row that a chunk could be made of.
    var hasOnlyLosses: Bool { gatheringSince == nil && !contributions.isEmpty }

    /// Lets sources go on whose losses nobody takes: they are in the log.
    func releaseLosses() -> [ChunkLoss] {
        for part in contributions { part.source.noteDurable(self, rest: nil) }
        contributions.removeAll(keepingCapacity: true)
        lossEnds.removeAll(keepingCapacity: true)
        return market?.takeLosses(maxBytes: .max) ?? []
    }

    /// Hands over the losses that no chunk of this table can carry, and the positions of their sources. Call when everything else is durable.
    func handOverLosses(to other: TableRecorder, monotonic: Int64) -> [ChunkLoss] {
        precondition(hasOnlyLosses && !isDirty, "losses of \(schema.table) handed over beside rows")
        for part in contributions {
            other.contribute(part.source, from: part.first, to: part.end, monotonic: monotonic)
            if let name = part.source.name { other.noteLost(name, before: part.end, monotonic: monotonic) }
        }
        return releaseLosses()
    }

    private func noteLost(_ source: String, before end: UInt64, monotonic: Int64) {
        lossEnds[source] = max(lossEnds[source] ?? 0, end)
        if contributions.count + lossEnds.count >= FormatLimits.chunkSources { cut(monotonic: monotonic) }
    }

    /// Gives up the chunks that are not durable: the rows that have waited for longest. The caller counts them, as losses of this table.
    func dropWaiting(monotonic: Int64) -> [DroppedChunk] {
        let dropped = segments.dropPending()
        guard !dropped.isEmpty else { return [] }
        dirtySince = nil
        var ends: [String: UInt64] = [:]
        for position in dropped.flatMap(\.header.sources) { ends[position.source] = max(ends[position.source] ?? 0, position.end) }
        let sources = cutSources
        cutSources.removeAll(keepingCapacity: true)
        for source in sources {
            guard let from = source.firstUndurable(in: self) else { continue }
            // A source without a name has no positions that anybody would come back to.
            let end = source.name.flatMap { ends[$0] } ?? rest(of: source) ?? source.position
            contribute(source, from: from, to: max(end, from + 1), monotonic: monotonic)
        }
        return dropped
    }

    /// Position of the source's first row that is gathered and not cut.
    private func rest(of source: Source) -> UInt64? { contributions.first { $0.source === source }?.first }
}
