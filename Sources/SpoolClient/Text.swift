/// Text of a row, as UTF-8: a literal, a `String`, or bytes that live until publish returns.
@frozen public struct Text: ExpressibleByStringLiteral, Sendable {
    // Either bytes or a String: a String's bytes have no address of their own.
    @usableFromInline nonisolated(unsafe) let base: UnsafeRawPointer?
    @usableFromInline let count: Int
    @usableFromInline let string: String?

    @inlinable @inline(__always)
    public init(stringLiteral literal: StaticString) {
        base = UnsafeRawPointer(literal.utf8Start)
        count = literal.utf8CodeUnitCount
        string = nil
    }

    @inlinable @inline(__always)
    public init(_ bytes: UnsafeRawBufferPointer) {
        base = bytes.baseAddress
        count = bytes.count
        string = nil
    }

    @inlinable @inline(__always)
    public init(_ string: String) {
        base = nil
        count = string.utf8.count
        self.string = string
    }

    @inlinable @inline(__always)
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        guard var string else { return body(UnsafeRawBufferPointer(start: base, count: count)) }
        return string.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}

/// A text that repeats, for `LowCardinality(String)`: from ``Ring/intern(_:)`` four bytes in a row, from a literal looked up each
/// time (some 10 ns).
///
/// It holds no `String`, because copying one counts references, and that would cost more than the rest of a row.
@frozen public struct Name: ExpressibleByStringLiteral, BitwiseCopyable, Sendable {
    /// The id below the token of the ring that gave it, or 0: then the text counts, which a literal or the ring keeps.
    @usableFromInline let word: UInt64
    @usableFromInline nonisolated(unsafe) let base: UnsafeRawPointer?
    @usableFromInline let count: Int

    @inlinable @inline(__always)
    init(word: UInt64) {
        self.word = word
        base = nil
        count = 0
    }
    @inlinable @inline(__always)
    init(kept text: UnsafeRawBufferPointer) {
        word = 0
        base = text.baseAddress
        count = text.count
    }
    @inlinable @inline(__always)
    public init(stringLiteral literal: StaticString) {
        self.init(kept: UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }
}

/// `SPOOL_NAME_INLINE`, whose macro Swift does not see as the type it needs here.
@inlinable @inline(__always) var spoolNameInline: UInt32 { 0x8000_0000 }
