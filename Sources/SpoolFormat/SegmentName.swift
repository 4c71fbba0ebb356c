/// A segment's file name, `<number>-<first sequence>.lz4` (`docs/spool-format.md` §1).
public struct SegmentName: Hashable, Comparable, Sendable {
    /// Counted per table from 1; never used twice.
    public let number: UInt64
    /// Sequence of the first row that the segment can hold.
    public let firstSequence: UInt64

    public init(number: UInt64, firstSequence: UInt64) {
        precondition(number <= 9_999_999_999, "segment number \(number)")
        self.number = number
        self.firstSequence = firstSequence
    }

    /// Reads a file name; nil for every other name.
    public init?(fileName: String) {
        let bytes = Array(fileName.utf8)
        guard bytes.count == 35, bytes[10] == UInt8(ascii: "-"), fileName.hasSuffix(".lz4"),
            let number = Self.digits(bytes[0..<10]), let first = Self.digits(bytes[11..<31]), number > 0
        else { return nil }
        self.number = number
        self.firstSequence = first
    }

    public var fileName: String { "\(padded(number, 10))-\(padded(firstSequence, 20)).lz4" }

    public static func < (left: Self, right: Self) -> Bool { left.number < right.number }

    private static func digits(_ bytes: ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for byte in bytes {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tenfold.addingReportingOverflow(UInt64(byte - 0x30))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        return value
    }

    private func padded(_ value: UInt64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

extension SegmentName: CustomStringConvertible {
    public var description: String { fileName }
}

/// Which names a table or a writer may have, so that they can be directory names and SQL identifiers everywhere.
public enum NameRule {
    public static func isTable(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard let first = bytes.first, bytes.count <= FormatLimits.tableNameBytes else { return false }
        return (isLower(first) || first == UInt8(ascii: "_"))
            && bytes.allSatisfy { isLower($0) || isDigit($0) || $0 == UInt8(ascii: "_") }
    }

    public static func isWriterID(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        return !bytes.isEmpty && bytes.count <= FormatLimits.writerIDBytes
            && bytes.allSatisfy { isLower($0 | 0x20) || isDigit($0) || ".-_".utf8.contains($0) }
    }

    /// Printable ASCII without spaces or quotes: it stands in logs and in JSON.
    public static func isSource(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        return !bytes.isEmpty && bytes.count <= FormatLimits.sourceBytes
            && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
    }

    private static func isLower(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") }
    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
}
