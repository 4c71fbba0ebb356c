import SpoolIO

/// Whether rows would go to the writer that recorded them: then its history would hold them twice, and nobody could tell which are true.
struct OwnWriter {
    private static let mapsBytes = 4 << 20

    private let spool: SpoolDirectory

    init(_ spool: SpoolDirectory) { self.spool = spool }

    /// - Throws: `CommandFailure` if the process at the other end is this spool's writer.
    func check(connection descriptor: Int32, _ path: String) throws(CommandFailure) {
        guard let process = spool.writerProcess(), LocalSocket.peerProcess(of: descriptor) == process else { return }
        throw failure("the writer at \(path)")
    }

    /// - Throws: `CommandFailure` if this spool's writer has the ring. Of another user's process that cannot be seen.
    func check(ring path: String) throws(CommandFailure) {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        guard let process = spool.writerProcess(),
            let maps = try? File.openForReading("/proc/\(process)/maps").read(Self.mapsBytes, at: 0),
            String(decoding: maps, as: UTF8.self).contains(name)
        else { return }
        throw failure("the writer that has \(path)")
    }

    private func failure(_ who: String) -> CommandFailure {
        CommandFailure(
            "\(who) records into \(spool.path), where these rows come from: they would stand there twice; give another writer's", code: 64)
    }
}
