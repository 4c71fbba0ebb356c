import SpoolFormat
import SpoolRing

/// Rows as Swift structures on top of `SpoolClient`.
struct CodegenSwift {
    let source: CodeSource
    private var names = CodeNames.swift
    private var out = ""

    init(_ source: CodeSource) { self.source = source }

    static func text(_ source: CodeSource) throws(SchemaError) -> String {
        var generator = CodegenSwift(source)
        return try generator.generate()
    }

    private mutating func generate() throws(SchemaError) -> String {
        for line in source.notice { out += line.isEmpty ? "//\n" : "// \(line)\n" }
        // Generated code is nobody's to format, and everybody's settings differ.
        out += "//\n// swift-format-ignore-file\nimport SpoolClient\n"
        for layout in source.layouts { try structure(of: layout) }
        out += "\n/// All tables of this file, for `Ring(directory:producer:tables:)`.\nenum ColdpathTables {\n"
        out += "    static let all: [TableDeclaration] = [\n"
        for layout in source.layouts { out += "        \(rowType(layout)).table,\n" }
        out += "    ]\n}\n"
        return out
    }

    private func rowType(_ layout: RowLayout) -> String { names.camel(layout.schema.table, upper: true) }
    private func name(_ field: RowLayout.Field) -> String { names.camel(field.column.name) }

    private mutating func structure(of layout: RowLayout) throws(SchemaError) {
        let table = layout.schema.table
        try names.claim(rowType(layout), for: "table \(table)")
        out += "\n/// A row of `\(table)`.\nstruct \(rowType(layout)): RingRow, Sendable {\n"
        var members = CodeNames(reserved: [])
        for field in layout.fields {
            let owner = "column \(table).\(field.column.name)"
            try members.claim(name(field), for: owner)
            try enumeration(field, owner, &members)
        }
        for field in layout.fields {
            out += "    /// \(comment(field))\n"
            let otherwise = field.column.isRequired ? "" : " = \(defaultValue(field))"
            out += "    var \(name(field)): \(type(field))\(otherwise)\n"
        }
        declaration(of: layout)
        publish(of: layout)
        out += "}\n"
    }

    /// Types of enums are long; what matters in a comment are their members, which stand in the code anyway.
    private func comment(_ field: RowLayout.Field) -> String {
        switch field.column.type.scalar {
        case .enum8, .enum16: "`\(field.column.name)`"
        default: "`\(field.column.name)` \(field.column.schemaText)"
        }
    }

    // MARK: Types

    private func enumType(_ field: RowLayout.Field) -> String { names.camel(field.column.name, upper: true) }

    private mutating func enumeration(_ field: RowLayout.Field, _ owner: String, _ members: inout CodeNames) throws(SchemaError) {
        let stored: String
        let cases: [ColumnType.EnumCase]
        switch field.column.type.scalar {
        case .enum8(let all): (stored, cases) = ("Int8", all)
        case .enum16(let all): (stored, cases) = ("Int16", all)
        default: return
        }
        try members.claim(enumType(field), for: "the values of \(owner)")
        out += "    enum \(enumType(field)): \(stored), EnumValue {\n"
        for (member, name) in zip(cases, memberNames(cases, { names.camel($0) })) { out += "        case \(name) = \(member.value)\n" }
        out += "    }\n\n"
    }

    private func valueType(_ field: RowLayout.Field) -> String {
        switch field.column.type.scalar {
        case .int(let bits): "Int\(bits)"
        case .uint(let bits): "UInt\(bits)"
        case .float32: "Float"
        case .float64: "Double"
        case .bool: "Bool"
        case .decimal(_, let scale): "Decimal\((field.column.type.width ?? 0) * 8)<Scale\(scale)>"
        case .date: "Day"
        case .dateTime: "Seconds"
        case .dateTime64: "Time"
        case .enum8, .enum16: enumType(field)
        case .uuid: "UUIDBits"
        case .fixedString: "Text"
        case .string: field.storage == .array ? "String" : field.storage == .name ? "Name" : "Text"
        }
    }

    private func type(_ field: RowLayout.Field) -> String {
        if field.storage == .array { return "[\(valueType(field))]" }
        return field.isNullable ? "\(valueType(field))?" : valueType(field)
    }

    /// What a row has that leaves the field out.
    private func defaultValue(_ field: RowLayout.Field) -> String {
        if field.storage == .array { return "[]" }
        guard let text = field.column.defaultText else { return "nil" }
        func integer<Value: FixedWidthInteger>(_: Value.Type) -> Value {
            field.defaultBytes.reversed().reduce(0) { $0 << 8 | Value(truncatingIfNeeded: $1) }
        }
        switch field.column.type.scalar {
        case .float32, .float64: return text
        case .bool: return field.defaultBytes[0] != 0 ? "true" : "false"
        case .int(let bits):
            return
                "\(bits == 8 ? Int64(integer(Int8.self)) : bits == 16 ? Int64(integer(Int16.self)) : bits == 32 ? Int64(integer(Int32.self)) : integer(Int64.self))"
        case .uint: return "\(integer(UInt64.self))"
        case .decimal:
            let units =
                field.width == 4 ? Int128(integer(Int32.self)) : field.width == 8 ? Int128(integer(Int64.self)) : integer(Int128.self)
            return "\(valueType(field))(units: \(units))"
        case .date: return "Day(\(integer(UInt16.self)))"
        case .dateTime: return "Seconds(\(integer(UInt32.self)))"
        case .dateTime64: return "Time(nanoseconds: \(integer(Int64.self)))"
        case .uuid:
            let (high, low) = (Array(field.defaultBytes.prefix(8)), Array(field.defaultBytes.suffix(8)))
            func half(_ bytes: [UInt8]) -> String { hex(bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }) }
            return "UUIDBits(high: 0x\(half(high)), low: 0x\(half(low)))"
        case .enum8(let cases), .enum16(let cases):
            let index = cases.firstIndex { $0.name == text } ?? 0
            return ".\(memberNames(cases) { names.camel($0) }[index])"
        case .string, .fixedString: return swiftText(text)
        }
    }

    // MARK: Declaration and publishing

    private mutating func declaration(of layout: RowLayout) {
        out += "\n    static let table = TableDeclaration(\n"
        out +=
            "        \(swiftText(layout.schema.table)), fingerprint: 0x\(hex(layout.schema.fingerprint)), rowBytes: \(layout.rowBytes),\n"
        out += "        columns: [\n"
        for field in layout.fields {
            let null = field.nullOffset.map { ", null: \($0)" } ?? ""
            out += "            ColumnDeclaration(\(swiftText(field.column.name)), \(swiftText(field.column.type.wireText)), "
            out += ".\(field.storage), \(field.offset)\(null)),\n"
        }
        out += "        ])\n"
    }

    private mutating func publish(of layout: RowLayout) {
        func line(_ text: String) { out += "        \(text)\n" }
        func isFixedText(_ field: RowLayout.Field) -> Bool {
            if case .fixedString = field.column.type.scalar { field.storage == .fixed } else { false }
        }
        out += "\n    @inline(__always) @discardableResult\n"
        out += "    func publish(to ring: borrowing Ring) -> Publication {\n"
        line("var row = RowWriter(ring, key: 0x\(hex(layout.key)), rowBytes: \(layout.rowBytes))")
        for field in layout.fields {
            switch field.storage {
            case .fixed: if isFixedText(field) { line("row.check(self.\(name(field)), fits: \(field.width))") }
            case .string, .array: line("row.reserve(self.\(name(field)))")
            case .name: line("let \(name(field))ID = row.id(of: self.\(name(field)))")
            }
        }
        line("guard row.claim() else { return row.refusal() }")
        for field in layout.fields.sorted(by: { $0.offset < $1.offset }) {
            let null = field.nullOffset.map { ", null: \($0)" } ?? ""
            switch field.storage {
            case .fixed where isFixedText(field): line("row.put(self.\(name(field)), at: \(field.offset), width: \(field.width)\(null))")
            case .name: line("row.put(self.\(name(field)), id: \(name(field))ID, at: \(field.offset)\(null))")
            default: line("row.put(self.\(name(field)), at: \(field.offset)\(null))")
            }
        }
        line("return row.commit()")
        out += "    }\n"
    }
}

/// A Swift string literal.
private func swiftText(_ text: String) -> String {
    "\""
        + text.unicodeScalars.map { scalar in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F: "\\u{\(String(scalar.value, radix: 16))}"
            default: String(scalar)
            }
        }.joined() + "\""
}
