import SpoolTesting
import Testing

@testable import spool_loader

/// Which server is used, with a clock that the tests hold.
@Suite struct EndpointsTests {
    private static let second: Int64 = 1_000_000_000
    private func three() -> Endpoints { Endpoints(names: ["a", "b", "c"], settle: 5 * Self.second, now: 0) }

    /// Asks the servers that are to be asked, once a tenth of a second; those in `good` answer.
    @discardableResult
    private func tend(_ endpoints: inout Endpoints, from: Int64, until: Int64, good: Set<String>) -> [(at: Int64, Endpoints.Notice)] {
        var notices: [(Int64, Endpoints.Notice)] = []
        for now in stride(from: from, through: until, by: Int(Self.second / 10)) {
            for index in endpoints.pingsDue(at: now) {
                endpoints.pinged(index, isGood: good.contains(endpoints.name(of: index)), at: now)
            }
            if let notice = endpoints.settled(at: now) { notices.append((now, notice)) }
        }
        return notices
    }

    @Test func theFirstIsUsedAndNobodyIsAskedWhileItAnswers() {
        var endpoints = three()
        for now in stride(from: 0, to: 100 * Self.second, by: Int(Self.second)) {
            #expect(endpoints.succeeded(0, at: now) == nil)
            #expect(endpoints.pingsDue(at: now).isEmpty && endpoints.nextLook == nil)
        }
        #expect(endpoints.name == "a" && endpoints.since == 0)
    }

    @Test func oneServerIsKeptWhateverFails() {
        var endpoints = Endpoints(names: ["a"], settle: Self.second, now: 0)
        for now in 1..<50 { #expect(endpoints.failed(0, why: "refused", at: Int64(now)) == nil) }
        #expect(endpoints.name == "a" && endpoints.nextLook == nil && endpoints.pingsDue(at: 1_000 * Self.second).isEmpty)
    }

    @Test func aFailureMovesOnInTheOrderOfTheList() {
        var endpoints = three()
        #expect(endpoints.failed(0, why: "refused", at: 7) == .moved(from: "a", to: "b", why: "refused"))
        #expect(endpoints.since == 7 && endpoints.why == "a failed: refused")
        _ = endpoints.succeeded(1, at: 8)
        #expect(endpoints.failed(1, why: "reset", at: 9) == .moved(from: "b", to: "c", why: "reset"))
    }

    @Test func requestsThatWereOnTheirWayBeforeTheChangeDoNotChangeItAgain() {
        var endpoints = three()
        _ = endpoints.failed(0, why: "reset", at: 1)
        for now in 2..<10 { #expect(endpoints.failed(0, why: "reset", at: Int64(now)) == nil) }
        #expect(endpoints.name == "b")
        #expect(endpoints.succeeded(0, at: 11) == nil && endpoints.name == "b")
    }

    @Test func whenNoneAnswersEachIsTriedInTurnAndThatIsSaidOnce() {
        var endpoints = three()
        var notices: [Endpoints.Notice] = []
        var used: [String] = []
        for now in 1...30 {
            used.append(endpoints.name)
            if let notice = endpoints.failed(endpoints.current, why: "refused", at: Int64(now)) { notices.append(notice) }
        }
        #expect(used.prefix(7) == ["a", "b", "c", "a", "b", "c", "a"])
        #expect(
            notices == [
                .moved(from: "a", to: "b", why: "refused"), .moved(from: "b", to: "c", why: "refused"), .noneAnswers(why: "c: refused"),
            ])
        let name = endpoints.name
        #expect(endpoints.succeeded(endpoints.current, at: 31) == .answersAgain(name))
        #expect(endpoints.succeeded(endpoints.current, at: 32) == nil)
    }

    @Test func aPreferredServerIsUsedAgainOnceItHasAnsweredForTheSettleTime() {
        var endpoints = three()
        _ = endpoints.failed(0, why: "refused", at: 0)
        #expect(tend(&endpoints, from: 0, until: 20 * Self.second, good: ["b", "c"]).isEmpty)
        let notices = tend(&endpoints, from: 20 * Self.second, until: 60 * Self.second, good: ["a", "b", "c"])
        #expect(notices.count == 1 && endpoints.name == "a")
        let moved = notices.first?.at ?? 0
        #expect(moved >= 25 * Self.second && moved <= 20 * Self.second + Endpoints.maxPingWait + 7 * Self.second)
        #expect(endpoints.nextLook == nil)
    }

    @Test func aServerThatAnswersOnlyNowAndThenIsNotGoneBackTo() {
        var endpoints = three()
        _ = endpoints.failed(0, why: "refused", at: 0)
        for round in 0..<100 {
            let start = Int64(round) * 4 * Self.second
            #expect(tend(&endpoints, from: start, until: start + 3 * Self.second, good: ["a"]).isEmpty)
            #expect(tend(&endpoints, from: start + 3 * Self.second, until: start + 4 * Self.second, good: []).isEmpty)
        }
        #expect(endpoints.name == "b")
    }

    @Test func eachFailureSoonAfterTheReturnDoublesTheTimeThatItMustAnswer() {
        var endpoints = three()
        var now: Int64 = 0
        var stays: [Int64] = []
        for _ in 0..<9 {
            _ = endpoints.failed(0, why: "read-only", at: now)
            let notices = tend(&endpoints, from: now, until: now + 700 * Self.second, good: ["a", "b", "c"])
            stays.append(((notices.first?.at ?? 0) - now) / Self.second)
            now = (notices.first?.at ?? 0) + Self.second
            // What has come of the tending beyond the return does not matter: the state is that of the return.
        }
        #expect(stays.first! <= 7)
        for (before, after) in zip(stays, stays.dropFirst()) { #expect(after >= min(before * 3 / 2, 590), "\(stays)") }
        #expect(stays.last! <= Endpoints.maxHold / Self.second + 2, "\(stays)")
        // After a long time without a failure it counts as sound again.
        now += 2_000 * Self.second
        _ = endpoints.failed(0, why: "refused", at: now)
        let notices = tend(&endpoints, from: now, until: now + 20 * Self.second, good: ["a"])
        #expect(notices.count == 1)
    }

    @Test func aServerThatFailedIsPassedOverForAWhileOnly() {
        var endpoints = three()
        _ = endpoints.failed(0, why: "x", at: 0)
        _ = endpoints.succeeded(1, at: 1)
        #expect(endpoints.failed(1, why: "x", at: 2) == .moved(from: "b", to: "c", why: "x"))
        _ = endpoints.succeeded(2, at: 3)
        // Both failed just now: the one that answers pings comes first.
        endpoints.pinged(1, isGood: true, at: 4)
        #expect(endpoints.failed(2, why: "x", at: 5) == .moved(from: "c", to: "b", why: "x"))
        _ = endpoints.succeeded(1, at: 6)
        #expect(endpoints.failed(1, why: "x", at: 2 * Endpoints.grudge) == .moved(from: "b", to: "a", why: "x"))
    }

    @Test(arguments: Seeds.take(20))
    func whateverHappensTheServerInUseChangesOnlyWithAReason(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var endpoints = three()
        var asked: Set<Int> = []
        var now: Int64 = 0
        for _ in 0..<2_000 {
            now += Int64.random(in: 0...2 * Self.second, using: &random)
            let before = endpoints.current
            let index = Int.random(in: 0..<3, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                _ = endpoints.failed(index, why: "x", at: now)
                #expect((endpoints.current != before) == (index == before), "replay with SPOOL_TEST_SEED=\(seed)")
            case 1:
                _ = endpoints.succeeded(index, at: now)
                #expect(endpoints.current == before, "replay with SPOOL_TEST_SEED=\(seed)")
            case 2:
                let due = endpoints.pingsDue(at: now)
                #expect(due.allSatisfy { $0 < before && !asked.contains($0) }, "replay with SPOOL_TEST_SEED=\(seed)")
                asked.formUnion(due)
                for index in asked where Bool.random(using: &random) {
                    asked.remove(index)
                    endpoints.pinged(index, isGood: Int.random(in: 0..<5, using: &random) > 0, at: now)
                }
                #expect(endpoints.current == before, "replay with SPOOL_TEST_SEED=\(seed)")
            default:
                let notice = endpoints.settled(at: now)
                #expect(
                    endpoints.current <= before && (notice != nil) == (endpoints.current < before), "replay with SPOOL_TEST_SEED=\(seed)")
            }
        }
    }
}
