/// A line of the table of answers, as it is printed.
struct AnswerReport: Encodable, Equatable {
    /// `ClickHouse`, `HTTP` or `connection`.
    let from: String
    /// Of an error of ClickHouse, or an HTTP status.
    let number: Int?
    let name: String
    let reaction: String
    let alarm: Bool
    let does: String
    let advice: String
    /// In which of several cases; absent if there is only one.
    let when: String?

    private init(_ entry: AnswerTable.Entry, when: String? = nil) {
        from = "ClickHouse"
        (number, name, advice) = (entry.number, entry.name, entry.advice)
        (reaction, does, alarm) = (entry.reaction.rawValue, entry.reaction.meaning, entry.alarms)
        self.when = when
    }

    private init(_ outcome: Outcome) {
        let isStatus = outcome.rawValue.first.map { $0.isNumber } ?? false || outcome == .noStatus
        from = isStatus ? "HTTP" : "connection"
        number = Int(outcome.rawValue)
        (name, advice, when) = (outcome.rawValue, outcome.advice, outcome.meaning)
        (reaction, does, alarm) = (outcome.reaction.rawValue, outcome.reaction.meaning, outcome.alarms)
    }

    /// ClickHouse's errors by number, then what else can come of a request.
    static let all: [AnswerReport] =
        AnswerTable.entries.flatMap { entry -> [AnswerReport] in
            switch entry.number {
            case AnswerTable.tooManyPartitions.number:
                [
                    AnswerReport(entry, when: "\"Too many parts\""),
                    AnswerReport(AnswerTable.tooManyPartitions, when: "\"Too many partitions for single INSERT block\""),
                ]
            case AnswerTable.unknownColumn.number:
                [AnswerReport(entry, when: "of a value"), AnswerReport(AnswerTable.unknownColumn, when: "\"Unknown column\"")]
            default: [AnswerReport(entry)]
            }
        } + Outcome.allCases.map { AnswerReport($0) }

    /// What is called this: by number, by name, or a status by the class that it falls into.
    static func called(_ wanted: String) -> [AnswerReport] {
        let wanted = wanted.uppercased()
        let status = Int(wanted).flatMap { (100...599).contains($0) ? Outcome(status: $0).rawValue : nil }
        let found = all.filter { $0.name.uppercased() == wanted || $0.number.map(String.init) == wanted || $0.name == status }
        // A number that says something by itself is not meant as one of a class.
        let exact = found.filter { !$0.name.hasSuffix("xx") || $0.name.uppercased() == wanted }
        return exact.isEmpty ? found : exact
    }

    var paragraph: String {
        """
        \(from) \([number.map { "\($0)" }, Int(name) == nil ? name : nil].compactMap(\.self).joined(separator: " "))\(when.map { ": \($0)" } ?? "")
          the loader  \(does)
          a person    \(advice)
          alarm       \(alarm ? "at once" : "only if the lag grows")
        """
    }

    static func table(_ answers: [AnswerReport]) -> String {
        var text = TextTable(["FROM", "NUMBER", "NAME", "REACTION", "ALARM", "WHAT TO DO"], numbers: [1])
        for answer in answers {
            text.add([
                answer.from, answer.number.map(String.init) ?? "-", Int(answer.name) == nil ? answer.name : "-", answer.reaction,
                answer.alarm ? "yes" : "-", answer.advice,
            ])
        }
        return text.text
    }

    /// The tables of `docs/answers.md`.
    static var markdown: String {
        var text = "| reaction | what the loader does |\n| --- | --- |\n"
        for reaction in Reaction.allCases { text += "| `\(reaction.rawValue)` | \(reaction.meaning) |\n" }
        text += "\n| HTTP, connection | what was seen | reaction | alarm | what to do |\n| --- | --- | --- | --- | --- |\n"
        for answer in all where answer.from != "ClickHouse" {
            text += "| \(answer.name) | \(answer.when ?? "") | `\(answer.reaction)` | \(answer.alarm ? "yes" : "") | \(answer.advice) |\n"
        }
        text += "\n| ClickHouse | name | reaction | alarm | what to do |\n| ---: | --- | --- | --- | --- |\n"
        for answer in all where answer.from == "ClickHouse" {
            let name = answer.name + (answer.when.map { ", \($0)" } ?? "")
            text += "| \(answer.number ?? 0) | \(name) | `\(answer.reaction)` | \(answer.alarm ? "yes" : "") | \(answer.advice) |\n"
        }
        return text
    }
}
