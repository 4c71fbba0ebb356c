import SpoolFormat

/// What is still to be done, from the files and the log alone.
struct MigrationPlan {
    struct Step: Equatable {
        let statement: MigrationStatement
        /// How far an earlier run got; nil if none knew of it.
        let reached: MigrationLog.State?
    }

    /// All statements of the files, in order.
    let steps: [Step]

    var pending: [Step] { steps.filter { $0.reached != .done } }

    /// - Throws: `MigrationRefusal` if what was applied is not what the files say.
    init(_ files: MigrationFiles, _ entries: [MigrationLog.Entry]) throws(MigrationRefusal) {
        var last: [StatementID: MigrationLog.Entry] = [:]
        for entry in entries { last[entry.id] = entry }
        let begun = last.values.filter { $0.state > .planned }
        let known = Set(files.statements.map(\.id))
        if let entry = begun.filter({ !known.contains($0.id) }).min(by: { $0.id < $1.id }) { throw .missing(entry) }
        let newest = begun.map(\.id).max()
        var steps: [Step] = []
        for statement in files.statements {
            let entry = last[statement.id]
            if let entry, entry.state > .planned, entry.checksum != statement.checksum { throw .changed(entry, now: statement) }
            // What was planned and then changed was never sent.
            let reached = entry?.checksum == statement.checksum ? entry?.state : nil
            if entry == nil || reached == nil, let newest, statement.id < newest || (entry == nil && statement.id.file == newest.file) {
                throw .late(statement, behind: newest)
            }
            steps.append(Step(statement: statement, reached: reached))
        }
        self.steps = steps
    }
}

/// Why nothing may be applied.
enum MigrationRefusal: Error, Equatable, CustomStringConvertible {
    /// A statement was applied, and its file says another one now.
    case changed(MigrationLog.Entry, now: MigrationStatement)
    /// A statement was applied that is in no file.
    case missing(MigrationLog.Entry)
    /// A statement stands before others that were applied.
    case late(MigrationStatement, behind: StatementID)
    case otherCluster(String, MigrationLog.Entry)

    var description: String {
        switch self {
        case .changed(let entry, let now):
            """
            \(entry.id) (\(entry.title)) was applied at \(entry.at) by \(entry.migrator), and its file has changed since:
            \(TextDifference.text(old: entry.text, new: now.block.text))
            Put the file back as it was, and say what is to change in a new file with the next number.
            """
        case .missing(let entry):
            "\(entry.id) (\(entry.title)) was applied at \(entry.at) by \(entry.migrator), and is not in the directory: these files are older than the "
                + "database, or were renamed; use those that it was made with, and newer ones"
        case .late(let statement, let newest):
            "\(statement.id) (\(statement.block.title)) is new, and \(newest) was applied before it: give what is new a file with the next number"
        case .otherCluster(let cluster, let entry):
            "this database was migrated \(entry.cluster.isEmpty ? "without --cluster" : "with --cluster \(entry.cluster)"), and now it is to be "
                + "\(cluster.isEmpty ? "without" : "with --cluster \(cluster)"): tables of one kind do not become the other by a migration"
        }
    }
}
