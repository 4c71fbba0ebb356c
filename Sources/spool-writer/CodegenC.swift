import SpoolFormat
import SpoolRing

/// Rows as C structures, for C11 and C++17: `coldpath_row.h` has the types of values, this makes a structure and a `publish` for each table.
struct CodegenC {
    let source: CodeSource
    private var names = CodeNames.c
    private var out = ""

    init(_ source: CodeSource) { self.source = source }

    static func text(_ source: CodeSource) throws(SchemaError) -> String {
        var generator = CodegenC(source)
        return try generator.generate()
    }

    private mutating func generate() throws(SchemaError) -> String {
        let guardName = "COLDPATH_ROWS_\(hex(source.key))"
        for line in source.notice { out += "// \(line)\n" }
        out += """
            #ifndef \(guardName)
            #define \(guardName)

            #include "coldpath_row.h"

            """
        try decimals()
        for layout in source.layouts {
            for part in ["row", "columns", "table", "publish"] {
                try names.claim("\(layout.schema.table)_\(part)", for: "table \(layout.schema.table)")
            }
            out += "\n// ---- \(layout.schema.table)\n"
            try enums(of: layout)
            declaration(of: layout)
            try structure(of: layout)
            publish(of: layout)
        }
        out += "\n// All tables of this file, for spool_ring_open.\n"
        out += "__attribute__((unused)) static const spool_table coldpath_tables[] = {\n"
        for layout in source.layouts { out += "    \(tableInitialiser(layout)),\n" }
        out += "};\n#define COLDPATH_TABLE_COUNT \(source.layouts.count)\n\n#endif\n"
        return out
    }

    private func rowType(_ layout: RowLayout) -> String { "\(layout.schema.table)_row" }
    private func enumType(_ layout: RowLayout, _ field: RowLayout.Field) -> String {
        "\(layout.schema.table)_\(names.snake(field.column.name))"
    }

    // MARK: Types

    /// The type of one value, which is also the stem of `_or_null`, `_or_default` and `_array`.
    private func stem(_ layout: RowLayout, _ field: RowLayout.Field) -> String {
        switch field.column.type.scalar {
        case .int(let bits): "spool_i\(bits)"
        case .uint(let bits): "spool_u\(bits)"
        case .float32: "spool_f32"
        case .float64: "spool_f64"
        case .bool: "spool_bool"
        case .decimal(_, let scale): "spool_decimal\((field.column.type.width ?? 0) * 8)_\(scale)"
        case .date: "spool_date"
        case .dateTime: "spool_seconds"
        case .dateTime64: "spool_time"
        case .enum8, .enum16: enumType(layout, field)
        case .uuid: "spool_uuid"
        case .fixedString: "spool_text"
        case .string: field.storage == .name ? "spool_name" : "spool_text"
        }
    }

    private func valueType(_ layout: RowLayout, _ field: RowLayout.Field) -> String {
        switch field.column.type.scalar {
        case .int(let bits): "int\(bits)_t"
        case .uint(let bits): "uint\(bits)_t"
        case .float32: "float"
        case .float64: "double"
        case .bool: "bool"
        default: stem(layout, field)
        }
    }

    private func fieldType(_ layout: RowLayout, _ field: RowLayout.Field) -> String {
        let stem = stem(layout, field)
        if field.storage == .array { return "\(stem)_array" }
        if field.isNullable { return "\(stem)_or_null" }
        return field.hasDefault ? "\(stem)_or_default" : valueType(layout, field)
    }

    private mutating func decimals() throws(SchemaError) {
        var types: Set<String> = []
        for field in source.layouts.flatMap(\.fields) {
            guard case .decimal(_, let scale) = field.column.type.scalar, let width = field.column.type.width else { continue }
            types.insert("\(width * 8)_\(scale)")
        }
        for type in types.sorted() {
            let stored = type.hasPrefix("128") ? "spool_int128" : "int\(type.prefix(2))_t"
            out += """

                #ifndef SPOOL_DECIMAL\(type)
                #define SPOOL_DECIMAL\(type)
                SPOOL_WHOLE(spool_decimal\(type), \(stored), units);
                SPOOL_TYPES(spool_decimal\(type), spool_decimal\(type));
                #ifndef __cplusplus
                #define spool_decimal\(type)(whole) ((spool_decimal\(type)){(whole) | 0})
                #endif
                #endif

                """
        }
    }

    private mutating func enums(of layout: RowLayout) throws(SchemaError) {
        for field in layout.fields {
            let stored: String
            let cases: [ColumnType.EnumCase]
            switch field.column.type.scalar {
            case .enum8(let all): (stored, cases) = ("int8_t", all)
            case .enum16(let all): (stored, cases) = ("int16_t", all)
            default: continue
            }
            let type = enumType(layout, field)
            let owner = "column \(layout.schema.table).\(field.column.name)"
            try names.claim(type, for: owner)
            out += "\nSPOOL_WHOLE(\(type), \(stored), value);\nSPOOL_TYPES(\(type), \(type));\n"
            // No member gets an underscore for being a reserved word: behind the type's name it is none.
            let plain = CodeNames(reserved: [])
            for (member, name) in zip(cases, memberNames(cases, plain.snake)) {
                try names.claim("\(type)_\(name)", for: "'\(member.name)' of \(owner)")
                out += "SPOOL_MEMBER(\(type), \(type)_\(name), \(member.value));\n"
            }
        }
    }

    // MARK: Declaration

    private func tableInitialiser(_ layout: RowLayout) -> String {
        "{\"\(layout.schema.table)\", 0x\(hex(layout.schema.fingerprint))ull, \(layout.rowBytes), \(layout.fields.count), "
            + "\(layout.schema.table)_columns}"
    }

    private mutating func declaration(of layout: RowLayout) {
        let table = layout.schema.table
        out += "\n__attribute__((unused)) static const spool_column \(table)_columns[] = {\n"
        for field in layout.fields {
            out += "    {\(cText(field.column.name)), \(cText(field.column.type.wireText)), \(storageName(field.storage)), "
            out += "\(field.offset), \(field.nullOffset.map(String.init) ?? "SPOOL_NOT_NULLABLE")},\n"
        }
        out += "};\n"
        out += "// For rings of some tables only: spool_table tables[] = {\(table)_table, ...};\n"
        out += "__attribute__((unused)) static const spool_table \(table)_table = \(tableInitialiser(layout));\n"
    }

    private func storageName(_ storage: RowLayout.Storage) -> String {
        switch storage {
        case .fixed: "SPOOL_FIXED"
        case .string: "SPOOL_STRING"
        case .name: "SPOOL_NAME"
        case .array: "SPOOL_ARRAY"
        }
    }

    private mutating func structure(of layout: RowLayout) throws(SchemaError) {
        out += "\ntypedef struct \(rowType(layout)) {\n"
        var members = CodeNames(reserved: [])
        for field in layout.fields {
            let name = names.snake(field.column.name)
            try members.claim(name, for: "column \(layout.schema.table).\(field.column.name)")
            out += "    \(fieldType(layout, field)) \(name) SPOOL_ZERO; // \(oneLine(field.column.schemaText))\(remark(field))\n"
        }
        out += "} \(rowType(layout));\n"
    }

    private func remark(_ field: RowLayout.Field) -> String {
        if field.isNullable { return "; left out: null" }
        if field.storage == .array { return "; left out: empty" }
        guard let text = field.column.defaultText else { return "" }
        return "; left out: \(oneLine(text.isEmpty ? "''" : text))"
    }
}

// MARK: - Publishing

extension CodegenC {
    private func member(_ field: RowLayout.Field) -> String { "row->\(names.snake(field.column.name))" }
    private func local(_ field: RowLayout.Field) -> String { "given_\(names.snake(field.column.name))" }
    private func late(_ field: RowLayout.Field) -> String { "late_\(names.snake(field.column.name))" }
    private func id(_ field: RowLayout.Field) -> String { "id_\(names.snake(field.column.name))" }

    private mutating func publish(of layout: RowLayout) {
        let table = layout.schema.table
        let rowNames = layout.fields.filter { $0.storage == .name }
        out += "\n// Publishes a row: 0, or SPOOL_FULL, SPOOL_TOO_LONG or SPOOL_NO_TABLE, and then nothing of it is kept.\n"
        out += "SPOOL_INLINE int \(table)_publish(spool_ring *ring, const \(rowType(layout)) *row) {\n"
        out += "    int32_t table = spool_ring_find_table(ring, 0x\(hex(layout.key))ull);\n"
        out += "    if (!SPOOL_LIKELY(table >= 0)) return SPOOL_NO_TABLE;\n"
        texts(of: layout)
        if !rowNames.isEmpty {
            let words = rowNames.map { "\($0.column.isRequired ? "SPOOL_NAME_WORD" : "SPOOL_OPTIONAL_NAME_WORD")(ring, \(local($0)))" }
            out += "    uint64_t words = \(words.joined(separator: " | "));\n"
            out += "    spool_late_name \(rowNames.map(late).joined(separator: ", "));\n"
            for name in rowNames { out += "    uint32_t \(id(name)) = (uint32_t)\(local(name)).word;\n" }
        }
        out += "    uint64_t bytes = \(layout.rowBytes)\(tailTerms(layout));\n"
        if !rowNames.isEmpty {
            out += "    if (!SPOOL_ALL_INTERNED(words)) {\n"
            for name in rowNames {
                let (given, late) = (local(name), late(name))
                out += "        \(id(name)) = spool_name_resolve(ring, &\(late), \(given).word, \(given).bytes, \(given).count);\n"
                out += "        bytes += \(late).tail;\n"
            }
            out += "    }\n"
        }
        out += "    unsigned char *to = spool_row_claim(ring, (uint32_t)table, bytes);\n"
        out += "    if (!SPOOL_LIKELY(to != NULL)) return spool_row_refused(ring, bytes);\n"
        // In the order of the row, so that the processor can join neighbouring stores.
        for field in layout.fields.filter({ $0.storage == .fixed }).sorted(by: { $0.offset < $1.offset }) { put(field) }
        for field in layout.fields.sorted(by: { ($0.nullOffset ?? 0) < ($1.nullOffset ?? 0) }) {
            if let null = field.nullOffset { out += "    to[\(null)] = !\(member(field)).is_set;\n" }
        }
        if layout.fields.contains(where: { $0.storage != .fixed }) { tail(of: layout) }
        out += "    spool_row_commit(ring, (uint32_t)table, to, bytes);\n    return SPOOL_PUBLISHED;\n}\n"
    }

    /// Each text as it will be written: the given one, else the default.
    private mutating func texts(of layout: RowLayout) {
        for field in layout.fields {
            let isFixedText = if case .fixedString = field.column.type.scalar { field.storage == .fixed } else { false }
            guard field.isText || isFixedText else { continue }
            let type = field.storage == .name ? "spool_name" : "spool_text"
            // Of a FixedString the padding zeros are no part of the default's text.
            let text = field.isNullable ? "" : field.column.defaultText ?? ""
            let isOptional = field.isNullable || field.hasDefault
            let otherwise = "\(type)_n(\(cText(text)), \(text.utf8.count))"
            let value = isOptional ? "\(member(field)).is_set ? \(member(field)).value : \(otherwise)" : member(field)
            out += "    const \(type) \(local(field)) = \(value);\n"
            if isFixedText {
                out += "    if (!SPOOL_LIKELY(\(local(field)).count <= \(field.width))) return spool_row_too_long(ring, (uint32_t)table);\n"
            }
        }
    }

    private func tailTerms(_ layout: RowLayout) -> String {
        layout.fields.map { field in
            switch field.storage {
            case .fixed, .name: ""
            case .string: " + (uint64_t)\(local(field)).count"
            case .array:
                field.column.type.width.map { " + (uint64_t)\(member(field)).count * \($0)" } ?? " + spool_texts_bytes(\(member(field)))"
            }
        }.joined()
    }

    private mutating func put(_ field: RowLayout.Field) {
        if case .fixedString = field.column.type.scalar {
            out += "    spool_put_fixed_text(to + \(field.offset), \(field.width), \(local(field)));\n"
        } else if field.isNullable {
            out += "    SPOOL_PUT(to + \(field.offset), \(member(field)).value);\n"
        } else if field.hasDefault {
            let bytes = field.defaultBytes.map { octal($0) }.joined()
            out += "    if (\(member(field)).is_set) SPOOL_PUT(to + \(field.offset), \(member(field)).value);\n"
            out += "    else memcpy(to + \(field.offset), \"\(bytes)\", \(field.width));\n"
        } else {
            out += "    SPOOL_PUT(to + \(field.offset), \(member(field)));\n"
        }
    }

    /// What stands behind the fixed part, and the slots that say where.
    private mutating func tail(of layout: RowLayout) {
        let outer = layout.fields.filter { $0.storage == .string || $0.storage == .array }
        if !outer.isEmpty { out += "    uint32_t end = \(layout.rowBytes);\n" }
        for (index, field) in outer.enumerated() {
            let last = index == outer.count - 1 && !layout.fields.contains { $0.storage == .name }
            let target = last ? "    " : "    end = "
            if field.storage == .string {
                out += "\(target)spool_put_text(to, \(field.offset), end, \(local(field)));\n"
            } else if let width = field.column.type.width {
                out += "\(target)spool_put_array(to, \(field.offset), end, \(member(field)).values, \(member(field)).count, \(width));\n"
            } else {
                out += "\(target)spool_put_texts(to, \(field.offset), end, \(member(field)));\n"
            }
        }
        let rowNames = layout.fields.filter { $0.storage == .name }
        guard !rowNames.isEmpty else { return }
        out += "    if (SPOOL_ALL_INTERNED(words)) {\n"
        for name in rowNames { out += "        memcpy(to + \(name.offset), &\(id(name)), 4);\n" }
        out += "    } else {\n"
        if outer.isEmpty { out += "        uint32_t end = \(layout.rowBytes);\n" }
        for (index, name) in rowNames.enumerated() {
            let target = index == rowNames.count - 1 ? "" : "end = "
            out += "        \(target)spool_put_late_name(to, \(name.offset), end, \(id(name)), &\(late(name)));\n"
        }
        out += "    }\n"
    }
}

/// A C string literal. Octal, because a hexadecimal escape would go on into the text behind it.
private func cText(_ text: String) -> String {
    "\""
        + text.utf8.map { $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C && $0 != 0x3F ? String(UnicodeScalar($0)) : octal($0) }
        .joined() + "\""
}

private func octal(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 8)
    return "\\" + String(repeating: "0", count: 3 - digits.count) + digits
}
