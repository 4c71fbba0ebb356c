import Glibc
import Logging
import SpoolIO

/// What producers leave that are killed while they make a ring: a file of the ring's full size that never got its name.
enum RingLeftovers {
    /// Younger files are left alone: between the file and its lock its maker has an instant in which it looks dead. Seconds.
    private static let patience = 60

    /// Removes files named `.ID.tmp` that nobody has locked.
    static func remove(in directory: String, log: Logger) {
        guard let names = try? Directory.list(directory, hidden: true) else { return }
        for name in names where isUnfinished(name) {
            let path = "\(directory)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, time(nil) - status.st_mtim.tv_sec > patience else {
                continue
            }
            let descriptor = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0, unlink(path) == 0 else { continue }
            log.notice("removed a ring that its producer never finished", metadata: ["file": "\(path)"])
        }
    }

    private static func isUnfinished(_ name: String) -> Bool {
        let digits = name.utf8.dropFirst().dropLast(4)
        return name.hasPrefix(".") && name.hasSuffix(".tmp") && digits.count == 16
            && digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }
}
