import Glibc
import SpoolFormat
import SpoolIO

/// What a migrator says of itself while it works: the comment of a table of its own, since ClickHouse has no locks. Who finds no other such table
/// after it has made its own works alone; of two that find each other, the later one withdraws.
struct MigratorSign: Equatable {
    static let tablePrefix = "coldpath_migrator_"
    /// A sign that was not renewed for so long is of a migrator that has died. Milliseconds of the server's clock.
    static let staleAfter: Int64 = 60_000
    /// Nanoseconds.
    static let renewAfter: Int64 = 10_000_000_000

    /// Random; part of the table's name.
    let token: String
    let host: String
    let process: Int32
    /// As ``ProcessPlace`` says it, so that a number that another process has by now is not taken for this one.
    let space: String
    /// Milliseconds since the Unix epoch, by the server's clock.
    let since: Int64
    var seen: Int64

    var tableName: String { Self.tablePrefix + token }
    var who: String { "process \(process) on \(host)" }

    /// This process.
    ///
    /// - Parameter now: the server's clock, milliseconds.
    static func this(token: String, now: Int64) -> MigratorSign {
        MigratorSign(
            token: token, host: CheckpointHolder.this(epoch: 0).host, process: getpid(), space: ProcessPlace.text(of: getpid()) ?? "?",
            since: now,
            seen: now)
    }

    var comment: String {
        "spool-loader migrate is at work\nhost \(host)\nprocess \(process)\nspace \(space)\nsince \(since)\nseen \(seen)"
    }

    init(token: String, host: String, process: Int32, space: String, since: Int64, seen: Int64) {
        (self.token, self.host, self.process, self.space, self.since, self.seen) = (token, host, process, space, since, seen)
    }

    /// - Returns: nil for a table that is no sign.
    init?(table: String, comment: String) {
        var fields: [Substring: Substring] = [:]
        for line in comment.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 1)
            if words.count == 2 { fields[words[0]] = words[1] }
        }
        guard table.hasPrefix(Self.tablePrefix), let host = fields["host"], let process = fields["process"].flatMap({ Int32($0) }),
            let space = fields["space"], let since = fields["since"].flatMap({ Int64($0) }),
            let seen = fields["seen"].flatMap({ Int64($0) })
        else { return nil }
        self.init(
            token: String(table.dropFirst(Self.tablePrefix.count)), host: String(host), process: process, space: String(space),
            since: since,
            seen: seen)
    }

    /// Whether its migrator has died: it was not renewed, or its process was one of this host and is gone.
    func isDead(now: Int64, placeOf: (Int32) -> String? = ProcessPlace.text(of:)) -> Bool {
        if now - seen > Self.staleAfter { return true }
        // The same boot and the same space of processes: the number means the same here.
        guard space != "?", let own = placeOf(getpid()), ProcessPlace.host(of: own) == ProcessPlace.host(of: space) else { return false }
        return placeOf(process) != space
    }
}

/// What to do, having made one's own sign and looked at all of them.
enum LockDecision: Equatable {
    /// No other works; signs of the dead are to be taken away.
    case holds(dead: [MigratorSign])
    /// The other came later and will see this one: it withdraws at once.
    case waits(for: MigratorSign)
    case withdraws(before: MigratorSign)
    /// Somebody took the own sign for a dead one's.
    case lost

    init(own: MigratorSign, found: [MigratorSign], now: Int64, isDead: (MigratorSign) -> Bool) {
        guard found.contains(where: { $0.token == own.token }) else {
            self = .lost
            return
        }
        let others = found.filter { $0.token != own.token }
        let living = others.filter { !isDead($0) }
        if let earlier = living.first(where: { ($0.since, $0.token) < (own.since, own.token) }) {
            self = .withdraws(before: earlier)
        } else if let later = living.first {
            self = .waits(for: later)
        } else {
            self = .holds(dead: others)
        }
    }
}
