import Foundation
import SpoolFormat
import SpoolRing
import SpoolTesting
import Testing

@testable import spool_writer

@Suite struct CodegenTests {
    static let directory = "\(Repository.path)/Tests/Codegen"

    private func source(_ directory: String, only: [String] = []) throws -> CodeSource {
        try CodeSource(directory: directory, only: only)
    }

    /// A schema of one table with these columns behind its event time.
    private func layout(_ columns: String) throws -> RowLayout {
        let text = "CREATE TABLE t (ts DateTime64(9, 'UTC'), \(columns), spool_writer String, spool_seq UInt64) PARTITION BY toDate(ts)"
        return try RowLayout(try SchemaText.tables(from: [("0001_t.sql", text)])[0], parseDefault: defaultBytes)
    }

    @Test("code for a column of every type is what is checked in", arguments: ["every_type.h", "EveryType.swift", "every_type.py"])
    func golden(_ file: String) throws {
        let source = try source("\(Self.directory)/schemas")
        let text =
            try file.hasSuffix(".h")
            ? CodegenC.text(source) : file.hasSuffix(".py") ? CodegenPython.text(source) : CodegenSwift.text(source)
        let expected = try Bytes.text("\(Self.directory)/\(file)").split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            try #require(
                index < expected.count && line == expected[index], "\(file):\(index + 1); CONTRIBUTING.md says how to make it anew")
        }
        #expect(text.hasSuffix("\n") && text.split(separator: "\n", omittingEmptySubsequences: false).count == expected.count)
    }

    @Test("rows have no gaps, no overlaps and no values across their alignment", arguments: ["schemas", "Tests/Codegen/schemas"])
    func layouts(_ directory: String) throws {
        for layout in try source("\(Repository.path)/\(directory)").layouts {
            var owners = [String?](repeating: nil, count: layout.rowBytes)
            for field in layout.fields {
                let nulls = field.nullOffset.map { $0..<$0 + 1 } ?? 0..<0
                for byte in Array(field.offset..<field.offset + field.width) + Array(nulls) {
                    #expect(owners[byte] == nil, "\(layout.schema.table).\(field.column.name) over \(owners[byte] ?? "")")
                    owners[byte] = field.column.name
                }
                if case .fixedString = field.column.type.scalar { continue }
                #expect(field.offset % min(field.width, 8) == 0, "\(layout.schema.table).\(field.column.name) at \(field.offset)")
            }
            #expect(!owners.contains(nil), "\(layout.schema.table) has a gap")
        }
    }

    @Test("storage follows the type, and LowCardinality makes a name")
    func storage() throws {
        let layout = try layout(
            "a String, b LowCardinality(String), c LowCardinality(Nullable(String)), d Array(String), e FixedString(2), f LowCardinality(UInt32)"
        )
        #expect(layout.fields.map(\.storage) == [.fixed, .string, .name, .name, .array, .fixed, .fixed])
        #expect(layout.fields.map { $0.nullOffset != nil } == [false, false, false, true, false, false, false])
        let plain = try self.layout("a String, b String, c Nullable(String), d Array(String), e FixedString(2), f UInt32")
        #expect(plain.key != layout.key)
    }

    @Test("a default is told from zeroed memory")
    func defaults() throws {
        let layout = try layout(
            "a Int32 DEFAULT 0, b Int32 DEFAULT -1, c String DEFAULT '', d String DEFAULT 'x', e Enum8('u' = 0, 'v' = 1) DEFAULT 'u', f Bool DEFAULT true"
        )
        #expect(layout.fields.map(\.hasDefault) == [false, false, true, false, true, false, true])
        #expect(layout.fields[2].defaultBytes == [255, 255, 255, 255])
    }

    @Test("what cannot be code is an error that names it")
    func errors() throws {
        func reason(_ work: () throws -> Void) -> String {
            do {
                try work()
                return "no error"
            } catch { return "\(error)" }
        }
        #expect(
            reason { _ = try source("\(Self.directory)/schemas", only: ["tick"]) }.contains(
                "has no table tick (--table); it has every_type, ticks"))
        let directory = TemporaryDirectory()
        let table =
            "CREATE TABLE t (ts DateTime64(9, 'UTC'), a_b UInt8, aB UInt8, spool_writer String, spool_seq UInt64) PARTITION BY toDate(ts);"
        try Bytes.write(Array(table.utf8), to: directory.file("0001_t.sql"))
        let clash = try source(directory.path)
        #expect(reason { _ = try CodegenSwift.text(clash) }.contains("column t.aB and column t.a_b would both be called aB"))
        #expect(reason { _ = try CodegenC.text(clash) } == "no error")
        let wide = (0..<17).map { "c\($0) FixedString(4096)" }.joined(separator: ", ")
        #expect(reason { _ = try layout(wide) }.contains("its rows have 69640 bytes without texts, a ring's at most 65536"))
    }

    @Test("a part of the tables can be chosen, in the order of the schemas")
    func chosen() throws {
        let source = try source(Repository.schemas, only: ["fills", "orders"])
        #expect(source.layouts.map(\.schema.table) == ["orders", "fills"])
        #expect(source.notice.contains { $0.hasPrefix("table orders: 0002_orders.sql, fingerprint ") })
    }
}
