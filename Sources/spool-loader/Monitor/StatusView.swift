import SpoolFormat
import SpoolIO
import SpoolStatus

/// A snapshot as lines of text: for `status` once, for `top` again and again. Pure.
struct StatusView {
    enum Order: String, CaseIterable {
        case name, rate, lag, size

        var next: Order {
            let all = Self.allCases
            return all[(all.firstIndex(of: self).map { $0 + 1 } ?? 0) % all.count]
        }
    }

    let width: Int
    /// Escape sequences for colours; only for a terminal whose user did not decline (`NO_COLOR`).
    let hasColor: Bool
    /// Whether the terminal shows more than ASCII.
    var isUnicode = true
    var order = Order.name
    var isReversed = false

    /// - Parameters:
    ///   - rates: durable rows a second, by table, oldest first; empty where only one look was taken.
    ///   - rows: lines that the terminal has; tables that find no room are counted.
    func lines(_ snapshot: StatusSnapshot, rates: [String: [Double]] = [:], rows: Int = .max) -> [String] {
        var lines = head(snapshot)
        lines.append("")
        lines.append(colored(titles(rates.isEmpty), .dim))
        let tables = ordered(snapshot.tables, rates)
        let room = max(rows - lines.count - 1, 1)
        let shown = tables.count > room ? tables.prefix(room - 1) : tables[...]
        for table in shown { lines.append(row(table, rates[table.table] ?? [], hasRates: !rates.isEmpty)) }
        if shown.count < tables.count { lines.append(colored("and \(tables.count - shown.count) more tables", .dim)) }
        return lines
    }

    // MARK: Head

    /// A piece of a line.
    private typealias Part = (text: String, style: Style)

    private func head(_ snapshot: StatusSnapshot) -> [String] {
        let time = String(rfc3339(snapshot.at).dropFirst(11).prefix(8)) + "Z"
        let left = "coldpath  \(snapshot.writerID)  \(plainLine(snapshot.spool))"
        var lines = [padded(left, width - time.count - 1) + " " + time]
        var writer: [Part] = [("writer  ", .plain), word(snapshot.writer.state)]
        if let queue = snapshot.writer.queue {
            writer.append(("   queue audit \(percent(queue["audit"] ?? 0)), market \(percent(queue["market"] ?? 0))", .plain))
        }
        if let disk = snapshot.disk { writer.append(("   disk \(percent(disk.used)), \(byteText(disk.available)) free", .plain)) }
        lines.append(line(writer))
        var loader: [Part] = [("loader  ", .plain), word(snapshot.loader.state)]
        let lag = snapshot.tables.compactMap(\.lagSeconds).max()
        if let lag { loader += [("   lag ", .plain), (brief(seconds: lag), lag > 300 ? .bad : lag > 5 ? .warn : .good)] }
        // Last, since it may be long.
        if let server = snapshot.loader.server { loader.append(("   \(plainLine(server))", .plain)) }
        lines.append(line(loader))
        for (name, process) in [("writer", snapshot.writer), ("loader", snapshot.loader)] {
            for reason in process.reasons.prefix(3) { lines.append(line([("! \(name): \(reason)", .bad)])) }
            if let last = process.lastAlarm, process.alarms ?? 0 > 0 {
                let at = rfc3339(last.at).dropFirst(11).prefix(8)
                lines.append(line([("! \(name): \(process.alarms ?? 0) alarms, the last at \(at)Z: \(plainLine(last.text))", .warn)]))
            }
        }
        return lines
    }

    private func word(_ state: String) -> Part { (state, state == "ok" ? .good : state.hasPrefix("not asked") ? .dim : .bad) }

    /// The parts as one line, cut where the terminal ends.
    private func line(_ parts: [Part]) -> String {
        var text = ""
        var room = width
        for part in parts where room > 0 {
            let shown = cut(part.text, room)
            text += colored(shown, part.style)
            room -= shown.count
        }
        return text
    }

    // MARK: Tables

    /// TABLE, ROWS/S, LAST s, DURABLE, LOADED, LAG, SIZE, and the state in what is left.
    private static let widths = (table: 20, rate: 7, spark: 10, durable: 11, loaded: 11, lag: 6, size: 6)

    private func titles(_ isOnce: Bool) -> String {
        let w = Self.widths
        var text = fitted("TABLE", w.table)
        if !isOnce { text += " " + right("ROWS/S", w.rate) + " " + fitted("", w.spark) }
        text +=
            " " + right("DURABLE", w.durable) + " " + right("LOADED", w.loaded) + " " + right("LAG", w.lag) + " " + right("SIZE", w.size)
        return text + (width > text.count + 8 ? "  STATE" : "")
    }

    private func row(_ table: StatusSnapshot.Table, _ rates: [Double], hasRates: Bool) -> String {
        let w = Self.widths
        var text = fitted(table.table, w.table)
        if hasRates { text += " " + right(rates.last.map(short) ?? "-", w.rate) + " " + fitted(sparkline(rates, cells: w.spark), w.spark) }
        text += " " + right(count(table.durable), w.durable) + " " + right(table.loaded.map(count) ?? "-", w.loaded)
        let length = text.count + 2 + w.lag + w.size
        let lag = table.lagSeconds
        text +=
            " " + colored(right(lag.map { brief(seconds: $0) } ?? "-", w.lag), (lag ?? 0) > 300 ? .bad : (lag ?? 0) > 5 ? .warn : .plain)
        text += " " + right(brief(bytes: table.bytes), w.size)
        var state = table.state
        if let rows = table.quarantined, rows > 0 { state = "\(rows) quarantined; " + state }
        if let rows = table.dropped, rows > 0 { state = "\(short(Double(rows))) given up; " + state }
        if let rows = table.refused, rows > 0 { state = "\(short(Double(rows))) refused; " + state }
        guard width > length + 8 else { return text }
        let isBad = state.hasPrefix("!") || state.contains("quarantined;") || state.hasPrefix("stopped") || state.contains("tries again")
        return text + "  " + colored(cut(state, width - length - 2), isBad ? .bad : .dim)
    }

    private func ordered(_ tables: [StatusSnapshot.Table], _ rates: [String: [Double]]) -> [StatusSnapshot.Table] {
        let sorted = tables.sorted { one, other in
            func larger(_ left: Double, _ right: Double) -> Bool { left == right ? one.table < other.table : left > right }
            switch order {
            case .name: return (one.tableClass, one.table) < (other.tableClass, other.table)
            case .rate: return larger(rates[one.table]?.last ?? 0, rates[other.table]?.last ?? 0)
            case .lag: return larger(one.lagSeconds ?? 0, other.lagSeconds ?? 0)
            case .size: return larger(Double(one.bytes), Double(other.bytes))
            }
        }
        return isReversed ? sorted.reversed() : sorted
    }

    /// The last values as bars, each against the largest.
    func sparkline(_ values: [Double], cells: Int) -> String {
        let bars = isUnicode ? Array("▁▂▃▄▅▆▇█") : Array("_.-=+*%#")
        let shown = values.suffix(cells).map { $0.isFinite ? $0 : 0 }
        let most = shown.max() ?? 0
        let text = shown.map { value -> Character in
            guard most > 0, value > 0 else { return " " }
            return bars[min(bars.count - 1, Int(value / most * Double(bars.count)))]
        }
        return String(repeating: " ", count: cells - text.count) + String(text)
    }

    // MARK: Text

    enum Style {
        case plain, good, warn, bad, dim

        var code: String {
            switch self {
            case .plain: ""
            case .good: "32"
            case .warn: "33"
            case .bad: "31"
            case .dim: "2"
            }
        }
    }

    private func colored(_ text: String, _ style: Style) -> String {
        hasColor && style != .plain ? "\u{1B}[\(style.code)m\(text)\u{1B}[0m" : text
    }

    private func cut(_ text: String, _ most: Int) -> String {
        text.count <= most ? text : String(text.prefix(max(most - 1, 0))) + (isUnicode ? "…" : "~")
    }

    private func fitted(_ text: String, _ cells: Int) -> String { padded(cut(text, cells), cells) }

    private func padded(_ text: String, _ cells: Int) -> String {
        let text = cut(text, max(cells, 1))
        return text + String(repeating: " ", count: max(0, cells - text.count))
    }

    private func right(_ text: String, _ cells: Int) -> String { String(repeating: " ", count: max(0, cells - text.count)) + text }

    private func percent(_ share: Double) -> String { "\(Int(min(max(share.isFinite ? share : 0, 0), 10) * 100))%" }

    /// `12,345,678`, and for what is wider `12.3G`.
    private func count(_ number: UInt64) -> String {
        let text = grouped(number)
        return text.count <= Self.widths.durable ? text : short(Double(number))
    }

    /// `950`, `23.1k`, `4.2M`.
    private func short(_ value: Double) -> String {
        guard value.isFinite, value >= 0 else { return "-" }
        var value = value
        var unit = ""
        for next in ["k", "M", "G", "T", "P", "E"] where value >= 999.5 {
            value /= 1_000
            unit = next
        }
        if value >= 999.5 { return "-" }
        if unit.isEmpty { return value < 9.95 && value != value.rounded() ? "\((value * 10).rounded() / 10)" : "\(Int(value.rounded()))" }
        return (value >= 99.95 ? "\(Int(value.rounded()))" : "\((value * 10).rounded() / 10)") + unit
    }

    private func brief(bytes: UInt64) -> String {
        var value = Double(bytes)
        var unit = "B"
        for next in ["K", "M", "G", "T", "P", "E"] where value >= 999.5 {
            value /= 1_024
            unit = next
        }
        return unit == "B" ? "\(bytes)" : (value >= 99.95 ? "\(Int(value.rounded()))" : "\((value * 10).rounded() / 10)") + unit
    }

    private func brief(seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e9 else { return "-" }
        switch seconds {
        case ..<9.95: return "\((max(0, seconds) * 10).rounded() / 10)s"
        case ..<99.5: return "\(Int(seconds.rounded()))s"
        case ..<5_970: return "\(Int((seconds / 60).rounded()))m"
        case ..<172_800: return "\(Int((seconds / 3_600).rounded()))h"
        default: return "\(Int((seconds / 86_400).rounded()))d"
        }
    }
}

/// Rows a second by table, from one snapshot to the next.
struct RateHistory {
    private static let kept = 64

    private(set) var rates: [String: [Double]] = [:]
    private var before: (at: Int64, durable: [String: UInt64])?

    mutating func add(_ snapshot: StatusSnapshot, at now: Int64 = Clock.monotonic()) {
        let durable = Dictionary(snapshot.tables.map { ($0.table, $0.durable) }) { $1 }
        defer { before = (now, durable) }
        guard let before, now > before.at else {
            for table in snapshot.tables { rates[table.table] = [] }
            return
        }
        for (table, end) in durable {
            // One that was not there before began with its first row.
            let start = before.durable[table] ?? 0
            let rate = end > start ? Double(end - start) * 1e9 / Double(now - before.at) : 0
            rates[table] = Array(((rates[table] ?? []) + [rate]).suffix(Self.kept))
        }
    }
}
