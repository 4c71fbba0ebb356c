import SpoolFormat

/// The log of intents that is kept in ClickHouse beside the tables: what was planned, begun and done, by whom. Rows are only ever added.
enum MigrationLog {
    static let table = "coldpath_migrations"

    enum State: String, Comparable {
        case planned, started, done

        private var order: Int { self == .planned ? 0 : self == .started ? 1 : 2 }
        static func < (left: State, right: State) -> Bool { left.order < right.order }
    }

    /// A row.
    struct Entry: Equatable {
        let number: UInt64
        /// As ClickHouse writes it.
        let at: String
        let id: StatementID
        let title: String
        let state: State
        let checksum: String
        /// The block as it stood in the file.
        let text: String
        let migrator: String
        /// Empty where there is none.
        let cluster: String
    }

    /// - Parameter cluster: there every server has a copy.
    static func createQuery(cluster: String?) -> String {
        let engine =
            cluster == nil ? "MergeTree" : "ReplicatedMergeTree('/clickhouse/coldpath/{database}/\(table)', '{shard}-{replica}')"
        return """
            CREATE TABLE IF NOT EXISTS \(table)\(onCluster(cluster))
            (
                entry UInt64 COMMENT 'Counts up; the last entry of a statement says where it stands',
                at DateTime64(3, 'UTC') DEFAULT now64(3),
                file String,
                statement UInt16 COMMENT 'Within the file, from 1',
                title String,
                state Enum8('planned' = 1, 'started' = 2, 'done' = 3),
                checksum String COMMENT 'SHA-256 of the words of the statement',
                text String COMMENT 'The statement as it stood in the file',
                migrator String COMMENT 'Process and host',
                cluster String DEFAULT ''
            )
            ENGINE = \(engine)
            ORDER BY entry
            COMMENT 'What spool-loader migrate has done here; never edit'
            """
    }

    static func onCluster(_ cluster: String?) -> String { cluster.map { " ON CLUSTER \(quotedIdentifier($0))" } ?? "" }

    static var existsQuery: String {
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = \(quotedString(table)) FORMAT TSV"
    }

    static var readQuery: String {
        """
        SELECT entry, toString(at), hex(file), statement, hex(title), state, checksum, hex(text), hex(migrator), hex(cluster)
        FROM \(table) ORDER BY entry FORMAT TSV
        """
    }

    static func insertQuery(_ entries: [Entry]) -> String {
        "INSERT INTO \(table) (entry, file, statement, title, state, checksum, text, migrator, cluster) VALUES "
            + entries.map { entry in
                let texts = [entry.title, entry.state.rawValue, entry.checksum, entry.text, entry.migrator, entry.cluster].map(quotedString)
                return "(\(entry.number), \(quotedString(entry.id.file)), \(entry.id.number), \(texts.joined(separator: ", ")))"
            }.joined(separator: ", ")
    }

    /// Reads the answer to ``readQuery``.
    ///
    /// - Throws: `CommandFailure` if a line is not what was asked for.
    static func entries(_ answer: [UInt8]) throws(CommandFailure) -> [Entry] {
        var entries: [Entry] = []
        for line in String(decoding: answer, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 10, let number = UInt64(fields[0]), let file = textOfHex(fields[2]), let statement = Int(fields[3]),
                let title = textOfHex(fields[4]), let state = State(rawValue: fields[5]), let text = textOfHex(fields[7]),
                let migrator = textOfHex(fields[8]), let cluster = textOfHex(fields[9])
            else { throw CommandFailure("table \(table) in ClickHouse has a row that cannot be read: \(line.prefix(200))", code: 74) }
            entries.append(
                Entry(
                    number: number, at: fields[1], id: StatementID(file: file, number: statement), title: title, state: state,
                    checksum: fields[6], text: text, migrator: migrator, cluster: cluster))
        }
        return entries
    }
}

/// The text whose UTF-8 bytes stand there in hex; nil if it is no hex.
func textOfHex(_ hex: String) -> String? {
    let digits = hex.utf8.map { Character(Unicode.Scalar($0)).hexDigitValue }
    guard digits.count.isMultiple(of: 2), !digits.contains(nil) else { return nil }
    let values = digits.compactMap(\.self)
    return String(decoding: stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }, as: UTF8.self)
}
