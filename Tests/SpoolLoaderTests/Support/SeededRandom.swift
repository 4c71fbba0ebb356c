import Glibc

/// SplitMix64: small, fast, and the same everywhere.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

/// The seeds of a randomized test: the one in `SPOOL_TEST_SEED`, to replay a failure, or fixed ones and a new one.
func testSeeds(_ fixed: Int) -> [UInt64] {
    if let text = getenv("SPOOL_TEST_SEED"), let seed = UInt64(String(cString: text)) { return [seed] }
    return (0..<UInt64(fixed)).map { $0 } + [UInt64.random(in: 0 ... .max)]
}
