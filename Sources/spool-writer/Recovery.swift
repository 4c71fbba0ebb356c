import SpoolFormat
import SpoolIO

/// Where a table's writing goes on after a start.
struct RecoveredTable {
    var nextNumber: UInt64 = 1
    var nextSequence: UInt64 = 1
    /// First sequence of rows that were published as durable and are gone; nil if none are.
    var lostFrom: UInt64?
    var positions = PositionTable()
    var publications: UInt64 = 0
    /// What was found and done, for people.
    var notes: [Note] = []

    struct Note: Equatable {
        /// Damage, as opposed to what any crash leaves.
        let isAlert: Bool
        let text: String
    }
}

/// Why nothing may be appended to a table.
enum RecoveryFailure: Error, CustomStringConvertible {
    case io(IOFailure)
    /// The table's files contradict each other or need a newer build; somebody must look.
    case refused(String)

    var description: String {
        switch self {
        case .io(let failure): failure.description
        case .refused(let why): why
        }
    }
}

/// Opens a table's newest segment after a start, as the damage table says (`docs/spool-format.md` §10).
///
/// Only bytes above the durable mark are ever cut, and those are copied aside first.
struct Recovery {
    let spool: SpoolDirectory
    let table: String
    let now: Int64
    private var result = RecoveredTable()
    private var mark: DurableMark?
    private var isMarkDamaged = false

    /// - Returns: where to go on. The newest segment is sealed, or left untouched because it is damaged.
    static func run(spool: SpoolDirectory, table: String, now: Int64) throws(RecoveryFailure) -> RecoveredTable {
        var recovery = Recovery(spool: spool, table: table, now: now)
        do {
            try recovery.run()
        } catch let failure as IOFailure {
            throw .io(failure)
        } catch let failure as RecoveryFailure {
            throw failure
        } catch {
            throw .refused("\(table): \(error)")
        }
        return recovery.result
    }

    private init(spool: SpoolDirectory, table: String, now: Int64) {
        self.spool = spool
        self.table = table
        self.now = now
    }

    private mutating func run() throws {
        guard Directory.exists(spool.directory(of: table)) else { return }
        try removeUnfinished()
        do {
            mark = try spool.mark(of: table)
        } catch let error as FormatError {
            if error.needsNewerVersion { throw RecoveryFailure.refused("\(table)/\(DurableMark.fileName): \(error)") }
            isMarkDamaged = true
            note(alert: true, "\(table)/\(DurableMark.fileName): \(error); recovering from the segments alone")
        }
        if let mark {
            guard mark.writer == spool.writer else {
                throw RecoveryFailure.refused("\(table)/\(DurableMark.fileName) is of writer \(mark.writer), the spool of \(spool.writer)")
            }
            result.publications = mark.publications
            result.nextNumber = mark.segmentNumber + 1
            result.nextSequence = mark.durableEnd
        }
        guard let newest = try spool.segments(of: table).last else {
            if mark == nil, isMarkDamaged {
                throw RecoveryFailure.refused(
                    "\(table): the durable mark is damaged and there is no segment, so nobody knows which sequences were used; "
                        + "restore either, or begin a new spool")
            }
            if let mark, mark.durableEnd > mark.segmentFirstSequence, !mark.isSealed {
                declareLoss(from: mark.segmentFirstSequence, "\(table): segment \(mark.segment) is gone")
            }
            return
        }
        result.nextNumber = max(result.nextNumber, newest.number + 1)
        try recover(newest)
    }

    private mutating func removeUnfinished() throws {
        for name in try Directory.list(spool.directory(of: table)) where name.hasSuffix(".lz4.tmp") {
            // Never renamed, so never read and never counted on: it holds at most a header.
            try Directory.remove("\(spool.directory(of: table))/\(name)")
        }
        try finishGivingUp()
    }

    /// A segment beside its own tombstone was given up by a writer that was killed before it could remove it.
    private mutating func finishGivingUp() throws {
        let names = try spool.segments(of: table)
        for (segment, tombstone) in zip(names, names.dropFirst()) where segment.number == tombstone.number {
            let header: SegmentHeader?
            do {
                header = try SegmentReader(path: spool.path(of: tombstone, table: table)).header
            } catch let failure as IOFailure {
                throw failure
            } catch {
                header = nil
            }
            guard let header, header.isShed, header.table == table, header.writer == spool.writer, header.name == tombstone,
                header.lost.contains(segment.firstSequence)
            else { throw RecoveryFailure.refused("\(table)/\(segment) and \(tombstone) have one number") }
            try Directory.remove(spool.path(of: segment, table: table))
            try Directory.sync(spool.directory(of: table))
            note(alert: false, "\(table)/\(segment): removed; it was given up for want of room, as \(tombstone) says")
        }
    }

    private mutating func recover(_ name: SegmentName) throws {
        let path = spool.path(of: name, table: table)
        let file = try File.openForWriting(path)
        let reader: SegmentReader
        do {
            reader = try SegmentReader(file: file)
        } catch let error as FormatError {
            if error.needsNewerVersion { throw RecoveryFailure.refused("\(table)/\(name): \(error)") }
            guard mark != nil else {
                throw RecoveryFailure.refused(
                    "\(table)/\(name): \(error), and there is no durable mark, so nobody knows which sequences were used; restore "
                        + "either, or begin a new spool")
            }
            note(alert: true, "\(table)/\(name): segment header: \(error); left as it is")
            setAside(validEnd: name.firstSequence, "\(table)/\(name)")
            return
        }
        guard reader.header.table == table, reader.header.writer == spool.writer, reader.header.name == name else {
            throw RecoveryFailure.refused(
                "\(table)/\(name) says that it is \(reader.header.name) of table \(reader.header.table), writer \(reader.header.writer)")
        }
        for source in reader.header.sources { result.positions.note(source) }
        try walk(reader, name)
    }

    /// Bytes of this segment that were published as durable.
    private func durableBytes(of name: SegmentName) -> UInt64 {
        guard let mark, mark.segmentNumber == name.number else { return 0 }
        return mark.durableBytes
    }

    private mutating func walk(_ reader: SegmentReader, _ name: SegmentName) throws {
        let size = try reader.file.size()
        let durable = durableBytes(of: name)
        var offset = reader.start
        var sequence = reader.header.firstSequence
        var entries: [IndexEntry] = []
        var firstIngest: Int64 = 0
        // Where the last whole cut ends: chunks of a cut of which the last one is missing count as torn.
        var whole: (offset: UInt64, sequence: UInt64, chunks: Int) = (offset, sequence, 0)
        var positions: [SourcePosition] = []
        while true {
            var item = try reader.item(at: offset, limit: size)
            if case .chunk(let chunk) = item {
                do {
                    try chunk.header.check(against: reader.header, expecting: sequence)
                } catch {
                    throw RecoveryFailure.refused("\(table)/\(name) at \(offset): \(error)")
                }
                do {
                    _ = try reader.data(of: chunk)
                } catch let error as FormatError {
                    item = .damaged(error)
                }
                if case .chunk = item {
                    entries.append(IndexEntry(offset: offset, header: chunk.header))
                    if firstIngest == 0 { firstIngest = chunk.header.firstIngest }
                    positions += chunk.header.sources
                    sequence = chunk.header.endSequence
                    offset = chunk.end
                    if !chunk.header.continues {
                        whole = (offset, sequence, entries.count)
                        for source in positions { result.positions.note(source) }
                        positions.removeAll()
                    }
                    continue
                }
            }
            switch item {
            case .chunk: preconditionFailure("handled above")
            case .index(_, _, let end):
                if end != size { note(alert: true, "\(table)/\(name): \(size - end) bytes after the index; left as they are") }
                // A writer that was killed in its recovery may have written all of this and synced none of it.
                try reader.file.sync()
                // And the mark may not name it: then nobody would see its rows before the next segment has one.
                if mark?.segmentNumber != name.number || mark?.isSealed != true { try publishSealed(name, entries, durableBytes: end) }
                try Directory.sync(spool.directory(of: table))
                finish(at: sequence, name)
            case .end where whole.offset >= durable, .zeros where whole.offset >= durable, .torn where whole.offset >= durable:
                try cut(reader, name, at: whole.offset, size: size, whole.offset == offset ? item : .torn)
                try seal(reader, name, Array(entries[..<whole.chunks]), at: whole.offset, whole.chunks > 0 ? firstIngest : 0)
                finish(at: whole.sequence, name)
            case .damaged(let error) where error.needsNewerVersion:
                throw RecoveryFailure.refused("\(table)/\(name) at \(offset): \(error)")
            case .damaged(let error):
                if whole.offset >= durable, try syncedBytes(behind: offset, reader, size) <= whole.offset {
                    try cut(reader, name, at: whole.offset, size: size, item)
                    try seal(reader, name, Array(entries[..<whole.chunks]), at: whole.offset, whole.chunks > 0 ? firstIngest : 0)
                    finish(at: whole.sequence, name)
                } else {
                    try goOn(after: offset, reader, size, validEnd: sequence, "\(table)/\(name) at \(offset): \(error)")
                }
            case .end, .zeros, .torn:
                note(alert: true, "\(table)/\(name): \(size) bytes, but \(durable) were durable; left as it is")
                setAside(validEnd: sequence, "\(table)/\(name)")
            }
            return
        }
    }

    /// Bytes that were synced before what is still readable behind the damage was written. A power loss may take the first part of a write and leave
    /// the rest: then what is left says so, and all of it was never durable.
    private func syncedBytes(behind damage: UInt64, _ reader: SegmentReader, _ size: UInt64) throws -> UInt64 {
        var synced: UInt64 = 0
        var offset = damage
        while let found = try reader.resume(after: offset, limit: size) {
            offset = found
            // An index is written when all before it is synced.
            guard case .chunk(let chunk) = try reader.item(at: offset, limit: size) else { return .max }
            synced = max(synced, chunk.header.syncedBytes ?? .max)
        }
        return synced
    }

    /// The segment is whole up to `sequence`.
    private mutating func finish(at sequence: UInt64, _ name: SegmentName) {
        if let mark, mark.durableEnd > sequence {
            declareLoss(from: sequence, "\(table)/\(name) ends before sequence \(sequence), but rows up to \(mark.durableEnd) were durable")
        }
        result.nextSequence = max(sequence, result.nextSequence)
    }

    /// Damage in the middle: the file stays as it is. Sequences and source positions of the chunks behind it still count.
    private mutating func goOn(
        after damage: UInt64, _ reader: SegmentReader, _ size: UInt64, validEnd: UInt64, _ what: String
    ) throws {
        note(alert: true, "\(what); the segment is left as it is")
        var highest = validEnd
        var offset = damage
        while let found = try reader.resume(after: offset, limit: size) {
            offset = found
            while case .chunk(let chunk) = try reader.item(at: offset, limit: size) {
                highest = max(highest, chunk.header.endSequence)
                for source in chunk.header.sources { result.positions.note(source) }
                offset = chunk.end
            }
        }
        setAside(validEnd: highest, what)
    }

    private mutating func setAside(validEnd: UInt64, _ what: String) {
        result.nextSequence = max(result.nextSequence, validEnd)
        if validEnd < result.nextSequence { declareLoss(from: validEnd, what) }
    }

    private mutating func declareLoss(from first: UInt64, _ what: String) {
        result.lostFrom = first
        note(alert: true, "\(what): rows \(first) to \(result.nextSequence - 1) are lost; the next segment says so")
    }

    /// Copies the tail aside and cuts it off. When this returns both are durable.
    private mutating func cut(
        _ reader: SegmentReader, _ name: SegmentName, at offset: UInt64, size: UInt64, _ item: SegmentItem
    ) throws {
        guard offset < size else { return }
        if case .zeros = item {
            note(alert: false, "\(table)/\(name): cut \(size - offset) zero bytes")
        } else {
            let aside = "\(spool.path(of: name, table: table)).torn-\(offset)"
            try Directory.removeIfPresent(aside)
            let copy = try File.create(aside)
            var position = offset
            while position < size {
                let bytes = try reader.file.read(Int(min(1 << 20, size - position)), at: position)
                try copy.write(bytes, at: position - offset)
                position += UInt64(bytes.count)
            }
            try copy.sync()
            try Directory.sync(spool.directory(of: table))
            note(alert: false, "\(table)/\(name): cut a torn tail of \(size - offset) bytes at \(offset); a copy is beside it")
        }
        try reader.file.truncate(to: offset)
        try reader.file.sync()
    }

    /// Seals the segment and publishes it. When this returns both are durable.
    private mutating func seal(
        _ reader: SegmentReader, _ name: SegmentName, _ entries: [IndexEntry], at offset: UInt64, _ firstIngest: Int64
    ) throws {
        let index = SegmentIndex.encode(
            entries: entries, firstSequence: name.firstSequence, firstIngest: firstIngest, sealed: now, at: offset)
        try reader.file.write(index, at: offset)
        try reader.file.sync()
        try publishSealed(name, entries, durableBytes: offset + UInt64(index.count))
        try Directory.sync(spool.directory(of: table))
    }

    /// Publishes a sealed segment. When this returns its mark is durable, but for the mark's name.
    private mutating func publishSealed(_ name: SegmentName, _ entries: [IndexEntry], durableBytes: UInt64) throws {
        result.publications += 1
        let end = entries.last.map { $0.firstSequence + UInt64($0.rows) } ?? name.firstSequence
        let sealed = DurableMark(
            writer: spool.writer, segmentNumber: name.number, segmentFirstSequence: name.firstSequence,
            durableBytes: durableBytes, durableEnd: end, isSealed: true, published: now,
            minEventTime: entries.map(\.minEventTime).min() ?? .max, maxEventTime: entries.map(\.maxEventTime).max() ?? .min,
            publications: result.publications)
        let file = try File.openForWriting("\(spool.directory(of: table))/\(DurableMark.fileName)")
        try file.write(sealed.encode(), at: 0)
        try file.sync()
    }

    private mutating func note(alert: Bool, _ text: String) {
        result.notes.append(RecoveredTable.Note(isAlert: alert, text: text))
    }
}
