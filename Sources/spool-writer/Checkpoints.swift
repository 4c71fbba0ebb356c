import SpoolFormat
import SpoolIO

/// The loader's checkpoints, where they can be read from here. The writer never writes them.
struct Checkpoints {
    private let directory: String
    private let writer: String

    /// - Parameter directory: `writer.checkpoints`.
    init(directory: String, writer: String) {
        self.directory = "\(directory)/\(writer)"
        self.writer = writer
    }

    /// A table's newest checkpoint; nil if there is none that can be read.
    func checkpoint(of table: String) -> Checkpoint? {
        guard let file = try? File.openForReading("\(directory)/\(table).checkpoint") else { return nil }
        let slots = (0..<UInt64(2)).compactMap { slot in
            (try? file.read(Checkpoint.slotBytes, at: slot * UInt64(Checkpoint.slotBytes))).flatMap { try? Checkpoint.decode($0) }
        }
        return slots.filter { $0.table == table && $0.writer == writer }.max { $0.version < $1.version }
    }
}
