import Logging
import SpoolFormat
import SpoolIO
import SpoolStatus

/// What the table in ClickHouse is like, and how rows of a segment go into it.
extension TableLoader {
    /// After a table that does not fit it is asked again so soon: a person mends it with a command, and then waits for the loader. Nanoseconds.
    private static let lookAtTableAgainAfter: Int64 = 2_000_000_000

    /// How rows of a segment are sent.
    ///
    /// - Returns: nil if they cannot be now: then that is said and tried again, or what became of a column is being asked for.
    func sentColumns(of segment: OpenSegment, now: Int64) -> SentColumns? {
        let header = segment.reader.header
        if let known = fits[header.fingerprint] { return known }
        guard let target, !isAsking else { return nil }
        switch ColumnFit(header.columns, in: target, retired: applied?.retired(table)) {
        case .sent(let columns):
            if columns.columns.map(\.?.name) != header.columns.map(\.name) { sayTranslated(columns, header) }
            fits[header.fingerprint] = columns
            return columns
        case .askHistory: askWhatWasApplied()
        case .unfit(let complaint): waitForTable(missingMigration.text(complaint, of: table), now: now)
        }
        return nil
    }

    private func sayTranslated(_ columns: SentColumns, _ header: SegmentHeader) {
        let changes = zip(header.columns, columns.columns).filter { $0.name != $1?.name }.map { was, now in
            now.map { "\(was.name) goes into \($0.name)" } ?? "\(was.name) is left out, since it was dropped"
        }
        repeated.say(.notice, "rows recorded before the table was altered: \(changes.joined(separator: ", "))")
    }

    func askTarget() {
        ask(TargetTable.query(table)) { [self] body, now in
            guard let found = TargetTable(answer: body, wire: server.wire) else {
                return waitForTable(missingMigration.textOfMissing(table), now: now)
            }
            if let warning = server.sharingWarning(engine: found.engine.engine) { log.warning("\(warning)") }
            if found.dialect.knowsTokens, !found.deduplicates {
                repeated.say(
                    .warning, "ClickHouse deduplicates nothing here (non_replicated_deduplication_window is 0); relying on counting alone")
            }
            if !found.dialect.knowsTokens, found.dialect != toldDialect {
                log.warning(
                    "ClickHouse is older than 22.2 and deduplicates nothing: sending rows \(found.dialect.isPlain ? "uncompressed" : "as LZ4"), relying on counting alone (docs/clickhouse.md, Old servers)"
                )
            }
            toldDialect = found.dialect
            target = found
            targetURL = server.url
        }
    }

    /// Only where a column of the spool is not in the table: in ordinary times nobody asks.
    private func askWhatWasApplied() {
        ask(AppliedSchemas.query()) { [self] body, now in
            do throws(SchemaError) {
                applied = try AppliedSchemas(answer: body)
            } catch {
                waitForTable("rows have columns that the table has not, and what became of them cannot be read: \(error)", now: now)
            }
        }
    }

    private var missingMigration: MissingMigration { MissingMigration(directory: settings.schemas, applied: applied) }

    private func waitForTable(_ problem: String, now: Int64) {
        target = nil
        pause(for: problem, reaction: .configuration, atMost: Self.lookAtTableAgainAfter, now: now)
    }
}
