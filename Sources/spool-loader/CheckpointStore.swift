import SpoolFormat
import SpoolIO

/// A table's checkpoint on disk (`docs/spool-format.md` §13), held by one loader at a time.
final class CheckpointStore {
    private let file: File
    private let lock: File
    /// Rows that the checkpoint passes without loading them.
    let quarantine: QuarantineList
    private(set) var checkpoint: Checkpoint

    /// Takes the checkpoint: locks it and raises its epoch. When this returns the new epoch is durable.
    ///
    /// - Throws: `CommandFailure` if another loader has it, or if it is damaged.
    init(directory: String, writer: String, table: String) throws {
        let home = "\(directory)/\(writer)"
        try Directory.create(home)
        lock = try File.openForWriting("\(home)/\(table).lock")
        guard try lock.lock() else {
            let holder = CheckpointHolder(try lock.read(CheckpointHolder.maxBytes, at: 0))
            throw CommandFailure(
                "\(home)/\(table).lock: another loader has this checkpoint: \(holder?.text ?? "it does not say which"); "
                    + "one at a time can load a spool", code: 74)
        }
        let path = "\(home)/\(table).checkpoint"
        quarantine = QuarantineList(directory: directory, writer: writer, table: table)
        file = try File.openForWriting(path)
        checkpoint = try Self.newest(in: file, writer, table) ?? Checkpoint(writer: writer, table: table)
        checkpoint.epoch += 1
        try save(checkpoint)
        let holder = CheckpointHolder.this(epoch: checkpoint.epoch).encode()
        try lock.write(holder, at: 0)
        try lock.truncate(to: UInt64(holder.count))
        try Directory.sync(home)
    }

    /// Makes the checkpoint durable, in the slot that does not hold the last one.
    ///
    /// - Throws: `IOFailure`; `FencedOff` if another loader has taken the checkpoint in the meantime, as can happen where locks do not reach.
    func save(_ next: Checkpoint) throws {
        try checkFence()
        var next = next
        precondition(next.next >= checkpoint.next, "a checkpoint must not go back from \(checkpoint.next) to \(next.next)")
        next.version = checkpoint.version + 1
        try file.write(next.encode(), at: (next.version % 2) * UInt64(Checkpoint.slotBytes))
        try file.sync()
        checkpoint = next
    }

    /// Shared storage does not always carry locks from one host to another. Who takes a checkpoint raises its epoch; who finds a higher one than
    /// its own has lost it.
    private func checkFence() throws {
        for slot in 0..<UInt64(2) {
            let bytes = try file.read(Checkpoint.slotBytes, at: slot * UInt64(Checkpoint.slotBytes))
            guard let found = try? Checkpoint.decode(bytes), found.epoch > checkpoint.epoch else { continue }
            throw FencedOff(
                path: file.path, own: checkpoint.epoch, found: found.epoch,
                holder: (try? lock.read(CheckpointHolder.maxBytes, at: 0)).flatMap(CheckpointHolder.init))
        }
    }

    /// Reads a checkpoint without taking it; nil if there is none.
    static func peek(directory: String, writer: String, table: String) throws -> Checkpoint? {
        let path = "\(directory)/\(writer)/\(table).checkpoint"
        do {
            return try newest(in: File.openForReading(path), writer, table)
        } catch let failure as IOFailure where failure.isMissing {
            return nil
        }
    }

    private static func newest(in file: File, _ writer: String, _ table: String) throws -> Checkpoint? {
        let size = try file.size()
        if size == 0 { return nil }
        var best: Checkpoint?
        var damage: [FormatError] = []
        for slot in 0..<UInt64(2) {
            let bytes = try file.read(Checkpoint.slotBytes, at: slot * UInt64(Checkpoint.slotBytes))
            // A slot that was never written is empty or, before the other one, a hole of zeros.
            if bytes.allSatisfy({ $0 == 0 }) { continue }
            do {
                let found = try Checkpoint.decode(bytes)
                if found.version > best?.version ?? 0 { best = found }
            } catch {
                if error.needsNewerVersion { throw CommandFailure("\(file.path): \(error)", code: 74) }
                damage.append(error)
            }
        }
        guard let best else {
            if size < UInt64(Checkpoint.slotBytes) * 2 && damage.allSatisfy({ $0.isTruncation }) { return nil }
            let why = damage.isEmpty ? "both are empty" : damage.map(\.description).joined(separator: "; ")
            throw CommandFailure(
                "\(file.path): no slot is readable (\(why)); find out with "
                    + "`spool-loader audit` what ClickHouse has before you move the file away", code: 74)
        }
        guard best.writer == writer, best.table == table else {
            throw CommandFailure("\(file.path) is of table \(best.table), writer \(best.writer)", code: 74)
        }
        return best
    }
}
