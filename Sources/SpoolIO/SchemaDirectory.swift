import SpoolFormat

/// The `schemas/` directory: the one source of truth for both processes.
public enum SchemaDirectory {
    /// Reads all `NNNN_name.sql` files.
    ///
    /// - Returns: the files in the order of their numbers, with their text.
    /// - Throws: also for another file that ends in `.sql`: whoever put it there expects it to be applied.
    public static func files(_ path: String) throws -> [(name: String, text: String)] {
        let all = try Directory.list(path).filter { $0.lowercased().hasSuffix(".sql") }
        if let other = all.first(where: { !isSchemaName($0) }) {
            throw SchemaError(
                file: "\(path)/\(other)", line: 0,
                reason:
                    "is not named NNNN_name.sql, with four digits that say when it is applied: rename it, or move it out of the directory")
        }
        let names = all
        guard !names.isEmpty else {
            throw SchemaError(file: path, line: 0, reason: "no file named NNNN_name.sql; give the directory with --schemas")
        }
        var files: [(name: String, text: String)] = []
        for name in names {
            if let last = files.last, last.name.prefix(4) == name.prefix(4) {
                throw SchemaError(file: "\(path)/\(name)", line: 0, reason: "has the same number as \(last.name)")
            }
            files.append((name, try TextFile.read("\(path)/\(name)") ?? ""))
        }
        return files
    }

    /// Reads everything that the files define.
    public static func model(_ path: String) throws -> SchemaModel {
        try SchemaModel(files(path).map { ("\(path)/\($0.name)", $0.text) })
    }

    /// Reads all tables that events are recorded into.
    public static func tables(_ path: String) throws -> [TableSchema] { try model(path).recorded() }

    private static func isSchemaName(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        return name.hasSuffix(".sql") && bytes.count > 9 && bytes[4] == UInt8(ascii: "_")
            && bytes[..<4].allSatisfy { (0x30...0x39).contains($0) }
    }
}
