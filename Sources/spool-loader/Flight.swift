import SpoolFormat

/// A batch on its way to ClickHouse, from its intent in the checkpoint until the checkpoint has passed it.
final class Flight {
    enum Outcome: Equatable {
        case loaded(UInt64, expired: UInt64)
        case quarantined
    }

    let batch: Batch
    let body: any RequestBody
    let checksum: UInt32
    /// The sequence up to which everything before it was planned: if a flight before it ends there, nothing is between the two.
    var follows: UInt64
    var machine: BatchMachine
    /// A request of it is under way.
    var isWorking = false
    /// Whether it was sent since the start.
    var wasSent = false
    /// What became of it; it stays in the list until those before it have come to their end too.
    var outcome: Outcome?
    /// The last answer of ClickHouse that refused it.
    var refusal: ServerAnswer?
    /// When a send of it last ended without an answer: until some time after that it may still be running in ClickHouse.
    var lastUnanswered: Int64?
    /// How often ClickHouse said that the bytes are damaged, while they are sound here.
    var suspicions = 0
    /// Of its last send to a server without tokens, while that may still be under way there.
    var settling: Settling?
    /// Until then nothing is done with it, nanoseconds of the monotonic clock.
    var waitsUntil: Int64?
    /// What is sent instead of ``body`` to a server that takes nothing else.
    var plainBody: PlainBody?

    init(_ batch: Batch, _ checked: CheckedBatch, _ machine: BatchMachine, follows: UInt64) {
        self.batch = batch
        self.follows = follows
        body = checked.body
        checksum = checked.checksum
        self.machine = machine
    }

    var isUnderWay: Bool { outcome == nil }
    var inflight: InflightBatch { batch.inflight(checksum: checksum, attempt: machine.attempt) }
    var rowsText: String { "rows \(batch.firstSequence) to \(batch.endSequence - 1)" }
}
