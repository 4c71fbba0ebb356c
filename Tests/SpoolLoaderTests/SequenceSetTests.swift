import SpoolTesting
import Testing

@testable import spool_loader

/// The sets of sequences against plain sets of numbers.
@Suite struct SequenceSetTests {
    private func random(_ random: inout SeededRandom) -> [Range<UInt64>] {
        (0..<Int.random(in: 0...12, using: &random)).map { _ in
            let start = UInt64.random(in: 0...60, using: &random)
            return start..<start + UInt64.random(in: 0...9, using: &random)
        }
    }

    private func plain(_ set: SequenceSet) -> Set<UInt64> { Set(set.ranges.joined()) }

    private func expectTidy(_ set: SequenceSet, _ context: String) {
        for (left, right) in zip(set.ranges, set.ranges.dropFirst()) { #expect(left.upperBound < right.lowerBound, "\(context): \(set)") }
        #expect(set.ranges.allSatisfy { !$0.isEmpty }, "\(context): \(set)")
    }

    @Test(arguments: Seeds.take(400))
    func theyBehaveAsSetsOfNumbers(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let (a, b) = (self.random(&random), self.random(&random))
        let (left, right) = (SequenceSet(a), SequenceSet(b))
        let (plainLeft, plainRight) = (Set(a.joined()), Set(b.joined()))
        let context = "replay with SPOOL_TEST_SEED=\(seed)"
        #expect(plain(left) == plainLeft, "\(context)")
        #expect(left.count == UInt64(plainLeft.count) && left.isEmpty == plainLeft.isEmpty, "\(context)")
        let results = [
            (left.intersection(right), plainLeft.intersection(plainRight)), (left.subtracting(right), plainLeft.subtracting(plainRight)),
            (SequenceSet(a + b), plainLeft.union(plainRight)),
        ]
        for (set, expected) in results {
            #expect(plain(set) == expected, "\(context)")
            expectTidy(set, context)
        }
        let window = UInt64.random(in: 0...30, using: &random)..<UInt64.random(in: 31...70, using: &random)
        #expect(plain(left.intersection(window)) == plainLeft.intersection(Set(window)), "\(context)")
    }

    @Test(arguments: Seeds.take(100))
    func whatIsInsertedInAnyOrderIsThere(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var set = SequenceSet()
        var numbers: Set<UInt64> = []
        for _ in 0..<6 {
            let more = self.random(&random)
            if random.oneIn(2) { set.formUnion(SequenceSet(more)) } else { for range in more { set.insert(range) } }
            numbers.formUnion(more.joined())
            #expect(plain(set) == numbers, "replay with SPOOL_TEST_SEED=\(seed)")
            expectTidy(set, "replay with SPOOL_TEST_SEED=\(seed)")
        }
    }

    @Test func aMillionRangesAreComparedInALook() {
        func ranges(from start: UInt64) -> [Range<UInt64>] { (0..<1_000_000 as Range<UInt64>).map { $0 * 4 + start..<$0 * 4 + start + 2 } }
        let every = SequenceSet(ranges(from: 0))
        let other = SequenceSet(ranges(from: 1))
        // Each against each would be 10^12 steps.
        #expect(every.subtracting(other).count == 1_000_000)
        #expect(every.intersection(other).count == 1_000_000)
        var union = every
        union.formUnion(other)
        #expect(union.count == 3_000_000 && union.intersection(3_999_990..<4_000_100).count == 7)
    }

    @Test func theEndsOfAllNumbersDoNotTrap() {
        let all = SequenceSet([0 ..< .max])
        #expect(all.count == .max)
        #expect(all.subtracting(SequenceSet([1 ..< .max])).ranges == [0..<1])
        #expect(all.intersection(.max - 1 ..< .max).count == 1)
    }

    @Test func textNamesRangesAsPeopleDo() {
        #expect(SequenceSet().text() == "")
        #expect(SequenceSet([5..<10, 12..<13]).text() == "5 to 9, 12")
        #expect(SequenceSet((0..<5).map { $0 * 10..<$0 * 10 + 1 }).text(limit: 2) == "0, 10, and 3 more ranges")
    }
}
