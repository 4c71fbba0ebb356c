/// A batch that may have been sent and is not yet confirmed (`docs/spool-format.md` §13).
public struct InflightBatch: Equatable, Sendable {
    public var firstSequence: UInt64
    public var endSequence: UInt64
    public var segmentNumber: UInt64
    /// Byte range of the segment.
    public var fromOffset: UInt64
    public var toOffset: UInt64
    public var partition: Int32
    /// CRC-32C of those bytes.
    public var checksum: UInt32
    /// How many fresh tokens the batch had before this one.
    public var attempt: Int

    public init(
        firstSequence: UInt64, endSequence: UInt64, segmentNumber: UInt64, fromOffset: UInt64, toOffset: UInt64,
        partition: Int32, checksum: UInt32, attempt: Int
    ) {
        self.firstSequence = firstSequence
        self.endSequence = endSequence
        self.segmentNumber = segmentNumber
        self.fromOffset = fromOffset
        self.toOffset = toOffset
        self.partition = partition
        self.checksum = checksum
        self.attempt = attempt
    }

    public var rows: UInt64 { endSequence - firstSequence }

    /// What ClickHouse deduplicates by: same token, same bytes, always.
    public func token(writer: String, table: String) -> String {
        "\(writer)/\(table)/\(firstSequence)-\(endSequence)/\(hex(checksum))/\(attempt)"
    }
}

/// Up to where ClickHouse has confirmed a table's rows (`docs/spool-format.md` §13).
public struct Checkpoint: Equatable, Sendable {
    public static let slotBytes = 4_096
    /// Most batches in flight that a slot has room for, whatever their numbers.
    public static let maxInflight = 16

    public var version: UInt64
    public var epoch: UInt64
    public var writer: String
    public var table: String
    /// Every row below this sequence is dealt with.
    public var next: UInt64
    /// Where the next chunk begins; segment 0 before anything was read.
    public var segmentNumber: UInt64
    public var offset: UInt64
    public var rowsLoaded: UInt64
    public var rowsExpired: UInt64
    public var rowsQuarantined: UInt64
    /// Rows that the writer gave up under pressure before they were loaded.
    public var rowsShed: UInt64
    /// Batches that may have been sent and are not yet passed by ``next``, in the order of their rows. Between them may be rows that were not
    /// sent yet.
    public var inflight: [InflightBatch] = []

    /// The checkpoint of a table of which nothing was loaded yet.
    public init(writer: String, table: String) {
        self.writer = writer
        self.table = table
        version = 0
        epoch = 0
        next = 1
        segmentNumber = 0
        offset = 0
        rowsLoaded = 0
        rowsExpired = 0
        rowsQuarantined = 0
        rowsShed = 0
    }

    /// One slot: exactly ``slotBytes`` bytes.
    public func encode() -> [UInt8] {
        var text = """
            coldpath-checkpoint \(inflight.count > 1 ? 2 : 1)
            version \(version)
            epoch \(epoch)
            writer \(writer)
            table \(table)
            next \(next)
            segment \(segmentNumber)
            offset \(offset)
            rows-loaded \(rowsLoaded)
            rows-expired \(rowsExpired)
            rows-quarantined \(rowsQuarantined)

            """
        if rowsShed > 0 { text += "rows-shed \(rowsShed)\n" }
        for batch in inflight {
            text += "inflight \(batch.firstSequence) \(batch.endSequence) \(batch.segmentNumber) \(batch.fromOffset) "
            text += "\(batch.toOffset) \(batch.partition) \(hex(batch.checksum)) \(batch.attempt)\n"
        }
        let crc = Array(text.utf8).withUnsafeBytes { crc32c($0) }
        var bytes = Array((text + "crc32c \(hex(crc))\n").utf8)
        precondition(bytes.count < Self.slotBytes, "a checkpoint of \(bytes.count) bytes")
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: Self.slotBytes - bytes.count - 1))
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }

    /// Reads a slot.
    public static func decode(_ slot: [UInt8]) throws(FormatError) -> Checkpoint {
        guard slot.count == slotBytes else { throw .truncated(need: slotBytes, have: slot.count) }
        guard let text = String(validating: slot, as: UTF8.self) else { throw .malformed("a checkpoint that is not text") }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let last = lines.firstIndex(where: { $0.hasPrefix("crc32c ") }) else { throw .malformed("no checkpoint") }
        let body = lines[..<last].map { $0 + "\n" }.joined()
        let computed = Array(body.utf8).withUnsafeBytes { crc32c($0) }
        guard let stored = UInt32(lines[last].dropFirst(7), radix: 16) else { throw .malformed("a checkpoint without checksum") }
        guard stored == computed else { throw .checksum(what: "checkpoint", stored: stored, computed: computed) }
        // As written, too: a flipped bit can turn a digit into its capital, which is the same number.
        guard lines[last].dropFirst(7) == hex(computed) else { throw .malformed("a checkpoint whose checksum is not as written") }
        let padding = lines[(last + 1)...].joined()
        guard padding.allSatisfy({ $0 == " " }) else { throw .malformed("text after the checkpoint's checksum") }

        var fields: [Substring: [Substring]] = [:]
        var batches: [[Substring]] = []
        for line in lines[..<last] {
            let words = line.split(separator: " ")
            guard let key = words.first else { continue }
            if key == "inflight" { batches.append(Array(words.dropFirst())) } else { fields[key] = Array(words.dropFirst()) }
        }
        func words(_ key: Substring, _ count: Int) throws(FormatError) -> [Substring] {
            guard let words = fields[key], words.count == count else { throw .malformed("checkpoint: field \(key)") }
            return words
        }
        func number<Value: FixedWidthInteger>(_ text: Substring, radix: Int = 10) throws(FormatError) -> Value {
            guard let value = Value(text, radix: radix) else { throw .malformed("checkpoint: \(text) is not a number") }
            return value
        }
        let version: UInt16 = try number(words("coldpath-checkpoint", 1)[0])
        // A loader that knows of one batch in flight must not take a checkpoint of several for one of the last of them.
        guard (1...2).contains(version) else { throw .unknownVersion(found: version) }
        guard batches.count <= (version == 1 ? 1 : maxInflight) else { throw .malformed("checkpoint: \(batches.count) batches in flight") }
        var checkpoint = Checkpoint(writer: String(try words("writer", 1)[0]), table: String(try words("table", 1)[0]))
        checkpoint.version = try number(words("version", 1)[0])
        checkpoint.epoch = try number(words("epoch", 1)[0])
        checkpoint.next = try number(words("next", 1)[0])
        guard checkpoint.next > 0 else { throw .malformed("checkpoint: next 0, but sequences begin with 1") }
        checkpoint.segmentNumber = try number(words("segment", 1)[0])
        checkpoint.offset = try number(words("offset", 1)[0])
        checkpoint.rowsLoaded = try number(words("rows-loaded", 1)[0])
        checkpoint.rowsExpired = try number(words("rows-expired", 1)[0])
        checkpoint.rowsQuarantined = try number(words("rows-quarantined", 1)[0])
        if fields["rows-shed"] != nil { checkpoint.rowsShed = try number(words("rows-shed", 1)[0]) }
        for batch in batches {
            guard batch.count == 8 else { throw .malformed("checkpoint: field inflight") }
            let inflight = InflightBatch(
                firstSequence: try number(batch[0]), endSequence: try number(batch[1]), segmentNumber: try number(batch[2]),
                fromOffset: try number(batch[3]), toOffset: try number(batch[4]), partition: try number(batch[5]),
                checksum: try number(batch[6], radix: 16), attempt: try number(batch[7]))
            guard inflight.firstSequence < inflight.endSequence, inflight.fromOffset < inflight.toOffset, inflight.attempt >= 0 else {
                throw .malformed("checkpoint: a batch in flight without rows")
            }
            guard inflight.firstSequence >= checkpoint.inflight.last?.endSequence ?? checkpoint.next else {
                throw .malformed("checkpoint: batches in flight that are not one behind the other")
            }
            checkpoint.inflight.append(inflight)
        }
        return checkpoint
    }
}
