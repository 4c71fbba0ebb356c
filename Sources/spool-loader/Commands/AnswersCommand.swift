import ArgumentParser

extension SpoolLoader {
    struct Answers: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what the loader does about an error of ClickHouse, or about any other answer.",
            discussion: """
                The argument is ClickHouse's number or name of the error, or an HTTP status; without it all are listed. Whatever the \
                answer, rows that were sent are asked for before anything is sent again, and none is dropped.
                """)
        @Flag(help: "Print JSON.")
        var json = false
        @Flag(help: "Print the tables as they stand in docs/answers.md.")
        var markdown = false
        @Argument(help: ArgumentHelp("A number or a name: 252, TOO_MANY_PARTS, 503.", valueName: "code|name"))
        var wanted: String?

        func validate() throws {
            if markdown, json || wanted != nil { throw ValidationError("--markdown prints everything; give it alone") }
        }

        func run() throws {
            try reporting {
                if markdown { return print(AnswerReport.markdown, terminator: "") }
                let found = wanted.map(AnswerReport.called) ?? AnswerReport.all
                guard !found.isEmpty else {
                    throw CommandFailure(
                        "\(wanted ?? "") is not in the table. An error of ClickHouse that is not there is taken for one that passes: the loader "
                            + "\(Reaction.backOff.meaning), and raises the alarm", code: 1)
                }
                if json { return try printJSON(found) }
                if wanted != nil {
                    for answer in found { print(answer.paragraph) }
                } else {
                    print(AnswerReport.table(found), terminator: "")
                }
            }
        }
    }
}
