import SpoolConfig
import SpoolTesting
import Testing

/// Configuration files that are wrong are refused with their line; none ends the process. Most of these were found by the fuzzer (`scripts/fuzz`).
@Suite struct SettingsFileTests {
    private func failure(_ bytes: [UInt8]) throws -> String? {
        let directory = TemporaryDirectory()
        try Bytes.write(bytes, to: directory.file("c.toml"))
        do throws(ConfigFailure) {
            _ = try Configuration(file: directory.file("c.toml"), environment: [:])
            return nil
        } catch {
            return "\(error)".split(separator: "/").last.map(String.init)
        }
    }

    @Test(arguments: [
        ("[é]\n", "c.toml:1: not TOML: a character U+E9 outside"), ("\n[:\n", "c.toml:2: not TOML: a section without a name"),
        ("[", "c.toml:1: not TOML: a section without a name"), ("[[", "c.toml:1: not TOML: a section without a name"),
        ("[ ]", "c.toml:1: not TOML: a section without a name"),
        ("spool = \"/x\"\r\n  [\u{1}]\n", "c.toml:2: not TOML: a section without a name"),
        ("a\u{0301} = 1", "c.toml:1: not TOML: a character U+301 outside"), ("spool = \"x", "c.toml:1: not TOML:"),
        ("spool = '''\n\n[é\n", "c.toml:"), ("é", "c.toml:1: not TOML: a character"),
    ])
    func whatIsWrongIsToldWithItsLine(_ text: String, _ expected: String) throws {
        let told = try #require(try failure(Array(text.utf8)))
        #expect(told.hasPrefix(expected), "\(told)")
    }

    @Test(arguments: [[UInt8(ascii: "["), 0xCC], [0xFF, 0xFE], [0], Array("[writer]\n".utf8) + [0x80]])
    func bytesThatAreNoTextAreRefused(_ bytes: [UInt8]) throws { #expect(try failure(bytes) != nil) }

    @Test(arguments: [
        "# é [\nspool = \"/sp\\\"é[\"\n", "spool = '/é['\n[writer] # é\nid = \"a\"\n", "spool = \"\"\"\n/é\n[\"\"\"\n",
        "[tables.\"orders\"]\nchunk_rows = 5\n",
        "[tables.'orders']\n[ writer ]\n[loader]\nurl = [\n  \"http://a:1\", # é\n  \"http://b:1\"\n]\n",
    ])
    func whatTOMLAllowsIsTaken(_ text: String) throws { #expect(try failure(Array(text.utf8)) == nil) }
}
