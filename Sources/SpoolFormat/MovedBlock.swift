extension NativeBlock {
    /// The same rows at other times: every `DateTime64` and `DateTime` is later by so many nanoseconds, be it null, in an array or neither.
    ///
    /// A `Date` is a day of some calendar, such as an expiry, and no moment; it stays. A `DateTime` is rounded down to its second. What would
    /// leave the range that can be recorded (``EventTime``) becomes its end.
    public func moved(by nanoseconds: Int64) -> NativeBlock {
        guard nanoseconds != 0, let first = columns.first else { return self }
        var bytes = first.bytes
        bytes.withUnsafeMutableBytes { raw in
            for column in columns { column.move(raw, rows: rows, by: nanoseconds) }
        }
        return NativeBlock(rows: rows, columns: columns.map { $0.over(bytes) })
    }

    /// The same rows without these columns.
    public func leavingOut(_ names: Set<String>) -> NativeBlock {
        NativeBlock(rows: rows, columns: columns.filter { !names.contains($0.name) })
    }
}

extension NativeColumn {
    fileprivate func move(_ block: UnsafeMutableRawBufferPointer, rows: Int, by nanoseconds: Int64) {
        let range = EventTime.earliest...EventTime.latest
        let elements = 0..<(rows == 0 ? 0 : self.elements(rows - 1).upperBound)
        switch type.scalar {
        case .dateTime64:
            for element in elements {
                let offset = values + element * 8
                let time = Int64(littleEndian: block.loadUnaligned(fromByteOffset: offset, as: Int64.self))
                let (sum, overflow) = time.addingReportingOverflow(nanoseconds)
                let far = overflow ? (nanoseconds < 0 ? Int64.min : .max) : sum
                // One that lies outside already, under a null for example, is of no time.
                let moved = range.contains(time) ? min(max(far, range.lowerBound), range.upperBound) : time
                block.storeBytes(of: moved.littleEndian, toByteOffset: offset, as: Int64.self)
            }
        case .dateTime:
            for element in elements {
                let offset = values + element * 4
                let second = UInt32(littleEndian: block.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
                // 136 years of nanoseconds fit in 63 bits; a sum of two such may not.
                let time = Int64(second) * 1_000_000_000
                let far = Int128(time) + Int128(nanoseconds)
                let near = min(max(far, Int128(range.lowerBound)), Int128(range.upperBound)) / 1_000_000_000
                let moved = range.contains(time) ? UInt32(clamping: near) : second
                block.storeBytes(of: moved.littleEndian, toByteOffset: offset, as: UInt32.self)
            }
        default: break
        }
    }
}
