/// What a TTL says about when rows go.
extension SQLPhrase {
    /// One part of a TTL that deletes rows.
    struct Deletion {
        let column: String
        let keep: Retention
    }

    /// After which rows can be gone, if this is a TTL; nil if none go, or if it is not understood.
    public var retention: Retention? {
        (try? deletions(file: "", line: 0)).flatMap { Retention.soonest($0.map(\.keep)) }
    }

    /// This TTL with another time after which rows go; where they lie until then stays.
    public func deleting(by deletion: SQLPhrase) -> SQLPhrase {
        SQLPhrase(parts: [deletion] + parts.filter { ((try? $0.deletions(file: "", line: 0)) ?? []).isEmpty && $0 != .nothing })
    }

    /// The parts that delete rows, all or some: not those that move them to another disk or compress them anew.
    ///
    /// - Throws: for a part that is none of `toDateTime(column) + INTERVAL n UNIT [WHERE ... | GROUP BY ... | TO ... | RECOMPRESS ...]`.
    func deletions(file: String, line: Int) throws(SchemaError) -> [Deletion] {
        guard self != .nothing else { return [] }
        var found: [Deletion] = []
        for part in parts {
            var tokens = try SQLTokens(part.text, file: file, line: line)
            let (column, keep) = try tokens.takeRetention()
            if tokens.isNext(keyword: "TO") || tokens.isNext(keyword: "RECOMPRESS") { continue }
            guard tokens.isAtEnd || tokens.isNext(keyword: "WHERE") || tokens.isNext(keyword: "GROUP") else {
                throw tokens.error("TTL: text behind the interval; WHERE, GROUP BY, TO and RECOMPRESS are known")
            }
            found.append(Deletion(column: column, keep: keep))
        }
        return found
    }
}

extension Retention {
    /// The shortest.
    static func soonest(_ all: [Retention]) -> Retention? {
        // Months and years differ in length: as they do from some day on.
        let someDay: Int64 = 2_000_000_000_000_000_000
        return all.max { $0.expired(at: someDay) < $1.expired(at: someDay) }
    }
}
