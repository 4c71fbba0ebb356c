import Logging
import SpoolIO

/// Asks ClickHouse about the parts of the tables that are loaded, beside the inserts, and slows down those that have too many.
final class PartsLookout {
    private static let lookEvery: Int64 = 10_000_000_000
    /// After a refusal, such as for want of rights: nothing depends on it.
    private static let askAgainAfter: Int64 = 600_000_000_000

    private let server: ClickHouse
    private let log: Logger
    private var watches: [String: PartsWatch] = [:]
    private var loaded: [String: UInt64] = [:]
    private var nextLook: Int64
    private var isAsking = false
    private var hasSaidWhy = false
    /// As of the last look.
    private(set) var crowding: [String: PartsCrowding] = [:]
    /// ClickHouse's clock, ahead of this machine's, seconds; nil if it is not known.
    private(set) var clockOffset: Double?

    init(server: ClickHouse, log: Logger, now: Int64 = Clock.monotonic()) {
        self.server = server
        self.log = log
        // The first batches are not held up by it, and there is something to see.
        nextLook = now + 1_000_000_000
    }

    /// To be called each time round the loop; it asks every ten seconds, and only about tables into which rows went since, or that were crowded.
    func tend(_ loaders: [TableLoader], now: Int64) {
        guard now >= nextLook, !isAsking else { return }
        nextLook = now + Self.lookEvery
        let due = loaders.filter { $0.tally.loaded != loaded[$0.table, default: 0] || (watches[$0.table]?.level ?? .calm) > .calm }
        guard !due.isEmpty else { return }
        for loader in due { loaded[loader.table] = loader.tally.loaded }
        isAsking = true
        let asked = Clock.now()
        server.query(PartsAnswer.query(due.map(\.table))) { [weak self] answer in
            guard let self else { return }
            isAsking = false
            take(answer, due, asked: asked, now: Clock.monotonic())
        }
    }

    private func take(_ answer: ServerAnswer, _ loaders: [TableLoader], asked: Int64, now: Int64) {
        clockOffset = nil
        guard case .ok(let body) = answer else {
            // What does not reach the server, the inserts tell.
            guard case .exception = answer else { return }
            nextLook = now + Self.askAgainAfter
            if !hasSaidWhy { log.notice("parts and merges are not watched: \(answer.problem)") }
            hasSaidWhy = true
            return
        }
        let parts = PartsAnswer(body)
        clockOffset = parts.clockOffset(asked: Double(asked) / 1e9, answered: Double(Clock.now()) / 1e9)
        for loader in loaders {
            let table = loader.table
            crowding[table] = parts.crowding[table]
            let notice = watches[table, default: PartsWatch()].seen(table, parts.crowding[table], parts.merges[table], at: now)
            loader.pace.crowding = watches[table]?.level ?? .calm
            switch notice {
            case .warning(let text)?: log.warning("\(text)")
            case .alarm(let text)?: log.critical("RecorderFailure: \(text)")
            case .relief(let text)?: log.notice("\(text)")
            case nil: break
            }
        }
    }
}
