import Glibc
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO

/// Takes event lines, whoever sends them, and makes them durable in the spool.
///
/// Everything happens on one thread. Nothing here waits for anything but the disk.
final class Recorder {
    /// The longest line that is taken, in bytes.
    static let maxLineBytes = 1 << 20
    private static let tablePrefix: StaticString = "{\"table\":\""

    let spool: SpoolDirectory
    private let lock: File
    private let log: Logger
    let commits: GroupCommit
    /// Sees to market rows, losses and the disk; nil where nothing may be given up.
    private(set) var guardian: Guardian?
    private var tables: [TableRecorder] = []
    private var byName: [String: Int] = [:]
    /// Tables whose files nobody may append to, with the reason.
    private var refusedTables: [String: String] = [:]
    private var parser = EventParser()
    private var lastTable = 0
    private var isOwnRow = false
    private var ignored: IgnoredValues
    private var namedSources: [String: Source] = [:]
    /// Lines that were refused since the start and named no table that is recorded; others are counted by their tables.
    private(set) var refusedUnnamed: UInt64 = 0

    /// Opens the spool, recovers every table and is ready for events.
    ///
    /// - Parameter givesUp: whether market rows may be given up under pressure. An import has nobody that it could be late for.
    init(configuration: Configuration, log: Logger, givesUp: Bool = true) throws {
        self.log = log
        ignored = IgnoredValues(log: log)
        commits = GroupCommit(configuration: configuration, log: log)
        let model = try SchemaDirectory.model(configuration.required("schemas"))
        let schemas = try model.recorded()
        let id = configuration.text("writer.id")
        if let id, !NameRule.isWriterID(id) {
            throw ConfigFailure(description: "writer.id is \"\(id)\"; expected 1 to \(FormatLimits.writerIDBytes) of A-Z a-z 0-9 . - _")
        }
        try configuration.checkSections(tables: model.tables.map(\.name))
        (spool, lock) = try SpoolDirectory.openForWriting(configuration.required("spool"), configured: id)
        let segmentBytes = Self.segmentBytes(configuration, spool)
        for schema in schemas { try open(schema, configuration, segmentBytes: segmentBytes, givesUp: givesUp) }
        for table in model.tables {
            if let why = table.derived { refusedTables[table.name] = "its rows are made from others (\(why)), and nothing is sent to it" }
        }
        try endLeftTables(besides: schemas.map(\.table))
        if givesUp { guardian = try Guardian(configuration: configuration, recorder: self, log: log) }
    }

    /// On a small disk segments are small, so that giving one up gives up little.
    private static func segmentBytes(_ configuration: Configuration, _ spool: SpoolDirectory) -> Int {
        let configured = configuration.bytes("writer.segment_bytes")
        guard let usage = try? DiskUsage(path: spool.path) else { return configured }
        return min(configured, max(leastSegmentBytes, Int(clamping: usage.total / segmentsOfADisk)))
    }

    private static let leastSegmentBytes = 1 << 20
    private static let segmentsOfADisk: UInt64 = 32

    deinit { parser.free() }

    private func open(_ schema: TableSchema, _ configuration: Configuration, segmentBytes: Int, givesUp: Bool) throws {
        guard let start = try recover(schema.table) else { return }
        let segments = SegmentWriter(
            schema: schema, spool: spool, start: start, segmentBytes: segmentBytes,
            segmentAge: configuration.duration("writer.segment_age"))
        let limits = ChunkLimits(
            rows: configuration.count("writer.chunk_rows", table: schema.table),
            age: configuration.duration("writer.chunk_age", table: schema.table),
            bytes: configuration.bytes("writer.chunk_bytes", table: schema.table))
        byName[schema.table] = tables.count
        let tableClass = configuration.tableClass(of: schema.table)
        let market = givesUp && tableClass == .market ? MarketTable(schema: schema, configuration: configuration) : nil
        let table = try TableRecorder(
            schema: schema, tableClass: tableClass, sync: configuration.syncPolicy(of: schema.table), limits: limits,
            writer: spool.writer, segments: segments, market: market)
        tables.append(table)
        commits.add(table)
    }

    /// Where a table's writing goes on; nil if nobody may write to it.
    private func recover(_ table: String) throws -> RecoveredTable? {
        let start: RecoveredTable
        do {
            start = try Recovery.run(spool: spool, table: table, now: Clock.now())
        } catch RecoveryFailure.refused(let why) {
            refusedTables[table] = why
            log.critical("table is not recorded: \(why)", metadata: ["table": "\(table)"])
            return nil
        } catch RecoveryFailure.io(let failure) {
            // The disk, not the configuration: the exit status tells them apart.
            throw failure
        }
        for note in start.notes {
            log.log(level: note.isAlert ? .error : .notice, "recovery: \(note.text)", metadata: ["table": "\(table)"])
        }
        return start
    }

    /// Ends the segments of tables that an earlier writer recorded into and that schemas do not name any more: all their rows are there for the
    /// loader, and should the table come back, its sequences go on.
    private func endLeftTables(besides recorded: [String]) throws {
        for table in try spool.tables() where !recorded.contains(table) {
            guard try !spool.segments(of: table).isEmpty, try recover(table) != nil else { continue }
            log.warning(
                "the spool has rows of a table that is not recorded any more: they stay there for the loader, and nothing is added to them",
                metadata: ["table": "\(table)"])
        }
    }

    /// The table with this name, if its rows can be recorded.
    func recordable(_ table: String) -> TableRecorder? { byName[table].map { tables[$0] } }

    // MARK: Sources

    /// The source with this name, as the spool remembers it.
    ///
    /// - Parameter resume: the producer will send again everything from the position that it is told; what of that is in
    ///   the spool already is then passed over. Otherwise its next line is a new one.
    /// - Parameter from: with `resume`, the first position that the producer can still send: a crash can set back how much
    ///   the spool remembers as complete, though never what is in it.
    func source(named name: String, resume: Bool, from: UInt64 = 0) -> Source {
        let source = namedSources[name] ?? Source(name: name)
        namedSources[name] = source
        if source.complete < source.position { commit() }
        let known = max(source.complete, tables.reduce(0) { max($0, $1.segments.positions.complete(name)) })
        let highest = max(source.position, tables.reduce(0) { max($0, $1.segments.positions.end(name)) })
        source.position = resume ? max(known, from) : highest
        source.resumeLimit = highest
        return source
    }

    // MARK: Events

    /// Takes one line, without its newline.
    ///
    /// - Parameter readAhead: how many bytes behind the line may be read, whatever they are.
    /// - Returns: after an ordinary return the row is gathered (accepted, not durable), or was in the spool already.
    /// - Throws: `Refusal`; the line then counts as refused and leaves no trace.
    @inline(__always)
    func append(_ line: UnsafeRawBufferPointer, readAhead: Int = 0, from source: Source, now: Int64, monotonic: Int64) throws(Refusal) {
        let position = source.position
        source.position += 1
        do throws(Refusal) {
            let (table, fields) = try table(of: line)
            if _slowPath(position < source.resumeLimit), let name = source.name, position < table.segments.positions.end(name) {
                source.repeated += 1
                return
            }
            if _slowPath(position < source.resumeLimit), table.tableClass == .market, isLossKnown(source, position) {
                source.dropped += 1
                return
            }
            if _slowPath(commits.isAuditFull), table.tableClass == .audit, !isOwnRow { throw refusalOfFullQueue(table) }
            do throws(Refusal) {
                try parser.parse(line, readAhead: readAhead, from: fields, into: table.builder, names: table.names)
                if _slowPath(parser.hasDropped) { noteDropped(table, source) }
                if let market = table.market, _slowPath(market.isThinning), table.builder.completeRow() == nil,
                    skips(market, table, source, position, monotonic)
                {
                    return
                }
                try table.finishRow(from: source, position: position, now: now, monotonic: monotonic)
            } catch {
                table.builder.undoRow()
                parser.forgetDropped()
                var refusal = error
                refusal.table = table.schema.table
                throw refusal
            }
            source.accepted += 1
        } catch {
            source.refused += 1
            if let table = error.table.flatMap(recordable) { table.refused += 1 } else { refusedUnnamed += 1 }
            throw error
        }
    }

    /// The line that was just parsed gave fields that are not recorded any more.
    @inline(never)
    private func noteDropped(_ table: TableRecorder, _ source: Source) {
        for index in parser.droppedFields where table.names.noteDropped(index, from: source) {
            let producer = isOwnRow ? "this writer" : source.name ?? "a producer that gives no name"
            noteIgnored(table.names.dropped[index], of: table.schema.table, from: producer)
        }
        parser.forgetDropped()
    }

    /// Says once that values of a column that was dropped still come.
    func noteIgnored(_ column: String, of table: String, from producer: String) {
        ignored.note(table: table, column: column, producer: producer)
    }

    /// Why a line would be refused that nobody has sent yet; nil if it would be taken.
    func refusal(of line: String, into table: TableRecorder) -> Refusal? {
        var line = line
        return line.withUTF8 { utf8 -> Refusal? in
            defer {
                table.builder.undoRow()
                parser.forgetDropped()
            }
            do throws(Refusal) {
                try parser.parse(UnsafeRawBufferPointer(utf8), from: 0, into: table.builder, names: table.names)
            } catch {
                return error
            }
            return table.builder.completeRow().map {
                Refusal("missing; the column has no default", table: table.schema.table, field: table.schema.columns[$0].name)
            }
        }
    }

    /// Takes a line of the writer's own.
    func append(text line: String, from source: Source, now: Int64, monotonic: Int64) throws(Refusal) {
        // However full the queue is: what is lost must not be lost once more.
        isOwnRow = true
        defer { isOwnRow = false }
        var line = line
        let refusal = line.withUTF8 { utf8 -> Refusal? in
            do throws(Refusal) {
                try append(UnsafeRawBufferPointer(utf8), from: source, now: now, monotonic: monotonic)
                return nil
            } catch {
                return error
            }
        }
        if let refusal { throw refusal }
    }

    /// Whether the builder's unfinished row is not to be recorded; then it is gone, and counted.
    private func skips(_ market: MarketTable, _ table: TableRecorder, _ source: Source, _ position: UInt64, _ monotonic: Int64) -> Bool {
        let key = market.key(of: table.builder)
        guard let reason = market.reasonToSkip(key) else { return false }
        table.builder.undoRow()
        source.dropped += 1
        market.note(reason, key, monotonic: monotonic)
        table.contribute(source, from: position, to: position + 1, monotonic: monotonic)
        return true
    }

    /// Whether the ledger has a market row that a source sends again and that is not in its table: all that were recorded before the ledger's
    /// last row were durable before it.
    private func isLossKnown(_ source: Source, _ position: UInt64) -> Bool { position < knownLosses(of: source) }

    /// The position before which the losses of a source's market rows are in the ledger.
    func knownLosses(of source: Source) -> UInt64 {
        guard let name = source.name, let table = recordable(LossLedger.table) else { return 0 }
        return table.segments.positions.end(LossLedger.lossSource(of: name))
    }

    private func refusalOfFullQueue(_ table: TableRecorder) -> Refusal {
        let why = commits.blockedBy.map { "\($0)" } ?? "it is too slow"
        return Refusal(
            "the disk takes no rows (\(why)), and \(commits.undurableBytes(.audit)) bytes of accepted ones wait for it in memory: not taken, send it again later",
            table: table.schema.table)
    }

    /// Counts a line that could not even be read, such as one that is too long.
    func refuse(from source: Source) {
        source.position += 1
        source.refused += 1
        refusedUnnamed += 1
    }

    /// The table that the line names.
    ///
    /// - Returns: also where its other fields begin if it is named first, else 0.
    @inline(__always)
    private func table(of line: UnsafeRawBufferPointer) throws(Refusal) -> (TableRecorder, fields: Int) {
        let prefix = Self.tablePrefix.utf8CodeUnitCount
        if line.count > prefix, memcmp(line.baseAddress.unsafelyUnwrapped, Self.tablePrefix.utf8Start, prefix) == 0 {
            if lastTable < tables.count, tables[lastTable].names.isTable(line, at: prefix) {
                return (tables[lastTable], prefix + tables[lastTable].names.quotedNameBytes)
            }
            if let index = tables.firstIndex(where: { $0.names.isTable(line, at: prefix) }) {
                lastTable = index
                return (tables[index], prefix + tables[index].names.quotedNameBytes)
            }
        }
        return (try tableAnywhere(in: line), 0)
    }

    private func tableAnywhere(in line: UnsafeRawBufferPointer) throws(Refusal) -> TableRecorder {
        let name = try parser.tableName(line)
        guard let index = byName[name] else {
            if let why = refusedTables[name] { throw Refusal("the table cannot be recorded: \(why)", table: name) }
            let known = byName.keys.sorted().joined(separator: ", ")
            throw Refusal("unknown table \"\(name.prefix(64))\"; schemas define \(known)", field: "table")
        }
        lastTable = index
        return tables[index]
    }

    // MARK: Rings

    /// The table that rows of a ring go to.
    func table(named name: String) -> Result<TableRecorder, Refusal> {
        if let index = byName[name] { return .success(tables[index]) }
        if let why = refusedTables[name] { return .failure(Refusal("the table cannot be recorded: \(why)", table: name)) }
        return .failure(
            Refusal(
                "schemas define no such table: if the producer is newer than they are, run spool-loader migrate apply and restart the writer with the new ones",
                table: name))
    }

    /// Forgets a source that can never come back, all of whose rows are durable.
    func forget(_ source: Source) {
        guard let name = source.name else { return }
        namedSources[name] = nil
        for table in tables {
            table.segments.forget(name)
            table.segments.forget(LossLedger.lossSource(of: name))
        }
    }

    /// Every table's name, with the sequence before which all of its rows are durable.
    var durableEnds: [(table: String, end: UInt64)] { tables.map { ($0.schema.table, $0.segments.durableEnd) } }

    /// Makes every row of one source durable.
    func commit(_ source: Source) {
        guardian?.flushLosses(of: source, monotonic: Clock.monotonic())
        commits.commit(where: { source.hasUndurable(in: $0) }, cutting: true, mayRetry: false)
    }

    // MARK: Durability

    /// Why something does not become durable at present; nil if everything does.
    var blockedBy: IOFailure? { commits.blockedBy }

    /// Does what is due: sees to pressure and losses, cuts aged chunks, makes cut ones durable, seals aged segments.
    ///
    /// - Returns: whether anything became durable.
    @discardableResult
    func tick(monotonic: Int64) -> Bool {
        guardian?.tick(monotonic: monotonic)
        return commits.tick(monotonic: monotonic)
    }

    /// Nanoseconds of the monotonic clock at which ``tick(monotonic:)`` has something to do; nil if nothing waits.
    var nextDeadline: Int64? {
        guard let guarded = guardian?.nextDeadline else { return commits.nextDeadline }
        return min(guarded, commits.nextDeadline ?? .max)
    }

    /// Makes every row taken so far durable.
    ///
    /// - Returns: whether all is durable; if not, ``blockedBy`` says why.
    @discardableResult
    func commit() -> Bool {
        guardian?.flushLosses(monotonic: Clock.monotonic())
        let isWhole = commits.commit(cutting: true)
        guard let guardian, !guardian.ledger.isEmpty else { return isWhole }
        // Losses that have become durable with their chunks.
        guardian.flushLosses(monotonic: Clock.monotonic())
        return commits.commit(cutting: true)
    }

    /// Makes everything durable and seals every segment.
    func finish() throws(IOFailure) {
        guard commit() else { throw blockedBy ?? IOFailure("sync", spool.path, EIO) }
        let now = Clock.now()
        for table in tables { try table.segments.seal(now: now) }
    }
}
