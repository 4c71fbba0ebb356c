import Foundation
import SpoolFormat
import SpoolIO
import Synchronization

@testable import spool_loader

/// As much of ClickHouse as the loader asks for: one table, tokens, counts; what goes wrong the test says.
final class FakeClickHouse: Sendable {
    struct Table: Sendable {
        /// How often each sequence is there.
        var copies: [UInt64: Int] = [:]
        /// Event times of rows, as far as they are known.
        var times: [UInt64: Int64] = [:]
        var tokens: Set<String> = []
        var inserts: [Insert] = []
        var engine = "MergeTree PARTITION BY toDate(ts) ORDER BY ts SETTINGS non_replicated_deduplication_window = 1000"
        var isThere = true
        /// Event times at or before this do not stay.
        var expiry = Int64.min
        /// Rows that violate a constraint.
        var refused: Set<UInt64> = []
        /// Partitions that one insert may touch, of `rowsOfPartition` rows each; 0 for any number.
        var maxPartitions: UInt64 = 0
        /// As 18.16: no LZ4, no tokens, types of its own.
        var isOld = false
        /// The table's columns, if they are not those of the test's schema.
        var columns: [WireColumn]?
        /// What the server answers about its migrations; nil if it knows of none.
        var history: String?
        /// How often it was asked for them.
        var historyAsked = 0
        /// How often it was asked for the table.
        var tableAsked = 0
        /// Of an old server: inserts whose connection is gone and that have not ended.
        var late: [Late] = []
        /// Rows of inserts that are still running, and when they arrive: nanoseconds of the monotonic clock.
        var parts: [(at: Int64, sequences: Range<UInt64>)] = []

        mutating func arrive() {
            let now = Clock.monotonic()
            for (_, sequences) in parts.filter({ $0.at <= now }) { for sequence in sequences { copies[sequence, default: 0] += 1 } }
            parts.removeAll { $0.at <= now }
        }
    }

    /// An insert that goes on when its connection is gone.
    struct Late: Sendable {
        let queryID: String
        let sequences: [UInt64]
        /// So many questions it does not show yet, and then so many it does; at the next it has ended.
        var hidden: Int
        var shown: Int
    }

    struct Insert: Sendable {
        let token: String
        /// As the statement lists them.
        var columns = ""
        let sequences: Range<UInt64>
        let partitions: Set<Int32>
        let bytes: [UInt8]
    }

    /// What happens to an insert.
    enum Fate: Sendable, Equatable {
        case loads
        /// The rows arrive, the answer does not.
        case answerLost
        /// The token is noted, the rows never arrive, the connection breaks.
        case tokenOnly
        /// Nothing arrives.
        case broken
        case exception(Int)
        /// Half of the rows arrive: no ClickHouse does that to one block.
        case half
        /// Half of the rows arrive, the connection breaks, and the other half arrives later: an insert of several partitions that goes on.
        case inTwoParts(after: Int64)
        case twice
        /// An old server goes on with it when the connection is gone: see `Late`.
        case late(hidden: Int, shown: Int)
    }

    private let table = Mutex(Table())
    private let fates: Mutex<[Fate]>
    private let watch: @Sendable (Insert) -> Void
    private let box = Mutex<RawServer?>(nil)

    /// - Parameters:
    ///   - fates: of the first inserts; later ones load.
    ///   - watch: called for each insert when its bytes are there, before anything comes of it.
    init(_ fates: [Fate] = [], watch: @escaping @Sendable (Insert) -> Void = { _ in }) {
        self.fates = Mutex(fates)
        self.watch = watch
        let server = RawServer { [weak self] in self?.answer($0) ?? .close }
        box.withLock { $0 = server }
    }

    deinit { box.withLock { $0?.stop() } }

    var url: String { box.withLock { $0?.url ?? "" } }
    func stop() { box.withLock { $0?.stop() } }
    var requests: Int { box.withLock { $0?.requests.count ?? 0 } }
    /// What happens to the next inserts.
    func meets(_ next: [Fate]) { fates.withLock { $0 = next } }
    func change(_ work: (inout Table) -> Void) { table.withLock { work(&$0) } }
    var inserts: [Insert] { table.withLock { $0.inserts } }
    var copies: [UInt64: Int] { table.withLock { $0.copies } }
    /// Whether each sequence of the range is there exactly once, and nothing else.
    func holdsOnce(_ range: Range<UInt64>) -> Bool { copies == Dictionary(uniqueKeysWithValues: range.map { ($0, 1) }) }

    // MARK: Requests

    private func answer(_ request: RawServer.Request) -> RawServer.Reply {
        if let query = request.parameters["query"], query.hasPrefix("INSERT INTO ") { return insert(request) }
        let sql = String(decoding: request.body, as: UTF8.self)
        if sql.hasPrefix("SELECT kind") { return .ok(describe()) }
        if sql == AppliedSchemas.query() {
            return table.withLock { table in
                table.historyAsked += 1
                return table.history.map { .ok($0) } ?? .exception(60, status: 404, "no table coldpath_migrations")
            }
        }
        if sql.hasPrefix("SELECT count() FROM system.processes WHERE ") { return .ok("\(running(sql))\n") }
        let range = (number(after: "spool_seq >= ", in: sql) ?? 0)..<(number(after: "spool_seq < ", in: sql) ?? .max)
        let (earliest, latest) = (time(after: ">= fromUnixTimestamp64Nano(", in: sql), time(after: "<= fromUnixTimestamp64Nano(", in: sql))
        let found = table.withLock { table in
            table.arrive()
            return table.copies.filter { sequence, copies in
                guard range.contains(sequence), copies > 0 else { return false }
                guard let time = table.times[sequence] else { return true }
                return time >= earliest ?? .min && time <= latest ?? .max
            }
        }
        if sql.hasPrefix("SELECT count(), uniqExact(spool_seq), min") {
            let keys = found.keys.sorted()
            return .ok("\(found.values.reduce(0, +))\t\(found.count)\t\(keys.first ?? 0)\t\(keys.last ?? 0)\n")
        }
        if sql.hasPrefix("SELECT count(), uniqExact") { return .ok("\(found.values.reduce(0, +))\t\(found.count)\n") }
        if sql.hasPrefix("SELECT intDiv") { return .ok(buckets(found, of: number(after: "intDiv(spool_seq, ", in: sql) ?? 0)) }
        if sql.hasSuffix("FORMAT RowBinary") {
            let most = number(after: "LIMIT ", in: sql).map(Int.init) ?? .max
            let all = found.sorted { $0.key < $1.key }.flatMap { Array(repeating: $0.key, count: min($0.value, most)) }
            return .answer(200, body: all.flatMap(bytes))
        }
        return .exception(62, status: 400, "Syntax error: \(sql)")
    }

    private func describe() -> String {
        table.withLock { $0.tableAsked += 1 }
        let (isThere, engine, history) = table.withLock { ($0.isThere, $0.engine, $0.history) }
        guard isThere else { return "" }
        let isOld = table.withLock { $0.isOld }
        return "version\t\t\(isOld ? "18.16.1" : "26.9.1.1")\n" + (history == nil ? "" : "history\t\tcoldpath_migrations\n")
            + "engine\t\t\(engine)\n" + columns.map { "column\t\($0.name)\t\($0.type)\n" }.joined()
    }

    private var columns: [WireColumn] { table.withLock { $0.columns ?? ($0.isOld ? Self.oldColumns : TestSpool.schema().wireColumns) } }

    /// The columns of the test's table as an old server can have them.
    private static let oldColumns = TestSpool.schema().wireColumns.map { column in
        let types = ["DateTime64(9, 'UTC')": "Int64", "LowCardinality(String)": "String"]
        return WireColumn(name: column.name, type: types[column.type] ?? column.type)
    }

    /// How many inserts show that the question is about. Time goes on with each question.
    private func running(_ sql: String) -> Int {
        table.withLock { table in
            var running = 0
            for index in table.late.indices {
                if table.late[index].hidden > 0 {
                    table.late[index].hidden -= 1
                } else if table.late[index].shown > 0 {
                    table.late[index].shown -= 1
                    if isMeant(table.late[index].queryID, sql) { running += 1 }
                } else {
                    for sequence in table.late[index].sequences { table.copies[sequence, default: 0] += 1 }
                    table.late[index].hidden = .max
                }
            }
            table.late.removeAll { $0.hidden == .max }
            return running
        }
    }

    private func isMeant(_ queryID: String, _ sql: String) -> Bool {
        if sql.contains("query_id = '\(queryID)'") { return true }
        guard let start = sql.range(of: "startsWith(query_id, '") else { return false }
        return queryID.hasPrefix(String(sql[start.upperBound...].prefix { $0 != "'" }))
    }

    private func bytes(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

    private func buckets(_ found: [UInt64: Int], of size: UInt64) -> String {
        Dictionary(grouping: found) { $0.key / size }.sorted { $0.key < $1.key }.map { bucket, rows in
            let keys = rows.map(\.key)
            return "\(bucket)\t\(rows.reduce(0) { $0 + $1.value })\t\(keys.count)\t\(keys.min() ?? 0)\t\(keys.max() ?? 0)\n"
        }.joined()
    }

    private func insert(_ request: RawServer.Request) -> RawServer.Reply {
        let quoted = (request.parameters["query"] ?? "").split(separator: "`").enumerated().filter { $0.offset % 2 == 1 }
        let names = quoted.dropFirst().map { String($0.element) }
        if let unknown = names.first(where: { name in !columns.contains { $0.name == name } }) {
            return .exception(16, "No such column \(unknown) in table (NO_SUCH_COLUMN_IN_TABLE)")
        }
        guard let (found, times) = read(request, names) else { return .exception(27, status: 400, "Cannot parse the body") }
        var insert = found
        insert.columns = names.joined(separator: " ")
        watch(insert)
        let fate = fates.withLock { $0.isEmpty ? .loads : $0.removeFirst() }
        table.withLock { $0.inserts.append(insert) }
        if table.withLock({ table in times.keys.contains { table.refused.contains($0) } }) {
            return .exception(469, "Constraint `c` for table t is violated (VIOLATED_CONSTRAINT)")
        }
        let most = table.withLock { $0.maxPartitions }
        if most > 0, UInt64(insert.sequences.count) > most {
            return .exception(252, "Too many partitions for single INSERT block (more than \(most)) (TOO_MANY_PARTS)")
        }
        switch fate {
        case .broken: return .close
        case .exception(let code): return .exception(code, "as the test wants it")
        case .tokenOnly:
            table.withLock { _ = $0.tokens.insert(insert.token) }
            return .close
        case .late(let hidden, let shown):
            table.withLock {
                $0.late.append(Late(queryID: insert.token, sequences: times.keys.sorted(), hidden: hidden, shown: shown))
            }
            return .close
        case .loads, .answerLost, .half, .twice, .inTwoParts:
            table.withLock { table in
                guard table.isOld || table.tokens.insert(insert.token).inserted else { return }
                let half = (insert.sequences.lowerBound + insert.sequences.upperBound) / 2
                var end = insert.sequences.upperBound
                if fate == .half { end = half }
                if case .inTwoParts(let delay) = fate {
                    table.parts.append((Clock.monotonic() + delay, half..<end))
                    end = half
                }
                for sequence in insert.sequences.lowerBound..<end where times[sequence] ?? .min > table.expiry {
                    table.copies[sequence, default: 0] += fate == .twice ? 2 : 1
                    table.times[sequence] = times[sequence]
                }
            }
            return fate == .loads ? .ok() : .close
        }
    }

    /// Reads the frames of the body as a server would, stepping over skippable ones; nil if they are not exactly that.
    private func read(_ request: RawServer.Request, _ names: [String]) -> (Insert, times: [UInt64: Int64])? {
        if request.headers["content-encoding"] == "gzip" || table.withLock({ $0.isOld }) { return readPlain(request, names) }
        var offset = 0
        var sequences: [UInt64] = []
        var partitions: Set<Int32> = []
        var times: [UInt64: Int64] = [:]
        while offset < request.body.count {
            var rest = Array(request.body[offset...])
            if let (header, size) = try? rest.withUnsafeBytes({ try ChunkHeader.decode($0) }) {
                guard rest.count >= size + header.dataBytes else { return nil }
                offset += size + header.dataBytes
                rest = Array(rest[size..<size + header.dataBytes])
            } else {
                // A slice: one frame, and nothing behind it.
                offset = request.body.count
            }
            guard let block = rest.withUnsafeBytes({ decode($0) }), let column = block.column(TableSchema.sequenceColumn) else {
                return nil
            }
            for row in 0..<block.rows {
                let sequence = UInt64(column.integer(row))
                sequences.append(sequence)
                let time = Int64(truncatingIfNeeded: block.columns[0].integer(row))
                times[sequence] = time
                partitions.insert(TestSpool.schema().partitionRule.partition(of: time))
            }
        }
        guard let first = sequences.first, let last = sequences.last, first <= last,
            let token = request.parameters["insert_deduplication_token"]
        else { return nil }
        return (Insert(token: token, sequences: first..<last + 1, partitions: partitions, bytes: request.body), times)
    }

    /// One block in a gzip stream of stored blocks, with the types of the table to the letter.
    private func readPlain(_ request: RawServer.Request, _ names: [String]) -> (Insert, times: [UInt64: Int64])? {
        let isOld = table.withLock { $0.isOld }
        guard request.headers["content-encoding"] == "gzip", isOld == (request.parameters["insert_deduplication_token"] == nil),
            let token = request.parameters[isOld ? "query_id" : "insert_deduplication_token"], request.body.count > 23
        else { return nil }
        var content: [UInt8] = []
        var offset = 10
        while request.body.count - offset >= 13 {
            let size = Int(request.body[offset + 1]) | Int(request.body[offset + 2]) << 8
            guard request.body.count - offset - 5 >= size else { return nil }
            content += request.body[offset + 5..<offset + 5 + size]
            offset += 5 + size
        }
        let sent = names.compactMap { name in columns.first { $0.name == name } }
        guard let block = try? NativeBlock(content, columns: sent), let column = block.column(TableSchema.sequenceColumn) else {
            return nil
        }
        let rows = (0..<block.rows).map { (UInt64(column.integer($0)), Int64(truncatingIfNeeded: block.columns[0].integer($0))) }
        guard let first = rows.first?.0, let last = rows.last?.0, first <= last else { return nil }
        return (
            Insert(token: token, sequences: first..<last + 1, partitions: [], bytes: request.body), Dictionary(uniqueKeysWithValues: rows)
        )
    }

    private func decode(_ frame: UnsafeRawBufferPointer) -> NativeBlock? {
        // The content's size stands behind magic and two bytes of flags.
        guard frame.count > 14 else { return nil }
        let size = UInt64(littleEndian: frame.loadUnaligned(fromByteOffset: 6, as: UInt64.self))
        guard size < 1 << 30 else { return nil }
        return try? NativeBlock(LZ4Frame.decompress(frame, contentBytes: Int(size)), columns: TestSpool.schema().wireColumns)
    }

    private func time(after text: String, in sql: String) -> Int64? {
        sql.range(of: text).flatMap { Int64(sql[$0.upperBound...].prefix { $0.isNumber || $0 == "-" }) }
    }

    private func number(after text: String, in sql: String) -> UInt64? {
        sql.range(of: text).flatMap { UInt64(sql[$0.upperBound...].prefix { $0.isNumber }) }
    }
}
