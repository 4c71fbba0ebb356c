/// One thing that can be configured: in the file as `section.name`, in the environment as `COLDPATH_SECTION_NAME`, and
/// on some commands as a flag.
public struct Setting: Sendable {
    public enum Kind: Sendable {
        case text
        case path
        /// A whole number in the range.
        case count(ClosedRange<Int>)
        /// Nanoseconds in the range.
        case duration(ClosedRange<Int64>)
        /// Bytes in the range.
        case bytes(ClosedRange<Int64>)
        /// Texts, separated by commas outside of the file.
        case list
        case choice([String])
        /// Addresses of ClickHouse, ``ServerAddress``, separated by commas outside of the file.
        case servers
        /// What ``ProxySetting`` reads.
        case proxy
        /// Taken from the environment only, and never shown.
        case secret
        /// `auto`, or what ``SyncPolicy`` reads.
        case syncPolicy
        /// A share in percent, from 1 to 100.
        case percent
    }

    public let key: String
    public let kind: Kind
    /// As it would be written; nil if there is no value unless one is given.
    public let fallback: String?
    /// One line for people.
    public let meaning: String

    init(_ key: String, _ kind: Kind, _ fallback: String?, _ meaning: String) {
        self.key = key
        self.kind = kind
        self.fallback = fallback
        self.meaning = meaning
    }

    /// Whether a value may hold what nobody must see, so that complaints do not repeat it.
    var isDiscreet: Bool {
        switch kind {
        case .servers, .proxy, .secret: true
        default: false
        }
    }

    public var environmentName: String {
        "COLDPATH_" + key.uppercased().map { $0 == "." ? "_" : $0 }.map(String.init).joined()
    }

    /// What is wrong with a value; nil if nothing.
    func complaint(about text: String) -> String? {
        switch kind {
        case .text, .list, .secret: return nil
        case .servers:
            if let complaint = ServerAddress.secrecyComplaint(about: text) { return complaint }
            let addresses = text.split(separator: ",").map { String($0.filter { $0 != " " }) }
            if addresses.isEmpty { return "there is no address; expected \(ServerAddress.expected)" }
            return addresses.compactMap { ServerAddress.complaint(about: $0) }.first
        case .proxy: return ProxySetting.complaint(about: text)
        case .path: return text.isEmpty ? "a path, not an empty text" : nil
        case .syncPolicy:
            return text == "auto" || SyncPolicy(text) != nil ? nil : "\"auto\", \"each chunk\", \"every 250ms\" (1ms to 60s) or \"none\""
        case .percent:
            guard let value = Int(text), (1...100).contains(value) else { return "a whole number of percent, 1 to 100" }
            return nil
        case .choice(let choices): return choices.contains(text) ? nil : "one of \(choices.joined(separator: ", "))"
        case .count(let range):
            guard let value = Int(text), range.contains(value) else {
                return "a whole number from \(range.lowerBound) to \(range.upperBound)"
            }
            return nil
        case .duration(let range):
            guard let value = Quantity.duration(text), range.contains(value) else {
                return "a duration such as \(fallback ?? "200ms") (ns, us, ms, s, m, h, d)"
            }
            return nil
        case .bytes(let range):
            guard let value = Quantity.bytes(text), range.contains(value) else {
                return "a size such as \(fallback ?? "64MiB"), \(range.lowerBound) to \(range.upperBound) bytes"
            }
            return nil
        }
    }

    private static let second: Int64 = 1_000_000_000

    /// Every setting of both processes, in the order in which `check-config` prints them.
    public static let all: [Setting] = [
        Setting("spool", .path, "/var/lib/coldpath/spool", "directory of the spool"),
        Setting("schemas", .path, "/usr/share/coldpath/schemas", "directory of the table definitions, NNNN_name.sql"),
        Setting(
            "alert_command", .path, nil,
            "program to run for each RecorderFailure, with one JSON object on its standard input; the same one at most once a minute"),
        Setting("writer.id", .text, nil, "writer id of a new spool; by default the host's name with eight random hex digits"),
        Setting("writer.socket", .path, "/run/coldpath/writer.sock", "unix socket that takes JSON lines"),
        Setting("writer.connections", .count(1...10_000), "256", "most connections at once; further producers wait"),
        Setting(
            "writer.user_connections", .count(1...10_000), "10000",
            "most connections of one user at once; further ones are told so and closed"),
        Setting(
            "writer.socket_users", .list, "",
            "users, by name or number, that may connect to the socket beside the writer's own and root; empty: whom its permissions let in"),
        Setting(
            "writer.rings", .path, nil, "directory of the shared-memory rings, best below /run or /dev/shm; none is drained without it"),
        Setting("writer.ring_users", .list, "", "users, by name or number, whose rings are taken beside the writer's own and root's"),
        Setting(
            "writer.ring_poll", .duration(1_000_000...1_000_000_000), "10ms",
            "how often rings are looked at; small rings more often, so that a burst finds room"),
        Setting("writer.ring_idle_poll", .duration(1_000_000...1_000_000_000), "20ms", "the same once they have been silent for a second"),
        Setting("writer.checkpoints", .path, nil, "the loader's checkpoints, if they can be read here: producers then see what is loaded"),
        Setting("writer.wait", .choice(["sleep", "busy"]), "sleep", "busy never sleeps: a core for a millisecond less delay"),
        Setting("writer.processor", .count(0...1_023), nil, "processor that the writer is bound to"),
        Setting("writer.chunk_rows", .count(1...1_000_000), "10000", "rows after which a chunk is cut"),
        Setting("writer.chunk_age", .duration(1_000_000...60 * second), "250ms", "age of its first row at which a chunk is cut"),
        Setting("writer.chunk_bytes", .bytes(4_096...48 << 20), "8MiB", "uncompressed bytes after which a chunk is cut"),
        Setting(
            "writer.sync", .syncPolicy, "auto",
            "when chunks are synced: each chunk, every TIME, none (only when a segment ends); auto: each chunk for class audit, every 1s for market"
        ),
        Setting("writer.segment_bytes", .bytes(65_536...1 << 36), "64MiB", "size at which a new segment is begun"),
        Setting("writer.segment_age", .duration(second...86_400 * second), "10m", "age at which a new segment is begun"),
        Setting(
            "writer.record", .choice(["all", "changes"]), "all",
            "of a market table: all rows, or trades and changes of the best bid and ask only"),
        Setting(
            "writer.sample", .duration(0...3_600 * second), "0ms",
            "with record = changes: a row of a symbol that old is followed by the next one even if nothing changed; 0ms for never"),
        Setting(
            "writer.queue_audit", .bytes(1 << 20...1 << 32), "64MiB", "undurable bytes of audit tables at which their rows are refused"),
        Setting(
            "writer.queue_market", .bytes(1 << 20...1 << 32), "32MiB", "undurable bytes of market tables at which the oldest are dropped"),
        Setting("writer.disk_warn", .percent, "70", "use of the spool's file system, in percent, at which a warning is given"),
        Setting(
            "writer.disk_shed", .percent, "80",
            "the same, at which loaded segments, market segments and market rows are given up, in this order"),
        Setting("writer.disk_emergency", .percent, "90", "the same, at which an alert is given and no market row is taken"),
        Setting(
            "writer.reserve", .bytes(0...1 << 36), "64MiB", "bytes of the disk that are kept for audit tables, at most a twentieth of it"),
        Setting(
            "writer.keep", .duration(0...10 * 365 * 86_400 * second), "24h", "how long loaded segments are kept; needs writer.checkpoints"),
        Setting(
            "writer.metrics", .text, nil, "HOST:PORT at which the writer serves /metrics, /healthz, /readyz and /status; nowhere without it"
        ),
        Setting(
            "writer.class", .choice(["auto", "audit", "market"]), "auto",
            "audit rows are never given up; market rows are thinned and dropped under pressure. auto: market for market_data and metrics_timeseries"
        ),
        Setting("loader.checkpoints", .path, "/var/lib/coldpath/checkpoints", "directory of the checkpoints"),
        Setting(
            "loader.url", .servers, "http://127.0.0.1:8123",
            "ClickHouse's addresses (http://, https://, unix:///PATH), the preferred one first; several must be replicas, or ways to one server"
        ),
        Setting("loader.database", .text, "default", "database of the tables"),
        Setting("loader.user", .text, "default", "user at ClickHouse"),
        Setting(
            "loader.password_file", .path, nil, "file whose first line is the password; by default systemd's credential clickhouse-password"
        ),
        Setting("loader.password", .secret, nil, "the password, from the environment only"),
        Setting("loader.ca_file", .path, nil, "certificates (PEM) of the authorities that are trusted, instead of the system's"),
        Setting("loader.client_certificate", .path, nil, "certificate (PEM) that the loader shows to the server"),
        Setting("loader.client_key", .path, nil, "its private key (PEM, not encrypted); by default in the same file"),
        Setting("loader.tls_min_version", .choice(["1.2", "1.3"]), "1.2", "oldest version of TLS that is spoken"),
        Setting("loader.proxy", .proxy, "none", "none, environment (http_proxy and its like), or a proxy's address"),
        Setting(
            "loader.settle", .duration(100_000_000...3_600 * second), "5s",
            "how long a preferred server that failed must answer well before it is used again"),
        Setting(
            "loader.wire", .choice(["auto", "lz4", "plain"]), "auto",
            "how rows are sent: lz4 as they lie in the segment, plain uncompressed for ClickHouse before 22.2; auto asks for the version"),
        Setting("loader.batch_rows", .count(1...1_000_000), "500000", "most rows of one insert"),
        Setting("loader.batch_bytes", .bytes(65_536...256 << 20), "32MiB", "most bytes of one insert, as they lie in the segment"),
        Setting("loader.inflight", .count(1...8), "2", "most inserts of one table on their way at a time"),
        Setting(
            "loader.quarantine_rows", .count(0...1_000_000), "100",
            "most rows of a table that are quarantined because ClickHouse refuses them; then a person must act"),
        Setting("loader.linger", .duration(0...60 * second), "100ms", "how long an insert waits for more rows"),
        Setting("loader.poll", .duration(1_000_000...60 * second), "200ms", "how often to look where inotify cannot tell"),
        Setting(
            "loader.timeout", .duration(second...3_600 * second), "60s", "longest time in which no byte of a request or its answer moves"),
        Setting("loader.backoff", .duration(1_000_000...60 * second), "200ms", "first wait after a failure; doubles, with jitter"),
        Setting("loader.keep", .duration(0...3_650 * 86_400 * second), "24h", "how long prune keeps a segment after it was sealed"),
        Setting(
            "loader.retention", .text, "auto",
            "how long a table's rows are kept in ClickHouse, such as 30d, 18mo, 7y; auto: as the schema's TTL says. For [tables.NAME]"),
        Setting(
            "loader.metrics", .text, nil, "HOST:PORT at which the loader serves /metrics, /healthz, /readyz and /status; nowhere without it"
        ),
        Setting("loader.backoff_max", .duration(1_000_000...3_600 * second), "30s", "longest wait after failures"),
    ]

    /// What `[tables.NAME]` can override.
    public static let perTable: [Setting] = all.filter { perTableKeys.contains($0.key) }
    static let perTableKeys = [
        "writer.chunk_rows", "writer.chunk_age", "writer.chunk_bytes", "writer.class", "writer.sync", "writer.record", "writer.sample",
        "loader.retention",
    ]
}
