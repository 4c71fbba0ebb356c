import SpoolFormat

/// How the values of a column that a producer declares with an older type become values of the schema's type.
///
/// The schema's type holds every value of the older one (``ColumnType/holdsAll(of:)``), so none of them changes. They are gathered as those of any
/// column, into one by itself, and become the block's on the way out of it: columns whose types are the schema's take no notice of this.
final class Widening {
    private enum Change {
        /// The bytes stay: new is that a value may be null, or which others there are.
        case none
        /// Whole numbers get more bytes, decimals more decimals: times this power of ten.
        case number(isSigned: Bool, factor: Int128)
        case float
        case names(EnumNames)
    }

    /// More than this is given back once the values are out.
    private static let keptBytes = 1 << 18

    let declared: ColumnType
    /// Where the declared values are gathered.
    let lane: UnsafeMutablePointer<ColumnLane>
    private let target: ColumnType
    private let change: Change

    /// - Returns: nil if values of this pair of types are not converted here.
    init?(from declared: ColumnType, to target: ColumnType) {
        guard target.holdsAll(of: declared), let change = Self.change(declared, target) else { return nil }
        self.declared = declared
        self.target = target
        self.change = change
        lane = .allocate(capacity: 1)
        lane.initialize(to: ColumnLane(of: declared))
    }

    deinit {
        lane.pointee.free()
        lane.deallocate()
    }

    private static func change(_ declared: ColumnType, _ target: ColumnType) -> Change? {
        switch (declared.scalar, target.scalar) {
        case (let from, let to) where from == to: return Change.none
        case (.int, .int), (.enum8, .enum16): return .number(isSigned: true, factor: 1)
        case (.uint, .uint), (.uint, .int): return .number(isSigned: false, factor: 1)
        case (.float32, .float64): return .float
        case (.decimal(_, let from), .decimal(_, let to)):
            return .number(isSigned: true, factor: (from..<to).reduce(Int128(1)) { power, _ in power * 10 })
        case (.enum8, .enum8), (.enum16, .enum16): return Change.none
        // An array of one-byte numbers in a ring would become texts of any length, and a block beyond all limits.
        case (.enum8(let cases), .string), (.enum16(let cases), .string): return target.shape == .array ? nil : .names(EnumNames(cases))
        default: return nil
        }
    }

    /// The type whose rules a declared value must keep to. A member that only the schema's enum has is one nevertheless.
    var ruledBy: ColumnType {
        switch (declared.scalar, target.scalar) {
        case (.enum8, .enum8(let cases)), (.enum8, .enum16(let cases)):
            ColumnType(.enum8(cases.filter { Int8(exactly: $0.value) != nil }), shape: declared.shape)
        case (.enum16, .enum16): ColumnType(target.scalar, shape: declared.shape)
        default: declared
        }
    }

    /// Most bytes of a value in a block that its type does not tell.
    var longestText: Int? { if case .names(let names) = change { names.longest } else { nil } }

    // MARK: Whole columns

    /// Moves what was gathered into a column of the schema's type.
    ///
    /// - Parameter rows: as many as were gathered.
    func move(to target: UnsafeMutablePointer<ColumnLane>, rows: Int) {
        moveMarks(to: target, rows: rows)
        let from = UnsafeRawPointer(lane.pointee.values.base)
        let bytes = lane.pointee.values.count
        switch change {
        case .none: target.pointee.values.append(from, count: bytes)
        case .float:
            for offset in stride(from: 0, to: bytes, by: 4) {
                target.pointee.values.append(Double(from.loadUnaligned(fromByteOffset: offset, as: Float.self)))
            }
        case .number(let isSigned, let factor): extend(from, bytes, isSigned, factor, to: &target.pointee.values)
        case .names(let names): moveNames(names, to: target, rows: rows)
        }
        lane.pointee.clear()
        guard lane.pointee.values.capacity > Self.keptBytes else { return }
        lane.pointee.free()
        lane.pointee = ColumnLane(of: declared)
    }

    private func moveMarks(to target: UnsafeMutablePointer<ColumnLane>, rows: Int) {
        switch declared.shape {
        case .plain: if self.target.shape == .nullable { target.pointee.marks.appendZeros(rows) }
        case .nullable: target.pointee.marks.append(lane.pointee.marks.base, count: rows)
        case .array:
            let before = target.pointee.elements
            for row in 0..<rows {
                let end = lane.pointee.marks.base.loadUnaligned(fromByteOffset: row * 8, as: UInt64.self)
                target.pointee.marks.append(before + end)
            }
            target.pointee.elements = before + lane.pointee.elements
        }
    }

    private func extend(_ from: UnsafeRawPointer, _ bytes: Int, _ isSigned: Bool, _ factor: Int128, to values: inout RawBuffer) {
        switch (declared.width ?? 0, isSigned) {
        case (1, true): extend(Int8.self, from, bytes, factor, to: &values)
        case (1, false): extend(UInt8.self, from, bytes, factor, to: &values)
        case (2, true): extend(Int16.self, from, bytes, factor, to: &values)
        case (2, false): extend(UInt16.self, from, bytes, factor, to: &values)
        case (4, true): extend(Int32.self, from, bytes, factor, to: &values)
        case (4, false): extend(UInt32.self, from, bytes, factor, to: &values)
        case (8, _): extend(Int64.self, from, bytes, factor, to: &values)
        default: extend(Int128.self, from, bytes, factor, to: &values)
        }
    }

    private func extend<From: FixedWidthInteger & BitwiseCopyable>(
        _: From.Type, _ from: UnsafeRawPointer, _ bytes: Int, _ factor: Int128, to values: inout RawBuffer
    ) {
        switch target.width {
        case 2: Self.extend(From.self, Int16.self, from, bytes, factor, to: &values)
        case 4: Self.extend(From.self, Int32.self, from, bytes, factor, to: &values)
        case 8: Self.extend(From.self, Int64.self, from, bytes, factor, to: &values)
        default: Self.extend(From.self, Int128.self, from, bytes, factor, to: &values)
        }
    }

    private static func extend<From: FixedWidthInteger & BitwiseCopyable, To: FixedWidthInteger & BitwiseCopyable>(
        _: From.Type, _: To.Type, _ from: UnsafeRawPointer, _ bytes: Int, _ factor: Int128, to values: inout RawBuffer
    ) {
        let factor = To(truncatingIfNeeded: factor)
        for offset in stride(from: 0, to: bytes, by: MemoryLayout<From>.size) {
            // The declared type's rule was kept, so that the product has no more digits than the schema's type.
            values.append(To(truncatingIfNeeded: from.loadUnaligned(fromByteOffset: offset, as: From.self)) &* factor)
        }
    }

    private func moveNames(_ names: EnumNames, to target: UnsafeMutablePointer<ColumnLane>, rows: Int) {
        for row in 0..<rows {
            let isNull = declared.shape == .nullable && lane.pointee.marks.base.load(fromByteOffset: row, as: UInt8.self) == 1
            let text = isNull ? names.none : names.text(at: lane.pointee.values.base + row * lane.pointee.width, width: lane.pointee.width)
            let bytes = text.baseAddress ?? UnsafeRawPointer(lane.pointee.values.base)
            if target.pointee.kind == .name {
                target.pointee.appendName(bytes, count: text.count)
            } else {
                target.pointee.values.appendVarint(UInt64(text.count))
                target.pointee.values.append(bytes, count: text.count)
            }
        }
    }

    // MARK: Single values

    /// What ``valueBits(_:width:)`` says of a value, which lies there as it was declared, once it is widened.
    func bits(at place: UnsafeRawPointer) -> UInt64 {
        switch change {
        case .none: return valueBits(place, width: declared.width ?? 0)
        case .float: return Double(place.loadUnaligned(as: Float.self)).bitPattern
        case .names: return 0
        case .number(let isSigned, let factor):
            var values = RawBuffer(capacity: 16)
            defer { values.free() }
            extend(place, declared.width ?? 0, isSigned, factor, to: &values)
            return valueBits(values.base, width: values.count)
        }
    }

    /// The name of an enum's value that lies there as it was declared; empty if it is no enum's, or no member.
    func text(at place: UnsafeRawPointer) -> UnsafeRawBufferPointer {
        guard case .names(let names) = change else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return names.text(at: place, width: declared.width ?? 0)
    }
}

/// The texts of an enum's values.
private final class EnumNames {
    let none = UnsafeRawBufferPointer(start: nil, count: 0)
    private var bytes = RawBuffer(capacity: 256)
    private var places: [Int16: Range<Int>] = [:]
    private(set) var longest = 0

    init(_ cases: [ColumnType.EnumCase]) {
        for item in cases {
            let start = bytes.count
            bytes.append(contentsOf: item.name.utf8)
            places[item.value] = start..<bytes.count
            longest = max(longest, bytes.count - start)
        }
    }

    deinit { bytes.free() }

    /// - Returns: empty for a value that is not a member.
    func text(at place: UnsafeRawPointer, width: Int) -> UnsafeRawBufferPointer {
        let value = width == 1 ? Int16(place.load(as: Int8.self)) : place.loadUnaligned(as: Int16.self)
        guard let range = places[value] else { return none }
        return UnsafeRawBufferPointer(rebasing: bytes.bytes[range])
    }
}

extension RowGather {
    /// - Returns: false if a value is not what its declared type allows.
    mutating func takeWidened(_ column: ColumnPlan, _ widening: Widening, into lane: UnsafeMutablePointer<ColumnLane>) -> Bool {
        widening.lane.pointee.clear()
        guard take(column, into: widening.lane) else { return false }
        widening.move(to: lane, rows: rows.count)
        return true
    }
}
