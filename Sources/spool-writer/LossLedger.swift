import Logging
import SpoolFormat

/// Every deliberate loss, until it is a row of `system_events`.
///
/// A row that is not recorded holds its producer back as an undurable one does: only once the loss itself is durable is the producer told that
/// everything up to there is dealt with. So what a crash takes of the ledger is offered again, and decided on again.
final class LossLedger {
    static let table = "system_events"
    /// How long losses gather before they are written down. Nanoseconds.
    private static let flushAfter: Int64 = 1_000_000_000
    /// Rows written at once; with more symbols than this, the rest of a table is summed up in one row for each reason.
    private static let maxRows = 10_000
    private static let reportEvery: Int64 = 10_000_000_000

    struct Entry {
        let table: String
        let symbol: String
        let reason: LossReason
        var loss: SymbolLoss
        /// Sequences `[from, end)` within which the rows had theirs; nil if they never had any.
        var sequences: Range<UInt64>?
    }

    /// Positions of a source that hold rows that are not recorded.
    private struct Hold {
        let source: Source
        let from: UInt64
        var to: UInt64
    }

    private let log: Logger
    private var markets: [MarketTable] = []
    private var entries: [Entry] = []
    private var incidents: [(event: String, severity: String, reason: String, detail: String)] = []
    private var holds: [Hold] = []
    /// When the oldest of what waits was noted, on the clock that never jumps.
    private var since: Int64?
    /// Rows by table and reason since the start, for metrics.
    private(set) var totals: [String: UInt64] = [:]
    private var unreported: [String: UInt64] = [:]
    private var reportedAt: Int64 = .min / 2

    init(log: Logger) { self.log = log }

    func add(_ market: MarketTable) { markets.append(market) }

    var isEmpty: Bool { since == nil }
    /// When it is due; nil if nothing waits.
    var deadline: Int64? { since.map { $0 + Self.flushAfter } }

    // MARK: Noting

    /// Rows of a source between these positions were not recorded, and are counted already.
    func hold(_ source: Source, from: UInt64, to: UInt64, monotonic: Int64) {
        if since == nil { since = monotonic }
        if let index = holds.firstIndex(where: { $0.source === source }) {
            holds[index].to = max(holds[index].to, to)
        } else {
            holds.append(Hold(source: source, from: from, to: to))
        }
        source.noteUndurable(self, from: from)
    }

    func note(_ entry: Entry, monotonic: Int64) {
        if since == nil { since = monotonic }
        entries.append(entry)
    }

    /// Something that happened to recording as a whole.
    func noteIncident(_ event: String, severity: String, reason: String, detail: String, monotonic: Int64) {
        if since == nil { since = monotonic }
        incidents.append((event, severity, reason, detail))
    }

    // MARK: Writing down

    /// Makes rows of everything that waits.
    ///
    /// - Parameters:
    ///   - component: who says so.
    ///   - record: records an event line; what it throws is said in the log, and the loss is not tried again.
    ///   - contribute: notes that rows of a source between these positions are dealt with in the rows just recorded.
    func flush(
        component: String, now: Int64, monotonic: Int64, record: (String) throws(Refusal) -> Void,
        contribute: (Source, _ from: UInt64, _ to: UInt64) -> Void
    ) {
        for market in markets {
            for (symbol, reason, loss) in market.takeLosses() {
                entries.append(Entry(table: market.table, symbol: symbol, reason: reason, loss: loss, sequences: nil))
            }
        }
        var lines = incidents.map { Self.line(component, now, $0) }
        for entry in Self.summed(entries, limit: Self.maxRows) {
            let key = "\(entry.table)\t\(entry.reason.text)"
            totals[key, default: 0] += entry.loss.count
            unreported[key, default: 0] += entry.loss.count
            lines.append(Self.line(component, now, entry))
        }
        // First, and again at the end: the rows may be cut into several chunks, and each must hold the sources until it is durable.
        for hold in holds { contribute(hold.source, hold.from, hold.to) }
        for line in lines {
            do throws(Refusal) {
                try record(line)
            } catch {
                log.critical("a loss cannot be recorded in \(Self.table): \(error.field.map { "\($0): " } ?? "")\(error.reason): \(line)")
            }
        }
        for hold in holds {
            contribute(hold.source, hold.from, hold.to)
            hold.source.noteDurable(self, rest: nil)
        }
        holds.removeAll(keepingCapacity: true)
        entries.removeAll()
        incidents.removeAll()
        since = nil
        report(monotonic)
    }

    private func report(_ monotonic: Int64) {
        guard !unreported.isEmpty, monotonic - reportedAt >= Self.reportEvery else { return }
        reportedAt = monotonic
        let counts = unreported.sorted { $0.key < $1.key }.map { "\($0.key.split(separator: "\t").joined(separator: ", ")): \($0.value)" }
        log.error("rows not recorded: \(counts.joined(separator: "; ")); each is counted in \(Self.table)")
        unreported.removeAll()
    }

    /// One entry for each table, symbol and reason; beyond the limit, one for each table and reason.
    private static func summed(_ entries: [Entry], limit: Int) -> [Entry] {
        guard entries.count > limit else { return entries }
        var kept = Array(entries[..<limit])
        var rest: [String: Entry] = [:]
        for entry in entries[limit...] {
            let key = "\(entry.table)\t\(entry.reason.text)\t\(entry.sequences.map { "\($0)" } ?? "")"
            guard var sum = rest[key] else {
                rest[key] = Entry(table: entry.table, symbol: "", reason: entry.reason, loss: entry.loss, sequences: entry.sequences)
                continue
            }
            sum.loss.count += entry.loss.count
            sum.loss.from = min(sum.loss.from, entry.loss.from)
            sum.loss.to = max(sum.loss.to, entry.loss.to)
            rest[key] = sum
        }
        kept += rest.values
        return kept
    }

    private static func line(_ component: String, _ now: Int64, _ entry: Entry) -> String {
        var text = "{\"table\":\"\(table)\",\"ts\":\(now),\"component\":\(RowText.quoted(component)),\"event\":\"rows_dropped\""
        text += ",\"severity\":\"\(entry.reason == .unchanged ? "info" : "warning")\""
        text += ",\"table_name\":\(RowText.quoted(entry.table)),\"symbol\":\(RowText.quoted(entry.symbol))"
        if entry.loss.from <= entry.loss.to { text += ",\"range_from\":\(entry.loss.from),\"range_to\":\(entry.loss.to)" }
        if let sequences = entry.sequences { text += ",\"seq_from\":\(sequences.lowerBound),\"seq_to\":\(sequences.upperBound - 1)" }
        return text + ",\"row_count\":\(entry.loss.count),\"reason\":\"\(entry.reason.text)\"}"
    }

    private static func line(
        _ component: String, _ now: Int64, _ incident: (event: String, severity: String, reason: String, detail: String)
    ) -> String {
        "{\"table\":\"\(table)\",\"ts\":\(now),\"component\":\(RowText.quoted(component)),\"event\":\"\(incident.event)\""
            + ",\"severity\":\"\(incident.severity)\",\"reason\":\"\(incident.reason)\",\"detail\":\(RowText.quoted(incident.detail))}"
    }
}
