import SpoolFormat
import SpoolIO

/// One thing that is wrong in a spool, or worth knowing.
struct Finding: Encodable, Equatable {
    /// Damage makes `verify` fail; a note does not.
    let isDamage: Bool
    let table: String
    /// File name within the table's directory.
    let file: String
    /// Bytes from the file's start; absent if the file as a whole is meant.
    let offset: UInt64?
    let text: String
}

/// Checks every byte of a table as the damage table says (`docs/spool-format.md` §10, column `verify`).
struct TableVerification {
    let spool: SpoolDirectory
    let table: String
    private(set) var findings: [Finding] = []
    private(set) var segments = 0
    private(set) var chunks = 0
    private(set) var rows: UInt64 = 0
    private(set) var bytes: UInt64 = 0
    private var mark: DurableMark?
    private var hasMark = false

    init(spool: SpoolDirectory, table: String) {
        self.spool = spool
        self.table = table
    }

    mutating func run() throws {
        do {
            mark = try spool.mark(of: table)
            hasMark = mark != nil
            if let mark, mark.writer != spool.writer {
                damage(DurableMark.fileName, nil, "is of writer \(mark.writer), the spool of \(spool.writer)")
            }
        } catch let error as FormatError {
            hasMark = true
            damage(DurableMark.fileName, nil, "\(error)")
        }
        let standing = StandingSegments(try spool.segments(of: table))
        let names = standing.names
        for name in standing.replaced { checkReplaced(name, by: names.first { $0.number == name.number }) }
        var expected: UInt64?
        for name in names {
            segments += 1
            let end = try check(name, expected: expected, isLast: name == names.last)
            expected = end
        }
        if let mark, !names.contains(mark.segment), !(mark.isSealed && isTombstone(names.first { $0.number == mark.segmentNumber })) {
            let isPruned = mark.isSealed && names.allSatisfy { $0.number > mark.segmentNumber } && names.isEmpty
            if isPruned {
                note(DurableMark.fileName, nil, "names segment \(mark.segment), which is not here any more")
            } else {
                damage(DurableMark.fileName, nil, "names segment \(mark.segment), which is not here")
            }
        }
        if !hasMark, !names.isEmpty { note(DurableMark.fileName, nil, "is missing: what of an active segment is durable cannot be told") }
        for name in try Directory.list(spool.directory(of: table)) where name.contains(".lz4.torn-") {
            note(name, nil, "is a torn tail that a recovery cut off")
        }
    }

    /// Two segments of one number: what a crash leaves that came between creating a tombstone and removing what it replaces.
    private mutating func checkReplaced(_ name: SegmentName, by other: SegmentName?) {
        guard let other else { return }
        if isTombstone(other) {
            note(name.fileName, nil, "was given up: \(other) stands in its place, and the writer removes this one at its next start")
        } else {
            damage(name.fileName, nil, "and \(other) have the same number")
        }
    }

    private func isTombstone(_ name: SegmentName?) -> Bool {
        name.flatMap { try? SegmentReader(path: spool.path(of: $0, table: table)).header.isShed } ?? false
    }

    /// - Returns: the sequence after the segment's last row; nil if it cannot be told.
    private mutating func check(_ name: SegmentName, expected: UInt64?, isLast: Bool) throws -> UInt64? {
        let file = name.fileName
        let reader: SegmentReader
        do {
            reader = try SegmentReader(path: spool.path(of: name, table: table))
        } catch let error as FormatError {
            damage(file, 0, "segment header: \(error)")
            return nil
        } catch let failure as IOFailure where failure.isMissing {
            // Given up or pruned since the directory was listed.
            if try spool.segments(of: table).contains(name) { throw failure }
            note(file, nil, "was removed while this ran")
            return nil
        }
        let header = reader.header
        if header.name != name || header.table != table || header.writer != spool.writer {
            damage(
                file, 0,
                "says that it is segment \(header.name) of table \(header.table), writer \(header.writer); the spool is of \(spool.writer)")
        }
        if header.isShed {
            note(file, 0, "declares rows \(header.lostFrom) to \(header.firstSequence - 1) shed: the writer gave them up for want of room")
            if let expected, expected < header.lostFrom {
                damage(file, 0, "rows \(expected) to \(header.lostFrom - 1) are missing, and not among those that it declares shed")
            }
        } else if header.lostFrom < header.firstSequence {
            damage(file, 0, "declares rows \(header.lostFrom) to \(header.firstSequence - 1) lost")
        } else if let expected, expected != header.firstSequence {
            damage(file, 0, "begins at sequence \(header.firstSequence), expected \(expected)")
        }
        bytes += try reader.file.size()
        return try walk(reader, name, isLast: isLast)
    }

    private mutating func walk(_ reader: SegmentReader, _ name: SegmentName, isLast: Bool) throws -> UInt64? {
        let file = name.fileName
        let size = try reader.file.size()
        let isMarked = mark?.segment == name
        let durable = isMarked ? mark?.durableBytes ?? 0 : 0
        // A later one than the mark's has only a header that is durable.
        let mustBeSealed = !isLast || (isMarked && mark?.isSealed == true)
        var offset = reader.start
        var sequence = reader.header.firstSequence
        var entries: [IndexEntry] = []
        var markSequence: UInt64? = offset == durable ? sequence : nil
        var isWithinCut = false
        while true {
            switch try reader.item(at: offset, limit: size) {
            case .chunk(let chunk):
                do throws(FormatError) {
                    try chunk.header.check(against: reader.header, expecting: sequence)
                } catch {
                    damage(file, offset, "\(error)")
                }
                do {
                    _ = try reader.block(of: chunk)
                } catch let error as FormatError {
                    if offset >= durable, !mustBeSealed, try reader.resume(after: offset, limit: size) == nil {
                        note(file, offset, "a torn tail: \(error)")
                        return finish(name, sequence, markSequence, isMarked)
                    }
                    damage(file, offset, "rows \(chunk.header.firstSequence) to \(chunk.header.endSequence - 1): \(error)")
                }
                entries.append(IndexEntry(offset: offset, header: chunk.header))
                chunks += 1
                rows += UInt64(chunk.header.rows)
                sequence = chunk.header.endSequence
                offset = chunk.end
                isWithinCut = chunk.header.continues
                if offset == durable, !isWithinCut { markSequence = sequence }
            case .index(let index, _, let end):
                checkIndex(index, entries, reader, at: offset)
                if isWithinCut { damage(file, offset, "the index stands within a cut: its last chunk is missing") }
                if end != size { damage(file, end, "\(size - end) bytes after the index") }
                if isMarked, mark?.isSealed == true, durable == end { markSequence = sequence }
                return finish(name, sequence, markSequence, isMarked)
            case let item:
                if let next = try reader.resume(after: offset, limit: size) {
                    damage(file, offset, "\(text(item)); \(next - offset) bytes are unreadable")
                    if case .chunk(let chunk) = try reader.item(at: next, limit: size) { sequence = chunk.header.firstSequence }
                    offset = next
                    isWithinCut = false
                    continue
                }
                checkEnd(item, file, at: offset, size: size, durable: durable, mustBeSealed: mustBeSealed)
                return finish(name, sequence, markSequence, isMarked)
            }
        }
    }

    /// What stands behind the last chunk of a segment that has no index.
    private mutating func checkEnd(
        _ item: SegmentItem, _ file: String, at offset: UInt64, size: UInt64, durable: UInt64, mustBeSealed: Bool
    ) {
        if case .damaged(let error) = item {
            let isTornTail = offset >= durable && !mustBeSealed && !error.needsNewerVersion
            if isTornTail { note(file, offset, "a torn tail: \(error)") } else { damage(file, offset, "\(error)") }
        } else if offset < durable {
            damage(file, offset, "\(durable - offset) bytes below the durable mark are gone")
        } else if mustBeSealed {
            damage(file, offset, "the segment is over, but has no index")
        } else if case .zeros = item {
            note(file, offset, "\(size - offset) zero bytes after the last chunk")
        } else if offset < size {
            note(file, offset, "a torn tail of \(size - offset) bytes")
        }
    }

    /// What is wrong where valid frames follow.
    private func text(_ item: SegmentItem) -> String {
        switch item {
        case .damaged(let error): "\(error)"
        case .torn: "a frame runs past the segment's end"
        default: "no frame begins here"
        }
    }

    private mutating func finish(_ name: SegmentName, _ sequence: UInt64, _ markSequence: UInt64?, _ isMarked: Bool) -> UInt64? {
        if isMarked, let mark {
            if markSequence == nil {
                damage(DurableMark.fileName, nil, "\(mark.durableBytes) durable bytes end within a chunk of \(name), or behind its end")
            } else if markSequence != mark.durableEnd {
                damage(
                    DurableMark.fileName, nil,
                    "says that rows before \(mark.durableEnd) are durable; \(name) has those before \(markSequence ?? 0) there")
            }
        }
        return sequence
    }

    private mutating func checkIndex(_ index: SegmentIndex, _ entries: [IndexEntry], _ reader: SegmentReader, at offset: UInt64) {
        let file = reader.header.name.fileName
        // What it lists may be anything; only the sums of real chunks can be counted up.
        guard index.entries == entries else { return damage(file, offset, "the index does not list the chunks that are there") }
        let firstIngest = index.trailer.firstIngest
        let expected = SegmentIndex.encode(
            entries: index.entries, firstSequence: reader.header.firstSequence, firstIngest: firstIngest,
            sealed: index.trailer.sealed, at: offset)
        let made = try? expected.withUnsafeBytes { try SegmentIndex.decode($0) }
        if made?.0.trailer != index.trailer { damage(file, offset, "the trailer's sums are not those of the index") }
    }

    private mutating func damage(_ file: String, _ offset: UInt64?, _ text: String) {
        findings.append(Finding(isDamage: true, table: table, file: file, offset: offset, text: text))
    }

    private mutating func note(_ file: String, _ offset: UInt64?, _ text: String) {
        findings.append(Finding(isDamage: false, table: table, file: file, offset: offset, text: text))
    }
}
