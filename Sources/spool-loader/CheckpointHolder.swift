import Glibc
import SpoolFormat
import SpoolIO

/// Who has a checkpoint, as it says itself in the lock file. Only for people: the lock and the epoch decide.
struct CheckpointHolder: Equatable {
    static let maxBytes = 512

    let host: String
    let process: Int32
    let epoch: UInt64
    /// Nanoseconds since the Unix epoch.
    let since: Int64

    var text: String { "process \(process) on \(host), since \(rfc3339(since).prefix(19))Z" }

    static func this(epoch: UInt64) -> CheckpointHolder {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, 255)
        let host = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return CheckpointHolder(host: host.isEmpty ? "?" : host, process: getpid(), epoch: epoch, since: Clock.now())
    }

    func encode() -> [UInt8] { Array("host \(host)\nprocess \(process)\nepoch \(epoch)\nsince \(since)\n".utf8) }

    private init(host: String, process: Int32, epoch: UInt64, since: Int64) {
        (self.host, self.process, self.epoch, self.since) = (host, process, epoch, since)
    }

    /// - Returns: nil if the bytes say nothing of the kind.
    init?(_ bytes: [UInt8]) {
        var fields: [Substring: Substring] = [:]
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 1)
            if words.count == 2 { fields[words[0]] = words[1] }
        }
        guard let host = fields["host"], host.allSatisfy({ $0.isASCII && !$0.isWhitespace }),
            let process = fields["process"].flatMap({ Int32($0) }),
            let epoch = fields["epoch"].flatMap({ UInt64($0) }), let since = fields["since"].flatMap({ Int64($0) })
        else { return nil }
        self.init(host: String(host), process: process, epoch: epoch, since: since)
    }
}

/// Another loader has taken the checkpoint: this one must not go on.
struct FencedOff: Error, CustomStringConvertible {
    let path: String
    let own: UInt64
    let found: UInt64
    let holder: CheckpointHolder?

    var description: String {
        "\(path): another loader has taken this checkpoint (epoch \(found), ours is \(own)): \(holder?.text ?? "it does not say which"); "
            + "one at a time can load a spool"
    }
}
