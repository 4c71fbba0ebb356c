/// Which types hold every value of another, so that a column can be altered, and rows of an old spool sent, without a value becoming another one.
///
/// ClickHouse converts between all of these exactly (measured on 26.9: `Tests/endtoend/test_evolution.py`); between others it wraps, cuts or rounds without
/// an error.
extension ColumnType {
    /// Whether every value of the older type is a value of this one.
    public func holdsAll(of older: ColumnType) -> Bool {
        switch (older.shape, shape) {
        case (.plain, .plain), (.plain, .nullable), (.nullable, .nullable), (.array, .array): scalar.holdsAll(of: older.scalar)
        case (.nullable, .plain), (.plain, .array), (.nullable, .array), (.array, .plain), (.array, .nullable): false
        }
    }
}

extension ColumnType.Scalar {
    fileprivate func holdsAll(of older: ColumnType.Scalar) -> Bool {
        switch (older, self) {
        case (.int(let from), .int(let to)), (.uint(let from), .uint(let to)): to >= from
        case (.uint(let from), .int(let to)): to > from
        case (.float32, .float64): true
        case (.decimal(let fromDigits, let fromScale), .decimal(let toDigits, let toScale)):
            toScale >= fromScale && toDigits - toScale >= fromDigits - fromScale
        case (.enum8(let from), .enum8(let to)), (.enum8(let from), .enum16(let to)), (.enum16(let from), .enum16(let to)):
            from.allSatisfy { to.contains($0) }
        case (.enum8, .string), (.enum16, .string): true
        default: older == self
        }
    }
}
