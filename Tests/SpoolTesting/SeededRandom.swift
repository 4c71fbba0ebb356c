import Foundation

/// Random numbers that a seed repeats (SplitMix64: tiny, and every seed is a good one).
public struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    /// True once in `count` times.
    public mutating func oneIn(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &self) == 0 }

    public mutating func pick<Items: Collection>(_ items: Items) -> Items.Element {
        items.randomElement(using: &self)!
    }
}

/// The seeds of a property test: give them as its `arguments`, so that a failure names its seed.
public enum Seeds {
    /// Set it to a seed that failed, to run that one alone.
    public static let variable = "SPOOL_TEST_SEED"

    /// The same seeds each time, and one that is new each time.
    public static func take(_ count: Int) -> [UInt64] {
        if let text = ProcessInfo.processInfo.environment[variable], let seed = UInt64(text) { return [seed] }
        return (1..<UInt64(max(count, 2))).map { $0 } + [UInt64.random(in: 1_000...UInt64(UInt32.max))]
    }
}
