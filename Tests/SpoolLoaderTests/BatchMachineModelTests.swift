import SpoolTesting
import Testing

@testable import spool_loader

/// The machine against a model of ClickHouse: every order of events up to a number of faults, then long random ones.
@Suite struct BatchMachineModelTests {
    /// Most steps that a batch may take once nothing fails any more.
    private static let stepsWithoutFaults = 8

    @Test(arguments: 0...7)
    func everyOrderOfFaultsLeavesExactlyOneCopy(faults: Int) {
        var seen: Set<BatchWorld> = []
        var open: [(world: BatchWorld, path: [BatchWorld.Event])] = [(BatchWorld(faults: faults), [])]
        var ends = 0
        while let (world, path) = open.popLast() {
            guard seen.insert(world).inserted else { continue }
            if let problem = world.violation ?? endlessness(of: world) {
                Issue.record("\(problem): \(path)")
                return
            }
            if world.isDone { ends += 1 }
            for event in world.events {
                var next = world
                next.apply(event)
                open.append((next, path + [event]))
            }
        }
        #expect(ends > 0)
        // A model in which nothing happens would pass as well.
        #expect(seen.count >= [2, 20, 90, 280, 740, 1_700, 3_400, 6_000][faults], "\(seen.count) states")
    }

    @Test(arguments: Seeds.take(500))
    func longRandomRunsLeaveExactlyOneCopy(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var world = BatchWorld(faults: Int.random(in: 5...60, using: &random))
        var path: [BatchWorld.Event] = []
        while !(world.isDone && world.running.isEmpty), path.count < 2_000 {
            let events = world.events
            guard let event = events.randomElement(using: &random) else { break }
            path.append(event)
            world.apply(event)
            if let violation = world.violation {
                Issue.record("\(violation); replay with SPOOL_TEST_SEED=\(seed): \(path)")
                return
            }
        }
        #expect(world.isDone && world.copies == 1, "replay with SPOOL_TEST_SEED=\(seed)")
    }

    @Test func anInsertThatEndsAfterItsRepeatWasAnsweredIsDroppedByTheToken() {
        var world = BatchWorld(faults: 1)
        for event: BatchWorld.Event in [.timesOut, .count, .send, .count, .runningInsertEnds(0)] { world.apply(event) }
        #expect(world.violation == nil && world.isDone && world.copies == 1)
    }

    @Test func aTokenSpentByACrashIsFoundOutAndReplaced() {
        var world = BatchWorld(faults: 1)
        world.apply(.crashAfterToken)
        // Asked, repeated (200, and nothing there), asked again, and only then under a fresh token.
        for event: BatchWorld.Event in [.count, .send, .count] {
            #expect(world.machine.attempt == 0)
            world.apply(event)
        }
        #expect(world.machine.action() == .send(attempt: 1))
        world.apply(.send)
        #expect(world.violation == nil && world.isDone && world.copies == 1)
    }

    @Test func aFreshTokenWaitsUntilTheOldOneCanBringNothingAnyMore() {
        var world = BatchWorld(faults: 2)
        world.apply(.timesOut)
        world.apply(.count)
        // The server restarts, and so may have lost the insert; a fresh token would still be wrong before the old one was repeated.
        world.apply(.serverRestarts)
        #expect(world.machine.action() == .send(attempt: 0))
    }

    /// Whether the batch would not end although nothing fails any more, whatever still runs in the server.
    private func endlessness(of world: BatchWorld) -> String? {
        var world = world
        world.faultsLeft = 0
        for _ in 0..<Self.stepsWithoutFaults {
            if world.isDone { return world.violation }
            guard let event = world.events.first(where: { $0 == .send || $0 == .count }) else { return "nothing can happen" }
            world.apply(event)
        }
        return world.isDone ? world.violation : "it does not end in \(Self.stepsWithoutFaults) steps"
    }
}
