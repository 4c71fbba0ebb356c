/// Sorted, disjoint ranges of sequences.
struct SequenceSet: Equatable {
    private(set) var ranges: [Range<UInt64>] = []

    init(_ ranges: [Range<UInt64>] = []) { for range in ranges { insert(range) } }

    var count: UInt64 { ranges.reduce(0) { $0 + $1.upperBound - $1.lowerBound } }
    var isEmpty: Bool { ranges.isEmpty }

    mutating func insert(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        // The usual order of coming.
        if range.lowerBound > ranges.last?.upperBound ?? 0 || ranges.isEmpty {
            ranges.append(range)
            return
        }
        if let last = ranges.last, range.lowerBound == last.upperBound {
            ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
            return
        }
        var merged = range
        var rest: [Range<UInt64>] = []
        for other in ranges {
            if other.upperBound < merged.lowerBound || other.lowerBound > merged.upperBound {
                rest.append(other)
            } else {
                merged = min(other.lowerBound, merged.lowerBound)..<max(other.upperBound, merged.upperBound)
            }
        }
        let place = rest.firstIndex { $0.lowerBound > merged.lowerBound } ?? rest.count
        rest.insert(merged, at: place)
        ranges = rest
    }

    /// The parts that lie in `range`.
    func intersection(_ range: Range<UInt64>) -> SequenceSet {
        SequenceSet(ranges.map { $0.clamped(to: range) })
    }

    func intersection(_ other: SequenceSet) -> SequenceSet { SequenceSet(other.ranges.flatMap { intersection($0).ranges }) }

    func subtracting(_ other: SequenceSet) -> SequenceSet {
        var left = ranges
        for cut in other.ranges {
            left = left.flatMap { range -> [Range<UInt64>] in
                guard range.overlaps(cut) else { return [range] }
                return [range.lowerBound..<max(range.lowerBound, cut.lowerBound), min(range.upperBound, cut.upperBound)..<range.upperBound]
                    .filter { !$0.isEmpty }
            }
        }
        return SequenceSet(left)
    }

    /// `5 to 9, 12`, at most `limit` ranges.
    func text(limit: Int = 20) -> String {
        let shown = ranges.prefix(limit).map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound) to \($0.upperBound - 1)" }
        return shown.joined(separator: ", ") + (ranges.count > limit ? ", and \(ranges.count - limit) more ranges" : "")
    }
}
