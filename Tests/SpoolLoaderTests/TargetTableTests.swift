import Foundation
import SpoolFormat
import SpoolTesting
import Testing

@testable import spool_loader

/// What the target is like, how it is asked for, and names that try to break out of the question.
@Suite struct TargetTableTests {
    @Test(arguments: [
        ("MergeTree ORDER BY ts", false, false), ("MergeTree PARTITION BY toDate(ts) ORDER BY ts", false, true),
        ("MergeTree PARTITION BY toYYYYMM(ts) ORDER BY ts SETTINGS x = 1", false, false),
        ("MergeTree PARTITION BY toDate(received) ORDER BY ts", true, true), ("MergeTree PARTITION BY symbol ORDER BY ts", true, true),
        ("MergeTree PARTITION BY (toDate(ts), symbol) ORDER BY ts TTL toDateTime(ts) + toIntervalDay(3)", true, true),
        ("MergeTree PARTITION BY toDate(ts) % 7 ORDER BY ts", true, true),
        ("ReplicatedMergeTree('/x/{shard}', '{replica}') PARTITION BY toDate(ts) ORDER BY ts", false, true),
    ])
    func aBatchOfOneOfOurPartitionsIsOneOfTheTablesOrNot(engine: String, day: Bool, month: Bool) {
        let target = TargetEngine(engine)
        #expect(target.splits(.day, of: "ts") == day && target.splits(.month, of: "ts") == month)
    }

    private func table(_ columns: [String: String], engine: String = "MergeTree ORDER BY ts") throws -> TargetTable {
        let text = "engine\t\t\(engine)\n" + columns.map { "column\t\($0)\t\($1)\n" }.joined()
        return try #require(TargetTable(answer: Array(text.utf8)))
    }

    private func complaint(_ target: String, _ wire: String) throws -> String? {
        try table(["px": target]).complaint(about: [WireColumn(name: "px", type: wire)])
    }

    @Test func noEngineMeansNoTable() {
        #expect(TargetTable(answer: []) == nil)
        #expect(TargetTable(answer: Array("column\tpx\tFloat64\n".utf8)) == nil)
        #expect(TargetTable(answer: [0xFF, 0x09, 0x00, 0x0A, 0x09]) == nil)
    }

    @Test(arguments: [
        ("Float64", "Float64"), ("LowCardinality(String)", "String"), ("LowCardinality(Nullable(String))", "Nullable(String)"),
        ("DateTime64(9, 'Europe/Berlin')", "DateTime64(9, 'UTC')"), ("DateTime64(9)", "DateTime64(9, 'UTC')"),
        ("DateTime", "DateTime('UTC')"),
        ("Array(UInt8)", "Array(UInt8)"), ("Decimal(18, 8)", "Decimal(18, 8)"),
    ])
    func typesThatTakeTheValuesAsTheyAre(target: String, wire: String) throws {
        #expect(try complaint(target, wire) == nil)
    }

    @Test(arguments: [
        ("Float32", "Float64"), ("Int64", "UInt64"), ("UInt32", "UInt64"), ("DateTime64(3, 'UTC')", "DateTime64(9, 'UTC')"),
        ("DateTime", "DateTime64(9, 'UTC')"),
        ("Nullable(Float64)", "Float64"), ("Float64", "Nullable(Float64)"), ("Decimal(18, 4)", "Decimal(18, 8)"),
        ("FixedString(3)", "FixedString(4)"),
        ("Enum8('a' = 1)", "Enum8('a' = 2)"), ("Nonsense((", "Float64"), ("", "Float64"),
    ])
    func typesThatWouldConvertSilentlyAreNamed(target: String, wire: String) throws {
        #expect(
            try complaint(target, wire) == "column px is \(wire) in the spool and \(target) in ClickHouse, which would convert it silently")
    }

    @Test func aMissingColumnIsNamed() throws {
        #expect(
            try table(["a": "Int8"]).complaint(about: [WireColumn(name: "px", type: "Float64")])
                == "column px is in the spool and not in ClickHouse; run `spool-loader migrate apply`")
    }

    @Test(arguments: [
        ("MergeTree ORDER BY ts SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192", true),
        ("MergeTree ORDER BY ts SETTINGS non_replicated_deduplication_window = 0", false), ("MergeTree ORDER BY ts", false),
        ("ReplicatedMergeTree('/t', 'r') ORDER BY ts", true), ("SharedMergeTree ORDER BY ts", true), ("Memory", false), ("", false),
        ("'(", false),
    ])
    func whetherTheTokenNetIsThere(engine: String, deduplicates: Bool) throws {
        #expect(try table([:], engine: engine).deduplicates == deduplicates)
    }

    @Test func identifiersAndStringsCannotBreakOut() {
        #expect(quotedIdentifier("px") == "`px`")
        #expect(quotedIdentifier("a`b\\c") == "`a\\`b\\\\c`")
        #expect(quotedString("it's \\ here") == "'it\\'s \\\\ here'")
        // To Swift a quote with an accent on it is one other character; ClickHouse sees bytes.
        #expect(Array(quotedIdentifier("a`\u{301}b").utf8) == Array("`a\\`\u{301}b`".utf8))
        #expect(Array(quotedString("'\u{301}\\\u{200D}").utf8) == Array("'\\'\u{301}\\\\\u{200D}'".utf8))
    }

    @Test(arguments: ["px", "a b", "a&b=c", "100%", "ä", "日本", "a+b", "`", "a\nb", "a#b?c", "\u{1F600}", "%41", ";--"])
    func anInsertArrivesWithTheNamesItWasGiven(name: String) throws {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        let answer = try ClickHouse(server).insert(token: "w/\(name)/1-2", columns: [name, "b"])
        #expect(answer.kind == .ok)
        let request = try #require(server.requests.first)
        #expect(request.parameters["query"] == "INSERT INTO `trades` (\(quotedIdentifier(name)), `b`) FORMAT Native")
        #expect(request.parameters["insert_deduplication_token"] == "w/\(name)/1-2")
        #expect(request.target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
    }

    @Test func anInsertCarriesWhatExactlyOnceNeeds() throws {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        #expect(try ClickHouse(server).insert().kind == .ok)
        let request = try #require(server.requests.first)
        for (name, value) in [
            ("async_insert", "0"), ("insert_deduplicate", "1"), ("input_format_skip_unknown_fields", "0"),
            ("input_format_null_as_default", "0"), ("database", "default"),
        ] { #expect(request.parameters[name] == value) }
        #expect(request.headers["content-encoding"] == "lz4" && request.headers["x-clickhouse-user"] == "default")
        #expect(request.headers["expect"] == nil && request.headers["content-length"] == "4")
    }

    @Test func thePasswordGoesInAHeaderAndNeverInTheAddress() throws {
        let server = RawServer { _ in .ok() }
        defer { server.stop() }
        let home = TemporaryDirectory()
        try Bytes.write(Array("s3cret&x\r\nnot this\n".utf8), to: home.file("password"))
        let settings = try configuration(["loader.url": server.url + "/", "loader.password_file": home.file("password")])
        #expect(try ClickHouse(configuration: settings, http: HTTPClient()).insert().kind == .ok)
        let request = try #require(server.requests.first)
        #expect(request.headers["x-clickhouse-key"] == "s3cret&x")
        #expect(!request.target.contains("s3cret"))
    }
}
