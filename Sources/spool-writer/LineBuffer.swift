import Glibc
import SpoolFormat

/// Bytes as they come in, handed out line by line. A line longer than the limit is passed over, and reported once.
struct LineBuffer {
    enum Line {
        case line(UnsafeRawBufferPointer)
        /// A line of more bytes than are taken; its bytes are gone.
        case tooLong
        /// No whole line is there.
        case none
    }

    /// Bytes behind a line that can be read as well, so that a parser can take several at a time up to the line's end. They mean nothing.
    static let readAhead = 64

    private let limit: Int
    private var buffer: RawBuffer
    private var taken = 0
    /// Bytes from `taken` on that are known to hold no newline.
    private var searched = 0
    private var isSkipping = false

    init(limit: Int, capacity: Int = 256 << 10) {
        self.limit = limit
        buffer = RawBuffer(capacity: capacity + Self.readAhead)
    }

    func free() { buffer.free() }

    /// Room to read into; give the number of bytes read to ``filled(_:)``. Lines handed out before are gone.
    mutating func room(_ count: Int) -> UnsafeMutableRawBufferPointer {
        buffer.dropFirst(taken)
        taken = 0
        buffer.reserve(count + Self.readAhead)
        return UnsafeMutableRawBufferPointer(start: buffer.base + buffer.count, count: buffer.capacity - buffer.count - Self.readAhead)
    }

    mutating func filled(_ count: Int) { buffer.extend(by: count) }

    /// The next line, without its newline and without a carriage return before it; valid until ``room(_:)``.
    @inline(__always)
    mutating func next() -> Line {
        while true {
            let start = buffer.base + taken
            let available = buffer.count - taken
            guard let newline = memchr(start + searched, 0x0A, available - searched) else {
                searched = available
                if available > limit {
                    // Forget it now: an endless line must not fill the memory.
                    isSkipping = true
                    taken = buffer.count
                    searched = 0
                }
                return .none
            }
            let count = UnsafeRawPointer(newline) - UnsafeRawPointer(start)
            taken += count + 1
            searched = 0
            if isSkipping || count > limit {
                isSkipping = false
                return .tooLong
            }
            let end = count > 0 && start.load(fromByteOffset: count - 1, as: UInt8.self) == 0x0D ? count - 1 : count
            return .line(UnsafeRawBufferPointer(start: start, count: end))
        }
    }

    /// What is left after the last newline, at the end of the input.
    mutating func rest() -> Line {
        let rest = UnsafeRawBufferPointer(start: buffer.base + taken, count: buffer.count - taken)
        taken = buffer.count
        searched = 0
        if isSkipping {
            isSkipping = false
            return .tooLong
        }
        return rest.isEmpty ? .none : .line(rest)
    }
}

extension UnsafeRawBufferPointer {
    /// Whether there is nothing but white space.
    var isBlank: Bool { allSatisfy { $0 == 0x20 || $0 == 0x09 } }
}
