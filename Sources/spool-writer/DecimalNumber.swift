import Glibc
import SpoolFormat

/// A JSON number as it is written: sign, digits and exponent, nothing rounded.
struct DecimalNumber {
    let isNegative: Bool
    /// The digits as a whole number, if they are at most nineteen, which always fit; else see ``long``.
    private let short: UInt64
    /// Where more than nineteen digits stand, with the decimal point among them.
    private let long: UnsafeBufferPointer<UInt8>?
    /// The value is `digits * 10^exponent`.
    let exponent: Int
    /// Written without fraction and exponent.
    let isWhole: Bool
    let text: UnsafeBufferPointer<UInt8>

    /// More than a line has digits, so that no row of zeros makes up for what is cut off here.
    private static let maxExponent = 1 << 32

    /// Takes a number by the grammar of RFC 8259.
    @inline(__always)
    init(from scanner: inout JSONScanner) throws(Refusal) {
        scanner.skipSpace()
        var position = scanner.position
        let start = position
        let end = scanner.end
        isNegative = position < end && position.pointee == UInt8(ascii: "-")
        if isNegative { position += 1 }
        let firstDigit = position
        var short: UInt64 = 0
        Self.takeDigits(&position, end, &short)
        let wholeDigits = position - firstDigit
        guard wholeDigits > 0 else { throw Self.syntax("expected a value", &scanner, position) }
        guard wholeDigits == 1 || firstDigit.pointee != 0x30 else {
            throw Self.syntax("expected a number without leading zeros", &scanner, firstDigit)
        }
        var fractionDigits = 0
        var isWhole = true
        if position < end, position.pointee == UInt8(ascii: ".") {
            isWhole = false
            position += 1
            let fraction = position
            Self.takeDigits(&position, end, &short)
            fractionDigits = position - fraction
            guard fractionDigits > 0 else { throw Self.syntax("expected digits after the decimal point", &scanner, position) }
        }
        let mantissaEnd = position
        var power = 0
        if position < end, position.pointee | 0x20 == UInt8(ascii: "e") {
            isWhole = false
            position += 1
            var negative = false
            if position < end, position.pointee == UInt8(ascii: "-") || position.pointee == UInt8(ascii: "+") {
                negative = position.pointee == UInt8(ascii: "-")
                position += 1
            }
            let first = position
            while position < end, position.pointee &- 0x30 <= 9 {
                power = min(power * 10 + Int(position.pointee &- 0x30), Self.maxExponent)
                position += 1
            }
            guard position > first else { throw Self.syntax("expected digits after the exponent", &scanner, position) }
            if negative { power = -power }
        }
        exponent = power - fractionDigits
        self.isWhole = isWhole
        text = UnsafeBufferPointer(start: start, count: position - start)
        scanner.advance(position - start)
        self.short = short
        long = wholeDigits + fractionDigits <= 19 ? nil : UnsafeBufferPointer(start: firstDigit, count: mantissaEnd - firstDigit)
    }

    /// What is wrong, and at which byte: the scanner still stands at the number's first.
    private static func syntax(_ what: String, _ scanner: inout JSONScanner, _ position: UnsafePointer<UInt8>) -> Refusal {
        scanner.advance(position - scanner.position)
        return scanner.syntax(what)
    }

    /// Takes decimal digits, eight at a time where so many are there. More than nineteen wrap around.
    @inline(__always)
    private static func takeDigits(_ position: inout UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ value: inout UInt64) {
        while end - position >= 8 {
            var word = UnsafeRawPointer(position).loadUnaligned(as: UInt64.self).littleEndian
            // Every byte is 0x30 to 0x39: its high half is 3, also after adding 6.
            guard (word & 0xF0F0_F0F0_F0F0_F0F0) | ((word &+ 0x0606_0606_0606_0606) & 0xF0F0_F0F0_F0F0_F0F0) >> 4 == 0x3333_3333_3333_3333
            else { break }
            // Neighbours are joined: eight digits to four numbers of two, to two of four, to one of eight.
            word = ((word & 0x0F0F_0F0F_0F0F_0F0F) &* 2_561) >> 8
            word = ((word & 0x00FF_00FF_00FF_00FF) &* 6_553_601) >> 16
            word = ((word & 0x0000_FFFF_0000_FFFF) &* 42_949_672_960_001) >> 32
            value = value &* 100_000_000 &+ word
            position += 8
        }
        while position < end {
            let digit = position.pointee &- 0x30
            if digit > 9 { break }
            value = value &* 10 &+ UInt64(digit)
            position += 1
        }
    }

    /// The digits as a whole number; nil if more than 38 are significant.
    var digits: UInt128? {
        guard let long else { return UInt128(short) }
        var value: UInt128 = 0
        var significant = 0
        for byte in long where byte != UInt8(ascii: ".") {
            if significant > 0 || byte > 0x30 { significant += 1 }
            if significant > 38 { return nil }
            value = value * 10 + UInt128(byte &- 0x30)
        }
        return value
    }

    /// The number itself if it is whole, not negative and at most `limit`.
    @inline(__always)
    func whole(upTo limit: UInt64) -> UInt64? {
        if long == nil { return isWhole && (!isNegative || short == 0) && short <= limit ? short : nil }
        guard isWhole, !isNegative, let digits, digits <= UInt128(limit) else { return nil }
        return UInt64(digits)
    }

    /// The value times 10^scale, exactly.
    ///
    /// - Returns: nil if it would need more decimals, or is larger than `limit`.
    func scaled(by scale: Int, limit: UInt128) -> Int128? {
        var shift = exponent + scale
        if long == nil, shift >= 0, shift <= 19 {
            // 64 bits times 10^19 always fit in 128.
            let magnitude = UInt128(short) &* UInt128(Self.powersOfTen[shift])
            guard magnitude <= limit else { return nil }
            return isNegative ? -Int128(magnitude) : Int128(magnitude)
        }
        guard var magnitude = digits else { return nil }
        if magnitude == 0 { return 0 }
        while shift < 0 {
            let (quotient, remainder) = magnitude.quotientAndRemainder(dividingBy: 10)
            guard remainder == 0 else { return nil }
            magnitude = quotient
            shift += 1
        }
        while shift > 0 {
            let (product, overflow) = magnitude.multipliedReportingOverflow(by: 10)
            guard !overflow, product <= limit else { return nil }
            magnitude = product
            shift -= 1
        }
        guard magnitude <= limit else { return nil }
        return isNegative ? -Int128(magnitude) : Int128(magnitude)
    }

    /// The nearest double; nil if it is beyond the largest.
    var double: Double? {
        let magnitude: Double
        if short < 1 << 53, long == nil, exponent >= -22, exponent <= 22 {
            // Both operands are exact, so the one operation rounds once: the nearest double.
            let whole = Double(short)
            magnitude = exponent < 0 ? whole / Self.powers[-exponent] : whole * Self.powers[exponent]
            return isNegative ? -magnitude : magnitude
        }
        var copy = Array(text)
        copy.append(0)
        let value = copy.withUnsafeBytes { strtod($0.assumingMemoryBound(to: CChar.self).baseAddress.unsafelyUnwrapped, nil) }
        return value.isFinite ? value : nil
    }

    /// The nearest 32-bit float, rounded once; nil if it is beyond the largest.
    var float: Float? {
        if short < 1 << 24, long == nil, exponent >= -10, exponent <= 10 {
            let power = Float(Self.powers[abs(exponent)])
            let magnitude = exponent < 0 ? Float(short) / power : Float(short) * power
            return isNegative ? -magnitude : magnitude
        }
        var copy = Array(text)
        copy.append(0)
        let value = copy.withUnsafeBytes { strtof($0.assumingMemoryBound(to: CChar.self).baseAddress.unsafelyUnwrapped, nil) }
        return value.isFinite ? value : nil
    }

    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ]

    private static let powersOfTen: [UInt64] = (0...19).map { (0..<$0).reduce(UInt64(1)) { power, _ in power * 10 } }
}
