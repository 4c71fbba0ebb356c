import Logging

/// Says that producers still send values of columns that were dropped, which are not recorded any more: once for each table, column and producer.
///
/// To refuse the rows would lose all their other values; to say nothing would leave the producers as they are for ever.
struct IgnoredValues {
    /// Producers that are named for each column; connections come and go.
    private static let maxProducers = 20

    private let log: Logger
    /// By table and column.
    private var named: [String: Set<String>] = [:]

    init(log: Logger) { self.log = log }

    /// - Parameter producer: its name, or where it comes from.
    mutating func note(table: String, column: String, producer: String) {
        let place = "\(table).\(column)"
        guard named[place, default: []].count <= Self.maxProducers, named[place, default: []].insert(producer).inserted else { return }
        if named[place, default: []].count > Self.maxProducers {
            log.warning("\(place) was dropped, and still more producers send it: no further ones are named")
        } else {
            log.warning(
                """
                \(place) was dropped from the schemas, and its values are not recorded any more; they still come from \(producer), whose rows \
                are recorded without them: regenerate it or stop sending the field
                """)
        }
    }
}
