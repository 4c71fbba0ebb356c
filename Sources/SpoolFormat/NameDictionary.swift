import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// The different texts of a `LowCardinality(String)` column of one block, each named by its index (`docs/spool-format.md` §7).
///
/// Index 0 is the empty text, as ClickHouse itself has it. Holds only trivial values, as ``ColumnLane`` does; its owner frees it.
public struct NameDictionary {
    /// One cell behind the other: varint length and bytes, as a `String` column has them.
    private(set) var cells: RawBuffer
    /// Where each cell begins, as UInt32.
    private var starts: RawBuffer
    /// Open addressing: index + 1, or 0. A power of two, at most half full.
    private var slots: UnsafeMutablePointer<UInt32>
    private var slotMask: Int
    public private(set) var count = 1
    /// Which filling of which dictionary this is: indices are good as long as it does not change. Never the same for two dictionaries.
    public private(set) var generation: UInt32

    public init() {
        cells = RawBuffer(capacity: 256)
        starts = RawBuffer(capacity: 256)
        slotMask = 63
        slots = .allocate(capacity: 64)
        slots.initialize(repeating: 0, count: 64)
        cells.append(UInt8(0))
        starts.append(UInt32(0))
        generation = NameGeneration.next()
    }

    public func free() {
        cells.free()
        starts.free()
        slots.deallocate()
    }

    /// The index of a text, which becomes part of the dictionary if it is new.
    public mutating func index(of bytes: UnsafeRawPointer, count length: Int) -> UInt32 {
        if length == 0 { return 0 }
        var slot = Self.hash(bytes, length) & slotMask
        while true {
            let found = slots[slot]
            if found == 0 { break }
            let (cell, cellLength) = cell(found - 1)
            if cellLength == length, Self.areSame(cell, bytes, length) { return found - 1 }
            slot = (slot &+ 1) & slotMask
        }
        return insert(bytes, length, at: slot)
    }

    /// The bytes of a text, valid until the next one is added.
    public func text(_ index: UInt32) -> (bytes: UnsafeRawPointer, count: Int) { cell(index) }

    /// The same, within the look-up that each row of a text column makes: a call there costs a tenth of it.
    @inline(__always)
    private func cell(_ index: UInt32) -> (bytes: UnsafeRawPointer, count: Int) {
        let start = Int(starts.base.loadUnaligned(fromByteOffset: Int(index) &* 4, as: UInt32.self))
        var length = 0
        var shift = 0
        var position = start
        while true {
            let byte = cells.base.load(fromByteOffset: position, as: UInt8.self)
            position &+= 1
            length |= Int(byte & 0x7F) << shift
            if byte < 0x80 { break }
            shift &+= 7
        }
        return (UnsafeRawPointer(cells.base + position), length)
    }

    /// Bytes that the texts take in a block.
    @inline(__always)
    var byteCount: Int { cells.count }

    /// Forgets the texts from an index on: those of rows that were refused must not fill the memory.
    mutating func truncate(to kept: Int) {
        guard count > kept else { return }
        // Last in, first out: so no text that stays was put behind one that goes.
        while count > kept {
            count -= 1
            let (bytes, length) = text(UInt32(count))
            var slot = Self.hash(bytes, length) & slotMask
            while slots[slot] != UInt32(count) + 1 { slot = (slot &+ 1) & slotMask }
            slots[slot] = 0
            cells.truncate(to: Int(starts.base.loadUnaligned(fromByteOffset: count * 4, as: UInt32.self)))
            starts.truncate(to: count * 4)
        }
        generation = NameGeneration.next()
    }

    /// Forgets all texts but the empty one.
    mutating func clear() {
        guard count > 1 else { return }
        cells.truncate(to: 1)
        starts.truncate(to: 4)
        slots.update(repeating: 0, count: slotMask + 1)
        count = 1
        generation = NameGeneration.next()
    }

    @inline(never)
    private mutating func insert(_ bytes: UnsafeRawPointer, _ length: Int, at slot: Int) -> UInt32 {
        let index = UInt32(count)
        starts.append(UInt32(cells.count))
        cells.appendVarint(UInt64(length))
        cells.append(bytes, count: length)
        slots[slot] = index + 1
        count += 1
        if count * 2 > slotMask { rehash() }
        return index
    }

    private mutating func rehash() {
        slots.deallocate()
        slotMask = slotMask * 2 + 1
        slots = .allocate(capacity: slotMask + 1)
        slots.initialize(repeating: 0, count: slotMask + 1)
        for index in 1..<UInt32(count) {
            let (bytes, length) = text(index)
            var slot = Self.hash(bytes, length) & slotMask
            while slots[slot] != 0 { slot = (slot &+ 1) & slotMask }
            slots[slot] = index + 1
        }
    }

    /// Whether two texts of one length are the same; names are short, so mostly two overlapping looks at each.
    @inline(__always)
    private static func areSame(_ one: UnsafeRawPointer, _ two: UnsafeRawPointer, _ count: Int) -> Bool {
        @inline(__always) func differ<Word: FixedWidthInteger & BitwiseCopyable>(_: Word.Type, _ offset: Int) -> Word {
            one.loadUnaligned(fromByteOffset: offset, as: Word.self) ^ two.loadUnaligned(fromByteOffset: offset, as: Word.self)
        }
        if count > 16 { return memcmp(one, two, count) == 0 }
        if count >= 8 { return differ(UInt64.self, 0) | differ(UInt64.self, count &- 8) == 0 }
        if count >= 4 { return differ(UInt32.self, 0) | differ(UInt32.self, count &- 4) == 0 }
        return differ(UInt8.self, 0) | differ(UInt8.self, count / 2) | differ(UInt8.self, count &- 1) == 0
    }

    /// Eight bytes at a time, each multiplied into the hash and folded.
    @inline(__always)
    private static func hash(_ bytes: UnsafeRawPointer, _ count: Int) -> Int {
        var hash = UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15
        var offset = 0
        while offset &+ 8 <= count {
            hash = mix(hash, bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset &+= 8
        }
        var rest: UInt64 = 0
        if count >= 8 {
            // The last eight again, overlapping: one load instead of up to seven.
            rest = bytes.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
        } else if count >= 4 {
            rest = UInt64(bytes.loadUnaligned(as: UInt32.self)) << 32
            rest |= UInt64(bytes.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self))
        } else {
            rest = UInt64(bytes.load(as: UInt8.self)) << 16 | UInt64(bytes.load(fromByteOffset: count / 2, as: UInt8.self)) << 8
            rest |= UInt64(bytes.load(fromByteOffset: count &- 1, as: UInt8.self))
        }
        return Int(truncatingIfNeeded: mix(hash, rest) & 0x7FFF_FFFF_FFFF_FFFF)
    }

    @inline(__always)
    private static func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let product = (hash ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }

    // MARK: In a block

    /// Of ClickHouse's serialization: the keys stand with the rows that use them.
    static let version: UInt64 = 1
    static let hasOwnKeys: UInt64 = 1 << 9
    static let replacesKeys: UInt64 = 1 << 10

    /// Writes the column: keys, then for each row the index of its text in as few bytes as do.
    ///
    /// - Parameter indices: one UInt32 a row.
    func assemble(indices: UnsafeMutableRawPointer, rows: Int, into output: inout RawBuffer) {
        let kind: UInt64 = count <= 1 << 8 ? 0 : count <= 1 << 16 ? 1 : 2
        output.append(Self.version)
        output.append(kind | Self.hasOwnKeys | Self.replacesKeys)
        output.append(UInt64(count))
        output.append(cells.base, count: cells.count)
        output.append(UInt64(rows))
        switch kind {
        case 0: Self.narrow(indices, rows, UInt8.self, &output)
        case 1: Self.narrow(indices, rows, UInt16.self, &output)
        default: output.append(indices, count: rows * 4)
        }
    }

    private static func narrow<Index: FixedWidthInteger & BitwiseCopyable>(
        _ indices: UnsafeMutableRawPointer, _ rows: Int, _: Index.Type, _ output: inout RawBuffer
    ) {
        let bytes = rows * MemoryLayout<Index>.size
        output.reserve(bytes)
        let out = output.base + output.count
        for row in 0..<rows {
            let index = indices.loadUnaligned(fromByteOffset: row &* 4, as: UInt32.self)
            out.storeBytes(of: Index(truncatingIfNeeded: index), toByteOffset: row &* MemoryLayout<Index>.size, as: Index.self)
        }
        output.extend(by: bytes)
    }
}

/// Numbers for dictionaries, so that whoever remembers an index knows whether it still holds.
private enum NameGeneration {
    private static let last = Atomic<UInt32>(0)
    static func next() -> UInt32 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
