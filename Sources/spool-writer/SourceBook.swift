import SpoolFormat

/// A producer that sends lines, as the recorder knows it: how far it has come, and what of it is not yet durable.
final class Source {
    /// Its name in chunk headers; nil for a producer that did not name itself, which cannot resend.
    let name: String?
    /// Lines taken from it so far; the next line has this position.
    var position: UInt64
    var accepted: UInt64 = 0
    /// Market rows that were not recorded.
    var dropped: UInt64 = 0
    var refused: UInt64 = 0
    /// Lines that were in the spool already when they came, after a resend.
    var repeated: UInt64 = 0
    /// Lines below this position may be in the spool already, after a resend.
    var resumeLimit: UInt64 = 0
    /// Tables in which it has rows that are not durable: the position of the first such row.
    fileprivate var undurable: [ObjectIdentifier: UInt64] = [:]

    init(name: String?, position: UInt64 = 0) {
        self.name = name
        self.position = position
    }

    /// Everything before this position is durable or was refused.
    var complete: UInt64 { min(undurable.values.min() ?? position, position) }

    func noteUndurable(_ table: AnyObject, from position: UInt64) {
        let key = ObjectIdentifier(table)
        undurable[key] = min(undurable[key] ?? .max, position)
    }

    /// What ``complete`` will be once all rows of the table before those still gathered are durable.
    func complete(onceDurable table: AnyObject, rest: UInt64?) -> UInt64 {
        var others = undurable
        others[ObjectIdentifier(table)] = rest
        // A ring's rows are taken table by table: its position moves once all of a batch are, and until then none of them is past.
        return min(others.values.min() ?? position, position)
    }

    /// All rows of the table before those still gathered are durable now.
    ///
    /// - Parameter rest: position of the first row still gathered, nil if there is none.
    func noteDurable(_ table: AnyObject, rest: UInt64?) { undurable[ObjectIdentifier(table)] = rest }
}

extension Source {
    /// Whether it has rows of this table that are not durable.
    func hasUndurable(in table: AnyObject) -> Bool { undurable[ObjectIdentifier(table)] != nil }

    /// Position of its first row of this table that is not durable.
    func firstUndurable(in table: AnyObject) -> UInt64? { undurable[ObjectIdentifier(table)] }
}

/// What one source gave to the rows now being gathered for a table.
struct Contribution {
    let source: Source
    /// Position of its first row among them.
    var first: UInt64
    /// Position after its last.
    var end: UInt64
}

/// How far each named source has come in one table, as chunk and segment headers carry it.
struct PositionTable {
    private var positions: [String: (end: UInt64, complete: UInt64, age: UInt64)] = [:]
    private var age: UInt64 = 0

    func end(_ source: String) -> UInt64 { positions[source]?.end ?? 0 }
    func complete(_ source: String) -> UInt64 { positions[source]?.complete ?? 0 }

    mutating func note(_ position: SourcePosition) {
        age += 1
        let old = positions[position.source]
        positions[position.source] = (max(position.end, old?.end ?? 0), max(position.complete, old?.complete ?? 0), age)
        // The source that was silent for longest is forgotten: its resend would be recorded twice, so the limit is generous.
        if positions.count > FormatLimits.segmentSources, let oldest = positions.min(by: { $0.value.age < $1.value.age })?.key {
            positions[oldest] = nil
        }
    }

    /// Forgets a source that can never come back, such as a ring whose file is removed.
    mutating func forget(_ source: String) { positions[source] = nil }

    /// All of them, oldest first, for the header of a new segment.
    var all: [SourcePosition] {
        positions.sorted { $0.value.age < $1.value.age }.map {
            SourcePosition(source: $0.key, end: $0.value.end, complete: $0.value.complete)
        }
    }
}
