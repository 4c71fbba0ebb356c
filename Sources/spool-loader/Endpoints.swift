/// Which of several servers requests go to, why, and since when. Pure: it is told what happened and when, and says what to do.
///
/// Requests go to one server at a time, the first of the list as long as it answers. When a request to it fails for a reason that another
/// server may not have, the next one in the list takes over. Servers that come earlier in the list than the one in use are then asked
/// (`/ping`); one that has answered well for the settle time is used again. If it fails soon after that, it must answer twice as long the next
/// time. With one server, and while the first one is in use, nothing is asked.
struct Endpoints {
    /// Something that an operator wants to read about, once.
    enum Notice: Equatable, CustomStringConvertible {
        case moved(from: String, to: String, why: String)
        /// Every server has failed since the last request that went well; they are tried in turn.
        case noneAnswers(why: String)
        case answersAgain(String)

        var description: String {
            switch self {
            case .moved(let from, let to, let why): "ClickHouse: from \(from) to \(to): \(why)"
            case .noneAnswers(let why): "ClickHouse: no server is usable, each is tried in turn; the last one: \(why)"
            case .answersAgain(let name): "ClickHouse: \(name) answers again"
            }
        }
    }

    /// What is known of one server.
    private struct Server {
        let name: String
        var failedAt: Int64?
        var hasFailedSinceSuccess = false
        /// Good answers to `/ping` in a row, and when the first of them came.
        var goodPings = 0
        var goodSince: Int64 = 0
        var nextPing: Int64 = 0
        var pingWait = Endpoints.firstPingWait
        var isPinged = false
        /// How long it must answer before it is used again.
        var hold: Int64
        /// When it was last gone back to.
        var returnedAt: Int64?
    }

    static let pingsToSettle = 3
    static let firstPingWait: Int64 = 1_000_000_000
    static let maxPingWait: Int64 = 10_000_000_000
    /// A failure so soon after the return to a server doubles its hold.
    static let flapWindow: Int64 = 60_000_000_000
    static let maxHold: Int64 = 600_000_000_000
    /// For so long a server that failed is passed over.
    static let grudge: Int64 = 60_000_000_000

    /// Index of the server in use.
    private(set) var current = 0
    /// Since when it is in use, and why.
    private(set) var since: Int64
    private(set) var why = "the first of the list"
    private var servers: [Server]
    private let settle: Int64
    private var hasSaidNoneAnswers = false

    /// - Parameters:
    ///   - names: at least one; the preferred one first.
    ///   - settle: nanoseconds for which a server that failed must answer before it is used again.
    init(names: [String], settle: Int64, now: Int64) {
        precondition(!names.isEmpty, "no server")
        servers = names.map { Server(name: $0, hold: settle) }
        self.settle = settle
        since = now
    }

    var name: String { servers[current].name }
    func name(of index: Int) -> String { servers[index].name }

    /// A request to the server failed for a reason that another one may not have.
    mutating func failed(_ index: Int, why: String, at now: Int64) -> Notice? {
        guard servers.count > 1 else { return nil }
        note(failureOf: index, at: now)
        // Requests that were on their way when another server took over say nothing about that one.
        guard index == current else { return nil }
        let areAllDown = servers.allSatisfy(\.hasFailedSinceSuccess)
        let from = name
        use(successor(areAllDown, at: now), because: "\(from) failed: \(why)", at: now)
        if areAllDown {
            defer { hasSaidNoneAnswers = true }
            return hasSaidNoneAnswers ? nil : .noneAnswers(why: "\(from): \(why)")
        }
        return .moved(from: from, to: name, why: why)
    }

    /// A request to the server went well.
    mutating func succeeded(_ index: Int, at now: Int64) -> Notice? {
        guard servers.count > 1 else { return nil }
        servers[index].failedAt = nil
        for other in servers.indices { servers[other].hasFailedSinceSuccess = false }
        defer { hasSaidNoneAnswers = false }
        return hasSaidNoneAnswers ? .answersAgain(servers[index].name) : nil
    }

    /// The servers to ask now; the answers go to ``pinged(_:isGood:at:)``.
    mutating func pingsDue(at now: Int64) -> [Int] {
        let due = (0..<current).filter { !servers[$0].isPinged && now >= servers[$0].nextPing }
        for index in due { servers[index].isPinged = true }
        return due
    }

    mutating func pinged(_ index: Int, isGood: Bool, at now: Int64) {
        servers[index].isPinged = false
        if isGood {
            if servers[index].goodPings == 0 { servers[index].goodSince = now }
            servers[index].goodPings += 1
            servers[index].pingWait = min(Self.firstPingWait, settle / Int64(Self.pingsToSettle))
        } else {
            servers[index].goodPings = 0
            servers[index].pingWait = min(servers[index].pingWait * 2, Self.maxPingWait)
        }
        servers[index].nextPing = now + servers[index].pingWait
    }

    /// Goes back to an earlier server that has answered for long enough.
    mutating func settled(at now: Int64) -> Notice? {
        guard let index = (0..<current).first(where: { isSettled($0, at: now) }) else { return nil }
        let from = name
        let seconds = Double((now - servers[index].goodSince) / 100_000_000) / 10
        let why = "it has answered /ping for \(seconds) s, and comes first"
        servers[index].returnedAt = now
        servers[index].failedAt = nil
        use(index, because: why, at: now)
        return .moved(from: from, to: name, why: why)
    }

    /// When ``pingsDue(at:)`` and ``settled(at:)`` have to be asked again; nil if never, as things stand.
    var nextLook: Int64? { (0..<current).filter { !servers[$0].isPinged }.map { servers[$0].nextPing }.min() }

    private func isSettled(_ index: Int, at now: Int64) -> Bool {
        servers[index].goodPings >= Self.pingsToSettle && now - servers[index].goodSince >= servers[index].hold
    }

    private mutating func note(failureOf index: Int, at now: Int64) {
        servers[index].failedAt = now
        servers[index].hasFailedSinceSuccess = true
        servers[index].goodPings = 0
        if let returned = servers[index].returnedAt {
            let isSoon = now - returned < max(Self.flapWindow, servers[index].hold)
            servers[index].hold = isSoon ? max(settle, min(servers[index].hold * 2, Self.maxHold)) : settle
            servers[index].returnedAt = nil
        }
    }

    /// The server to try after the one in use.
    private func successor(_ areAllDown: Bool, at now: Int64) -> Int {
        let next = (current + 1) % servers.count
        if areAllDown { return next }
        let others = servers.indices.filter { $0 != current }
        return others.first { isUnblamed($0, at: now) } ?? others.first { servers[$0].goodPings > 0 } ?? next
    }

    private func isUnblamed(_ index: Int, at now: Int64) -> Bool {
        servers[index].failedAt.map { now - $0 >= Self.grudge } ?? true
    }

    private mutating func use(_ index: Int, because why: String, at now: Int64) {
        current = index
        since = now
        self.why = why
        // Later ones are not asked any more: what they last said grows old.
        for later in index..<servers.count { servers[later].goodPings = 0 }
        for earlier in 0..<index where servers[earlier].goodPings == 0 && !servers[earlier].isPinged {
            servers[earlier].pingWait = min(Self.firstPingWait, settle)
            servers[earlier].nextPing = now + servers[earlier].pingWait
        }
    }
}
