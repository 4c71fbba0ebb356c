import SpoolFormat
import SpoolRing

/// Rows as functions of a Python module on top of the package `coldpath`: type checkers see the arguments, the package checks the values.
struct CodegenPython {
    let source: CodeSource
    private var names = CodeNames.python
    private var out = ""

    init(_ source: CodeSource) { self.source = source }

    static func text(_ source: CodeSource) throws(SchemaError) -> String {
        var generator = CodegenPython(source)
        return try generator.generate()
    }

    private mutating func generate() throws(SchemaError) -> String {
        out += "\"\"\"\(source.notice.joined(separator: "\n"))\n\"\"\"\n"
        out += """
            # fmt: off
            from __future__ import annotations

            from collections.abc import Sequence
            from typing import TYPE_CHECKING, Literal, cast

            import coldpath

            """
        for name in ["TABLES", "TYPE_CHECKING", "Literal", "Sequence", "cast", "coldpath"] { try names.claim(name, for: "the module") }
        for layout in source.layouts {
            try names.claim(names.snake(layout.schema.table), for: "table \(layout.schema.table)")
            try signature(of: layout)
            declaration(of: layout)
        }
        out += "\nTABLES: list[coldpath.Table] = [\n"
        for layout in source.layouts { out += "    \(names.snake(layout.schema.table)),\n" }
        out += "]\n"
        return out
    }

    private func keyword(_ field: RowLayout.Field) -> String { names.snake(field.column.name) }
    private func signatureType(_ layout: RowLayout) -> String { "_\(names.camel(layout.schema.table, upper: true))" }

    // MARK: What type checkers see

    private mutating func signature(of layout: RowLayout) throws(SchemaError) {
        var members = CodeNames(reserved: [])
        out += "\nif TYPE_CHECKING:\n    class \(signatureType(layout))(coldpath.Table):\n"
        out += "        def __call__(  # type: ignore[override]\n            self, ring: coldpath.Ring, *,\n"
        for field in layout.fields {
            try members.claim(keyword(field), for: "column \(layout.schema.table).\(field.column.name)")
            out += "            \(keyword(field)): \(type(field))\(field.column.isRequired ? "" : " = ..."),\n"
        }
        out += "        ) -> int:\n"
        out += "            \"\"\"Publishes a row of \(layout.schema.table); returns the position behind it.\"\"\"\n"
        out += "            ...\n"
    }

    private func valueType(_ field: RowLayout.Field) -> String {
        switch field.column.type.scalar {
        case .int, .uint: "int"
        case .float32, .float64: "float"
        case .bool: "bool"
        case .decimal: "coldpath.Decimal"
        case .date: "coldpath.Date"
        case .dateTime: "coldpath.Seconds"
        case .dateTime64: "coldpath.Time"
        case .enum8(let cases), .enum16(let cases): "Literal[\(cases.map { pythonText($0.name) }.joined(separator: ", "))]"
        case .uuid: "coldpath.UUID"
        case .fixedString: "str | bytes"
        case .string: "str"
        }
    }

    private func type(_ field: RowLayout.Field) -> String {
        if field.storage == .array { return "Sequence[\(valueType(field))]" }
        return field.isNullable ? "\(valueType(field)) | None" : valueType(field)
    }

    // MARK: What runs

    private mutating func declaration(of layout: RowLayout) {
        let table = layout.schema.table
        out += "\n\(names.snake(table)) = cast(\"\(signatureType(layout))\", coldpath.table(\n"
        out += "    \(pythonText(table)), fingerprint=0x\(hex(layout.schema.fingerprint)), row_bytes=\(layout.rowBytes), columns=[\n"
        for field in layout.fields {
            var more = field.nullOffset.map { ", null_offset=\($0)" } ?? ""
            if let text = field.column.defaultText {
                let bytes = field.defaultBytes.map { "\\x" + String(hex(UInt64($0)).suffix(2)) }.joined()
                more += ", default=\(field.isText ? pythonText(text) : "b\"\(bytes)\"")"
            }
            if keyword(field) != field.column.name { more += ", keyword=\"\(keyword(field))\"" }
            out += "        coldpath.Column(\(pythonText(field.column.name)), \(pythonText(field.column.type.wireText)), "
            out += "\(field.storage.rawValue), \(field.offset)\(more)),\n"
        }
        out += "    ]))\n"
    }
}

/// A Python string literal.
private func pythonText(_ text: String) -> String {
    "\""
        + text.unicodeScalars.map { scalar in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F: "\\x" + String(hex(UInt64(scalar.value)).suffix(2))
            default: String(scalar)
            }
        }.joined() + "\""
}
