/// What the loader does after an answer that is no success.
///
/// None of them drops a row. Whatever was sent is asked for first (`BatchMachine`): an error does not mean that nothing arrived.
enum Reaction: String, CaseIterable, Sendable {
    /// The fault is over with the request, as when a kept-alive connection closed under it: once at once, then as `backOff`.
    case retryNow
    /// ClickHouse, or what stands before it, is busy, starting or away.
    case backOff
    /// Back off, and send fewer, larger batches.
    case tooManyParts
    /// What is known of the table may be old: ask for its columns again and send again; if that is refused too, as `configuration`.
    case refreshSchema
    /// A person must act (table, password, grant, setting, address): slow retries for ever, alarm; nothing is dropped.
    case configuration
    /// The batch has rows of too many partitions, and always will: it must be cut smaller.
    case splitPartitions
    /// The bytes may have been damaged on the way: read and check them again, send again; then as `poison`.
    case payloadSuspect
    /// ClickHouse refuses a value: bisect to the row and quarantine it.
    case poison

    /// For people.
    var meaning: String {
        switch self {
        case .retryNow: "sends again at once, then backs off"
        case .backOff: "backs off and sends again, for ever"
        case .tooManyParts: "backs off, then sends fewer and larger batches"
        case .refreshSchema: "asks for the table's columns again and sends again; refused again, it retries slowly and raises the alarm"
        case .configuration: "raises the alarm and retries slowly, for ever, until a person has mended it; drops nothing"
        case .splitPartitions: "cuts the batch smaller"
        case .payloadSuspect: "reads and checks the bytes again and sends them again; refused again, it looks for the row"
        case .poison: "looks for the row by halves, quarantines it with its value, loads the rest, raises the alarm"
        }
    }

    /// Whether other rows of the same table could be taken: the answer is about these.
    var concernsRows: Bool {
        switch self {
        case .poison, .payloadSuspect, .splitPartitions: true
        case .retryNow, .backOff, .tooManyParts, .refreshSchema, .configuration: false
        }
    }
}
