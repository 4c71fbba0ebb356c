import Glibc
import SpoolFormat

/// What the parser knows of one column beside its lane: 64 bytes, a cache line.
struct ColumnPlan {
    /// The column's `"name":`, up to 24 bytes of it, and the bits that belong to it.
    var key: (UInt64, UInt64, UInt64) = (0, 0, 0)
    var mask: (UInt64, UInt64, UInt64) = (0, 0, 0)
    /// Bytes of `"name":`.
    var keyBytes: Int32 = 0
    /// The column that came after this one last time. Producers write their fields in one order, so this guess is nearly
    /// always right and a key costs one comparison.
    var follower: Int32 = 0
    /// The column's names among the table's ``QuickName``s, if it is an enum.
    var firstName: Int32 = 0
    var names: Int32 = 0
}

/// An enum's name with the quote behind it, as two words to compare with.
struct QuickName {
    /// More than this is compared byte by byte.
    static let maxBytes = 15

    let low: UInt64
    let high: UInt64
    let lowMask: UInt64
    let highMask: UInt64
    let count: Int
    let value: Int16

    /// - Returns: nil for a name that is too long, or that JSON may write in more than one way.
    init?(_ name: String, value: Int16) {
        let bytes = Array(name.utf8)
        guard bytes.count <= Self.maxBytes, bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x80 && $0 != 0x22 && $0 != 0x5C }) else { return nil }
        let words = padded(bytes + [0x22], words: 2)
        (low, high) = (words[0], words[1])
        lowMask = mask(ofBytes: bytes.count + 1)
        highMask = mask(ofBytes: bytes.count + 1 - 8)
        count = bytes.count
        self.value = value
    }
}

/// The columns of one table as a parser looks them up: names in raw memory, and which field tends to follow which.
final class FieldTable {
    /// Bytes of a key that a plan holds.
    private static let planKeyBytes = 24

    /// All columns as `"name":`, one behind the other.
    private let keys: UnsafeMutablePointer<UInt8>
    private let keyStarts: UnsafeMutablePointer<Int>
    /// What the columns are, behind one more that stands for the line's beginning.
    private let plans: UnsafeMutablePointer<ColumnPlan>
    private let quickNames: UnsafeMutablePointer<QuickName>
    private let columnCount: Int
    /// Open addressing by FNV-1a of the name: the column, or -1. A power of two, at most a quarter full.
    private let slots: UnsafeMutableBufferPointer<Int>
    /// The table's name with the quote that ends it in an event.
    private let quotedName: UnsafeMutableBufferPointer<UInt8>
    /// Names of columns that the table had once. Few, and looked at only for a name that is no column's.
    private let olderNames: [(name: [UInt8], meaning: OlderName)]
    /// Columns that were dropped; ``OlderName/dropped(_:)`` counts them.
    let dropped: [String]
    /// For each of them the source that gave it last, of which that was said: to look it up by name costs as much as half a line.
    private var lastSources: [Source?]

    /// What an event means by the name of a column that is not there any more.
    enum OlderName: Equatable {
        /// The column with this index, which was renamed.
        case column(Int)
        /// Nothing: it was dropped.
        case dropped(Int)
    }

    init(_ schema: TableSchema) {
        let columns = schema.columns
        quotedName = .allocate(capacity: schema.table.utf8.count + 1)
        _ = quotedName.initialize(from: Array(schema.table.utf8) + [0x22])
        let dropped = schema.retired.filter { $0.value == .dropped }.keys.sorted()
        self.dropped = dropped
        lastSources = Array(repeating: nil, count: dropped.count)
        olderNames = schema.retired.keys.sorted().compactMap { name in
            let meaning = schema.column(named: name).map(OlderName.column) ?? dropped.firstIndex(of: name).map(OlderName.dropped)
            return meaning.map { (Array(name.utf8), $0) }
        }
        columnCount = columns.count
        plans = .allocate(capacity: columns.count + 1)
        plans.initialize(to: ColumnPlan())
        slots = Self.emptySlots(columns.count)
        keyStarts = .allocate(capacity: columns.count + 1)
        var allKeys: [UInt8] = []
        var names: [QuickName] = []
        for (index, column) in columns.enumerated() {
            let key = Array("\"\(column.name)\":".utf8)
            let quick = Self.quickNames(column)
            var plan = ColumnPlan(
                keyBytes: Int32(key.count), follower: Int32(min(index + 1, columns.count - 1)), firstName: Int32(names.count),
                names: Int32(quick.count))
            let words = padded(Array(key.prefix(Self.planKeyBytes)), words: 3)
            plan.key = (words[0], words[1], words[2])
            plan.mask = (mask(ofBytes: key.count), mask(ofBytes: key.count - 8), mask(ofBytes: key.count - 16))
            (plans + index + 1).initialize(to: plan)
            (keyStarts + index).initialize(to: allKeys.count)
            allKeys += key
            names += quick
        }
        keys = .allocate(capacity: max(allKeys.count, 1))
        keys.initialize(from: allKeys, count: allKeys.count)
        quickNames = .allocate(capacity: max(names.count, 1))
        quickNames.initialize(from: names, count: names.count)
        for index in columns.indices { insert(index) }
    }

    deinit {
        keys.deallocate()
        keyStarts.deallocate()
        plans.deallocate()
        quickNames.deallocate()
        slots.deallocate()
        quotedName.deallocate()
    }

    /// More names of an enum are searched byte by byte.
    private static let maxQuickNames = 32

    private static func quickNames(_ column: Column) -> [QuickName] {
        guard column.type.enumCases.count <= maxQuickNames else { return [] }
        return column.type.enumCases.compactMap { QuickName($0.name, value: $0.value) }
    }

    // MARK: Keys

    /// Bytes of `NAME"` where an event names its table.
    var quotedNameBytes: Int { quotedName.count }

    /// Whether the table's name, and a quote after it, stand at `offset` of the line.
    @inline(__always)
    func isTable(_ line: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        line.count - offset >= quotedName.count
            && memcmp(line.baseAddress.unsafelyUnwrapped + offset, quotedName.baseAddress.unsafelyUnwrapped, quotedName.count) == 0
    }

    /// The column that is likely to follow, if its key and colon stand at `place`.
    ///
    /// - Parameters:
    ///   - place: ``LineBuffer/readAhead`` bytes can be read from here, and its line ends with a byte that is in no key.
    ///   - previous: the column before it in this line, -1 for none.
    /// - Returns: the column and the bytes of its key; nil if something else stands there.
    @inline(__always)
    func likely(at place: UnsafePointer<UInt8>, after previous: Int) -> (column: Int, keyBytes: Int)? {
        let guess = Int(plans[previous &+ 1].follower)
        let plan = plans + (guess &+ 1)
        let text = UnsafeRawPointer(place)
        let differences =
            (text.loadUnaligned(as: UInt64.self) ^ plan.pointee.key.0) & plan.pointee.mask.0
            | (text.loadUnaligned(fromByteOffset: 8, as: UInt64.self) ^ plan.pointee.key.1) & plan.pointee.mask.1
            | (text.loadUnaligned(fromByteOffset: 16, as: UInt64.self) ^ plan.pointee.key.2) & plan.pointee.mask.2
        guard differences == 0 else { return nil }
        let bytes = Int(plan.pointee.keyBytes)
        if _slowPath(bytes > Self.planKeyBytes) {
            guard bytes <= LineBuffer.readAhead, memcmp(place, keys + keyStarts[guess], bytes) == 0 else { return nil }
        }
        return (guess, bytes)
    }

    /// The column with this name, which from now on is likely to follow the previous one.
    func find(_ name: UnsafePointer<UInt8>, _ count: Int, after previous: Int) -> Int? {
        var slot = Self.hash(name, count) & (slots.count - 1)
        while slots[slot] >= 0 {
            let column = slots[slot]
            if Int(plans[column + 1].keyBytes) - 3 == count, memcmp(self.name(of: column), name, count) == 0 {
                plans[previous + 1].follower = Int32(column)
                return column
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    /// What a name means that ``find(_:_:after:)`` does not know; nil if the table never had such a column.
    func older(_ name: UnsafePointer<UInt8>, _ count: Int) -> OlderName? {
        let name = UnsafeBufferPointer(start: name, count: count)
        return olderNames.first { $0.name.elementsEqual(name) }?.meaning
    }

    /// Notes that a source gives a field that was dropped.
    ///
    /// - Returns: false if it was the last one that did.
    func noteDropped(_ index: Int, from source: Source) -> Bool {
        defer { lastSources[index] = source }
        return lastSources[index] !== source
    }

    private func name(of column: Int) -> UnsafePointer<UInt8> { UnsafePointer(keys + keyStarts[column] + 1) }

    private static func emptySlots(_ columns: Int) -> UnsafeMutableBufferPointer<Int> {
        var size = 16
        while size < columns * 4 { size *= 2 }
        let slots = UnsafeMutableBufferPointer<Int>.allocate(capacity: size)
        slots.initialize(repeating: -1)
        return slots
    }

    private func insert(_ column: Int) {
        let name = name(of: column)
        var slot = Self.hash(name, Int(plans[column + 1].keyBytes) - 3) & (slots.count - 1)
        while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = column
    }

    private static func hash(_ name: UnsafePointer<UInt8>, _ count: Int) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for index in 0..<count { hash = (hash ^ UInt64(name[index])) &* 0x100_0000_01b3 }
        return Int(truncatingIfNeeded: hash ^ hash >> 32)
    }

    // MARK: Enum names

    /// The value of the enum's name that stands at `text`, with a quote behind it.
    ///
    /// - Parameter text: what stands behind the opening quote; 16 bytes of it can be read.
    /// - Returns: nil if it is none that is compared here.
    @inline(__always)
    func enumValue(_ column: Int, _ text: UnsafePointer<UInt8>) -> (value: Int16, nameBytes: Int)? {
        let plan = plans + (column &+ 1)
        let names = quickNames + Int(plan.pointee.firstName)
        let low = UnsafeRawPointer(text).loadUnaligned(as: UInt64.self)
        let high = UnsafeRawPointer(text).loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        // All are compared, without a branch on the result: which of them it is nobody could predict.
        var found = -1
        for index in 0..<Int(plan.pointee.names) {
            let name = names + index
            let differences = (low ^ name.pointee.low) & name.pointee.lowMask | (high ^ name.pointee.high) & name.pointee.highMask
            found = differences == 0 ? index : found
        }
        guard found >= 0 else { return nil }
        return (names[found].value, names[found].count)
    }
}

/// Bytes as words in the order of memory, padded with zeros.
private func padded(_ bytes: [UInt8], words: Int) -> [UInt64] {
    var result = [UInt64](repeating: 0, count: words)
    result.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
    return result
}

/// The bits of a word's first bytes: none if `count` is not positive, all from 8 on.
private func mask(ofBytes count: Int) -> UInt64 { count >= 8 ? .max : count <= 0 ? 0 : (1 << UInt64(count * 8)) - 1 }
