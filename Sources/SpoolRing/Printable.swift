/// A text that somebody else chose, fit for one line of a log: without control characters, and not too long.
public func printable(_ text: String, limit: Int = 400) -> String {
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
        guard count < limit else { return result + "..." }
        count += 1
        switch scalar.properties.generalCategory {
        // Also those that turn the direction of what follows.
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse: result += "?"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}
