import CSpoolRing
import CSystem
import Glibc
import Logging
import SpoolConfig
import SpoolFormat
import SpoolIO
import SpoolRing

/// The rings of a directory: finds them, drains them, tells their producers how far they are durable, removes those of the dead.
final class RingSet {
    /// Rings that are drained at once; further ones wait in the directory.
    static let maxRings = 1_024
    /// Most bytes that are taken from a ring before the others have their turn, and the disk.
    private static let turnBytes = 8 << 20
    /// The same of a ring with market rows alone: a flood of them must not keep audit rows waiting for long.
    private static let marketTurnBytes = 1 << 20
    static let suffix = ".ring"
    private static let asideSuffix = ".bad"
    /// Files of one name that are kept aside.
    private static let maxAside = 100
    /// How often the directory is looked through, and dead producers are looked for, whatever the watch says.
    private static let scanEvery: Int64 = 1_000_000_000
    /// What a thread can publish at full speed for some milliseconds: a million rows a second of 150 bytes.
    private static let burstBytesPerSecond: Int64 = 150_000_000
    /// A directory that has had nothing for this long is looked at less often.
    private static let quietAfter: Int64 = 1_000_000_000
    /// The first wait after a turn that took much: a thread at full speed fills a small ring within a fraction of a millisecond.
    private static let eagerWait: Int64 = 50_000

    private let directory: String
    private let recorder: Recorder
    private let log: Logger
    private let owners: Set<UInt32>
    private let lock: File
    private let memory = DrainMemory()
    private let loaded: LoadedPositions?
    private let poll: Int64
    private let idlePoll: Int64

    private var rings: [AttachedRing] = []
    /// Files that are no rings and could not be renamed: by name and inode.
    private var ignored: [String: UInt64] = [:]
    /// Rings that cannot be taken at present, and of which that was said.
    private var waiting: Set<String> = []
    /// Half of the files that this process may have open: the rest is for segments and connections.
    private let most: Int
    private var scanAt: Int64 = 0
    private var lastRow: Int64 = 0
    private var hasMore = false
    /// The longest wait, from ``eagerWait`` on twice as long with each turn that takes little, until the usual one is shorter.
    private var longestWait: Int64 = .max
    private var toldFull = false
    /// Readable when the directory changes; -1 if it cannot be watched.
    let watch: Int32

    /// - Returns: nil if no directory is configured.
    static func open(_ configuration: Configuration, recorder: Recorder, log: Logger) throws -> RingSet? {
        guard let directory = configuration.text("writer.rings") else { return nil }
        return try RingSet(directory: directory, configuration, recorder, log)
    }

    private init(directory: String, _ configuration: Configuration, _ recorder: Recorder, _ log: Logger) throws {
        self.directory = directory
        self.recorder = recorder
        self.log = log
        poll = configuration.duration("writer.ring_poll")
        idlePoll = max(poll, configuration.duration("writer.ring_idle_poll"))
        most = min(Self.maxRings, max(1, openFilesLimit() / 2))
        owners = try AllowedUsers.parse(configuration.list("writer.ring_users"), setting: "writer.ring_users")
        loaded = configuration.text("writer.checkpoints").map { LoadedPositions(checkpoints: $0, recorder: recorder) }
        if !Directory.exists(directory) { try Self.makeDirectory(directory) }
        lock = try File.openForWriting("\(directory)/.writer.lock")
        guard try lock.lock() else {
            throw ConfigFailure(description: "\(directory)/.writer.lock: another writer drains these rings; one at a time can")
        }
        watch = cp_watch_open()
        if watch >= 0 { _ = cp_watch_add(watch, directory) }
        scan(monotonic: Clock.monotonic())
    }

    private static func makeDirectory(_ path: String) throws(IOFailure) {
        try Directory.create(path)
        // Producers of the same group make their rings here, and what they make belongs to the group.
        chmod(path, 0o2770)
    }

    deinit { if watch >= 0 { close(watch) } }

    var count: Int { rings.count }

    // MARK: Waiting

    /// How long the loop may sleep before it looks at the rings again, in nanoseconds.
    func wait(monotonic: Int64) -> Int64 {
        if rings.isEmpty { return max(0, scanAt - monotonic) }
        if hasMore { return 0 }
        // A thread that suddenly publishes as fast as it can must not find its ring full because we slept.
        let smallest = rings.reduce(Int.max) { min($0, $1.file.header.dataBytes) }
        let halfFull = Int64(smallest / 2) * 1_000_000_000 / Self.burstBytesPerSecond
        return min(monotonic - lastRow < Self.quietAfter ? poll : idlePoll, halfFull, longestWait)
    }

    /// The watch became readable.
    func directoryChanged() {
        withUnsafeTemporaryAllocation(byteCount: 4_096, alignment: 8) { bytes in
            while read(watch, bytes.baseAddress, bytes.count) > 0 {}
        }
        scanAt = 0
    }

    // MARK: Draining

    /// Takes what the rings have, each at most once around.
    ///
    /// - Returns: bytes taken.
    func drain(monotonic: Int64) -> Int {
        if monotonic >= scanAt { scan(monotonic: monotonic) }
        var taken = 0
        hasMore = false
        let now = Clock.now()
        var usage: (audit: Double, market: Double) = (0, 0)
        for ring in rings {
            // Its rows wait where they are, and its producer sees that it is full.
            if ring.hasAuditTables, recorder.commits.isAuditFull {
                usage.audit = max(usage.audit, 1)
                continue
            }
            var own = 0
            do throws(RingDefect) {
                let waiting = try ring.waitingShare()
                if ring.hasAuditTables { usage.audit = max(usage.audit, waiting) } else { usage.market = max(usage.market, waiting) }
                while own < min(ring.file.header.dataBytes, ring.hasAuditTables ? Self.turnBytes : Self.marketTurnBytes) {
                    let bytes = try ring.drain(through: memory, now: now, monotonic: monotonic)
                    if bytes == 0 { break }
                    own += bytes
                    // The producer's free room is what is durable: a ring that is half full of rows that are not must not wait.
                    if ring.undurableBytes > ring.file.header.dataBytes / 2 {
                        recorder.commit(ring.source)
                        try ring.publishDurable()
                        if ring.hasAuditTables, recorder.commits.isAuditFull { break }
                    }
                }
            } catch {
                setAside(ring, error)
            }
            taken += own
            if own > min(ring.file.header.dataBytes / 4, Self.marketTurnBytes / 2) { hasMore = true }
        }
        recorder.guardian?.auditRingUsage = usage.audit
        recorder.guardian?.marketRingUsage = usage.market
        longestWait = hasMore ? Self.eagerWait : min(longestWait, Self.quietAfter) * 2
        rings.removeAll(where: \.isAbandoned)
        if taken > 0 { lastRow = monotonic }
        return taken
    }

    /// Tells every producer how far its rows are durable, and loaded.
    func publish() {
        for ring in rings {
            do throws(RingDefect) {
                try ring.publishDurable()
            } catch {
                setAside(ring, error)
            }
        }
        rings.removeAll(where: \.isAbandoned)
    }

    // MARK: Coming and going

    private func scan(monotonic: Int64) {
        scanAt = monotonic + Self.scanEvery
        removeDead()
        noticeLost()
        report(monotonic: monotonic, isLast: false)
        publishLoaded()
        let names: [String]
        do {
            names = try Directory.list(directory).filter { $0.hasSuffix(Self.suffix) }
        } catch {
            log.error("cannot look for rings: \(error)")
            // Removed under our feet: producers find it again, and each ring has a lock of its own.
            if !Directory.exists(directory) { try? Self.makeDirectory(directory) }
            return
        }
        let known = Set(rings.map(\.file.path))
        let present = Set(names)
        ignored = ignored.filter { present.contains($0.key) }
        waiting.formIntersection(present)
        for name in names where !known.contains("\(directory)/\(name)") {
            if rings.count >= most {
                if !toldFull { log.error("\(most) rings are drained, the most there can be: further ones wait in \(directory)") }
                toldFull = true
                return
            }
            attach(name)
        }
        toldFull = false
        RingLeftovers.remove(in: directory, log: log)
    }

    private func attach(_ name: String) {
        let path = "\(directory)/\(name)"
        if let inode = ignored[name], inode == Self.inode(of: path) { return }
        do throws(RingDefect) {
            let file = try RingFile(path, owners: owners)
            guard name == file.header.fileName else {
                throw RingDefect.notARing("it is a copy, or was renamed: it was made as \(file.header.fileName)")
            }
            try file.claim()
            let ring = try AttachedRing(file, recorder: recorder, log: log)
            waiting.remove(name)
            loaded?.begin(ring)
            rings.append(ring)
            lastRow = Clock.monotonic()
            log.notice(
                "ring attached: \(file.header.dataBytes >> 10) KiB, tables \(file.tables.map(\.name).joined(separator: ", "))",
                metadata: ["ring": "\(path)", "position": "\(ring.source.position)"])
        } catch .unfit(let why) {
            ignored[name] = Self.inode(of: path) ?? 0
            log.error(
                "ring held: \(why). No row is taken from it and none is lost: start the writer with schemas that fit, or end its producer",
                metadata: ["ring": "\(path)"])
        } catch .unavailable(let why) {
            guard waiting.insert(name).inserted else { return }
            log.error("ring waits: \(why); it is tried again every second", metadata: ["ring": "\(printable(path))"])
        } catch {
            putAside(path, error)
        }
    }

    /// Tells people what of the rings is not recorded. Call with `isLast` when nobody will after this.
    func report(monotonic: Int64, isLast: Bool) {
        for ring in rings {
            do throws(RingDefect) {
                try ring.report(monotonic: monotonic, isLast: isLast)
            } catch {
                setAside(ring, error)
            }
        }
        rings.removeAll(where: \.isAbandoned)
    }

    /// Rings whose names lead to them no more. Their rows are taken as long as both sides have them mapped.
    private func noticeLost() {
        for ring in rings where !ring.isLost && !ring.file.isStillThere() {
            ring.isLost = true
            log.error(
                """
                ring removed, renamed or replaced while it is in use: its file is gone, and rows in it that are not durable are lost if \
                this writer ends. Let its producer open another one
                """,
                metadata: ["ring": "\(ring.file.path)"])
        }
    }

    /// Rings whose producers are gone and whose rows are all durable.
    private func removeDead() {
        for ring in rings {
            do throws(RingDefect) {
                guard ring.file.isAbandoned(), try ring.isDrained() else { continue }
                try ring.publishDurable()
                try ring.report(monotonic: Clock.monotonic(), isLast: true)
            } catch {
                setAside(ring, error)
                continue
            }
            let isThere = ring.file.isStillThere()
            if isThere {
                do {
                    try Directory.remove(ring.file.path)
                } catch {
                    if !ring.isStuck { log.error("cannot remove the ring of a producer that is gone: \(error)") }
                    ring.isStuck = true
                    continue
                }
            }
            // After the file is gone: until then the ring might come back, and its rows with it.
            recorder.forget(ring.source)
            ring.isAbandoned = true
            log.notice(
                "ring drained\(isThere ? " and removed" : ""): its producer is gone",
                metadata: ["ring": "\(ring.file.path)", "position": "\(ring.source.position)"])
        }
        rings.removeAll(where: \.isAbandoned)
    }

    /// A ring that was in use turned out to be corrupt: what was taken from it stays, nothing more is taken.
    private func setAside(_ ring: AttachedRing, _ defect: RingDefect) {
        recorder.commit(ring.source)
        try? ring.publishDurable()
        try? ring.file.setState(SPOOL_RING_SET_ASIDE)
        ring.isAbandoned = true
        if ring.file.isStillThere() {
            putAside(ring.file.path, defect)
        } else {
            // Another file may have the name by now: that one has done nothing.
            log.critical(
                "ring set aside: \(defect); its file is gone. No more rows are taken from it", metadata: ["ring": "\(ring.file.path)"])
        }
    }

    private func putAside(_ path: String, _ defect: RingDefect) {
        var aside = path + Self.asideSuffix
        // What was set aside under this name before is kept too: nobody may have looked at it yet.
        for number in 2...Self.maxAside where Self.inode(of: aside) != nil { aside = "\(path)\(Self.asideSuffix).\(number)" }
        let moved = Self.inode(of: aside) == nil && rename(path, aside) == 0
        if !moved { ignored[String(path.dropFirst(directory.utf8.count + 1))] = Self.inode(of: path) ?? 0 }
        log.critical(
            "ring set aside: \(defect); \(moved ? "kept as \(printable(aside))" : "it could not be renamed, and is left alone"). No more rows are taken from it",
            metadata: ["ring": "\(printable(path))"])
    }

    private func publishLoaded() {
        guard let loaded else { return }
        loaded.look(at: rings)
        for ring in rings {
            do throws(RingDefect) {
                try loaded.publish(ring)
            } catch {
                setAside(ring, error)
            }
        }
        rings.removeAll(where: \.isAbandoned)
    }

    private static func inode(of path: String) -> UInt64? {
        var status = stat()
        return lstat(path, &status) == 0 ? UInt64(status.st_ino) : nil
    }
}
