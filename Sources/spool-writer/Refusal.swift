/// Why a line was not recorded: which field, and what was expected. The line itself is untouched.
struct Refusal: Error, Equatable {
    var table: String?
    var field: String?
    let reason: String

    init(_ reason: String, table: String? = nil, field: String? = nil) {
        self.reason = reason
        self.table = table
        self.field = field
    }
}
