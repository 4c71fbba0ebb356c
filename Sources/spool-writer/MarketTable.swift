import SpoolConfig
import SpoolFormat

/// Why a row is not recorded although its producer sent it; the texts stand in `system_events.reason`.
enum LossReason: Int, CaseIterable {
    /// `writer.record = "changes"`, and neither best bid nor ask had changed.
    case unchanged
    /// Sooner after the symbol's last row than the pressure of the moment allows.
    case sampling
    /// So much pressure that only trades are recorded.
    case pressure
    /// The disk has no room for market rows.
    case disk
    /// It waited in memory for a disk that took nothing, and others that waited for longer were too many.
    case queueFull
    /// It lay in a segment that was given up, unloaded, to make room.
    case shed

    var text: String {
        switch self {
        case .unchanged: "unchanged"
        case .sampling: "sampling"
        case .pressure: "pressure"
        case .disk: "disk"
        case .queueFull: "queue_full"
        case .shed: "shed"
        }
    }
}

/// Rows of one symbol that were not recorded.
struct SymbolLoss {
    var count: UInt64 = 0
    /// Least and greatest event time.
    var from = Int64.max
    var to = Int64.min

    mutating func add(_ other: SymbolLoss) {
        count += other.count
        from = min(from, other.from)
        to = max(to, other.to)
    }

    mutating func note(_ time: Int64) {
        count += 1
        from = min(from, time)
        to = max(to, time)
    }
}

/// What is recorded of one market table and what is not, symbol by symbol.
final class MarketTable {
    /// The columns that the decision looks at, where the table has them, under whatever name and type they have by now.
    struct Columns {
        /// Where a row says that it is a trade.
        enum Event {
            /// An enum, and the ``valueBits(_:width:)`` of its member `trade`.
            case number(column: Int, width: Int, trade: UInt64)
            case text(column: Int)
        }

        let symbol: Int?
        /// Names that the symbol's column has or had: a segment has the one of its time.
        let symbolNames: [String]
        let event: Event?
        /// Prices and sizes of the best bid and ask.
        let top: [(index: Int, width: Int)]

        init(_ schema: TableSchema) {
            symbol = schema.column(named: "symbol").flatMap {
                schema.columns[$0].type.scalar == .string && schema.columns[$0].type.shape != .array ? $0 : nil
            }
            let now = schema.column(named: "symbol").map { schema.columns[$0].name } ?? "symbol"
            symbolNames = [now] + schema.olderNames(of: now)
            event = schema.column(named: "event").flatMap { Self.event($0, schema.columns[$0].type) }
            top = ["bid_px1", "bid_sz1", "ask_px1", "ask_sz1"].compactMap { schema.column(named: $0) }.compactMap { index in
                let width = schema.columns[index].type.width ?? 0
                return schema.columns[index].type.shape != .array && [8, 16].contains(width) ? (index, width) : nil
            }
        }

        private static func event(_ column: Int, _ type: ColumnType) -> Event? {
            guard type.shape != .array else { return nil }
            if type.scalar == .string { return .text(column: column) }
            guard let width = type.width, let trade = type.enumCases.first(where: { $0.name == "trade" }) else { return nil }
            return .number(column: column, width: width, trade: UInt64(UInt16(bitPattern: trade.value)) & (width == 1 ? 0xFF : 0xFFFF))
        }
    }

    /// What the decision looks at in a row.
    struct Key {
        /// Of ``symbol(_:)``.
        let symbol: Int
        let isTrade: Bool
        /// A hash of the best bid and ask.
        let top: UInt64
        let time: Int64
    }

    private struct LastRow {
        var time = Int64.min / 2
        var top: UInt64 = 0
        var isThere = false
    }

    /// Symbols that are told apart; further ones are counted together, as are those that the row does not name.
    private static let maxSymbols = 65_536
    /// Longer ones are counted without their names.
    private static let maxSymbolBytes = 255

    let table: String
    let columns: Columns
    var stage = Pressure.Stage.none
    private let recordsChangesOnly: Bool
    /// Nanoseconds; 0 for never.
    private let sample: Int64
    private var names = NameDictionary()
    private var last: [LastRow] = [LastRow()]
    /// By symbol, then by reason.
    private var losses = [SymbolLoss](repeating: SymbolLoss(), count: LossReason.allCases.count)
    /// Rows of ``losses``.
    private(set) var unrecordedRows: UInt64 = 0
    /// When the first of them was noted, on the clock that never jumps.
    private(set) var lossSince: Int64?

    init(schema: TableSchema, configuration: Configuration) {
        table = schema.table
        columns = Columns(schema)
        recordsChangesOnly = configuration.text("writer.record", table: schema.table) == "changes"
        sample = configuration.duration("writer.sample", table: schema.table)
    }

    deinit { names.free() }

    /// Whether any row is to be decided on; if not, all are recorded.
    var isThinning: Bool { stage != .none || (recordsChangesOnly && !columns.top.isEmpty) }

    /// A symbol's number.
    func symbol(_ text: UnsafeRawBufferPointer) -> Int {
        guard let base = text.baseAddress, text.count > 0, text.count <= Self.maxSymbolBytes else { return 0 }
        guard names.count < Self.maxSymbols else { return 0 }
        let index = Int(names.index(of: base, count: text.count))
        while last.count <= index {
            last.append(LastRow())
            losses.append(contentsOf: repeatElement(SymbolLoss(), count: LossReason.allCases.count))
        }
        return index
    }

    /// Decides whether a row is recorded, and remembers that it was.
    ///
    /// - Returns: nil if it is recorded.
    func reasonToSkip(_ key: Key) -> LossReason? {
        if stage == .nothing { return .disk }
        if key.isTrade { return nil }
        if stage == .tradesOnly { return .pressure }
        let before = last[key.symbol]
        // Times of a feed may run backwards; a row that is as far before the last one is as good as one behind it.
        let elapsed = key.time.subtractingReportingOverflow(before.time)
        let distance = elapsed.overflow ? Int64.max : Int64(clamping: elapsed.partialValue.magnitude)
        if recordsChangesOnly, !columns.top.isEmpty, before.isThere, before.top == key.top, sample == 0 || distance < sample {
            return .unchanged
        }
        if case .interval(let time) = stage, before.isThere, distance < time { return .sampling }
        last[key.symbol] = LastRow(time: key.time, top: key.top, isThere: true)
        return nil
    }

    func note(_ reason: LossReason, _ key: Key, monotonic: Int64) {
        if lossSince == nil { lossSince = monotonic }
        losses[key.symbol * LossReason.allCases.count + reason.rawValue].note(key.time)
        unrecordedRows += 1
    }

    /// Adds rows that were accepted and are given up.
    func note(_ reason: LossReason, symbol text: String, _ loss: SymbolLoss, monotonic: Int64) {
        var text = text
        let symbol = text.withUTF8 { self.symbol(UnsafeRawBufferPointer($0)) }
        losses[symbol * LossReason.allCases.count + reason.rawValue].add(loss)
        unrecordedRows += loss.count
        if lossSince == nil { lossSince = monotonic }
    }

    /// Adds losses that were counted in a chunk which is given up as well.
    func note(_ loss: ChunkLoss, monotonic: Int64) {
        let reason = LossReason.allCases.first { $0.text == loss.reason } ?? .queueFull
        note(reason, symbol: loss.symbol, SymbolLoss(count: loss.count, from: loss.from, to: loss.to), monotonic: monotonic)
    }

    /// Takes the counts of what was not recorded, which begin anew.
    ///
    /// - Parameter maxBytes: of all of them in a header; what finds no room is summed up without its symbol.
    func takeLosses(maxBytes: Int) -> [ChunkLoss] {
        guard unrecordedRows > 0 else { return [] }
        unrecordedRows = 0
        lossSince = nil
        let reasons = LossReason.allCases
        var taken: [ChunkLoss] = []
        var rest = [SymbolLoss](repeating: SymbolLoss(), count: reasons.count)
        var bytes = 0
        for (index, loss) in losses.enumerated() where loss.count > 0 {
            losses[index] = SymbolLoss()
            let (start, count) = names.text(UInt32(index / reasons.count))
            let symbol = String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
            let entry = ChunkLoss(
                symbol: symbol, reason: reasons[index % reasons.count].text, count: loss.count, from: loss.from, to: loss.to)
            bytes += entry.byteCount
            if bytes > maxBytes - reasons.count * 64 || symbol.isEmpty {
                rest[index % reasons.count].add(loss)
            } else {
                taken.append(entry)
            }
        }
        for (reason, loss) in zip(reasons, rest) where loss.count > 0 {
            taken.append(ChunkLoss(symbol: "", reason: reason.text, count: loss.count, from: loss.from, to: loss.to))
        }
        return taken
    }

    // MARK: Rows of a builder

    /// Of the builder's unfinished row, which is complete.
    func key(of builder: BlockBuilder) -> Key {
        var symbol = 0
        if let column = columns.symbol { symbol = self.symbol(builder.unfinishedText(column)) }
        var top: UInt64 = 0
        for column in columns.top { top = Self.mix(top, builder.unfinishedBits(column.index)) }
        let isTrade =
            switch columns.event {
            case nil: false
            case .number(let column, _, let trade): builder.unfinishedBits(column) == trade
            case .text(let column): Self.isTrade(builder.unfinishedText(column))
            }
        return Key(symbol: symbol, isTrade: isTrade, top: top, time: builder.unfinishedEventTime)
    }

    static func isTrade(_ text: UnsafeRawBufferPointer) -> Bool { text.elementsEqual("trade".utf8) }

    @inline(__always)
    static func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let product = (hash &+ 0x9E37_79B9_7F4A_7C15 ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }
}
