/// Columns of text, aligned: the first column and those of words to the left, numbers to the right.
struct TextTable {
    private var lines: [[String]]
    private let rightAligned: Set<Int>

    init(_ titles: [String], numbers: Set<Int>) {
        lines = [titles]
        rightAligned = numbers
    }

    mutating func add(_ cells: [String]) {
        precondition(cells.count == lines[0].count, "\(cells.count) cells under \(lines[0].count) titles")
        lines.append(cells)
    }

    var text: String {
        let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { cells in
            var line = ""
            for (column, cell) in cells.enumerated() {
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                if column > 0 { line += "  " }
                line += rightAligned.contains(column) ? padding + cell : cell + padding
            }
            while line.last == " " { line.removeLast() }
            return line + "\n"
        }.joined()
    }
}

/// Bytes for people: `3.0 MiB`.
func byteText(_ bytes: UInt64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1_024, unit < units.count - 1 {
        value /= 1_024
        unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\(oneDecimal(value)) \(units[unit])"
}

/// Seconds for people: `1.5 s`, `3.2 h`.
func durationText(_ seconds: Double) -> String {
    switch seconds {
    case ..<120: return "\(oneDecimal(seconds)) s"
    case ..<7_200: return "\(oneDecimal(seconds / 60)) min"
    case ..<172_800: return "\(oneDecimal(seconds / 3_600)) h"
    default: return "\(oneDecimal(seconds / 86_400)) d"
    }
}

private func oneDecimal(_ value: Double) -> String {
    guard value.magnitude < 1e15 else { return "-" }
    let tenths = Int((value.magnitude * 10).rounded())
    return "\(value < 0 && tenths > 0 ? "-" : "")\(tenths / 10).\(tenths % 10)"
}
