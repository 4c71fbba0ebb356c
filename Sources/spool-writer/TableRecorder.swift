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
    let builder: BlockBuilder
    let segments: SegmentWriter

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
            cut()
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

    /// Makes a chunk of the gathered rows, if there are any. It is neither written nor durable yet.
    func cut() {
        guard builder.rows > 0 else { return }
        let positions = contributions.compactMap { part in
            part.source.name.map { SourcePosition(source: $0, end: part.end, complete: part.source.complete) }
        }
        segments.cut(builder, firstIngest: firstIngest, sources: positions)
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
