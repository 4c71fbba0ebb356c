import Glibc

/// Which process it is, beyond its number, which others have after it and elsewhere.
public enum ProcessPlace {
    /// The boot of the host, the space of processes (a container has its own), and when the process began there.
    ///
    /// - Returns: nil for a process that there is not, and where the system does not tell.
    public static func text(of process: Int32) -> String? {
        guard let stat = read("/proc/\(process)/stat"), let end = stat.lastIndex(of: ")"),
            let boot = read("/proc/sys/kernel/random/boot_id")
        else {
            return nil
        }
        // Behind the command's name, which may hold anything, the start is the 20th field.
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        guard fields.count > 19 else { return nil }
        var room = [CChar](repeating: 0, count: 64)
        let count = readlink("/proc/self/ns/pid", &room, room.count - 1)
        let space = count > 0 ? String(decoding: room[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : ""
        return "\(boot.filter { !$0.isWhitespace })/\(space)/\(fields[19])"
    }

    /// The same without the process: on which host, since which boot, in which space.
    public static func host(of text: String) -> Substring { text[..<(text.lastIndex(of: "/") ?? text.startIndex)] }

    /// Files of `/proc` have no size.
    private static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}
