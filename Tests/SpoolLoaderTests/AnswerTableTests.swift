import Foundation
import Testing

@testable import spool_loader

/// The table of answers: which entry an error is, and that code, docs and names agree.
@Suite struct AnswerTableTests {
    private func reaction(_ code: Int, _ text: String = "") -> Reaction { ServerAnswer.exception(code: code, text: text).reaction }

    private func current(_ code: Int, _ name: String, _ message: String = "something") -> String {
        "Code: \(code). DB::Exception: \(message). (\(name)) (version 26.9.2.1 (official build))\n"
    }

    @Test func numbersAndNamesAreThereOnceAndInOrder() {
        let numbers = AnswerTable.entries.map(\.number)
        #expect(numbers == numbers.sorted())
        #expect(Set(numbers).count == numbers.count)
        #expect(Set(AnswerTable.entries.map(\.name)).count == numbers.count)
        for entry in AnswerTable.entries { #expect(!entry.advice.isEmpty && !entry.advice.contains("|") && entry.advice.count <= 110) }
    }

    @Test func everyReactionIsSomewhereInTheTable() {
        let known = Set(AnswerTable.entries.map(\.reaction) + Outcome.allCases.map(\.reaction) + [AnswerTable.tooManyPartitions.reaction])
        #expect(known == Set(Reaction.allCases))
    }

    @Test func whatNeedsAPersonRaisesTheAlarmAtOnce() {
        for entry in AnswerTable.entries where [.configuration, .poison].contains(entry.reaction) { #expect(entry.alarms, "\(entry.name)") }
        for outcome in Outcome.allCases where outcome.reaction == .configuration { #expect(outcome.alarms, "\(outcome)") }
    }

    @Test func everyEntryIsFoundByNumberAloneAndByName() {
        for entry in AnswerTable.entries {
            #expect(reaction(entry.number, "Code: \(entry.number), e.displayText() = DB::Exception: x") == entry.reaction, "\(entry.name)")
            #expect(reaction(entry.number, current(entry.number, entry.name)) == entry.reaction, "\(entry.name)")
            #expect(reaction(entry.number) == entry.reaction, "\(entry.name)")
        }
    }

    @Test func theNameDecidesWhereItContradictsTheNumber() {
        #expect(reaction(60, current(60, "MEMORY_LIMIT_EXCEEDED")) == .backOff)
        #expect(reaction(9_999, current(9_999, "UNKNOWN_TABLE")) == .configuration)
        #expect(reaction(241, current(241, "UNKNOWN_ELEMENT_OF_ENUM")) == .poison)
    }

    @Test func aNameThatIsNotKnownIsNeverTakenForThePoisonThatItsNumberMeant() {
        let answer = ServerAnswer.exception(code: 117, text: current(117, "SOMETHING_NEW"))
        #expect(answer.reaction == .backOff)
        #expect(answer.alarms)
    }

    @Test(arguments: [0, -1, 5, 9_999, Int.max, Int.min])
    func anUnknownCodeBacksOffWithAnAlarm(code: Int) {
        let answer = ServerAnswer.exception(code: code, text: "")
        #expect(answer.reaction == .backOff)
        #expect(answer.alarms)
    }

    @Test func aNameThatARowBringsAlongIsNotTheErrorsName() {
        let row = "Cannot parse string 'x (UNKNOWN_TABLE) (version 1), Stack trace (when' as UInt8"
        #expect(reaction(6, current(6, "CANNOT_PARSE_TEXT", row)) == .poison)
        #expect(reaction(6, "Code: 6. DB::Exception: a row says (UNKNOWN_TABLE) and more") == .poison)
    }

    @Test func aStackTraceAndAWrappedErrorDoNotHideTheName() {
        let traced =
            "Code: 60. DB::Exception: Table d.t does not exist. (UNKNOWN_TABLE), Stack trace (when copying this message, always include the lines below):\n\n0. f() @ 0x1 (READONLY)\n1. main\n (version 24.8.1.1 (official build))"
        #expect(reaction(60, traced) == .configuration)
        let wrapped =
            "Code: 279. DB::NetException: All connection tries failed. Log: \n\nCode: 210. DB::NetException: Connection refused (h:9000). (NETWORK_ERROR) (version 24.8.1.1)\n\n. (ALL_CONNECTION_TRIES_FAILED) (version 24.8.1.1)"
        #expect(ErrorText.name(in: wrapped) == "ALL_CONNECTION_TRIES_FAILED")
        #expect(
            ErrorText.name(in: "Code: 50. DB::Exception: Code: 50. x (UNKNOWN_TYPE) (version 26.9.2.1). (UNKNOWN_TYPE)") == "UNKNOWN_TYPE")
    }

    @Test func tooManyPartsAndTooManyPartitionsShareANumber() {
        let parts =
            "Too many parts (300 with average size of 1.00 KiB) in table 'd.t'. Merges are processing significantly slower than inserts"
        let partitions =
            "Too many partitions for single INSERT block (more than 100). The limit is controlled by 'max_partitions_per_insert_block'"
        #expect(reaction(252, current(252, "TOO_MANY_PARTS", parts)) == .tooManyParts)
        #expect(reaction(252, current(252, "TOO_MANY_PARTS", partitions)) == .splitPartitions)
        #expect(reaction(252, "Code: 252, e.displayText() = DB::Exception: Too many parts (300). Merges are slow") == .tooManyParts)
        #expect(
            reaction(252, "Code: 252, e.displayText() = DB::Exception: Too many partitions for single INSERT block") == .splitPartitions)
        #expect(reaction(252) == .tooManyParts)
    }

    @Test func aColumnThatTheTableDoesNotHaveIsNoPoison() {
        let text = current(117, "INCORRECT_DATA", "Unknown column with name zz found while reading data in Native format")
        #expect(reaction(117, text) == .refreshSchema)
        #expect(reaction(117, current(117, "INCORRECT_DATA", "Index for LowCardinality is out of range")) == .poison)
    }

    @Test func aQuestionIsNeverPoison() {
        for entry in AnswerTable.entries {
            let asked = ServerAnswer.exception(code: entry.number, text: "").reactionToQuestion
            #expect(![.poison, .splitPartitions, .payloadSuspect, .tooManyParts].contains(asked), "\(entry.name)")
        }
        #expect(ServerAnswer.exception(code: 691, text: "").reactionToQuestion == .configuration)
        #expect(ServerAnswer.exception(code: 241, text: "").reactionToQuestion == .backOff)
    }

    @Test(arguments: 100...999)
    func everyStatusHasAnOutcome(status: Int) {
        guard status != 200 else { return }
        let answer = ServerAnswer(.answered(status: status, headers: [:], body: []))
        #expect(answer.kind == .doubt)
        switch status {
        case 300..<400: #expect(answer.reaction == .configuration)
        case 408, 425, 429, 499: #expect(answer.reaction == .backOff)
        case 400..<500, 501, 505, 511: #expect(answer.reaction == .configuration)
        default: #expect(answer.reaction == .backOff)
        }
    }

    @Test func theDocumentHoldsTheSameTable() throws {
        let path = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../docs/answers.md").standardized
        let document = try String(contentsOf: path, encoding: .utf8)
        let parts = document.components(separatedBy: "<!-- spool-loader answers --markdown -->\n")
        try #require(parts.count == 3, "docs/answers.md must hold the table between two such lines")
        #expect(parts[1] == AnswerReport.markdown, "docs/answers.md is not what `spool-loader answers --markdown` prints")
    }

    @Test func anErrorIsFoundByNumberNameAndStatus() {
        #expect(AnswerReport.called("60").map(\.name) == ["UNKNOWN_TABLE"])
        #expect(AnswerReport.called("unknown_table").map(\.number) == [60])
        #expect(AnswerReport.called("252").map(\.reaction) == ["tooManyParts", "splitPartitions"])
        #expect(AnswerReport.called("503").map(\.from) == ["HTTP"])
        #expect(AnswerReport.called("520").map(\.name) == ["5xx"])
        #expect(AnswerReport.called("425").map(\.name) == ["SYSTEM_ERROR", "408"])
        #expect(AnswerReport.called("tls").map(\.reaction) == ["configuration"])
        #expect(AnswerReport.called("nothing").isEmpty && AnswerReport.called("99999").isEmpty)
    }
}
