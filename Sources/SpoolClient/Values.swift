/// A value of fixed width, as it lies in a row.
public protocol FixedValue {
    associatedtype Stored: BitwiseCopyable
    var stored: Stored { get }
}

extension FixedValue where Self: BitwiseCopyable, Stored == Self {
    @inlinable @inline(__always) public var stored: Self { self }
}

extension Int8: FixedValue { public typealias Stored = Int8 }
extension Int16: FixedValue { public typealias Stored = Int16 }
extension Int32: FixedValue { public typealias Stored = Int32 }
extension Int64: FixedValue { public typealias Stored = Int64 }
extension UInt8: FixedValue { public typealias Stored = UInt8 }
extension UInt16: FixedValue { public typealias Stored = UInt16 }
extension UInt32: FixedValue { public typealias Stored = UInt32 }
extension UInt64: FixedValue { public typealias Stored = UInt64 }
extension Float: FixedValue { public typealias Stored = Float }
extension Double: FixedValue { public typealias Stored = Double }

extension Bool: FixedValue {
    @inlinable @inline(__always) public var stored: UInt8 { self ? 1 : 0 }
}

/// A member of an enum column; generated code makes an enum for each such column.
public protocol EnumValue: FixedValue, RawRepresentable, Sendable where Stored == RawValue {}

extension EnumValue {
    @inlinable @inline(__always) public var stored: RawValue { rawValue }
}

// MARK: - Times

/// `DateTime64(9)`: nanoseconds since the Unix epoch.
@frozen public struct Time: FixedValue, Hashable, Sendable {
    public var nanoseconds: Int64
    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    @inlinable @inline(__always) public var stored: Int64 { nanoseconds }
}

/// `DateTime`: seconds since the Unix epoch.
@frozen public struct Seconds: FixedValue, Hashable, Sendable {
    public var seconds: UInt32
    @inlinable public init(_ seconds: UInt32) { self.seconds = seconds }
    @inlinable @inline(__always) public var stored: UInt32 { seconds }
}

/// `Date`: days since 1970-01-01.
@frozen public struct Day: FixedValue, Hashable, Sendable {
    public var days: UInt16
    @inlinable public init(_ days: UInt16) { self.days = days }
    @inlinable @inline(__always) public var stored: UInt16 { days }
}

/// `UUID`: the two halves of its text.
@frozen public struct UUIDBits: FixedValue, BitwiseCopyable, Hashable, Sendable {
    public typealias Stored = UUIDBits
    public var high: UInt64
    public var low: UInt64
    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

// MARK: - Decimals

/// Digits behind the point, as a type: a quantity with eight cannot stand where ten belong.
public protocol DecimalScale: Sendable {
    static var digits: Int { get }
}

/// `Decimal(P, S)` with P up to 9: the value times ten to the power of S.
@frozen public struct Decimal32<Scale: DecimalScale>: FixedValue, Hashable, Sendable {
    public var units: Int32
    @inlinable public init(units: Int32) { self.units = units }
    @inlinable @inline(__always) public var stored: Int32 { units }
    /// The value of a text such as "61800.5", if it is exact and fits.
    public init?(_ text: String) {
        guard let units = decimalUnits(text, scale: Scale.digits, limit: 9) else { return nil }
        self.units = Int32(units)
    }
}

/// `Decimal(P, S)` with P up to 18.
@frozen public struct Decimal64<Scale: DecimalScale>: FixedValue, Hashable, Sendable {
    public var units: Int64
    @inlinable public init(units: Int64) { self.units = units }
    @inlinable @inline(__always) public var stored: Int64 { units }
    /// The value of a text such as "61800.5", if it is exact and fits.
    public init?(_ text: String) {
        guard let units = decimalUnits(text, scale: Scale.digits, limit: 18) else { return nil }
        self.units = Int64(units)
    }
}

/// `Decimal(P, S)` with P up to 38.
@frozen public struct Decimal128<Scale: DecimalScale>: FixedValue, Hashable, Sendable {
    public var units: Int128
    @inlinable public init(units: Int128) { self.units = units }
    @inlinable @inline(__always) public var stored: Int128 { units }
    /// The value of a text such as "61800.5", if it is exact and fits.
    public init?(_ text: String) {
        guard let units = decimalUnits(text, scale: Scale.digits, limit: 38) else { return nil }
        self.units = units
    }
}

/// The scaled integer of a decimal text; nil if it is none, or has more digits than `scale` behind the point or `limit` in all.
func decimalUnits(_ text: String, scale: Int, limit: Int) -> Int128? {
    var rest = text.utf8[...]
    let isNegative = rest.first == UInt8(ascii: "-")
    if isNegative || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
    var units: Int128 = 0
    var digits = 0
    var decimals: Int?
    for byte in rest {
        if byte == UInt8(ascii: "."), decimals == nil {
            decimals = 0
            continue
        }
        guard (0x30...0x39).contains(byte) else { return nil }
        digits += 1
        if let count = decimals {
            // Zeros beyond the scale change nothing.
            if count == scale {
                if byte == 0x30 { continue } else { return nil }
            }
            decimals = count + 1
        }
        let (tens, overflow) = units.multipliedReportingOverflow(by: 10)
        guard !overflow, tens < Int128.max - 9 else { return nil }
        units = tens + Int128(byte - 0x30)
    }
    guard digits > 0 else { return nil }
    for _ in (decimals ?? 0)..<scale {
        let (tens, overflow) = units.multipliedReportingOverflow(by: 10)
        guard !overflow else { return nil }
        units = tens
    }
    let bound = (0..<limit).reduce(Int128(1)) { power, _ in power * 10 }
    return units < bound ? (isNegative ? -units : units) : nil
}
