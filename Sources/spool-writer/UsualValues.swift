import CSystem
import SpoolFormat

/// How far a line is parsed.
struct LinePlace {
    /// What stands at the place.
    enum Stage {
        case key, value, comma
        /// A value of a column that has one already.
        case repeated
        /// The line's last brace, and nothing else.
        case end
    }

    var bytes: UnsafePointer<UInt8>
    /// The last column whose key was taken; -1 for none.
    var column: Int
    var stage: Stage
}

/// Takes values as producers usually write them: numbers of at most nineteen digits without exponent, ASCII strings without
/// escapes, `true`, `false`, `null`; eight bytes at a time, and never near the line's end unless more can be read there.
///
/// What it does not take is left alone and is for ``FieldParser``, which takes or refuses everything. So nothing is refused
/// here, and what is taken here gets the very value that ``FieldParser`` gives it.
struct UsualValues {
    /// 10^0 to 10^19, and the same as doubles, in raw memory: an array would be counted and checked for each value.
    private let powers: UnsafeMutablePointer<UInt64>
    private let doublePowers: UnsafeMutablePointer<Double>
    /// As many digits as always fit in 64 bits.
    private static let maxDigits = 19

    init() {
        powers = .allocate(capacity: Self.maxDigits + 1)
        doublePowers = .allocate(capacity: Self.maxDigits + 1)
        var power: UInt64 = 1
        for exponent in 0...Self.maxDigits {
            (powers + exponent).initialize(to: power)
            (doublePowers + exponent).initialize(to: Double(power))
            power = power &* 10
        }
    }

    func free() {
        powers.deallocate()
        doublePowers.deallocate()
    }

    /// Takes fields of a line, one behind the other, up to the line's end or to something unusual.
    ///
    /// - Parameters:
    ///   - start: at a key or at a value. ``LineBuffer/readAhead`` bytes can be read from any place up to `end`.
    ///   - end: the line's end; what lies behind it means nothing.
    ///   - row: number of the builder's unfinished row.
    @inline(never)
    func takeFields(
        from start: LinePlace, to end: UnsafePointer<UInt8>, into lanes: UnsafeMutablePointer<ColumnLane>, row: UInt64, names: FieldTable
    ) -> LinePlace {
        var place = start.bytes
        var column = start.column
        var isAtKey = start.stage == .key
        while true {
            if isAtKey {
                if place < end, place.pointee == 0x20 { place += 1 }
                guard let likely = names.likely(at: place, after: column), place + likely.keyBytes <= end else {
                    return LinePlace(bytes: place, column: column, stage: .key)
                }
                column = likely.column
                place += likely.keyBytes
                guard (lanes + column).pointee.give(inRow: row) else { return LinePlace(bytes: place, column: column, stage: .repeated) }
            }
            isAtKey = true
            guard let next = takeField(place, end, lanes + column, column, names) else {
                return LinePlace(bytes: place, column: column, stage: .value)
            }
            guard next < end, next.pointee == 0x2C else {
                let isLast = next + 1 == end && next.pointee == 0x7D
                return LinePlace(bytes: next, column: column, stage: isLast ? .end : .comma)
            }
            place = next + 1
        }
    }

    /// Takes the value of a field, with a space before it or none, and appends it to the column.
    ///
    /// - Returns: the place behind the value; nil if it was not taken, and nothing is changed.
    @inline(__always)
    private func takeField(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ lane: UnsafeMutablePointer<ColumnLane>, _ column: Int,
        _ names: FieldTable
    ) -> UnsafePointer<UInt8>? {
        let place = start.pointee == 0x20 ? start + 1 : start
        let shape = lane.pointee.shape
        if shape != .plain {
            if shape == .array { return lane.pointee.kind == .float64 ? takeDoubles(place, end, lane) : nil }
            if load(place, as: UInt32.self) == Self.null {
                guard place + 4 <= end else { return nil }
                lane.pointee.appendNull()
                return place + 4
            }
        }
        guard let next = takeValue(place, end, lane, column, names) else { return nil }
        lane.pointee.finishValue()
        return next
    }

    @inline(__always)
    private func takeValue(
        _ place: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ lane: UnsafeMutablePointer<ColumnLane>, _ column: Int,
        _ names: FieldTable
    ) -> UnsafePointer<UInt8>? {
        let kind = lane.pointee.kind
        if place.pointee == 0x22 {
            switch kind {
            case .string, .name: return takeText(place, end, lane)
            case .enum8, .enum16: return takeEnum(place, end, lane, column, names)
            case .decimal32, .decimal64, .decimal128: return takeQuotedDecimal(place, end, lane)
            default: return nil
            }
        }
        if kind == .bool { return takeBool(place, end, lane) }
        guard let number = takeNumber(place, end) else { return nil }
        switch kind {
        case .float64:
            guard number.digits < 1 << 53 else { return nil }
            lane.pointee.values.append(double(number))
        case .dateTime64:
            guard number.isWhole, !number.isNegative, number.digits >= UInt64(EventTime.earliest),
                number.digits <= UInt64(EventTime.latest)
            else { return nil }
            lane.pointee.values.append(number.digits)
        case .decimal32, .decimal64, .decimal128: guard appendDecimal(number, lane) else { return nil }
        case .uint64: guard appendInteger(number, lane, as: UInt64.self) else { return nil }
        case .uint32: guard appendInteger(number, lane, as: UInt32.self) else { return nil }
        case .uint16: guard appendInteger(number, lane, as: UInt16.self) else { return nil }
        case .uint8: guard appendInteger(number, lane, as: UInt8.self) else { return nil }
        case .int64: guard appendInteger(number, lane, as: Int64.self) else { return nil }
        case .int32: guard appendInteger(number, lane, as: Int32.self) else { return nil }
        case .int16: guard appendInteger(number, lane, as: Int16.self) else { return nil }
        case .int8: guard appendInteger(number, lane, as: Int8.self) else { return nil }
        case .float32, .bool, .date, .dateTime, .enum8, .enum16, .uuid, .fixedString, .string, .name: return nil
        }
        return number.next
    }

    // MARK: Numbers

    /// A number as it is written: `digits / 10^fraction`.
    private struct Number {
        let digits: UInt64
        let fraction: Int
        let isNegative: Bool
        /// Written without a fraction.
        let isWhole: Bool
        /// The place behind it.
        let next: UnsafePointer<UInt8>
    }

    /// Takes a number by the grammar of RFC 8259, without exponent and of at most nineteen digits.
    @inline(__always)
    private func takeNumber(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> Number? {
        let isNegative = start.pointee == UInt8(ascii: "-")
        let first = isNegative ? start + 1 : start
        // One look at sixteen bytes tells where both the whole digits and the fraction end: the next field waits for nothing else.
        let others = cp_not_digits(first)
        if _slowPath(others == 0) { return takeLongNumber(first, end, isNegative) }
        let whole = others.trailingZeroBitCount
        guard whole > 0, first.pointee != 0x30 || whole == 1 else { return nil }
        let point = first + whole
        if point.pointee != UInt8(ascii: ".") {
            guard point.pointee | 0x20 != UInt8(ascii: "e"), point <= end else { return nil }
            return Number(digits: number(first, whole), fraction: 0, isNegative: isNegative, isWhole: true, next: point)
        }
        let otherThanPoint = others & (others &- 1)
        let fraction =
            otherThanPoint != 0 ? otherThanPoint.trailingZeroBitCount &- whole &- 1 : cp_not_digits(point + 1).trailingZeroBitCount
        let next = point + (1 &+ fraction)
        // Digits behind the line's end are none of this number's.
        guard fraction > 0, whole + fraction <= Self.maxDigits, fraction <= 16, next.pointee | 0x20 != UInt8(ascii: "e"), next <= end
        else { return nil }
        return Number(
            digits: decimal(first, whole, fraction), fraction: fraction, isNegative: isNegative, isWhole: false, next: next)
    }

    /// Takes a whole number of sixteen to nineteen digits, such as a time.
    @inline(__always)
    private func takeLongNumber(_ first: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ isNegative: Bool) -> Number? {
        let more = cp_not_digits(first + 16).trailingZeroBitCount
        let next = first + (16 &+ more)
        guard more <= Self.maxDigits - 16, first.pointee != 0x30, next.pointee != UInt8(ascii: "."),
            next.pointee | 0x20 != UInt8(ascii: "e"), next <= end
        else { return nil }
        let sixteen = eightDigits(load(first, as: UInt64.self)) &* 100_000_000 &+ eightDigits(load(first + 8, as: UInt64.self))
        let digits = sixteen &* powers[more] &+ lastDigits(load(first + 16, as: UInt64.self), more)
        return Number(digits: digits, fraction: 0, isNegative: isNegative, isWhole: true, next: next)
    }

    /// The number that up to sixteen digits write.
    @inline(__always)
    private func number(_ first: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
        let word = load(first, as: UInt64.self)
        if count <= 8 { return lastDigits(word, count) }
        return eightDigits(word) &* powers[count &- 8] &+ lastDigits(load(first + 8, as: UInt64.self), count &- 8)
    }

    /// The number that up to fifteen digits, a point and up to sixteen digits write, without the point.
    @inline(__always)
    private func decimal(_ first: UnsafePointer<UInt8>, _ whole: Int, _ fraction: Int) -> UInt64 {
        guard whole &+ fraction <= 7 else { return number(first, whole) &* powers[fraction] &+ number(first + (whole &+ 1), fraction) }
        // All in one word: what stands behind the point moves over it.
        let word = load(first, as: UInt64.self)
        let before: UInt64 = (1 &<< UInt64(truncatingIfNeeded: 8 &* whole)) &- 1
        return lastDigits(word & before | (word &>> 8) & ~before, whole &+ fraction)
    }

    @inline(__always)
    private func double(_ number: Number) -> Double {
        // Both operands are exact, so the one division rounds once: the nearest double.
        let magnitude = Double(number.digits) / doublePowers[number.fraction]
        return number.isNegative ? -magnitude : magnitude
    }

    @inline(__always)
    private func appendInteger<Value: FixedWidthInteger & BitwiseCopyable>(
        _ number: Number, _ lane: UnsafeMutablePointer<ColumnLane>, as: Value.Type
    ) -> Bool {
        guard number.isWhole, number.digits <= UInt64(Value.max), Value.isSigned || !number.isNegative else { return false }
        let value = Value(truncatingIfNeeded: number.digits)
        lane.pointee.values.append(number.isNegative ? 0 &- value : value)
        return true
    }

    /// Appends the number times 10^scale, if that is whole and has no more digits than the column's type.
    @inline(__always)
    private func appendDecimal(_ number: Number, _ lane: UnsafeMutablePointer<ColumnLane>) -> Bool {
        let shift = lane.pointee.scale &- number.fraction
        let precision = lane.pointee.precision
        guard shift >= 0, shift <= Self.maxDigits else { return false }
        let (high, low) = number.digits.multipliedFullWidth(by: powers[shift])
        if lane.pointee.kind == .decimal128 {
            // 10^19 times 10^19 is the limit of 38 digits; smaller limits are FieldParser's.
            guard precision == 38 else { return false }
            let value = UInt128(high) << 64 | UInt128(low)
            lane.pointee.values.append(number.isNegative ? 0 &- value : value)
            return true
        }
        guard high == 0, low < powers[precision] else { return false }
        let value = number.isNegative ? 0 &- low : low
        if lane.pointee.kind == .decimal64 {
            lane.pointee.values.append(value)
        } else {
            lane.pointee.values.append(UInt32(truncatingIfNeeded: value))
        }
        return true
    }

    /// Takes a decimal between quotes: as it is written where no parser on its way may round it.
    @inline(never)
    private func takeQuotedDecimal(
        _ quote: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ lane: UnsafeMutablePointer<ColumnLane>
    ) -> UnsafePointer<UInt8>? {
        guard let number = takeNumber(quote + 1, end), number.next < end, number.next.pointee == 0x22 else { return nil }
        return appendDecimal(number, lane) ? number.next + 1 : nil
    }

    /// Takes an array of doubles.
    @inline(never)
    private func takeDoubles(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ lane: UnsafeMutablePointer<ColumnLane>
    ) -> UnsafePointer<UInt8>? {
        guard start.pointee == UInt8(ascii: "[") else { return nil }
        let before = lane.pointee.values.count
        var place = start + 1
        var elements: UInt64 = 0
        while place < end {
            if place.pointee == 0x20 { place += 1 }
            guard let number = takeNumber(place, end), number.digits < 1 << 53, number.next < end else { break }
            lane.pointee.values.append(double(number))
            elements &+= 1
            place = number.next + 1
            if number.next.pointee == UInt8(ascii: "]") {
                lane.pointee.finishArray(adding: elements)
                return place
            }
            guard number.next.pointee == UInt8(ascii: ",") else { break }
        }
        lane.pointee.values.truncate(to: before)
        return nil
    }

    // MARK: Others

    @inline(__always)
    private func takeText(
        _ quote: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ lane: UnsafeMutablePointer<ColumnLane>
    ) -> UnsafePointer<UInt8>? {
        let first = quote + 1
        var place = first
        while place < end {
            let unusual = cp_not_plain_text(place)
            if unusual == 0 {
                place += 16
                continue
            }
            place += unusual.trailingZeroBitCount
            let count = place - first
            guard place.pointee == 0x22, place < end, count <= RawBuffer.maxShortText else { return nil }
            if lane.pointee.kind == .name {
                lane.pointee.appendName(first, count: count)
            } else {
                lane.pointee.values.appendShortText(first, count: count)
            }
            return place + 1
        }
        return nil
    }

    @inline(__always)
    private func takeEnum(
        _ quote: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ lane: UnsafeMutablePointer<ColumnLane>, _ column: Int,
        _ names: FieldTable
    ) -> UnsafePointer<UInt8>? {
        guard let found = names.enumValue(column, quote + 1) else { return nil }
        let next = quote + (found.nameBytes + 2)
        guard next <= end else { return nil }
        if lane.pointee.kind == .enum8 {
            lane.pointee.values.append(Int8(truncatingIfNeeded: found.value))
        } else {
            lane.pointee.values.append(found.value)
        }
        return next
    }

    @inline(__always)
    private func takeBool(
        _ place: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ lane: UnsafeMutablePointer<ColumnLane>
    ) -> UnsafePointer<UInt8>? {
        let word = load(place, as: UInt64.self)
        let isTrue = word & 0xFFFF_FFFF == Self.true
        let isFalse = word & 0xFF_FFFF_FFFF == Self.false
        // No branch on which of the two it is: nobody could predict it.
        let next = place + (isTrue ? 4 : 5)
        guard isTrue != isFalse, next <= end else { return nil }
        lane.pointee.values.append(UInt8(isTrue ? 1 : 0))
        return next
    }

    // The literals as a little-endian machine reads them.
    private static let null: UInt32 = 0x6C6C_756E
    private static let `true`: UInt64 = 0x6575_7274
    private static let `false`: UInt64 = 0x65_736C_6166
}

@inline(__always)
private func load<Value: BitwiseCopyable>(_ place: UnsafePointer<UInt8>, as: Value.Type) -> Value {
    UnsafeRawPointer(place).loadUnaligned(as: Value.self)
}

/// The number that a word's first digits write, 0 to 8 of them.
@inline(__always)
private func lastDigits(_ word: UInt64, _ count: Int) -> UInt64 {
    // They move to the word's end, and zeros stand before them. Half the way at a time, since a shift by 64 would be none.
    let half = UInt64(truncatingIfNeeded: 32 &- 4 &* count)
    return eightDigits((word &<< half) &<< half)
}

/// The number that eight digits write.
@inline(__always)
private func eightDigits(_ digits: UInt64) -> UInt64 {
    // Neighbours are joined: eight digits to four numbers of two, to two of four, to one of eight.
    var word = ((digits & 0x0F0F_0F0F_0F0F_0F0F) &* 2_561) >> 8
    word = ((word & 0x00FF_00FF_00FF_00FF) &* 6_553_601) >> 16
    return ((word & 0x0000_FFFF_0000_FFFF) &* 42_949_672_960_001) >> 32
}
