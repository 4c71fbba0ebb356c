import Glibc
import SpoolFormat

/// A JSON number as it is written: sign, digits and exponent, nothing rounded.
struct DecimalNumber {
    let isNegative: Bool
    /// The digits as a whole number, leading zeros dropped; wrong if `overflows`.
    private(set) var digits: UInt128
    /// The value is `digits * 10^exponent`.
    let exponent: Int
    /// More than 38 significant digits.
    let overflows: Bool
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
        while position < end {
            let digit = position.pointee &- 0x30
            if digit > 9 { break }
            short = short &* 10 &+ UInt64(digit)
            position += 1
        }
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
            while position < end {
                let digit = position.pointee &- 0x30
                if digit > 9 { break }
                short = short &* 10 &+ UInt64(digit)
                position += 1
            }
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
        // Nineteen digits always fit in 64 bits.
        if wholeDigits + fractionDigits <= 19 {
            digits = UInt128(short)
            overflows = false
        } else {
            (digits, overflows) = Self.long(firstDigit, mantissaEnd)
        }
    }

    /// What is wrong, and at which byte: the scanner still stands at the number's first.
    private static func syntax(_ what: String, _ scanner: inout JSONScanner, _ position: UnsafePointer<UInt8>) -> Refusal {
        scanner.advance(position - scanner.position)
        return scanner.syntax(what)
    }

    @inline(never)
    private static func long(_ first: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> (UInt128, Bool) {
        var value: UInt128 = 0
        var significant = 0
        var position = first
        while position < end {
            let digit = position.pointee &- 0x30
            if digit <= 9 {
                if significant > 0 || digit > 0 { significant += 1 }
                if significant > 38 { return (0, true) }
                value = value * 10 + UInt128(digit)
            }
            position += 1
        }
        return (value, false)
    }

    /// The value times 10^scale, exactly.
    ///
    /// - Returns: nil if it would need more decimals, or is larger than `limit`.
    func scaled(by scale: Int, limit: UInt128) -> Int128? {
        guard !overflows else { return nil }
        var magnitude = digits
        var shift = exponent + scale
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
        if digits < 1 << 53, !overflows, exponent >= -22, exponent <= 22 {
            // Both operands are exact, so the one operation rounds once: the nearest double.
            let whole = Double(UInt64(digits))
            magnitude = exponent < 0 ? whole / Self.powers[-exponent] : whole * Self.powers[exponent]
            return isNegative ? -magnitude : magnitude
        }
        var copy = Array(text)
        copy.append(0)
        let value = copy.withUnsafeBytes { strtod($0.assumingMemoryBound(to: CChar.self).baseAddress.unsafelyUnwrapped, nil) }
        return value.isFinite ? value : nil
    }

    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ]
}
