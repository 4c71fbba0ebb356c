@testable import spool_loader

/// A small model of a loader and a ClickHouse between which anything may fail, for one batch.
///
/// The server is modelled as measured: a token is noted before its part appears. Inserts exclude each other there, so only a
/// crash or a failed rename can come between: then the token is spent, the rows are not there, and repeats are answered
/// with 200 and dropped.
struct BatchWorld: Hashable {
    static let rows: UInt64 = 10

    // The loader.
    var machine = BatchMachine(rows: rows)
    /// Attempt number of the intent in the checkpoint; nil before the first send.
    var intent: Int?

    // The server.
    var tokens: Set<Int> = []
    var copies = 0
    /// Tokens of inserts that the loader has given up on and that still run.
    var running: [Int] = []

    var faultsLeft: Int
    /// What went wrong, if anything.
    var violation: String?

    init(faults: Int) { faultsLeft = faults }

    enum Event: Hashable {
        // No faults.
        case send, count
        case runningInsertEnds(Int)
        // Faults of a send.
        case unreachable, lostOnTheWay, answerLost, timesOut, refused, failsAfterToken
        case crashBeforeToken, crashAfterToken, crashAfterPart
        // Faults of their own.
        case countFails
        case serverRestarts
        case serverRestartsInTheHole(Int)
        case loaderRestarts
        case loaderDiesSending(delivered: Bool)
        case loaderDiesWhileInsertRuns

        var isFault: Bool {
            switch self {
            case .send, .count, .runningInsertEnds: false
            default: true
            }
        }
    }

    var isDone: Bool { if case .done = machine.state { true } else { false } }

    /// Everything that can happen now.
    var events: [Event] {
        var events: [Event] = Array(Set(running)).sorted().map { .runningInsertEnds($0) }
        switch machine.action() {
        case .send: events.append(.send)
        case .count: events.append(.count)
        case .compare, .divide, .finish, .stop: break
        }
        guard faultsLeft > 0 else { return events }
        events += [.serverRestarts] + Array(Set(running)).sorted().map { .serverRestartsInTheHole($0) }
        switch machine.action() {
        case .send:
            events += [
                .unreachable, .lostOnTheWay, .answerLost, .timesOut, .refused, .failsAfterToken, .crashBeforeToken,
                .crashAfterToken, .crashAfterPart, .loaderRestarts, .loaderDiesSending(delivered: false),
                .loaderDiesSending(delivered: true), .loaderDiesWhileInsertRuns,
            ]
        case .count: events += [.countFails, .loaderRestarts]
        // Before the checkpoint that passes the batch is synced.
        case .finish: events += [.loaderRestarts]
        case .compare, .divide, .stop: break
        }
        return events
    }

    mutating func apply(_ event: Event) {
        guard events.contains(event) else {
            violation = "\(event) cannot happen in state \(machine.state)"
            return
        }
        if event.isFault { faultsLeft -= 1 }
        switch event {
        case .send:
            attempt { world in
                world.execute()
            } then: {
                $0.sendSucceeded()
            }
        case .count: count()
        case .runningInsertEnds(let token): end(token)
        case .unreachable:
            attempt { _ in
            } then: {
                $0.sendNeverLeft()
            }
        case .lostOnTheWay, .refused:
            attempt { _ in
            } then: {
                $0.sendDoubtful()
            }
        case .answerLost:
            attempt {
                $0.execute()
            } then: {
                $0.sendDoubtful()
            }
        case .timesOut:
            attempt {
                $0.startRunning()
            } then: {
                $0.sendDoubtful()
            }
        case .failsAfterToken:
            attempt {
                $0.spendToken($0.machine.attempt)
            } then: {
                $0.sendDoubtful()
            }
        case .crashBeforeToken:
            attempt {
                $0.crash()
            } then: {
                $0.sendDoubtful()
            }
        case .crashAfterToken:
            attempt {
                $0.spendToken($0.machine.attempt)
                $0.crash()
            } then: {
                $0.sendDoubtful()
            }
        case .crashAfterPart:
            attempt {
                $0.execute()
                $0.crash()
            } then: {
                $0.sendDoubtful()
            }
        case .countFails: break
        case .serverRestarts: crash()
        case .serverRestartsInTheHole(let token):
            spendToken(token)
            crash()
        case .loaderRestarts: restartLoader()
        case .loaderDiesSending(let delivered):
            attempt {
                if delivered { $0.execute() }
            } then: { _ in
            }
            restartLoader()
        case .loaderDiesWhileInsertRuns:
            attempt {
                $0.startRunning()
            } then: { _ in
            }
            restartLoader()
        }
        check(event)
    }

    // MARK: The loader

    private mutating func attempt(_ serve: (inout BatchWorld) -> Void, then: (inout BatchMachine) -> Void) {
        guard case .send(let attempt) = machine.action() else { preconditionFailure("a send in state \(machine.state)") }
        // What the product must never do: two tokens that can both still bring rows.
        if let other = running.first(where: { $0 != attempt && !tokens.contains($0) }) {
            violation = "token \(attempt) is used while an insert under token \(other) may still commit"
        }
        intent = attempt
        machine.sendBegins()
        serve(&self)
        then(&machine)
    }

    private mutating func count() {
        let present = UInt64(copies) * Self.rows
        machine.counted(present: present, distinct: copies > 0 ? Self.rows : 0, isWhollyExpired: false)
    }

    private mutating func restartLoader() {
        machine = intent.map { BatchMachine(resuming: Self.rows, attempt: $0) } ?? BatchMachine(rows: Self.rows)
    }

    // MARK: The server

    private mutating func execute() {
        let token = machine.attempt
        if tokens.insert(token).inserted { copies += 1 }
    }

    private mutating func startRunning() { running = (running + [machine.attempt]).sorted() }

    private mutating func end(_ token: Int) {
        running.remove(at: running.firstIndex(of: token)!)
        if tokens.insert(token).inserted { copies += 1 }
    }

    private mutating func spendToken(_ token: Int) { tokens.insert(token) }
    private mutating func crash() { running = [] }

    // MARK: What must hold

    private mutating func check(_ event: Event) {
        if copies > 1 { violation = "\(copies) copies are there" }
        switch machine.state {
        case .done(let loaded, _) where loaded != Self.rows || copies != 1:
            violation = "done with \(loaded) rows, and \(copies) copies are there"
        case .stuck(let why): violation = "stuck: \(why)"
        default: break
        }
        if let violation { self.violation = "after \(event): \(violation)" }
    }

    // Hashable by hand: `BatchMachine` itself need not be.
    func hash(into hasher: inout Hasher) {
        hasher.combine(machine.attempt)
        hasher.combine(machine.sends)
        hasher.combine(machine.repeatSucceeded)
        hasher.combine(intent)
        hasher.combine(tokens)
        hasher.combine(copies)
        hasher.combine(running)
        hasher.combine(faultsLeft)
    }
}
