import SpoolFormat
import SpoolIO

/// Finds the file of `schemas/` that brings what a table in ClickHouse lacks, to name it. Pure.
struct MissingMigration {
    let files: [(name: String, text: String)]
    /// What ClickHouse says that it has had; nil if it does not say.
    let applied: AppliedSchemas?

    /// The name of the first file after which a table is as it must be, if ClickHouse may not have had it yet.
    ///
    /// - Parameter isMended: whether the table will do; nil stands for no such table.
    /// - Returns: nil if there is none, or the files cannot be understood.
    func file(for table: String, isMended: (TableDefinition?) -> Bool) -> String? {
        var model = SchemaModel()
        var found: String?
        for file in files.sorted(by: { $0.name < $1.name }) {
            guard let blocks = try? StatementBlock.blocks(of: file.text, file: file.name) else { return nil }
            for block in blocks { guard (try? model.apply(block)) != nil else { return nil } }
            guard found == nil, isMended(model[table]) else { continue }
            found = file.name
            if let applied { return Self.isDone(file.name, blocks.count, applied) ? nil : found }
        }
        // Without a history a column that a later file takes away again may have been and gone: then nothing is known.
        return isMended(model[table]) ? found : nil
    }

    private static func isDone(_ file: String, _ statements: Int, _ applied: AppliedSchemas) -> Bool {
        applied.done.count { $0.file == file } >= statements
    }
}

extension MissingMigration {
    /// With the files of the directory, if it can be read here: none else, since the loader needs them for nothing more.
    init(directory: String, applied: AppliedSchemas?) {
        self.init(files: (try? SchemaDirectory.files(directory)) ?? [], applied: applied)
    }

    /// What to say of a column that cannot be sent.
    func text(_ complaint: ColumnComplaint, of table: String) -> String {
        complaint.text(broughtBy: file(for: table, isMended: complaint.isMended))
    }

    /// What to say of a table that is not there.
    func textOfMissing(_ table: String) -> String {
        guard let file = file(for: table, isMended: { $0 != nil }) else {
            return "table \(table) is not in ClickHouse; run `spool-loader migrate apply`"
        }
        return "table \(table) is not in ClickHouse; \(file) brings it: run `spool-loader migrate apply`"
    }
}
