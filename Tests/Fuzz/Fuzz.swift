import Glibc
import SpoolFormat
import SpoolTesting

/// Every decoder of bytes from outside, for libFuzzer: none may trap, hang or take memory without bound, whatever it is given.
///
/// One program; the environment variable `FUZZ` names the decoder (`scripts/fuzz` runs them all). It is built only for this, with the fuzzer's own `main`.
enum Fuzz {
    typealias Decoder = @Sendable (UnsafeRawBufferPointer) -> Void

    static let decoders: [String: Decoder] = [
        "frames": FormatFuzz.frames, "marks": FormatFuzz.marks, "checkpoint": FormatFuzz.checkpoint, "blocks": FormatFuzz.blocks,
        "schemas": TextFuzz.schemas, "types": TextFuzz.types, "settings": TextFuzz.settings, "ring-header": RingFuzz.header,
        "ring-rows": RingFuzz.rows, "lines": WriterFuzz.lines, "introduction": WriterFuzz.introduction, "answers": LoaderFuzz.answers,
        "tables": LoaderFuzz.tables, "quarantine": LoaderFuzz.quarantine, "status": LoaderFuzz.status,
    ]

    /// For decoders that read files; removed when the program ends.
    nonisolated(unsafe) static var directory: TemporaryDirectory?

    static func file(_ name: String) -> String {
        if directory == nil {
            directory = TemporaryDirectory()
            atexit { Fuzz.directory = nil }
        }
        return directory!.file(name)
    }

    /// The one that is fuzzed.
    static let decoder = getenv("FUZZ").flatMap { decoders[String(cString: $0)] }
}

/// libFuzzer's loop.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ takeInput: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// What SwiftPM links as the program's `main`.
@_cdecl("fuzz_main")
public func fuzzMain(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
    guard Fuzz.decoder != nil else {
        print("FUZZ must be one of: \(Fuzz.decoders.keys.sorted().joined(separator: " "))")
        return 64
    }
    var count = count
    var arguments = arguments
    return runDriver(&count, &arguments) { bytes, count in
        Fuzz.decoder?(UnsafeRawBufferPointer(start: bytes, count: count))
        return 0
    }
}

extension UnsafeRawBufferPointer {
    /// All but the first byte, which chooses something.
    var rest: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: dropFirst()) }
    var text: String { String(decoding: self, as: UTF8.self) }
}
