import SpoolFormat
import SpoolIO

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
    let limits: ChunkLimits
    let names: FieldTable
    let segments: SegmentWriter

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
    /// Sources that have rows in chunks that are cut and not yet durable.
    private var cutSources: [Source] = []
    /// When the first gathered row arrived: nanoseconds since the Unix epoch.
    private var firstIngest: Int64 = 0
    /// The same on the clock that never jumps; nil while no row is gathered.
    private(set) var gatheringSince: Int64?

    init(schema: TableSchema, limits: ChunkLimits, writer: String, segments: SegmentWriter) throws(SchemaError) {
        self.schema = schema
        self.limits = limits
        self.segments = segments
        names = FieldTable(table: schema.table, schema.columns)
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
            try switchPartition()
            outcome = builder.finishRow()
        }
        if case .missing(let column) = outcome {
            throw Refusal("missing; the column has no default", field: schema.columns[column].name)
        }
        if gatheringSince == nil {
            gatheringSince = monotonic
            firstIngest = now
        }
        contribute(source, position)
        if builder.rows >= limits.rows || builder.byteCount >= limits.bytes { cut() }
    }

    /// Goes on with the builder that takes the unfinished row.
    @inline(never)
    private func switchPartition() throws(Refusal) {
        let time = builder.unfinishedEventTime
        let target: BlockBuilder
        if let index = others.firstIndex(where: { $0.takes(time) }) {
            target = others.remove(at: index)
        } else if others.count + 1 == Self.maxOpenPartitions {
            // The row stays with its builder, which is empty after this.
            return cut()
        } else if let free = spare.popLast() {
            target = free
        } else {
            do {
                target = try BlockBuilder(schema: schema, writer: writerID, parseDefault: defaultBytes)
            } catch {
                throw Refusal(error.description)
            }
        }
        builder.moveUnfinishedRow(to: target)
        others.append(builder)
        builder = target
    }

    @inline(__always)
    private func contribute(_ source: Source, _ position: UInt64) {
        if let last = contributions.indices.last, contributions[last].source === source {
            contributions[last].end = position + 1
            return
        }
        if let index = contributions.firstIndex(where: { $0.source === source }) {
            contributions[index].end = position + 1
            contributions.swapAt(index, contributions.count - 1)
            return
        }
        contributions.append(Contribution(source: source, first: position, end: position + 1))
        source.noteUndurable(self, from: position)
        if contributions.count == FormatLimits.chunkSources { cut() }
    }

    /// Makes chunks of the gathered rows, one a partition, if there are any. They are neither written nor durable yet.
    func cut() {
        guard gatheringSince != nil else { return }
        let positions = contributions.compactMap { part in
            part.source.name.map { SourcePosition(source: $0, end: part.end, complete: part.source.complete) }
        }
        let gathered = (others + [builder]).filter { $0.rows > 0 }.sorted { $0.partition < $1.partition }
        segments.cut(gathered, firstIngest: firstIngest, sources: positions)
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
        try segments.write(now: now)
        try segments.sync(now: now)
        for source in cutSources { source.noteDurable(self, rest: rest(of: source)) }
        cutSources.removeAll(keepingCapacity: true)
    }

    /// Position of the source's first row that is gathered and not cut.
    private func rest(of source: Source) -> UInt64? { contributions.first { $0.source === source }?.first }
}
