import Logging
import SpoolFormat
import SpoolIO

/// The lock of one migrator, while it works.
final class MigratorLock {
    /// Between looks for one that came later and withdraws.
    private static let lookAgainAfter: Int64 = 200_000_000
    private static let mostLooks = 50

    private(set) var sign: MigratorSign
    private let server: StatementServer
    private let cluster: String?
    private let log: Logger
    /// The server's clock in milliseconds at that time of the monotonic clock here.
    private let clock: (server: Int64, here: Int64)
    private var renewed = Clock.monotonic()
    private var isRenewing = false

    /// Takes it.
    ///
    /// - Throws: `CommandFailure` that says who has it.
    init(server: StatementServer, cluster: String?, log: Logger) throws {
        self.server = server
        self.cluster = cluster
        self.log = log
        let answer = try server.ask("SELECT toUnixTimestamp64Milli(now64(3)) FORMAT TSV")
        guard let now = numbers(inLine: answer)?.first else {
            throw CommandFailure("ClickHouse at \(server.url) does not tell the time", code: 74)
        }
        clock = (Int64(clamping: now), Clock.monotonic())
        sign = .this(token: String(UInt64.random(in: .min ... .max), radix: 36), now: clock.server)
        try Self.create(sign, server, cluster)
        do {
            try takeAlone()
        } catch {
            release()
            throw error
        }
        server.meanwhile = { [weak self] in self?.renewInPassing() }
    }

    private static func create(_ sign: MigratorSign, _ server: StatementServer, _ cluster: String?) throws {
        _ = try server.send(
            "CREATE TABLE IF NOT EXISTS \(sign.tableName)\(MigrationLog.onCluster(cluster)) (nothing UInt8) ENGINE = Null COMMENT \(quotedString(sign.comment))",
            parameters: cluster == nil ? [:] : DistributedAnswer.settings)
    }

    private func takeAlone() throws {
        for look in 0...Self.mostLooks {
            switch try decision() {
            case .holds(let dead):
                for sign in dead {
                    log.warning("the migration of \(sign.who) ended in its middle; going on behind it")
                    drop(sign)
                }
                return
            case .waits(let other) where look == Self.mostLooks: throw Self.taken(by: other)
            case .waits: server.wait(Self.lookAgainAfter)
            case .withdraws(let other): throw Self.taken(by: other)
            case .lost: throw Self.lost
            }
        }
    }

    private static func taken(by other: MigratorSign) -> CommandFailure {
        CommandFailure(
            "another migrator is at work: \(other.who), since \(rfc3339(other.since * 1_000_000).prefix(19))Z; if it has died, its lock ends by itself after "
                + "\(MigratorSign.staleAfter / 1_000) s", code: 1)
    }

    private static let lost = CommandFailure(
        "another migrator took this one for dead, as it was silent for longer than \(MigratorSign.staleAfter / 1_000) s, and took over",
        code: 1)

    private func decision() throws -> LockDecision {
        let answer = try server.ask(
            "SELECT hex(name), hex(comment) FROM system.tables WHERE database = currentDatabase() AND startsWith(name, "
                + "\(quotedString(MigratorSign.tablePrefix))) FORMAT TSV")
        let found = String(decoding: answer, as: UTF8.self).split(separator: "\n").compactMap { line -> MigratorSign? in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 2, let name = textOfHex(String(fields[0])), let comment = textOfHex(String(fields[1])) else { return nil }
            return MigratorSign(table: name, comment: comment)
        }
        let now = now
        return LockDecision(own: sign, found: found, now: now) { $0.isDead(now: now) }
    }

    /// The server's clock, in milliseconds.
    private var now: Int64 { clock.server + (Clock.monotonic() - clock.here) / 1_000_000 }

    /// Renews the sign.
    ///
    /// - Throws: if it is gone: then another migrator works.
    func check() throws {
        sign.seen = now
        renewed = Clock.monotonic()
        do {
            _ = try server.send(renewal, parameters: renewalSettings)
        } catch let failure {
            guard case .lost = try decision() else { throw failure }
            throw Self.lost
        }
    }

    /// On every server of a cluster: a migrator that works through another one must see it too.
    private var renewal: String {
        "ALTER TABLE \(sign.tableName)\(MigrationLog.onCluster(cluster)) MODIFY COMMENT \(quotedString(sign.comment))"
    }
    private var renewalSettings: [String: String] { cluster == nil ? [:] : DistributedAnswer.settings }

    /// While a long statement runs.
    private func renewInPassing() {
        guard Clock.monotonic() - renewed > MigratorSign.renewAfter, !isRenewing else { return }
        sign.seen = now
        renewed = Clock.monotonic()
        isRenewing = true
        server.clickHouse.query(renewal, parameters: renewalSettings) { [self] _ in isRenewing = false }
    }

    func release() {
        server.meanwhile = {}
        drop(sign)
    }

    private func drop(_ sign: MigratorSign) {
        do {
            _ = try server.send(
                "DROP TABLE IF EXISTS \(sign.tableName)\(MigrationLog.onCluster(cluster))",
                parameters: cluster == nil ? [:] : DistributedAnswer.settings)
        } catch {
            log.warning("cannot take away the lock \(sign.tableName): \(error)")
        }
    }
}
