/// Sorted, disjoint ranges of sequences. Every operation walks each list once: a spool with a loss in every second row has millions.
struct SequenceSet: Equatable {
    private(set) var ranges: [Range<UInt64>] = []

    /// - Parameter ranges: in any order; they may overlap.
    init(_ ranges: [Range<UInt64>] = []) {
        let isSorted = zip(ranges, ranges.dropFirst()).allSatisfy { $0.lowerBound <= $1.lowerBound }
        for range in isSorted ? ranges : ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) { append(range) }
    }

    var count: UInt64 { ranges.reduce(0) { $0 + $1.upperBound - $1.lowerBound } }
    var isEmpty: Bool { ranges.isEmpty }

    mutating func insert(_ range: Range<UInt64>) { formUnion(SequenceSet([range])) }

    mutating func formUnion(_ other: SequenceSet) {
        guard let first = other.ranges.first else { return }
        // The usual order of coming: everything behind what is there.
        guard let last = ranges.last, first.lowerBound < last.lowerBound else {
            for range in other.ranges { append(range) }
            return
        }
        var (left, right) = (ranges[...], other.ranges[...])
        ranges = []
        ranges.reserveCapacity(left.count + right.count)
        while let one = left.first, let two = right.first {
            append(one.lowerBound <= two.lowerBound ? left.removeFirst() : right.removeFirst())
        }
        for range in left { append(range) }
        for range in right { append(range) }
    }

    /// The parts that lie in `range`.
    func intersection(_ range: Range<UInt64>) -> SequenceSet {
        var result = SequenceSet()
        for part in ranges[firstIndex(endingAfter: range.lowerBound)...] {
            if part.lowerBound >= range.upperBound { break }
            result.append(part.clamped(to: range))
        }
        return result
    }

    func intersection(_ other: SequenceSet) -> SequenceSet {
        var result = SequenceSet()
        var (left, right) = (ranges[...], other.ranges[...])
        while let one = left.first, let two = right.first {
            if one.overlaps(two) { result.append(one.clamped(to: two)) }
            if one.upperBound <= two.upperBound { left.removeFirst() } else { right.removeFirst() }
        }
        return result
    }

    func subtracting(_ other: SequenceSet) -> SequenceSet {
        var result = SequenceSet()
        var cuts = other.ranges[...]
        for range in ranges {
            var from = range.lowerBound
            while let cut = cuts.first, cut.lowerBound < range.upperBound {
                if cut.lowerBound > from { result.append(from..<cut.lowerBound) }
                from = max(from, min(cut.upperBound, range.upperBound))
                // A cut that goes on behind this range may reach into the next one.
                if cut.upperBound > range.upperBound { break }
                cuts.removeFirst()
            }
            if from < range.upperBound { result.append(from..<range.upperBound) }
        }
        return result
    }

    /// `5 to 9, 12`, at most `limit` ranges.
    func text(limit: Int = 20) -> String {
        let shown = ranges.prefix(limit).map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound) to \($0.upperBound - 1)" }
        return shown.joined(separator: ", ") + (ranges.count > limit ? ", and \(ranges.count - limit) more ranges" : "")
    }

    /// Adds a range that begins no earlier than the last one.
    private mutating func append(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        guard let last = ranges.last, range.lowerBound <= last.upperBound else { return ranges.append(range) }
        precondition(range.lowerBound >= last.lowerBound, "\(range) behind \(last)")
        ranges[ranges.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
    }

    /// By halving: the index of the first range that reaches behind the sequence.
    private func firstIndex(endingAfter sequence: UInt64) -> Int {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = low + (high - low) / 2
            if ranges[middle].upperBound > sequence { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
