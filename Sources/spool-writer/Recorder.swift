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
    /// Undurable bytes at which no more input is taken until the disk takes some.
    static let maxUndurableBytes = 64 << 20
    private static let retryDelay: Int64 = 200_000_000
    private static let tablePrefix: StaticString = "{\"table\":\""

    let spool: SpoolDirectory
    private let lock: File
    private let log: Logger
    private let syncAge: Int64
    private var tables: [TableRecorder] = []
    private var byName: [String: Int] = [:]
    /// Tables whose files nobody may append to, with the reason.
    private var refusedTables: [String: String] = [:]
    private var parser = EventParser()
    private var lastTable = 0
    private var namedSources: [String: Source] = [:]
    private var dirtySince: Int64?
    private var failure: (error: IOFailure, since: Int64, retryAt: Int64)?

    /// Opens the spool, recovers every table and is ready for events.
    init(configuration: Configuration, log: Logger) throws {
        self.log = log
        syncAge = configuration.duration("writer.sync_age")
        let schemas = try SchemaDirectory.tables(configuration.required("schemas"))
        let id = configuration.text("writer.id")
        if let id, !NameRule.isWriterID(id) {
            throw ConfigFailure(description: "writer.id is \"\(id)\"; expected 1 to \(FormatLimits.writerIDBytes) of A-Z a-z 0-9 . - _")
        }
        for table in configuration.tableSections.sorted() where !schemas.contains(where: { $0.table == table }) {
            throw ConfigFailure(description: "[tables.\(table)]: schemas define no such table")
        }
        (spool, lock) = try SpoolDirectory.openForWriting(configuration.required("spool"), configured: id)
        for schema in schemas { try open(schema, configuration) }
    }

    deinit { parser.free() }

    private func open(_ schema: TableSchema, _ configuration: Configuration) throws {
        let start: RecoveredTable
        do {
            start = try Recovery.run(spool: spool, table: schema.table, now: Clock.now())
        } catch RecoveryFailure.refused(let why) {
            refusedTables[schema.table] = why
            log.critical("table is not recorded: \(why)", metadata: ["table": "\(schema.table)"])
            return
        } catch RecoveryFailure.io(let failure) {
            // The disk, not the configuration: the exit status tells them apart.
            throw failure
        }
        for note in start.notes {
            log.log(level: note.isAlert ? .error : .notice, "recovery: \(note.text)", metadata: ["table": "\(schema.table)"])
        }
        let segments = SegmentWriter(
            schema: schema, spool: spool, start: start, segmentBytes: configuration.bytes("writer.segment_bytes"),
            segmentAge: configuration.duration("writer.segment_age"))
        let limits = ChunkLimits(
            rows: configuration.count("writer.chunk_rows", table: schema.table),
            age: configuration.duration("writer.chunk_age", table: schema.table),
            bytes: configuration.bytes("writer.chunk_bytes", table: schema.table))
        byName[schema.table] = tables.count
        tables.append(try TableRecorder(schema: schema, limits: limits, writer: spool.writer, segments: segments))
    }

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
            do throws(Refusal) {
                try parser.parse(line, readAhead: readAhead, from: fields, into: table.builder, names: table.names)
                try table.finishRow(from: source, position: position, now: now, monotonic: monotonic)
            } catch {
                table.builder.undoRow()
                var refusal = error
                refusal.table = table.schema.table
                throw refusal
            }
            source.accepted += 1
        } catch {
            source.refused += 1
            throw error
        }
    }

    /// Counts a line that could not even be read, such as one that is too long.
    func refuse(from source: Source) {
        source.position += 1
        source.refused += 1
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
        return .failure(Refusal("schemas define no such table", table: name))
    }

    /// Forgets a source that can never come back, all of whose rows are durable.
    func forget(_ source: Source) {
        guard let name = source.name else { return }
        namedSources[name] = nil
        for table in tables { table.segments.forget(name) }
    }

    /// Every table's name, with the sequence before which all of its rows are durable.
    var durableEnds: [(table: String, end: UInt64)] { tables.map { ($0.schema.table, $0.segments.durableEnd) } }

    /// Makes every row of one source durable.
    func commit(_ source: Source) {
        for table in tables where source.hasUndurable(in: table) { table.cut() }
        commitCut()
    }

    // MARK: Durability

    /// Whether no more input should be taken: the disk takes nothing, or too much waits for it.
    var isBlocked: Bool { failure != nil || tables.reduce(0) { $0 + $1.segments.undurableBytes } > Self.maxUndurableBytes }
    /// Why nothing becomes durable at present; nil if it does.
    var blockedBy: IOFailure? { failure?.error }

    /// Does what is due: cuts aged chunks, makes cut ones durable, seals aged segments.
    ///
    /// - Returns: whether anything became durable.
    @discardableResult
    func tick(monotonic: Int64) -> Bool {
        if let failure, monotonic < failure.retryAt { return false }
        var due = failure != nil
        for table in tables {
            if let since = table.gatheringSince, monotonic - since >= table.limits.age { due = true }
        }
        if due {
            // One round of syncs serves all: tables that would be due soon go along.
            for table in tables {
                if let since = table.gatheringSince, monotonic - since >= table.limits.age / 2 { table.cut() }
            }
        }
        let isDirty = tables.contains { $0.segments.isDirty }
        if isDirty && dirtySince == nil { dirtySince = monotonic }
        let now = Clock.now()
        let sealDue = tables.contains { ($0.segments.sealDeadline ?? .max) <= now }
        if let since = dirtySince, due || monotonic - since >= syncAge { return commitCut() }
        return sealDue ? commitCut() : false
    }

    /// Nanoseconds of the monotonic clock at which ``tick(monotonic:)`` has something to do; nil if nothing waits.
    var nextDeadline: Int64? {
        if let failure { return failure.retryAt }
        var deadline: Int64?
        func consider(_ time: Int64) { deadline = min(deadline ?? .max, time) }
        for table in tables {
            if let since = table.gatheringSince { consider(since + table.limits.age) }
            if let seal = table.segments.sealDeadline { consider(Clock.monotonic() + max(0, seal - Clock.now())) }
        }
        if let dirtySince { consider(dirtySince + syncAge) } else if tables.contains(where: { $0.segments.isDirty }) { consider(0) }
        return deadline
    }

    /// Makes every row taken so far durable.
    ///
    /// - Returns: whether all is durable; if not, ``blockedBy`` says why.
    @discardableResult
    func commit() -> Bool {
        for table in tables { table.cut() }
        return commitCut()
    }

    /// Makes everything durable and seals every segment.
    func finish() throws(IOFailure) {
        guard commit() else { throw failure?.error ?? IOFailure("sync", spool.path, EIO) }
        let now = Clock.now()
        for table in tables { try table.segments.seal(now: now) }
    }

    @discardableResult
    private func commitCut() -> Bool {
        let now = Clock.now()
        var worst: IOFailure?
        for table in tables {
            do {
                try table.commit(now: now)
            } catch {
                worst = error
            }
        }
        note(worst)
        return worst == nil
    }

    private func note(_ error: IOFailure?) {
        let monotonic = Clock.monotonic()
        guard let error else {
            if let failure {
                log.notice("the disk takes rows again after \((monotonic - failure.since) / 1_000_000) ms; nothing was lost")
            }
            failure = nil
            dirtySince = nil
            return
        }
        if failure == nil {
            log.critical(
                "cannot write: \(error); no input is taken, and what was taken is kept in memory and tried again\(error.isNoSpace ? "; make room on the disk" : "")"
            )
        }
        failure = (error, failure?.since ?? monotonic, monotonic + Self.retryDelay)
    }
}
