/// What the loader does after an answer that is no success.
enum Reaction: String, CaseIterable, Sendable {
    case retryNow
    case backOff
    case tooManyParts
    case refreshSchema
    case configuration
    case splitPartitions
    case payloadSuspect
    case poison
}
extension ServerAnswer {
    var reaction: Reaction {
        switch self {
        case .exception(252, let text) where text.contains("partitions"): .splitPartitions
        case .exception(252, _): .tooManyParts
        case .exception(469, _), .exception(117, _), .exception(27, _): .poison
        case .exception(618, _): .payloadSuspect
        case .exception(16, _): .refreshSchema
        case .exception(60, _), .exception(516, _): .configuration
        default: .backOff
        }
    }
    var retryAfter: Int64? { nil }
}
