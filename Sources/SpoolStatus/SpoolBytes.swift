import SpoolIO

/// Bytes that the segments of a spool take, by table: a look at each of them, so nothing for a loop that records.
public enum SpoolBytes {
    public static func byTable(_ spool: String) -> [(table: String, bytes: UInt64)] {
        guard let directory = try? SpoolDirectory.open(spool), let tables = try? directory.tables() else { return [] }
        return tables.map { table in
            let segments = (try? directory.segments(of: table)) ?? []
            // One that was given up in the meantime takes nothing.
            return (table, segments.reduce(0) { $0 + (File.bytes(directory.path(of: $1, table: table)) ?? 0) })
        }
    }
}
