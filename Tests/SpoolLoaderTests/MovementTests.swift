import Testing

@testable import spool_loader

/// When a request counts as standing still, with a clock that the tests hold.
@Suite struct MovementTests {
    private static let second: Int64 = 1_000_000_000

    @Test func silenceEndsARequestAfterTheTimeout() {
        let movement = Movement(timeout: 60 * Self.second, now: 5)
        #expect(movement.deadline == 60 * Self.second + 5)
        #expect(movement.problem(at: 60 * Self.second + 4) == nil)
        #expect(movement.problem(at: 60 * Self.second + 5) == "timed out: nothing was sent or received for 60.0 s (loader.timeout)")
    }

    @Test func aLargeBatchOverASlowLineIsNotCutOff() {
        var movement = Movement(timeout: 60 * Self.second, now: 0)
        // 32 MiB at 16 KiB/s: over half an hour.
        for step in 1...2_048 {
            let now = Int64(step) * Self.second
            #expect(movement.problem(at: now) == nil)
            movement.move(16_384, at: now)
        }
        #expect(movement.problem(at: 2_048 * Self.second + 59 * Self.second) == nil)
        #expect(movement.problem(at: 2_048 * Self.second + 60 * Self.second) != nil)
    }

    @Test func whatWasSentFastDoesNotAllowForLongSilence() {
        var movement = Movement(timeout: 2 * Self.second, now: 0)
        movement.move(256 << 20, at: Self.second)
        #expect(movement.deadline == 3 * Self.second)
    }

    @Test func aPeerThatTricklesIsGivenUp() {
        var movement = Movement(timeout: 10 * Self.second, now: 0)
        var now: Int64 = 0
        while movement.problem(at: now) == nil, now < 1_000 * Self.second {
            movement.move(100, at: now)
            now += Self.second
        }
        #expect(now < 12 * Self.second)
        #expect(movement.problem(at: now)?.contains("fewer than 16384 bytes a second") == true)
    }

    @Test func nothingMovedIsNoMovement() {
        var movement = Movement(timeout: Self.second, now: 0)
        movement.move(0, at: Self.second / 2)
        #expect(movement.deadline == Self.second)
    }

    @Test func absurdTimesAndSizesDoNotTrap() {
        var movement = Movement(timeout: 3_600 * Self.second, now: 0)
        movement.move(.max, at: 1)
        #expect(movement.deadline == 3_600 * Self.second + 1)
    }
}
