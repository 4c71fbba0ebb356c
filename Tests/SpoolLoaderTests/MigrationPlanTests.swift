import SpoolFormat
import Testing

@testable import spool_loader

@Suite struct MigrationPlanTests {
    static let table = """
        CREATE TABLE IF NOT EXISTS t (ts DateTime64(9, 'UTC'), spool_writer String, spool_seq UInt64) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts
        """
    static let two = """
        -- statement: one
        ALTER TABLE t ADD COLUMN IF NOT EXISTS a Int8 DEFAULT 1
        -- statement: two
        ALTER TABLE t ADD COLUMN IF NOT EXISTS b Int8 DEFAULT 2
        """

    private func files(_ texts: [String]) throws -> MigrationFiles {
        try MigrationFiles(texts.enumerated().map { ("schemas/000\($0.offset + 1)_x.sql", $0.element) })
    }

    /// Entries for the statements of the files: one letter each, `p`lanned, `s`tarted, `d`one or `-` for none.
    private func log(_ files: MigrationFiles, _ states: String) -> [MigrationLog.Entry] {
        var entries: [MigrationLog.Entry] = []
        for (statement, letter) in zip(files.statements, states) where letter != "-" {
            for state in [MigrationLog.State.planned, .started, .done].prefix(letter == "p" ? 1 : letter == "s" ? 2 : 3) {
                entries.append(
                    MigrationLog.Entry(
                        number: UInt64(entries.count + 1), at: "2026-01-02 03:04:05.678", id: statement.id, title: statement.block.title,
                        state: state,
                        checksum: statement.checksum, text: statement.block.text, migrator: "process 1 on h", cluster: ""))
            }
        }
        return entries
    }

    @Test(
        "what is pending is what no entry calls done, with how far it got",
        arguments: [
            ("---", "new new new"), ("d--", "done new new"), ("dpp", "done planned planned"), ("dsp", "done started planned"),
            ("ddp", "done done planned"), ("dds", "done done started"), ("ddd", "done done done"), ("ppp", "planned planned planned"),
        ])
    func pending(states: String, expected: String) throws {
        let files = try files([Self.table, Self.two])
        let plan = try MigrationPlan(files, log(files, states))
        #expect(plan.steps.map { $0.reached?.rawValue ?? "new" }.joined(separator: " ") == expected)
        #expect(plan.pending.count == expected.split(separator: " ").count { $0 != "done" })
    }

    @Test("a statement that was only planned may change; one that was begun may not")
    func changed() throws {
        let old = try files([Self.table, Self.two])
        let new = try files([Self.table, Self.two.replacing("b Int8 DEFAULT 2", with: "b Int8 DEFAULT 3")])
        #expect(try MigrationPlan(new, log(old, "ddp")).pending.map(\.statement.id.number) == [2])
        for states in ["dds", "ddd"] {
            let refusal = #expect(throws: MigrationRefusal.self) { try MigrationPlan(new, log(old, states)) }
            #expect(
                refusal?.description == """
                    0002_x.sql, statement 2 (two) was applied at 2026-01-02 03:04:05.678 by process 1 on h, and its file has changed since:
                      -- statement: two
                    - ALTER TABLE t ADD COLUMN IF NOT EXISTS b Int8 DEFAULT 2
                    + ALTER TABLE t ADD COLUMN IF NOT EXISTS b Int8 DEFAULT 3
                    Put the file back as it was, and say what is to change in a new file with the next number.
                    """)
        }
    }

    @Test("titles, comments, spaces and derived: are not history; needs: and done if: are")
    func notHistory() throws {
        let old = try files([Self.table, Self.two])
        let same = try files([
            "-- derived: x\n-- c\n" + Self.table.replacing(" (ts", with: "\n  ( ts") + ";",
            Self.two.replacing("statement: one", with: "statement: eins"),
        ])
        #expect(try MigrationPlan(same, log(old, "ddd")).pending.isEmpty)
        let other = try files([Self.table, Self.two.replacing("one\n", with: "one\n-- done if: SELECT 1\n")])
        #expect(throws: MigrationRefusal.self) { try MigrationPlan(other, log(old, "ddd")) }
    }

    @Test("what was applied must be in the files, and what is new behind it")
    func order() throws {
        let all = try files([Self.table, Self.two])
        let missing = #expect(throws: MigrationRefusal.self) { try MigrationPlan(try files([Self.table]), log(all, "ddd")) }
        #expect(
            missing?.description.hasPrefix(
                "0002_x.sql, statement 1 (one) was applied at 2026-01-02 03:04:05.678 by process 1 on h, and is not") == true)
        #expect(try MigrationPlan(try files([Self.table]), log(all, "dpp")).pending.isEmpty, "what was only planned may be taken back")
        let late = #expect(throws: MigrationRefusal.self) { try MigrationPlan(all, log(all, "-dd")) }
        #expect(
            late?.description.hasPrefix("0001_x.sql, statement 1 (x) is new, and 0002_x.sql, statement 2 was applied before it") == true)
        let more = try files([Self.table, Self.two + "\n-- statement: three\nALTER TABLE t ADD COLUMN IF NOT EXISTS c Int8 DEFAULT 2"])
        let appended = #expect(throws: MigrationRefusal.self) { try MigrationPlan(more, log(all, "ddd")) }
        #expect(appended?.description.hasPrefix("0002_x.sql, statement 3 (three) is new") == true)
    }

    @Test("entries are read back as they were written, whatever the texts hold")
    func entries() throws {
        let line = "7\t2026-01-02 03:04:05.678\t613b\t2\t27\tstarted\tabc\t0a09\t\t6d"
        let entry = try #require(try MigrationLog.entries(Array((line + "\n").utf8)).first)
        #expect(entry.id == StatementID(file: "a;", number: 2))
        #expect([entry.title, entry.text, entry.migrator, entry.cluster] == ["'", "\n\t", "", "m"])
        for bad in [
            "x", line + "\tx", line.replacing("started", with: "begun"), line.replacing("613b", with: "61z"),
            line.replacing("613b", with: "613"),
        ] {
            #expect(throws: CommandFailure.self) { try MigrationLog.entries(Array(bad.utf8)) }
        }
        let insert = MigrationLog.insertQuery([entry])
        #expect(insert.hasSuffix("VALUES (7, 'a;', 2, '\\'', 'started', 'abc', '\n\t', '', 'm')"))
    }

    @Test("differences are shown with some lines around them")
    func differences() {
        let old = (1...20).map(String.init).joined(separator: "\n")
        let new = old.replacing("10\n", with: "ten\n").replacing("\n20", with: "\n20\n21")
        #expect(
            TextDifference.text(old: old, new: new)
                == "  ...\n  7\n  8\n  9\n- 10\n+ ten\n  11\n  12\n  13\n  ...\n  18\n  19\n  20\n+ 21")
        #expect(TextDifference.text(old: "", new: "a") == "- \n+ a")
        #expect(TextDifference.text(old: "a\nb\nc", new: "a\nc") == "  a\n- b\n  c")
    }
}

@Suite struct MigratorSignTests {
    private func sign(_ token: String, since: Int64, seen: Int64? = nil, process: Int32 = 1, space: String = "boot/pid/1") -> MigratorSign {
        MigratorSign(token: token, host: "h", process: process, space: space, since: since, seen: seen ?? since)
    }

    @Test("a sign is read back from its comment; other tables are no signs")
    func comment() {
        let one = sign("abc", since: 5, seen: 7)
        #expect(MigratorSign(table: one.tableName, comment: one.comment) == one)
        #expect(MigratorSign(table: "trades", comment: one.comment) == nil)
        #expect(MigratorSign(table: one.tableName, comment: "") == nil)
        #expect(MigratorSign(table: one.tableName, comment: one.comment.replacing("seen 7", with: "seen x")) == nil)
    }

    @Test("of two that see each other one withdraws; whoever sees none has the lock", arguments: [true, false])
    func decisions(ownIsEarlier: Bool) {
        let own = sign("own", since: 10)
        let other = sign("other", since: ownIsEarlier ? 11 : 9)
        let decision = LockDecision(own: own, found: [other, own], now: 20) { _ in false }
        #expect(decision == (ownIsEarlier ? .waits(for: other) : .withdraws(before: other)))
        let mirrored = LockDecision(own: other, found: [other, own], now: 20) { _ in false }
        #expect(mirrored == (ownIsEarlier ? .withdraws(before: own) : .waits(for: own)))
        #expect(LockDecision(own: own, found: [own], now: 20) { _ in false } == .holds(dead: []))
        #expect(LockDecision(own: own, found: [own, other], now: 20) { $0 == other } == .holds(dead: [other]))
        #expect(LockDecision(own: own, found: [other], now: 20) { _ in false } == .lost)
    }

    @Test("at the same moment the token decides, so both decide alike")
    func tie() {
        let (one, two) = (sign("a", since: 1), sign("b", since: 1))
        #expect(LockDecision(own: one, found: [one, two], now: 1) { _ in false } == .waits(for: two))
        #expect(LockDecision(own: two, found: [one, two], now: 1) { _ in false } == .withdraws(before: one))
    }

    @Test(
        "only a silent migrator, or one whose process is known to be gone, is dead",
        arguments: [
            (60_000 as Int64, "boot/pid/1", "boot/pid/1" as String?, false), (60_001, "boot/pid/1", "boot/pid/1", true),
            (0, "boot/pid/1", nil, true),
            (0, "boot/pid/1", "boot/pid/9", true), (0, "other/pid/1", nil, false), (0, "boot/other/1", nil, false), (0, "?", nil, false),
        ])
    func dead(silence: Int64, space: String, its: String?, isDead: Bool) {
        let other = sign("x", since: 0, seen: 100, process: 77, space: space)
        #expect(other.isDead(now: 100 + silence) { $0 == 77 ? its : "boot/pid/5" } == isDead)
    }
}

@Suite struct DistributedAnswerTests {
    private let titles = "host\tport\tstatus\terror\tnum_hosts_remaining\tnum_hosts_active\n"

    @Test("every host's line is judged")
    func hosts() throws {
        let answer = try DistributedAnswer(
            Array((titles + "a\t9000\t0\t\t2\t0\nb\t9000\t60\tno table\t1\t0\nc\t9001\t\\N\t\\N\t1\t1\n").utf8))
        #expect(answer.done == ["a:9000"])
        #expect(answer.failed == [DistributedAnswer.Failure(host: "b:9000", error: "no table")])
        #expect(answer.unfinished == ["c:9001"])
        #expect(
            answer.problem
                == "b:9000 failed: no table; c:9001 did not answer in time; the statement waits in their queue; a:9000 did it; run the same command again once that is mended: it goes on with this statement"
        )
        #expect(try DistributedAnswer(Array((titles + "a\t9000\t0\t\t0\t0\nb\t9000\t0\t\\N\t0\t0\n").utf8)).problem == nil)
        #expect(try DistributedAnswer(Array((titles + "a\t9000\t5\t\t0\t0\n").utf8)).failed.map(\.error) == ["status 5"])
    }

    @Test(
        "an answer that names no host proves nothing",
        arguments: ["", "host\tport\tstatus\terror\n", "Ok.\n", "host\tport\tstatus\terror\na\t1\n"])
    func nothing(text: String) {
        #expect(throws: CommandFailure.self) { try DistributedAnswer(Array(text.utf8)) }
    }
}
