import CSpoolRing
import Logging
import SpoolConfig
import SpoolFormat
import SpoolRing

/// Memory that all rings are drained through: records are copied here before anybody looks at them.
final class DrainMemory {
    /// Bytes copied at a time: what is gathered from them next should still be in the processor's cache.
    static let copyBytes = 24 << 10
    /// Least bytes of a record: its word and a row of at least one byte.
    private static let leastRecordBytes = 16

    fileprivate var copy = RawBuffer(capacity: copyBytes + RingRows.slack)
    /// For each declared table of the ring being drained, where its rows begin in the copy.
    fileprivate let offsets: UnsafeMutablePointer<UnsafeMutablePointer<UInt32>>
    fileprivate let counts: UnsafeMutablePointer<Int>
    /// Least bytes of a record of each table.
    fileprivate let leastBytes: UnsafeMutablePointer<Int>
    private var tables = 0

    init() {
        let most = Int(SPOOL_RING_MAX_TABLES)
        offsets = .allocate(capacity: most)
        counts = .allocate(capacity: most)
        leastBytes = .allocate(capacity: most)
    }

    deinit {
        copy.free()
        for index in 0..<tables { offsets[index].deallocate() }
        offsets.deallocate()
        counts.deallocate()
        leastBytes.deallocate()
    }

    fileprivate func prepare(_ declared: [DeclaredTable]) {
        while tables < declared.count {
            (offsets + tables).initialize(to: .allocate(capacity: Self.copyBytes / Self.leastRecordBytes))
            tables += 1
        }
        for (index, table) in declared.enumerated() {
            counts[index] = 0
            leastBytes[index] = 8 + table.rowBytes
        }
    }
}

/// A ring that is drained: how far its bytes are taken, and what becomes of each declared table's rows.
final class AttachedRing {
    private final class Binding {
        let table: TableRecorder
        let plan: RowPlan
        /// Of each name of the ring, the number of the symbol among those of the market table; -1 if it was not looked up yet.
        var symbols: [Int32] = []

        init(table: TableRecorder, plan: RowPlan) {
            self.table = table
            self.plan = plan
        }
    }

    let file: RingFile
    let source: Source
    /// Whether it has rows that must not be given up.
    let hasAuditTables: Bool
    private let recorder: Recorder
    private let names = NameTable()
    private let bindings: [Binding]
    private var refusals: RefusalLog
    /// Refused rows, and the position up to which they are counted: those that a writer before us counted are not counted again.
    private var refused: (rows: UInt64, before: UInt64)
    private var publishedRefused: UInt64
    /// Rows that found the ring full, by table, as far as the tables have counted them.
    private var countedFull: [UInt64]
    private(set) var publishedDurable: UInt64
    var publishedLoaded: UInt64

    /// Nothing more is taken from it, and nothing is told.
    var isAbandoned = false
    /// Its name leads to it no more.
    var isLost = false
    /// Its producer is gone, and its file cannot be removed.
    var isStuck = false

    /// Takes a ring over, where the spool and the ring itself say that it was left.
    ///
    /// - Throws: `.unfit` if a table does not fit the schemas; the producer is told, and no position moves.
    init(_ file: RingFile, recorder: Recorder, log: Logger) throws(RingDefect) {
        bindings = try Self.bind(file, recorder)
        let durable = try file.durablePosition()
        let write = try file.writePosition()
        guard durable <= write, write - durable <= UInt64(file.header.dataBytes), durable % 8 == 0, write % 8 == 0 else {
            throw .corrupt("it is durable up to \(durable) and written up to \(write)")
        }
        let source = recorder.source(named: file.sourceName, resume: true, from: durable)
        guard source.position <= write, source.position % 8 == 0 else {
            throw .corrupt("the spool has it up to \(source.position), it is written up to \(write)")
        }
        self.file = file
        self.source = source
        self.recorder = recorder
        hasAuditTables = bindings.contains { $0.table.tableClass == .audit }
        refusals = RefusalLog(log: log, ring: file.path)
        publishedDurable = durable
        publishedLoaded = try file.loadedPosition()
        refused = (try file.refusedRows(), try file.refusedPosition())
        guard refused.before <= write else {
            throw .corrupt("refused rows are counted up to \(refused.before), it is written up to \(write)")
        }
        publishedRefused = refused.rows
        // What an earlier writer counted is not counted again.
        countedFull =
            durable == 0
            ? file.tables.map { _ in 0 } : try file.tables.indices.map { index throws(RingDefect) in try file.fullRows(table: index) }
        try file.setTableStates(file.tables.map { _ in SPOOL_TABLE_TAKEN })
        try file.setState(SPOOL_RING_ATTACHED)
        for binding in bindings { tellDifferences(binding, log) }
    }

    /// Says what of a declaration is older than the schemas.
    private func tellDifferences(_ binding: Binding, _ log: Logger) {
        let table = binding.table.schema.table
        for column in binding.plan.ignored { recorder.noteIgnored(column, of: table, from: "ring \(file.path)") }
        guard !binding.plan.older.isEmpty else { return }
        log.notice(
            "its producer declares \(table) as it once was, and is recorded as it is now: \(binding.plan.older.joined(separator: "; "))",
            metadata: ["ring": "\(file.path)"])
    }

    /// Finds a table for each declaration, or tells the producer which has none.
    private static func bind(_ file: RingFile, _ recorder: Recorder) throws(RingDefect) -> [Binding] {
        var bindings: [Binding] = []
        var states: [spool_table_state] = []
        var reasons: [String] = []
        for declared in file.tables {
            do {
                let table = try recorder.table(named: declared.name).get()
                bindings.append(Binding(table: table, plan: try RowPlan(declared, schema: table.schema)))
                states.append(SPOOL_TABLE_TAKEN)
            } catch {
                reasons.append("table \(declared.name): \((error as? Refusal)?.reason ?? "\(error)")")
                states.append(SPOOL_TABLE_REFUSED)
            }
        }
        guard !reasons.isEmpty else { return bindings }
        try file.setTableStates(states)
        try file.setState(SPOOL_RING_HELD)
        throw .unfit(reasons.joined(separator: "; "))
    }

    /// Bytes that are taken and not durable: the producer cannot use them again.
    var undurableBytes: Int { Int(clamping: source.position - source.complete) }

    /// The share of the ring that holds rows which nobody has taken yet.
    func waitingShare() throws(RingDefect) -> Double {
        Double(try writePosition() - source.position) / Double(file.header.dataBytes)
    }

    /// Whether everything that was ever published is taken and durable.
    func isDrained() throws(RingDefect) -> Bool { try writePosition() == source.complete }

    private func writePosition() throws(RingDefect) -> UInt64 {
        let write = try file.writePosition()
        guard write >= source.position, write - publishedDurable <= UInt64(file.header.dataBytes), write % 8 == 0 else {
            throw .corrupt("it is written up to \(write), taken up to \(source.position) and durable up to \(publishedDurable)")
        }
        return write
    }

    // MARK: Draining

    /// Takes the next records, as many as the memory holds.
    ///
    /// - Returns: bytes taken; 0 if there is nothing.
    /// - Throws: when a record or a position cannot be; those before it are taken.
    func drain(through memory: DrainMemory, now: Int64, monotonic: Int64) throws(RingDefect) -> Int {
        let available = try writePosition() - source.position
        guard available > 0 else { return 0 }
        // After the position: the names that its rows use are there.
        try names.refresh(from: file)
        memory.prepare(file.tables)
        let base = source.position
        let (taken, defect) = try copyAndSort(base, Int(clamping: available), memory)
        take(memory, base, now, monotonic)
        source.position = base + UInt64(taken)
        refused.before = max(refused.before, source.position)
        // Before any row behind them can be durable: a writer that goes on from there would never count them.
        if refused.rows != publishedRefused {
            try file.setRefused(refused.rows, before: refused.before)
            publishedRefused = refused.rows
        }
        try file.setTaken(source.position)
        if let defect { throw defect }
        return taken
    }

    /// Copies whole records and sorts their places by table.
    private func copyAndSort(_ base: UInt64, _ available: Int, _ memory: DrainMemory) throws(RingDefect) -> (taken: Int, RingDefect?) {
        var count = min(available, DrainMemory.copyBytes)
        try file.copy(from: base, count: count, to: memory.copy.base)
        let first = Int(memory.copy.base.loadUnaligned(as: UInt32.self))
        if first > count, first <= available, first <= file.header.maxRecordBytes {
            // One long record by itself.
            memory.copy.reserve(first + RingRows.slack)
            count = first
            try file.copy(from: base, count: count, to: memory.copy.base)
        }
        let most = file.header.maxRecordBytes
        let tableCount = file.tables.count
        let copy = UnsafeRawPointer(memory.copy.base)
        let (offsets, counts, leastBytes) = (memory.offsets, memory.counts, memory.leastBytes)
        var offset = 0
        while offset < count {
            let word = copy.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let bytes = Int(word & 0xFFFF_FFFF)
            let table = Int(word >> 32)
            guard _fastPath(table < tableCount && bytes & 7 == 0 && bytes <= most && bytes >= leastBytes[min(table, tableCount - 1)])
            else { return (offset, .corrupt("at \(base + UInt64(offset)): a record of \(bytes) bytes for table \(table & 0xFFFF)")) }
            if offset + bytes > count {
                guard bytes <= available - offset else {
                    return (offset, .corrupt("at \(base + UInt64(offset)): a record of \(bytes) bytes, written are \(available - offset)"))
                }
                break
            }
            let place = counts[table]
            offsets[table][place] = UInt32(truncatingIfNeeded: offset &+ 8)
            counts[table] = place &+ 1
            offset += bytes
        }
        return (offset, nil)
    }

    private func take(_ memory: DrainMemory, _ base: UInt64, _ now: Int64, _ monotonic: Int64) {
        let origin = TableRecorder.RingOrigin(source: source, base: base, now: now, monotonic: monotonic)
        var dropped: UInt64 = 0
        for index in file.tables.indices where memory.counts[index] > 0 {
            var rows = RingRows(base: memory.copy.base, offsets: memory.offsets[index], count: memory.counts[index])
            let table = bindings[index].table
            rows = rows.dropFirst(alreadyTaken(rows, table, base))
            if let market = table.market, market.isThinning {
                rows = thin(rows, market, bindings[index], in: memory.offsets[index] + (memory.counts[index] - rows.count), base, monotonic)
                if rows.count == 0 { continue }
            }
            let offered = rows
            let before = dropped
            table.append(offered, plan: bindings[index].plan, names: names, origin: origin) { row, refusal in
                dropped += refuse(base + UInt64(offered.record(row).start), refusal)
            }
            table.refused += dropped - before
        }
        // It was read from the ring, where its producer may have put any number.
        refused.rows &+= dropped
    }

    /// How many of the rows are in the spool already: after the death of a writer that had not yet told the ring.
    private func alreadyTaken(_ rows: RingRows, _ table: TableRecorder, _ base: UInt64) -> Int {
        guard base < source.resumeLimit, let name = source.name else { return 0 }
        var end = table.segments.positions.end(name)
        // Behind its last row in the spool, those that the ledger has were not recorded on purpose.
        if table.tableClass == .market { end = max(end, recorder.knownLosses(of: source)) }
        var count = 0
        while count < rows.count, base + UInt64(rows.record(count).start) < end { count += 1 }
        source.repeated += UInt64(count)
        return count
    }

    /// Leaves out the rows that are not to be recorded, and counts them.
    ///
    /// - Parameter offsets: where `rows` has the places of its rows; those that stay move to the front.
    private func thin(
        _ rows: RingRows, _ market: MarketTable, _ binding: Binding, in offsets: UnsafeMutablePointer<UInt32>, _ base: UInt64,
        _ monotonic: Int64
    ) -> RingRows {
        let probe = RowProbe(rows, plan: binding.plan, names: names)
        var kept = 0
        var skipped: (from: UInt64, to: UInt64)?
        for row in 0..<rows.count {
            let time = probe.eventTime(row)
            let place = offsets[row]
            // A time that cannot be is not counted but refused, with all the others that are wrong with a row.
            if time >= EventTime.earliest, time <= EventTime.latest {
                let key = key(of: row, probe, market, binding, time)
                if let reason = market.reasonToSkip(key) {
                    let record = rows.record(row)
                    let position = base + UInt64(record.start)
                    market.note(reason, key, monotonic: monotonic)
                    skipped = (skipped?.from ?? position, base + UInt64(record.end))
                    source.dropped += 1
                    continue
                }
            }
            offsets[kept] = place
            kept += 1
        }
        if let skipped { binding.table.contribute(source, from: skipped.from, to: skipped.to, monotonic: monotonic) }
        return rows.places(offsets, count: kept)
    }

    private func key(of row: Int, _ probe: RowProbe, _ market: MarketTable, _ binding: Binding, _ time: Int64) -> MarketTable.Key {
        var symbol = 0
        if let column = market.columns.symbol {
            if let id = probe.nameID(row, column: column) {
                if binding.symbols.count <= id {
                    binding.symbols.append(contentsOf: repeatElement(-1, count: max(id + 1, names.count) - binding.symbols.count))
                }
                if binding.symbols[id] < 0 { binding.symbols[id] = Int32(market.symbol(probe.text(row, column: column))) }
                symbol = Int(binding.symbols[id])
            } else {
                symbol = market.symbol(probe.text(row, column: column))
            }
        }
        var top: UInt64 = 0
        for column in market.columns.top {
            top = MarketTable.mix(top, probe.bits(row, column: column.index, width: column.width))
        }
        let isTrade =
            switch market.columns.event {
            case nil: false
            case .number(let column, let width, let trade): probe.bits(row, column: column, width: width) == trade
            case .text(let column): MarketTable.isTrade(probe.text(row, column: column))
            }
        return MarketTable.Key(symbol: symbol, isTrade: isTrade, top: top, time: time)
    }

    /// - Returns: 1, or 0 if it was counted before.
    private func refuse(_ position: UInt64, _ refusal: Refusal) -> UInt64 {
        guard position >= refused.before else { return 0 }
        refusals.note(refusal, position: position)
        return 1
    }

    /// Says now and then how many rows were refused without a line of their own, and how many found the ring full.
    func report(monotonic: Int64, isLast: Bool = false) throws(RingDefect) {
        refusals.tick(monotonic: monotonic, isLast: isLast)
        let full = try file.tables.indices.map { index throws(RingDefect) in try file.fullRows(table: index) }
        for (binding, (now, before)) in zip(bindings, zip(full, countedFull)) where now > before { binding.table.ringFull &+= now - before }
        countedFull = full
        refusals.noteFull(zip(file.tables, full).map { ($0.name, $1) }, monotonic: monotonic, isLast: isLast)
    }

    // MARK: Telling the producer

    /// Publishes how far the rows are durable: this gives the producer room again.
    func publishDurable() throws(RingDefect) {
        let durable = source.complete
        guard durable > publishedDurable else { return }
        try file.setDurable(durable)
        publishedDurable = durable
    }
}
