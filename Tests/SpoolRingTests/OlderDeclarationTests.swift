import SpoolFormat
import SpoolTesting
import Testing

@testable import SpoolRing

/// Declarations whose names are older than the schema's.
struct OlderDeclarationTests {
    private static let old = [("price", "Float64"), ("venue", "String"), ("size", "Nullable(UInt32)")]
    private static let new = [
        ("px", "Float64"), ("size", "Nullable(UInt64)"), ("fee", "Nullable(Float64)"), ("note", "String DEFAULT none"),
        ("tags", "Array(String)"),
    ]
    private static let retired: [String: RetiredName] = [
        "price": .renamed("px"), "venue": .dropped, "cost": .renamed("px"), "gone": .dropped,
    ]

    private func evolved(_ old: [(String, String)] = old) throws -> Evolved { try Evolved(old, Self.new, retired: Self.retired) }

    @Test("renamed, dropped, widened and added columns at once")
    func allAtOnce() throws {
        let table = try evolved()
        let rows = [table.bytes([.double(1.5), .text("XNYS"), .integer(4_000_000_000)]), table.bytes([.double(-2), .text(""), .null])]
        #expect(
            try table.taken(rows) == [
                [.double(1.5), .integer(4_000_000_000), .null, .text("none"), .array([])],
                [.double(-2), .null, .null, .text("none"), .array([])],
            ])
        let plan = try table.plan()
        #expect(plan.ignored == ["venue"])
        #expect(plan.older == ["price is px by now", "size was Nullable(UInt32) and is Nullable(UInt64)"])
        let today = try Evolved(Self.new, Self.new, retired: Self.retired).plan()
        #expect(today.ignored.isEmpty && today.older.isEmpty)
    }

    @Test("a name from before the one before is the same column")
    func twiceRenamed() throws {
        let table = try evolved([("cost", "Float32")])
        #expect(try table.taken([table.bytes([.double(0.5)])])[0][0] == .double(0.5))
    }

    @Test("two names of one column are refused, whichever they are")
    func bothNames() throws {
        for names in [["price", "px"], ["px", "price"], ["cost", "price"]] {
            #expect(
                try evolved(names.map { ($0, "Float64") }).mismatch()
                    == "columns \(names[0]) and \(names[1]) are declared, and are one by now: px: regenerate the producer with spool-writer codegen"
            )
        }
    }

    @Test("what was declared of a renamed column is checked as of any other")
    func renamedMismatch() throws {
        #expect(
            try evolved([("price", "String")]).mismatch()?.hasPrefix("column price is declared as String, the schema has Float64") == true)
        #expect(try evolved([("venue", "String")]).mismatch()?.hasPrefix("column px is not declared; it has no default") == true)
    }

    // MARK: Dropped columns

    private func mismatch(_ dropped: DeclaredColumn...) -> String? {
        let columns = [
            DeclaredColumn(name: "ts", type: "DateTime64(9, 'UTC')", storage: .fixed, offset: 0, nullOffset: nil),
            DeclaredColumn(name: "px", type: "Float64", storage: .fixed, offset: 8, nullOffset: nil),
        ]
        do {
            let declared = DeclaredTable(name: "t", fingerprint: 0, rowBytes: 24, columns: columns + dropped)
            _ = try RowPlan(declared, schema: try evolved().new)
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test("nothing of a dropped column's values is looked at")
    func valuesDoNotMatter() throws {
        let table = try evolved()
        var bytes = table.bytes([.double(1), .text("XNYS"), .null])
        let slot = table.old.declared.columns[2].offset
        for garbage in [[UInt8](repeating: 0xFF, count: 8), [0xFF, 0xFF, 0xFF, 0x7F, 1, 0, 0, 0], [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]] {
            bytes.replaceSubrange(slot..<slot + 8, with: garbage)
            #expect(try table.taken([bytes])[0][0] == .double(1))
        }
    }

    @Test("a dropped column's declaration must make sense nevertheless")
    func hostileDropped() {
        func column(
            _ name: String = "venue", _ type: String = "String", _ storage: DeclaredColumn.Storage = .string, _ offset: Int = 16,
            null: Int? = nil
        ) -> DeclaredColumn { DeclaredColumn(name: name, type: type, storage: storage, offset: offset, nullOffset: null) }
        for good in [
            column(), column("gone", "LowCardinality(String)", .name, 20), column("venue", "Array(UInt8)", .array, 16),
            column("venue", "Nullable(UInt8)", .fixed, 22, null: 23), column("venue", "Enum8('a' = 1)", .fixed, 23),
            // It was no key, so it may even lie over another.
            column("venue", "UInt64", .fixed, 0),
        ] { #expect(mismatch(good) == nil, "\(good)") }
        #expect(mismatch(column(), column("gone", "UInt8", .fixed)) == nil)
        let bad: [(DeclaredColumn, String)] = [
            (column("venue", "String", .string, 17), "column venue lies outside of the row's 24 bytes"),
            (column("venue", "String", .string, Int(UInt32.max)), "column venue lies outside of the row's 24 bytes"),
            (column("venue", "FixedString(4096)", .fixed, 0), "column venue lies outside of the row's 24 bytes"),
            (column("venue", "Nullable(UInt8)", .fixed, 16, null: 24), "column venue lies outside of the row's 24 bytes"),
            (column("venue", "UInt8", .fixed, 16, null: 17), "column venue: a null byte belongs to Nullable columns"),
            (column("venue", "Nullable(UInt8)", .fixed, 16), "column venue: a null byte belongs to Nullable columns"),
            (column("venue", "UInt8", .string, 16), "column venue: storage string does not hold UInt8"),
            (column("venue", "String", .fixed, 16), "column venue: storage fixed does not hold String"),
            (column("venue", "Strin", .string, 16), "column venue: type Strin: supported are"),
            (column("venue", "", .string, 16), "column venue: "),
        ]
        for (declared, complaint) in bad {
            let found = mismatch(declared)
            #expect(found?.hasPrefix(complaint) == true, "\(found ?? "taken")")
            #expect(found?.contains("spool-writer codegen") == true)
        }
        #expect(mismatch(column(), column())?.hasPrefix("column venue is declared twice") == true)
    }

    @Test("a dropped column's type of any length and depth costs neither the stack nor much time, and its complaint is short")
    func endlessTypes() {
        for type in ["Array(", "Nullable(", "LowCardinality(", "Array(Nullable(", "x", "'", "Enum8(", "\n", "\u{1B}[2J"] {
            for size in [16 << 10, 65_535] {
                let text = String(String(repeating: type, count: size / type.utf8.count))
                let found = mismatch(DeclaredColumn(name: "venue", type: text, storage: .fixed, offset: 16, nullOffset: nil))
                #expect(found != nil && (found ?? "").utf8.count < 700, "\(found ?? "taken")")
                #expect(found?.unicodeScalars.allSatisfy { $0.value >= 0x20 } == true)
            }
        }
        let cases = (0..<1_200).map { "'\($0)'=\($0)" }.joined(separator: ",")
        #expect(mismatch(DeclaredColumn(name: "venue", type: "Enum16(\(cases))", storage: .fixed, offset: 16, nullOffset: nil)) == nil)
    }

    // MARK: What thinning looks at

    @Test("single values of an old declaration are seen as they will be in the block")
    func probe() throws {
        let pairs = WideningTests.pairs.filter {
            !$0.description.contains("LowCardinality") && (try? ColumnType($0.old))?.width ?? 99 <= 16
        }
        for pair in pairs {
            for (wrapOld, wrapNew) in [("", ""), ("", "Nullable"), ("Nullable", "Nullable")] {
                let old = wrapOld.isEmpty ? pair.old : "Nullable(\(pair.old))"
                let new = wrapNew.isEmpty ? pair.new : "Nullable(\(pair.new))"
                let (evolved, today) = (try Evolved([("v", old)], [("v", new)]), try Evolved([("v", new)], [("v", new)]))
                let width = try ColumnType(pair.new).width ?? 0
                var seen: [[UInt64]] = []
                var texts: [[String]] = []
                for (table, values) in [(evolved, pair.values.map(\.old)), (today, pair.values.map(\.new))] {
                    let copy = RecordCopy((values + (wrapOld.isEmpty ? [] : [.null])).map { table.bytes([$0]) })
                    let probe = RowProbe(copy.rows, plan: try table.plan(), names: NameTable())
                    seen.append((0..<copy.rows.count).map { probe.bits($0, column: 1, width: width) })
                    texts.append((0..<copy.rows.count).map { String(decoding: probe.text($0, column: 1), as: UTF8.self) })
                    withExtendedLifetime(copy) {}
                }
                #expect(seen[0] == seen[1] || new.hasSuffix("String") || new.hasSuffix("String)"), "\(old) to \(new)")
                #expect(texts[0] == texts[1], "\(old) to \(new)")
            }
        }
    }
}
