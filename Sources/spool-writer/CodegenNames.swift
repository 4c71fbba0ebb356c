import SpoolFormat

/// What generated code calls things: a column may have a name that is none in a language, or one that is taken.
struct CodeNames {
    private let reserved: Set<String>
    private var owners: [String: String] = [:]

    init(reserved: Set<String>) { self.reserved = reserved }

    /// The name in snake case. Reserved words get an underscore behind them.
    func snake(_ name: String) -> String {
        var text = ""
        for scalar in name.unicodeScalars {
            let isPlain = scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "_")
            text.unicodeScalars.append(isPlain ? scalar : "_")
        }
        if text.isEmpty || text.first?.isNumber == true { text = "_" + text }
        return reserved.contains(text) ? text + "_" : text
    }

    /// `ts_intent` as `tsIntent` or, with `upper`, `TsIntent`.
    func camel(_ name: String, upper: Bool = false) -> String {
        var text = ""
        var raise = upper
        for character in snake(name) {
            if character == "_" {
                raise = raise || !text.isEmpty
            } else {
                text += raise ? character.uppercased() : text.isEmpty ? character.lowercased() : String(character)
                raise = false
            }
        }
        if text.isEmpty || text.first?.isNumber == true { text = "_" + text }
        return reserved.contains(text) ? text + "_" : text
    }

    /// Takes note that `owner` has this name in the generated code.
    ///
    /// - Throws: if something else has it already.
    mutating func claim(_ name: String, for owner: String) throws(SchemaError) {
        if let other = owners[name] {
            throw SchemaError(
                file: "codegen", line: 0, reason: "\(owner) and \(other) would both be called \(name) in the generated code; rename one")
        }
        owners[name] = owner
    }
}

extension CodeNames {
    static let c = CodeNames(reserved: [
        "alignas", "alignof", "and", "and_eq", "asm", "assert", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char",
        "char16_t", "char32_t", "char8_t", "class", "compl", "concept", "const", "const_cast", "consteval", "constexpr", "constinit",
        "continue", "co_await", "co_return", "co_yield", "decltype", "default", "delete", "do", "double", "dynamic_cast", "else", "enum",
        "errno", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline", "int", "linux", "long",
        "mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq", "private", "protected",
        "public", "register", "reinterpret_cast", "requires", "restrict", "return", "short", "signed", "sizeof", "spool_date",
        "spool_name", "spool_seconds", "spool_text", "spool_time", "static", "static_assert", "static_cast", "stderr", "stdin", "stdout",
        "struct", "switch", "template", "this", "thread_local", "throw", "true", "try", "typedef", "typeid", "typename", "typeof",
        "union", "unix", "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq",
    ])

    /// `publish` and `table` are members of every generated row; types of the standard library and of `SpoolClient` must keep their meaning.
    static let swift = CodeNames(reserved: [
        "Any", "Array", "Bool", "ColdpathTables", "ColumnDeclaration", "Day", "Decimal128", "Decimal32", "Decimal64", "Double", "EnumValue",
        "FixedValue", "Float", "Int", "Int8", "Int16", "Int32", "Int64", "Name", "Optional", "Protocol", "Publication",
        "Ring", "RingError", "RingRow", "RowWriter", "Seconds", "Self", "String", "TableDeclaration", "Text", "Time", "Type", "UInt16",
        "UInt32", "UInt64", "UInt8", "UUIDBits", "actor", "as",
        "associatedtype", "async", "await", "break", "case", "catch", "class", "continue", "default", "defer", "deinit", "do", "else",
        "enum", "extension", "fallthrough", "false", "fileprivate", "for", "func", "guard", "if", "import", "in", "init", "inout",
        "internal", "is", "let", "nil", "operator", "precedencegroup", "private", "protocol", "public", "publish", "repeat", "rethrows",
        "return", "self", "some", "static", "struct", "subscript", "super", "switch", "table", "throw", "throws", "true",
        "try", "typealias", "var", "where", "while",
    ])

    /// `ring` is the first parameter of every generated function.
    static let python = CodeNames(reserved: [
        "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
        "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
        "return", "ring", "self", "try", "while", "with", "yield",
    ])
}

/// Names of enum members in code, one for each member: from their text where that gives a name, else from their value.
func memberNames(_ cases: [ColumnType.EnumCase], _ spell: (String) -> String) -> [String] {
    var names: [String] = []
    for member in cases {
        var name = spell(member.name)
        if !name.contains(where: { $0.isLetter || $0.isNumber }) || names.contains(name) {
            name = spell("value_\(member.value < 0 ? "minus_\(-Int(member.value))" : "\(member.value)")")
        }
        while names.contains(name) { name += "_" }
        names.append(name)
    }
    return names
}

extension Column {
    /// The type as the schema writes it, for people.
    var schemaText: String { isLowCardinality ? "LowCardinality(\(type.wireText))" : type.wireText }
}
