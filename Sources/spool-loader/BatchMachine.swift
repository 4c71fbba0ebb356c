/// What to do with a batch until ClickHouse has it, exactly once. It decides; `TableLoader` acts.
///
/// A batch is one block and one part in ClickHouse, so it is there wholly or not at all. Two nets hold it: the dedup token, and
/// the question how many of its rows are there. The question is asked after every doubt, because the token alone has a hole: a
/// server that is killed between writing the token and renaming the part later answers 200 to a repeat and drops it.
///
/// ```
/// ready ──send──► sending ──ok──► done             (first use of a token: nothing can have swallowed it)
///                    │ └────ok──► asking           (repeat of a token: ask whether it did anything)
///                    ▼ anything else
///                 asking ──all there──► done
///                    ├──none────────────────────► sending, same token
///                    ├──none, after ok──────────► sending, fresh token
///                    ├──some────────────────────► comparing ──rest expired──► done
///                    │                                 └──────────────────► stuck
///                    └──none, and refused for what it holds──► refused     (to be cut in two)
/// ```
///
/// A repeat with the same token comes before a fresh one even if the server has restarted: should the first send still be on its way
/// in that server, the token keeps the two from both arriving, and the question after it finds out if the token swallowed it.
struct BatchMachine: Equatable {
    enum State: Equatable {
        /// Nothing was sent under the present token.
        case ready
        case sending
        /// How many rows are there?
        case asking
        /// Which rows are there?
        case comparing
        /// ClickHouse will not take these rows together, and has none of them.
        case refused
        case done(loaded: UInt64, expired: UInt64)
        /// A person must look: what is there and why it is wrong.
        case stuck(String)
    }

    enum Action: Equatable {
        /// Sync the intent with this attempt number, then send.
        case send(attempt: Int)
        /// Count the rows of the range.
        case count
        /// Fetch the sequences of the range, and see which of the missing ones are expired.
        case compare
        /// Send it in smaller parts.
        case divide
        case finish(loaded: UInt64, expired: UInt64)
        case stop(String)
    }

    let rows: UInt64
    private(set) var state: State
    private(set) var attempt: Int
    /// Sends under the present token that may have reached the server.
    private(set) var sends: Int
    /// A repeat of the token was answered with success, so nothing sent under it can still arrive.
    private(set) var repeatSucceeded = false
    /// The last send was answered by ClickHouse with an error that the rows themselves cause.
    private(set) var isRefused = false

    /// A batch that was never sent.
    init(rows: UInt64) {
        self.rows = rows
        state = .ready
        attempt = 0
        sends = 0
    }

    /// A batch that an earlier run of the loader may have sent.
    init(resuming rows: UInt64, attempt: Int) {
        self.init(rows: rows)
        self.attempt = attempt
        sends = 1
        state = .asking
    }

    /// What to do now, at the start and after each wait.
    func action() -> Action {
        switch state {
        case .ready, .sending: .send(attempt: attempt)
        case .asking: .count
        case .comparing: .compare
        case .refused: .divide
        case .done(let loaded, let expired): .finish(loaded: loaded, expired: expired)
        case .stuck(let why): .stop(why)
        }
    }

    mutating func sendBegins() {
        precondition(state == .ready || state == .sending, "send in state \(state)")
        state = .sending
        sends += 1
        isRefused = false
    }

    /// Status 200, no exception, an empty body, a clean end.
    ///
    /// - Parameter isTokenCertain: whether a token cannot be spent without its rows: replicated tables write both in one transaction. A
    ///   replica that lags may even so count none of them, and a fresh token would double them.
    mutating func sendSucceeded(isTokenCertain: Bool = false) {
        precondition(state == .sending, "success in state \(state)")
        if sends == 1 || isTokenCertain {
            state = .done(loaded: rows, expired: 0)
        } else {
            repeatSucceeded = true
            state = .asking
        }
    }

    /// The server was not reached: this send did not happen.
    mutating func sendNeverLeft() {
        precondition(state == .sending, "no connection in state \(state)")
        sends -= 1
        state = sends == 0 ? .ready : .asking
    }

    /// Anything else, errors of ClickHouse included: an error is not "nothing happened".
    mutating func sendDoubtful() {
        precondition(state == .sending, "doubt in state \(state)")
        state = .asking
    }

    /// ClickHouse answered that it does not take these rows. An error all the same is not "nothing happened".
    mutating func sendRefused() {
        sendDoubtful()
        isRefused = true
    }

    /// The refused batch is to be sent once more as it is.
    mutating func sendsAgain() {
        precondition(state == .refused, "again in state \(state)")
        state = .sending
    }

    /// The answer to the question.
    ///
    /// - Parameters:
    ///   - present: rows of the range in ClickHouse.
    ///   - distinct: different sequences among them.
    ///   - isWhollyExpired: every row of the batch is older than the table's retention, so none can be there.
    mutating func counted(present: UInt64, distinct: UInt64, isWhollyExpired: Bool) {
        precondition(state == .asking, "count in state \(state)")
        if distinct != present || present > rows {
            state = .stuck("\(present) rows with \(distinct) different sequences are there, of \(rows): some are doubled")
        } else if present == rows {
            state = .done(loaded: rows, expired: 0)
        } else if present > 0 {
            state = .comparing
        } else if isWhollyExpired {
            state = .done(loaded: 0, expired: rows)
        } else if isRefused {
            state = .refused
        } else if repeatSucceeded {
            // The repeat was answered with success, and still nothing is there: a crash has spent the token.
            attempt += 1
            sends = 0
            repeatSucceeded = false
            state = .ready
        } else {
            state = .sending
        }
    }

    /// Which rows are missing, when some are there.
    ///
    /// - Parameters:
    ///   - missing: rows of the range that ClickHouse does not have.
    ///   - expired: how many of those are older than the table's retention.
    mutating func compared(missing: UInt64, expired: UInt64) {
        precondition(state == .comparing, "comparison in state \(state)")
        if missing == expired {
            state = .done(loaded: rows - missing, expired: expired)
        } else {
            state = .stuck("\(rows - missing) of \(rows) rows are there, and \(missing - expired) of the missing ones are not expired")
        }
    }
}
