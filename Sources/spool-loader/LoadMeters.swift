import SpoolFormat
import SpoolIO
import SpoolStatus

/// What is counted of a table's inserts, since the start.
struct LoadMeters: Sendable {
    private static let mostCodes = 100

    private(set) var insertTimes = Histogram()
    /// From the rows' own event times to the moment at which ClickHouse had confirmed them: half of a chunk's rows count with its first time, half with its last.
    private(set) var eventToQuery = Histogram()
    private(set) var inserts: UInt64 = 0
    /// Failed inserts by ClickHouse's error number, or by what came instead of an answer.
    private(set) var errors: [String: UInt64] = [:]

    mutating func answered(_ answer: ServerAnswer, after nanoseconds: Int64) {
        inserts += 1
        let code: String
        switch answer {
        case .ok:
            insertTimes.observe(Double(nanoseconds) / 1e9)
            return
        case .exception(let number, _): code = "\(number)"
        case .unreachable(_, let outcome), .doubt(_, let outcome, _): code = outcome.rawValue
        }
        // Whatever numbers a server invents.
        errors[errors.count < Self.mostCodes || errors[code] != nil ? code : "other", default: 0] += 1
    }

    mutating func loaded(_ batch: Batch, at now: Int64 = Clock.now()) {
        func observe(_ earliest: Int64, _ latest: Int64, _ rows: UInt64) {
            // The times are the producers': they may be any numbers.
            let (first, last) = (
                now.subtractingReportingOverflow(earliest).partialValue, now.subtractingReportingOverflow(latest).partialValue
            )
            eventToQuery.observe(Double(first) / 1e9, times: rows - rows / 2)
            eventToQuery.observe(Double(last) / 1e9, times: rows / 2)
        }
        if let slice = batch.slice { return observe(slice.minEventTime, slice.maxEventTime, batch.rows) }
        for chunk in batch.chunks {
            observe(chunk.header.minEventTime, chunk.header.maxEventTime, chunk.header.endSequence - chunk.header.firstSequence)
        }
    }
}
