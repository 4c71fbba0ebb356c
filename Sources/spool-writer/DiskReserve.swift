import Glibc
import Logging
import SpoolIO

/// Room on the disk that is taken in advance, so that audit rows find some when nothing else does: a file that nobody reads.
///
/// Market rows meet a full disk sooner by its size. What it gives is gone to whoever writes first, so it is given back piece by piece, and taken
/// again once there is room.
final class DiskReserve {
    static let fileName = "reserve"
    /// Of the file system, at most.
    private static let largestShare: UInt64 = 20
    private static let pieces: UInt64 = 8
    private static let leastPiece: UInt64 = 256 << 10

    private let path: String
    private let spool: SpoolDirectory
    private let wanted: UInt64
    private var file: File?
    /// Bytes that it holds.
    private(set) var bytes: UInt64 = 0

    /// - Parameters:
    ///   - wanted: bytes, of which no more than a twentieth of the disk is taken.
    ///   - total: bytes of the disk.
    init(spool: SpoolDirectory, wanted: Int, total: UInt64) {
        path = "\(spool.path)/\(Self.fileName)"
        self.spool = spool
        self.wanted = min(UInt64(wanted), total / Self.largestShare)
        if let file = try? File.openForReading(path), let size = try? file.size() { bytes = size }
    }

    var isWhole: Bool { bytes >= wanted }

    /// Takes what is missing. Without an error: if there is no room now, there may be later.
    func refill() {
        guard !isWhole || (wanted > 0 && file?.isAt(path) == false), (try? spool.checkID()) != nil else { return }
        do {
            if file?.isAt(path) != true { file = try File.openForWriting(path) }
            try file?.allocate(wanted)
            bytes = wanted
        } catch {
            // A file system may know no allocation in advance (EOPNOTSUPP): then there is no reserve, and the first warning is all.
            bytes = (try? file?.size()) ?? 0
        }
    }

    /// Gives a piece back to the disk.
    ///
    /// - Returns: false if nothing is left to give.
    func giveBack(log: Logger) -> Bool {
        guard bytes > 0 else { return false }
        do {
            if file == nil { file = try File.openForWriting(path) }
            let piece = max(wanted / Self.pieces, Self.leastPiece)
            let rest = bytes > piece ? bytes - piece : 0
            try file?.truncate(to: rest)
            log.critical("the disk is full: audit rows take the reserve, of which \(rest) bytes are left; make room")
            bytes = rest
            return true
        } catch {
            bytes = 0
            return false
        }
    }
}
