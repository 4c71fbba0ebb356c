import Logging
import SpoolConfig
import SpoolFormat

/// Losses and incidents on their way to `system_events`.
///
/// What is lost is durable before it comes here: in the header of the chunk that says how far its sources have come, or as a segment that is about
/// to be given up. So this only waits to be written down, and a crash makes nothing of it undone (`docs/spool-format.md` §6).
final class LossLedger {
    static let table = "system_events"
    /// Under which name chunks of ``table`` say how far the losses of a source's market rows are written down.
    static func lossSource(of source: String) -> String { "lost:\(source)" }

    /// - Throws: `ConfigFailure` if the ledger's own rows could be given up.
    static func checkClass(_ configuration: Configuration) throws(ConfigFailure) {
        guard configuration.tableClass(of: table) == .audit else {
            throw ConfigFailure(description: "[tables.\(table)]: class must be audit: it is where losses are recorded")
        }
    }

    /// How long losses gather before they are written down. Nanoseconds.
    static let flushAfter: Int64 = 1_000_000_000
    /// Rows written at once; with more symbols than this, the rest of a table is summed up in one row for each reason.
    private static let maxRows = 10_000
    private static let reportEvery: Int64 = 10_000_000_000

    struct Entry {
        let table: String
        var loss: ChunkLoss
        /// Sequences within which the rows had theirs; nil if they never had any that somebody could see.
        var sequences: Range<UInt64>?

        func adding(_ more: ChunkLoss) -> Entry {
            var sum = self
            sum.loss = loss.adding(more)
            return sum
        }
    }

    struct Incident {
        let event: String
        let severity: String
        let reason: String
        let detail: String
    }

    private let log: Logger
    /// By table, symbol, reason and sequences.
    private var entries: [String: Entry] = [:]
    private var incidents: [Incident] = []
    /// When the oldest of what waits was noted, on the clock that never jumps.
    private var since: Int64?
    /// Rows by table and reason since the start, for metrics.
    private(set) var totals: [String: UInt64] = [:]
    private var unreported: [String: UInt64] = [:]
    private var reportedAt: Int64 = .min / 2

    init(log: Logger) { self.log = log }

    var isEmpty: Bool { since == nil }
    /// When it is due; nil if nothing waits.
    var deadline: Int64? { since.map { $0 + Self.flushAfter } }

    func note(_ loss: ChunkLoss, of table: String, sequences: Range<UInt64>? = nil, monotonic: Int64) {
        if since == nil { since = monotonic }
        let key = "\(table)\t\(loss.symbol)\t\(loss.reason)\t\(sequences.map { "\($0.lowerBound)" } ?? "")"
        entries[key] = entries[key]?.adding(loss) ?? Entry(table: table, loss: loss, sequences: sequences)
    }

    func note(_ incident: Incident, monotonic: Int64) {
        if since == nil { since = monotonic }
        incidents.append(incident)
    }

    /// Makes rows of everything that waits.
    ///
    /// - Parameters:
    ///   - component: who says so.
    ///   - record: records an event line; what it throws is said in the log, and the loss is not tried again.
    func flush(component: String, now: Int64, monotonic: Int64, record: (String) throws(Refusal) -> Void) {
        var lines = incidents.map { Self.line(component, now, $0) }
        for entry in Self.summed(entries, limit: Self.maxRows) {
            let key = "\(entry.table)\t\(entry.loss.reason)"
            // A count that came from a file may be any number.
            totals[key, default: 0] &+= entry.loss.count
            unreported[key, default: 0] &+= entry.loss.count
            lines.append(Self.line(component, now, entry))
        }
        for line in lines {
            do throws(Refusal) {
                try record(line)
            } catch {
                log.critical("a loss cannot be recorded in \(Self.table): \(error.field.map { "\($0): " } ?? "")\(error.reason): \(line)")
            }
        }
        entries.removeAll(keepingCapacity: true)
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
    private static func summed(_ entries: [String: Entry], limit: Int) -> [Entry] {
        let ordered = entries.sorted { $0.key < $1.key }.map(\.value)
        guard ordered.count > limit else { return ordered }
        var rest: [String: Entry] = [:]
        for entry in ordered[limit...] {
            let key = "\(entry.table)\t\(entry.loss.reason)\t\(entry.sequences.map { "\($0)" } ?? "")"
            var nameless = entry
            nameless.loss.symbol = ""
            rest[key] = rest[key]?.adding(entry.loss) ?? nameless
        }
        return Array(ordered[..<limit]) + rest.values
    }

    /// Lines with every field that a line of ours may give.
    static func samples(now: Int64) -> [String] {
        let loss = ChunkLoss(symbol: "", reason: LossReason.shed.text, count: 1, from: now, to: now)
        let severities = ["info", "warning", "error", "critical"]
        return [line("spool-writer", now, Entry(table: table, loss: loss, sequences: 1..<2))]
            + severities.map { line("spool-writer", now, Incident(event: "disk_warn", severity: $0, reason: "disk", detail: "")) }
    }

    private static func line(_ component: String, _ now: Int64, _ entry: Entry) -> String {
        let loss = entry.loss
        var text = "{\"table\":\"\(table)\",\"ts\":\(now),\"component\":\(RowText.quoted(component)),\"event\":\"rows_dropped\""
        text += ",\"severity\":\"\(loss.reason == LossReason.unchanged.text ? "info" : "warning")\""
        text += ",\"table_name\":\(RowText.quoted(entry.table)),\"symbol\":\(RowText.quoted(loss.symbol))"
        if loss.from <= loss.to { text += ",\"range_from\":\(loss.from),\"range_to\":\(loss.to)" }
        if let sequences = entry.sequences { text += ",\"seq_from\":\(sequences.lowerBound),\"seq_to\":\(sequences.upperBound - 1)" }
        return text + ",\"row_count\":\(loss.count),\"reason\":\(RowText.quoted(loss.reason))}"
    }

    private static func line(_ component: String, _ now: Int64, _ incident: Incident) -> String {
        "{\"table\":\"\(table)\",\"ts\":\(now),\"component\":\(RowText.quoted(component)),\"event\":\"\(incident.event)\""
            + ",\"severity\":\"\(incident.severity)\",\"reason\":\"\(incident.reason)\",\"detail\":\(RowText.quoted(incident.detail))}"
    }
}
