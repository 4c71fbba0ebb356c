import Glibc
import Logging
import SpoolFormat
import SpoolIO
import Synchronization

/// How far a long command is, for whoever watches it: one line that is redrawn on a terminal, a line every ten seconds elsewhere.
///
/// On standard error, so that standard output has the result alone.
final class Progress {
    /// At most ten redraws a second on a terminal.
    private static let redrawEvery: Int64 = 100_000_000
    private static let lineEvery: Int64 = 10_000_000_000

    private(set) var counts = ProgressCounts()
    private var rows = RateMeter()
    private var bytes = RateMeter()
    private let screen: StatusLine
    private let begun: Int64
    private var drawn: Int64

    init(screen: StatusLine = StatusLine(), now: Int64 = Clock.monotonic()) {
        self.screen = screen
        begun = now
        // On a terminal at once; elsewhere the first line after ten seconds.
        drawn = screen.isTerminal ? .min / 2 : now
        rows.add(0, now: now)
        bytes.add(0, now: now)
    }

    /// Takes new numbers and shows them if it is time.
    func update(now: Int64 = Clock.monotonic(), _ change: (inout ProgressCounts) -> Void) {
        let before = counts
        change(&counts)
        rows.add(counts.rows &- before.rows, now: now)
        bytes.add(counts.bytes &- before.bytes, now: now)
        tick(now: now)
    }

    /// Shows the numbers again if it is time: the clock goes on while a batch is on its way.
    func tick(now: Int64 = Clock.monotonic()) {
        if now - drawn >= (screen.isTerminal ? Self.redrawEvery : Self.lineEvery) { draw(now) }
    }

    /// Shows the last numbers and ends the line.
    func finish(now: Int64 = Clock.monotonic()) {
        draw(now)
        screen.end()
    }

    private func draw(_ now: Int64) {
        drawn = now
        let text = ProgressText(
            counts: counts, rowsPerSecond: rows.perSecond(now: now), bytesPerSecond: bytes.perSecond(now: now),
            seconds: Double(now - begun) / 1e9)
        if screen.isTerminal { screen.redraw(text.line(width: screen.width)) } else { screen.print(text.plain) }
    }
}

/// What is done and what there is to do.
struct ProgressCounts: Equatable {
    /// Rows dealt with.
    var rows: UInt64 = 0
    var allRows: UInt64 = 0
    /// Bytes of the spool that they take.
    var bytes: UInt64 = 0
    /// What is worked on, such as the table.
    var label = ""
    /// Whether more may come to `allRows`, since the spool is still being copied.
    var isGrowing = false
    /// Whether `bytes` says something.
    var hasBytes = true
    /// How long the rest takes, where something else than the rate says so.
    var secondsLeft: Double?
}

/// A rate per second that follows changes within seconds and does not jump with every batch.
struct RateMeter: Equatable {
    /// Seconds after which what was measured counts a third.
    private static let memory = 8.0
    private static let patience = 3.0

    private var sum = 0.0
    private var weight = 0.0
    private var last: Int64?
    private var pending = 0.0

    mutating func add(_ count: UInt64, now: Int64) {
        pending += Double(count)
        guard let last else {
            last = now
            pending = 0
            return
        }
        let seconds = Double(now - last) / 1e9
        // Over less time than that a rate says nothing.
        guard seconds >= 0.05 else { return }
        let (sum, weight) = advanced(by: seconds)
        (self.sum, self.weight) = (sum, weight)
        pending = 0
        self.last = now
    }

    /// Nil before there is anything to go by. While a batch is on its way the rate stays; if nothing comes for longer, it falls.
    func perSecond(now: Int64) -> Double? {
        guard let last else { return nil }
        let seconds = Double(now - last) / 1e9
        let (sum, weight) = seconds > Self.patience ? advanced(by: seconds) : (sum, weight)
        return weight > 0 ? sum / weight : nil
    }

    /// The weighted mean of rates since the beginning: without the division by the weight the first seconds would count as idle before.
    private func advanced(by seconds: Double) -> (sum: Double, weight: Double) {
        let kept = exp(-seconds / Self.memory)
        return (sum * kept + pending / seconds * (1 - kept), weight * kept + (1 - kept))
    }
}

/// The words and bars of a progress display.
struct ProgressText {
    let counts: ProgressCounts
    let rowsPerSecond: Double?
    let bytesPerSecond: Double?
    /// Since the command began.
    let seconds: Double

    private static let widestBar = 40
    private static let narrowestBar = 8

    /// From 0 to 1; 1 only when everything is done.
    private var share: Double {
        if counts.rows >= counts.allRows { return 1 }
        return min(Double(counts.rows) / Double(counts.allRows), 0.999)
    }

    private var percent: String { "\(Int(share * 100))%" }
    private var rows: String { "\(grouped(counts.rows)) of \(grouped(counts.allRows)) rows" + (counts.isGrowing ? " so far" : "") }
    private var rowRate: String { rowsPerSecond.map { "\(grouped(UInt64($0.rounded()))) rows/s" } ?? "- rows/s" }
    private var shortRows: String { "\(short(counts.rows)) of \(short(counts.allRows)) rows" + (counts.isGrowing ? " so far" : "") }
    private var shortRowRate: String { rowsPerSecond.map { "\(short(UInt64($0.rounded()))) rows/s" } ?? "- rows/s" }
    private var byteRate: String { counts.hasBytes ? bytesPerSecond.map { "\(tenths($0 / 1e6)) MB/s" } ?? "- MB/s" : "" }

    /// How long the rest takes at this speed; nil if that cannot be said.
    private var secondsLeft: Double? {
        if let seconds = counts.secondsLeft { return seconds }
        guard let rowsPerSecond, rowsPerSecond > 0, !counts.isGrowing, counts.allRows >= counts.rows else { return nil }
        return Double(counts.allRows - counts.rows) / rowsPerSecond
    }

    /// One line of at most `width - 1` characters: in the last column of a terminal some would begin a new line.
    func line(width: Int) -> String {
        let room = max(width - 1, 1)
        let left = counts.rows < counts.allRows ? "ETA " + (secondsLeft.map(clockText) ?? "-") : clockText(seconds)
        // What goes first when the terminal is narrow stands last.
        let wishes: [[String?]] = [
            [counts.label, nil, percent, rows, rowRate, byteRate, left],
            [counts.label, nil, percent, shortRows, shortRowRate, byteRate, left],
            [counts.label, nil, percent, shortRows, shortRowRate, left],
            [counts.label, percent, shortRows, shortRowRate, left],
            [percent, shortRows, left], [percent, shortRows],
        ]
        for wish in wishes {
            let texts = wish.compactMap { $0 }.filter { !$0.isEmpty }
            let taken = texts.reduce(0) { $0 + $1.count } + 2 * (texts.count - 1)
            guard wish.contains(nil) else {
                if taken <= room { return texts.joined(separator: "  ") }
                continue
            }
            let bar = min(room - taken - 4, Self.widestBar)
            guard bar >= Self.narrowestBar else { continue }
            return wish.map { $0 ?? self.bar(bar) }.filter { !$0.isEmpty }.joined(separator: "  ")
        }
        return String(percent.prefix(room))
    }

    /// `[=====>    ]`, `cells` characters between the brackets.
    private func bar(_ cells: Int) -> String {
        let full = Int(Double(cells) * share)
        let head = full < cells ? ">" : ""
        return "[" + String(repeating: "=", count: full) + head + String(repeating: " ", count: cells - full - head.count) + "]"
    }

    /// For a file or a pipe.
    var plain: String {
        var parts = ["\(rows) (\(percent))", rowRate, byteRate].filter { !$0.isEmpty }
        if counts.rows < counts.allRows {
            if let secondsLeft { parts.append("\(clockText(secondsLeft)) left") }
        } else {
            parts.append("after \(clockText(seconds))")
        }
        return (counts.label.isEmpty ? "" : "\(counts.label): ") + parts.joined(separator: ", ")
    }
}

/// `1,234,567`.
func grouped(_ number: UInt64) -> String {
    let digits = Array(String(number))
    var text = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
        text.append(digit)
    }
    return text
}

/// `1,234`, `12.3k`, `512k`, `4.2M`.
private func short(_ number: UInt64) -> String {
    guard number >= 10_000 else { return grouped(number) }
    var value = Double(number)
    var unit = ""
    for next in ["k", "M", "G", "T", "P", "E"] where value >= 999.5 {
        value /= 1_000
        unit = next
    }
    return (value >= 99.95 ? String(Int(value.rounded())) : tenths(value)) + unit
}

/// `0:07`, `12:34`, `1:02:03`, `2d 03:04:05`.
func clockText(_ seconds: Double) -> String {
    func two(_ number: Int) -> String { (number < 10 ? "0" : "") + "\(number)" }
    guard seconds.isFinite, seconds < 1e9 else { return "-" }
    let all = Int(max(0, seconds).rounded(.up))
    let (hours, minutes, rest) = (all / 3_600, all / 60 % 60, all % 60)
    if hours >= 24 { return "\(hours / 24)d \(two(hours % 24)):\(two(minutes)):\(two(rest))" }
    return hours > 0 ? "\(hours):\(two(minutes)):\(two(rest))" : "\(minutes):\(two(rest))"
}

private func tenths(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
}

/// The last line of a terminal, which is redrawn in place; messages go above it.
final class StatusLine: Sendable {
    private let descriptor: Int32
    let isTerminal: Bool
    private let isShown = Mutex(false)

    /// - Parameter kind: what the environment says of the terminal, `TERM`.
    init(descriptor: Int32 = STDERR_FILENO, kind: String = getenv("TERM").map { String(cString: $0) } ?? "") {
        self.descriptor = descriptor
        isTerminal = isatty(descriptor) == 1 && !kind.isEmpty && kind != "dumb"
    }

    /// Characters in a line, as the terminal is now.
    var width: Int { terminalSize(of: descriptor).width }

    /// Shows a line in place of the one before. In one write, old text overwritten and only what is left of it erased: nothing flickers.
    func redraw(_ line: String) {
        isShown.withLock {
            put("\r\(line)\u{1B}[K")
            $0 = true
        }
    }

    /// Prints a line, above the one that is redrawn.
    func print(_ line: String) {
        isShown.withLock {
            put(($0 ? "\r\u{1B}[K" : "") + line + "\n")
            $0 = false
        }
    }

    /// Ends the line that is shown.
    func end() {
        isShown.withLock {
            if $0 { put("\n") }
            $0 = false
        }
    }

    private func put(_ text: String) {
        let bytes = Array(text.utf8)
        _ = write(descriptor, bytes, bytes.count)
    }
}

/// Log entries above a line that is redrawn.
struct StatusLineLog: LogHandler {
    let screen: StatusLine
    var logLevel = Logger.Level.info
    var metadata = Logger.Metadata()

    init(screen: StatusLine) { self.screen = screen }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let about = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        screen.print("\(rfc3339(Clock.now()).prefix(19))Z \(event.level)\(about): \(event.message)")
    }
}
