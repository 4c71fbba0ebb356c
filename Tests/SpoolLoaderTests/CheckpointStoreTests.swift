import Glibc
import SpoolFormat
import SpoolIO
import SpoolTesting
import Testing

@testable import spool_loader

/// Checkpoints on disk: two slots, one holder, never back.
@Suite struct CheckpointStoreTests {
    private let home = TemporaryDirectory()
    private var path: String { "\(home.path)/w1/fills.checkpoint" }

    private func open() throws -> CheckpointStore {
        try openedAgain { try CheckpointStore(directory: home.path, writer: "w1", table: "fills") }
    }
    private func peek() throws -> Checkpoint? { try CheckpointStore.peek(directory: home.path, writer: "w1", table: "fills") }

    private func save(_ store: CheckpointStore, next: UInt64, inflight: InflightBatch? = nil) throws {
        var checkpoint = store.checkpoint
        checkpoint.next = next
        checkpoint.inflight = inflight.map { [$0] } ?? []
        try store.save(checkpoint)
    }

    private func slot(_ index: Int) throws -> Checkpoint {
        try Checkpoint.decode(File.openForReading(path).read(Checkpoint.slotBytes, at: UInt64(index * Checkpoint.slotBytes)))
    }

    private func complaint(_ work: () throws -> Void) -> String {
        do {
            try work()
            return "none"
        } catch { return "\(error)".replacing(home.path, with: "HOME") }
    }

    private var inflight: InflightBatch {
        InflightBatch(
            firstSequence: 30, endSequence: 40, segmentNumber: 1, fromOffset: 100, toOffset: 5_000, partition: 20_454,
            checksum: 0x5bd1_e995, attempt: 0)
    }

    @Test func aNewCheckpointBeginsAtTheFirstRow() throws {
        #expect(try peek() == nil)
        let checkpoint = try open().checkpoint
        #expect(checkpoint.next == 1 && checkpoint.segmentNumber == 0 && checkpoint.epoch == 1 && checkpoint.inflight.isEmpty)
        #expect(try peek() == checkpoint)
    }

    @Test func slotsAreWrittenInTurn() throws {
        let store = try open()
        for next in UInt64(2)...7 {
            try save(store, next: next)
            let slots = try [slot(0), slot(1)]
            #expect(slots.map(\.next).max() == next && slots.map(\.next).min() == next - 1)
            #expect(try peek()?.next == next)
        }
    }

    @Test func theEpochRisesWithEachHolder() throws {
        for epoch in UInt64(1)...4 { #expect(try open().checkpoint.epoch == epoch) }
    }

    @Test func aSecondHolderIsRefused() throws {
        let store = try open()
        let complaint = complaint { _ = try CheckpointStore(directory: home.path, writer: "w1", table: "fills") }
        // Who holds it is said in full, for the person who must end one of the two.
        #expect(complaint.hasPrefix("HOME/w1/fills.lock: another loader has this checkpoint: process \(getpid()) on "), "\(complaint)")
        #expect(complaint.hasSuffix("Z; one at a time can load a spool"), "\(complaint)")
        try save(store, next: 5)
        #expect(try peek()?.epoch == 1)
    }

    @Test func whereLocksDoNotReachTheHigherEpochDecides() throws {
        let store = try open()
        try save(store, next: 5)
        // What a loader on another host does, which does not see our lock.
        var taken = try #require(try peek())
        taken.epoch += 1
        taken.version += 1
        try File.openForWriting(path).write(taken.encode(), at: (taken.version % 2) * UInt64(Checkpoint.slotBytes))
        #expect(throws: FencedOff.self) { try save(store, next: 9) }
        #expect(
            complaint { try save(store, next: 9) }.hasPrefix(
                "HOME/w1/fills.checkpoint: another loader has taken this checkpoint (epoch 2, ours is 1): "))
        #expect(try peek() == taken, "the stale holder has not overwritten it")
    }

    @Test func aCheckpointOfTheFirstVersionIsReadAndOneOfALaterVersionIsNot() throws {
        // As the first release wrote it, byte for byte.
        let text = """
            coldpath-checkpoint 1
            version 7
            epoch 3
            writer w1
            table fills
            next 30
            segment 1
            offset 100
            rows-loaded 29
            rows-expired 0
            rows-quarantined 0
            inflight 30 40 1 100 5000 20454 5bd1e995 0

            """
        try Directory.create("\(home.path)/w1")
        func write(_ text: String) throws {
            let crc = Array(text.utf8).withUnsafeBytes { crc32c($0) }
            var slot = Array((text + "crc32c \(hex(crc))\n").utf8)
            slot += [UInt8](repeating: 0x20, count: Checkpoint.slotBytes - slot.count - 1) + [0x0A]
            try File.openForWriting(path).write(slot, at: UInt64(Checkpoint.slotBytes))
        }
        try write(text)
        let checkpoint = try open().checkpoint
        #expect(checkpoint.next == 30 && checkpoint.epoch == 4 && checkpoint.inflight == [inflight])
        try File.openForWriting(path).truncate(to: 0)
        try write(text.replacing("coldpath-checkpoint 1", with: "coldpath-checkpoint 3"))
        #expect(complaint { _ = try self.open() }.contains("version 3"))
    }

    @Test func lookingDoesNotTakeIt() throws {
        let store = try open()
        #expect(try peek()?.version == store.checkpoint.version)
        #expect(try peek()?.epoch == 1)
    }

    @Test func itNeverGoesBack() async {
        await #expect(processExitsWith: .failure) {
            let home = TemporaryDirectory()
            let store = try CheckpointStore(directory: home.path, writer: "w1", table: "fills")
            var checkpoint = store.checkpoint
            checkpoint.next = 100
            try store.save(checkpoint)
            checkpoint.next = 99
            try store.save(checkpoint)
        }
    }

    @Test func aCrashWithinASlotLeavesTheOldCheckpointOrTheNewOne() throws {
        do {
            let store = try open()
            // The longer text first: then the shorter one leaves a rest of it.
            try save(store, next: 10, inflight: inflight)
            try save(store, next: 20)
            try save(store, next: 20, inflight: inflight)
        }
        let before = try #require(try peek())
        var after = before
        after.version += 1
        after.next = 30
        let place = (after.version % 2) * UInt64(Checkpoint.slotBytes)
        let old = try File.openForReading(path).read(Checkpoint.slotBytes, at: place)
        try #require(old.count == Checkpoint.slotBytes)
        for inflight in [nil, inflight] {
            after.inflight = inflight.map { [$0] } ?? []
            let new = after.encode()
            var outcomes: Set<UInt64> = []
            // Every byte of the text, and then of the padding some.
            for written in Array(0...400) + Array(stride(from: 407, to: new.count, by: 97)) + [new.count - 1, new.count] {
                try File.openForWriting(path).write(Array(new[..<written] + old[written...]), at: place)
                let found = try #require(try peek())
                #expect(found == before || found == after, "\(written) bytes written: \(found)")
                outcomes.insert(found.next)
            }
            #expect(outcomes == [before.next, after.next])
        }
    }

    @Test func aCrashWithinTheVeryFirstSlotLeavesANewCheckpoint() throws {
        _ = try open()
        let bytes = try File.openForReading(path).read(2 * Checkpoint.slotBytes, at: 0)
        try #require(bytes.count == 2 * Checkpoint.slotBytes)
        for size in 0..<2 * Checkpoint.slotBytes where size % 97 == 0 || (Checkpoint.slotBytes..<Checkpoint.slotBytes + 250).contains(size)
        {
            let file = try File.openForWriting(path)
            try file.truncate(to: 0)
            try file.write(Array(bytes[..<size]), at: 0)
            #expect(try peek()?.next ?? 1 == 1, "\(size) bytes")
            #expect(try open().checkpoint.next == 1, "\(size) bytes")
        }
    }

    @Test func everyFlippedBitIsNoticed() throws {
        do {
            let store = try open()
            try save(store, next: 10, inflight: inflight)
        }
        let good = try #require(try peek())
        let place = (good.version % 2) * UInt64(Checkpoint.slotBytes)
        let slot = try File.openForReading(path).read(Checkpoint.slotBytes, at: place)
        try #require(slot.count == Checkpoint.slotBytes)
        let file = try File.openForWriting(path)
        for offset in 0..<400 {
            for bit in 0..<UInt8(8) {
                try file.write([slot[offset] ^ (1 << bit)], at: place + UInt64(offset))
                // A digit of the stored checksum may change its case.
                let found = try #require(try peek())
                #expect(found == good || found.version == good.version - 1, "bit \(bit) at \(offset): \(found)")
            }
            try file.write([slot[offset]], at: place + UInt64(offset))
        }
    }

    @Test func twoDamagedSlotsAreAClearError() throws {
        do { try save(open(), next: 5) }
        let file = try File.openForWriting(path)
        for slot in 0..<2 { try file.write([0x21], at: UInt64(slot * Checkpoint.slotBytes + 30)) }
        let text = complaint { _ = try open() }
        #expect(text.hasPrefix("HOME/w1/fills.checkpoint: no slot is readable (checksum of the checkpoint differs: "), "\(text)")
        #expect(text.hasSuffix("); find out with `spool-loader audit` what ClickHouse has before you move the file away"))
    }

    @Test func aFileOfZerosIsAClearError() throws {
        _ = try open()
        try File.openForWriting(path).write([UInt8](repeating: 0, count: 2 * Checkpoint.slotBytes), at: 0)
        #expect(complaint { _ = try open() }.hasPrefix("HOME/w1/fills.checkpoint: no slot is readable (both are empty); "))
    }

    @Test func theCheckpointOfAnotherTableIsRefused() throws {
        _ = try open()
        let bytes = try File.openForReading(path).read(2 * Checkpoint.slotBytes, at: 0)
        try File.openForWriting("\(home.path)/w1/orders.checkpoint").write(bytes, at: 0)
        #expect(
            complaint { _ = try CheckpointStore(directory: home.path, writer: "w1", table: "orders") }
                == "HOME/w1/orders.checkpoint is of table fills, writer w1")
    }
}
