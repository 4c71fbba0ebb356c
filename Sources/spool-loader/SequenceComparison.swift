import SpoolFormat

/// Compares the sequences that ClickHouse has of one table and one writer with those of the spool.
///
/// One query counts in buckets of a million sequences. A bucket is as it should be if it holds as many rows as the spool has there, the
/// smallest and the largest are the right ones, and they are all different: `groupBitmap` counts exactly, in memory that does not grow with
/// rows that follow each other. Only a bucket that differs is asked for again in buckets of a thousand, and of those only the ones
/// that differ row by row. So neither side ever holds more than the rows of one bucket.
struct SequenceComparison {
    static let bucketRows: UInt64 = 1 << 20
    static let leafRows: UInt64 = 1 << 10
    /// Stretches of differing leaves of a bucket that are fetched one by one; where there are more, everything between is fetched at once.
    private static let maxStretches = 16

    /// Rows of the spool that are there.
    private(set) var present = SequenceSet()
    /// Rows that were given up, and are there nevertheless.
    private(set) var presentShed = SequenceSet()
    /// Sequences that are there more than once.
    private(set) var duplicate = SequenceSet()
    /// Sequences at or behind the spool's end.
    private(set) var beyond = SequenceSet()

    private let inventory: AuditInventory
    private let table: String
    private let writer: String
    private let server: ClickHouse
    private let dialect: Dialect
    /// Only some of the spool's rows are looked at, so nothing can be said about others.
    private let isRestricted: Bool

    init(
        _ inventory: AuditInventory, table: String, writer: String, server: ClickHouse, dialect: Dialect = Dialect(), isRestricted: Bool
    ) throws(CommandFailure) {
        self.inventory = inventory
        self.table = table
        self.writer = writer
        self.server = server
        self.dialect = dialect
        self.isRestricted = isRestricted
        for bucket in try buckets(of: Self.bucketRows, in: nil) {
            if isSettled(bucket) { take(bucket) } else { try narrow(bucket) }
        }
        if isRestricted { duplicate = duplicate.intersection(inventory.rows) }
    }

    private struct Bucket {
        let range: Range<UInt64>
        let count: UInt64
        let distinct: UInt64
        let least: UInt64
        let most: UInt64
    }

    // MARK: Deciding

    /// Whether the counts alone prove that nothing in the bucket is missing, doubled or unknown.
    private func isSettled(_ bucket: Bucket) -> Bool {
        let expected = inventory.rows.intersection(bucket.range)
        guard inventory.shed.intersection(bucket.range).isEmpty else { return false }
        if expected.isEmpty {
            // Pruned from the spool, or not asked for: only twice or never published would be wrong.
            return isRestricted || (bucket.count == bucket.distinct && bucket.most < inventory.end)
        }
        guard expected.ranges.count == 1, let range = expected.ranges.first else { return false }
        return bucket.count == expected.count && bucket.distinct == bucket.count && bucket.least == range.lowerBound
            && bucket.most == range.upperBound - 1
    }

    private mutating func take(_ bucket: Bucket) { present.formUnion(inventory.rows.intersection(bucket.range)) }

    private mutating func narrow(_ bucket: Bucket) throws(CommandFailure) {
        let leaves = try buckets(of: Self.leafRows, in: bucket.range)
        var stretches: [Range<UInt64>] = []
        for leaf in leaves where !isSettled(leaf) {
            if let last = stretches.last, last.upperBound == leaf.range.lowerBound {
                stretches[stretches.count - 1] = last.lowerBound..<leaf.range.upperBound
            } else {
                stretches.append(leaf.range)
            }
        }
        if stretches.count > Self.maxStretches, let first = stretches.first, let last = stretches.last {
            stretches = [first.lowerBound..<last.upperBound]
        }
        let fetched = SequenceSet(stretches)
        var there: [Range<UInt64>] = []
        for leaf in leaves where fetched.intersection(leaf.range).isEmpty { there += inventory.rows.intersection(leaf.range).ranges }
        for stretch in stretches {
            let rows = leaves.reduce(0 as UInt64) { sum, leaf in
                stretch.contains(leaf.range.lowerBound) ? sum.addingReportingOverflow(leaf.count).partialValue : sum
            }
            there += try fetch(stretch, rows: rows)
        }
        // Once a bucket: the buckets come in order, so that each goes behind what is there already.
        take(SequenceSet(there), in: bucket.range)
    }

    private mutating func take(_ found: SequenceSet, in range: Range<UInt64>) {
        present.formUnion(found.intersection(inventory.rows.intersection(range)))
        presentShed.formUnion(found.intersection(inventory.shed.intersection(range)))
        // What was pruned from the spool is not unknown: only what it never published is.
        if !isRestricted {
            beyond.formUnion(found.intersection(max(inventory.end, range.lowerBound)..<max(inventory.end, range.upperBound)))
        }
    }

    // MARK: Asking

    private var source: String {
        "FROM \(quotedIdentifier(table)) WHERE \(TableSchema.writerColumn) = \(quotedString(writer))"
    }

    private func condition(_ range: Range<UInt64>) -> String {
        // The last sequence of all numbers has no range of its own; no writer comes near it.
        let sequence = TableSchema.sequenceColumn
        return " AND \(sequence) >= \(range.lowerBound) AND \(sequence) < \(range.upperBound)"
    }

    private func buckets(of size: UInt64, in range: Range<UInt64>?) throws(CommandFailure) -> [Bucket] {
        let sequence = TableSchema.sequenceColumn
        let answer = try server.query(
            """
            SELECT intDiv(\(sequence), \(size)) AS bucket, count(), \(dialect.exactDistinct)(\(sequence)), min(\(sequence)), max(\(sequence)) \
            \(source)\(range.map(condition) ?? "") GROUP BY bucket ORDER BY bucket FORMAT TSV
            """)
        guard answer.isEmpty || answer.last == 0x0A else { throw nonsense(answer) }
        var buckets: [Bucket] = []
        for line in answer.dropLast().split(separator: 0x0A, omittingEmptySubsequences: false) where !answer.isEmpty {
            guard let bucket = bucket(numbers(inLine: Array(line) + [0x0A]), size), range?.contains(bucket.range.lowerBound) ?? true,
                bucket.range.lowerBound >= buckets.last?.range.upperBound ?? 0
            else { throw nonsense(Array(line)) }
            buckets.append(bucket)
        }
        return buckets
    }

    private func bucket(_ numbers: [UInt64]?, _ size: UInt64) -> Bucket? {
        guard let numbers, numbers.count == 5 else { return nil }
        let (start, overflow) = numbers[0].multipliedReportingOverflow(by: size)
        guard !overflow else { return nil }
        let bucket = Bucket(
            range: start..<(start > .max - size ? .max : start + size), count: numbers[1], distinct: numbers[2], least: numbers[3],
            most: numbers[4])
        guard bucket.distinct > 0, bucket.count >= bucket.distinct, bucket.least >= start, bucket.most >= bucket.least,
            bucket.most - start < size
        else { return nil }
        return bucket
    }

    /// The sequences of the range that are there; those that are there more than once are noted.
    ///
    /// - Parameter rows: how many rows they are.
    private mutating func fetch(_ range: Range<UInt64>, rows: UInt64) throws(CommandFailure) -> [Range<UInt64>] {
        let sequence = TableSchema.sequenceColumn
        // Two of each are enough to know, and bound the answer; but ClickHouse sorts faster than it counts.
        let limit = rows > 2 * Self.bucketRows ? " LIMIT 2 BY \(sequence)" : ""
        let body = try server.query(
            "SELECT \(sequence) \(source)\(condition(range)) ORDER BY \(sequence)\(limit) FORMAT RowBinary")
        guard body.count % 8 == 0 else { throw nonsense(body) }
        var found: [Range<UInt64>] = []
        var doubled: [Range<UInt64>] = []
        for value in sequences(body) {
            guard range.contains(value), value >= (found.last?.upperBound ?? 1) - 1 else { throw nonsense(body) }
            if let last = found.last, last.upperBound > value {
                if doubled.last != value..<value + 1 { doubled.append(value..<value + 1) }
            } else if let last = found.last, last.upperBound == value {
                found[found.count - 1] = last.lowerBound..<value + 1
            } else {
                found.append(value..<value + 1)
            }
        }
        duplicate.formUnion(SequenceSet(doubled))
        return found
    }

    private func nonsense(_ answer: [UInt8]) -> CommandFailure {
        CommandFailure(
            "ClickHouse at \(server.url): an answer that is no count of sequences: "
                + String(decoding: answer.prefix(100), as: UTF8.self), code: 74)
    }
}
