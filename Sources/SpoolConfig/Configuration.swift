import SpoolFormat
import SpoolIO
import TOMLKit

/// What is wrong with the configuration, where, and what is expected.
public struct ConfigFailure: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
}

/// The settings in force. Flags override the environment, which overrides the file, which overrides the defaults.
public struct Configuration: Sendable {
    public enum Origin: Equatable, Sendable, CustomStringConvertible {
        case fallback
        case file(String)
        case environment(String)
        case flag

        public var description: String {
            switch self {
            case .fallback: "default"
            case .file(let path): path
            case .environment(let name): name
            case .flag: "flag"
            }
        }
    }

    private var values: [String: (text: String, origin: Origin)] = [:]
    /// Where systemd puts what a unit's `LoadCredential=` names.
    public let credentialsDirectory: String?

    /// - Parameters:
    ///   - file: path of the TOML file; nil for none.
    ///   - environment: the process's environment; only names that begin with `COLDPATH_` are looked at, and `CREDENTIALS_DIRECTORY`.
    ///   - flags: values by setting key.
    public init(file: String?, environment: [String: String], flags: [String: String] = [:]) throws(ConfigFailure) {
        credentialsDirectory = environment["CREDENTIALS_DIRECTORY"]
        for setting in Setting.all {
            if let fallback = setting.fallback { values[setting.key] = (fallback, .fallback) }
        }
        if let file { try read(file) }
        for setting in Setting.all {
            if let text = environment[setting.environmentName] {
                try set(setting, text, .environment(setting.environmentName))
            }
            if let text = flags[setting.key] { try set(setting, text, .flag) }
        }
        let known = Set(Setting.all.map(\.environmentName))
        for name in environment.keys.sorted() where name.hasPrefix("COLDPATH_") && name != "COLDPATH_CONFIG" && !known.contains(name) {
            throw ConfigFailure(description: "environment: \(name) is not a setting; check-config lists them")
        }
    }

    /// All values with where they come from, for people.
    public var listing: [(key: String, value: String, origin: Origin, meaning: String)] {
        let ordered = Setting.all.map { ($0.key, $0.meaning) }
        let secrets = Set(Setting.all.filter { if case .secret = $0.kind { true } else { false } }.map(\.key))
        let tables = values.keys.filter { $0.hasPrefix("tables.") }.sorted().map { ($0, "for this table only") }
        return (ordered + tables).map { key, meaning in
            let text = values[key]?.text ?? ""
            return (key, secrets.contains(key) && !text.isEmpty ? "(not shown)" : text, values[key]?.origin ?? .fallback, meaning)
        }
    }

    /// The tables that have a section of their own, with the file that it stands in.
    private var tableSections: [String: String] = [:]

    /// Checks that every section `[tables.NAME]` is about a table that rows are recorded into.
    ///
    /// - Throws: for one that is not, with those that are: it is misspelt, or its table is gone.
    public func checkSections(tables: [String]) throws(ConfigFailure) {
        for (table, file) in tableSections.sorted(by: { $0.key < $1.key }) where !tables.contains(table) {
            throw ConfigFailure(
                description: "\(file): [tables.\(table)]: schemas define no such table; they define "
                    + "\(tables.sorted().joined(separator: ", ")). Mend the name, or remove the section")
        }
    }

    public func text(_ key: String) -> String? { values[key]?.text }
    /// Where the value comes from; nil if there is none.
    public func origin(_ key: String) -> Origin? { values[key]?.origin }
    /// The value for a table: its own, or that of all tables.
    public func text(_ key: String, table: String) -> String { value(key, table).text }
    public func required(_ key: String) -> String { value(key).text }
    public func list(_ key: String) -> [String] { required(key).split(separator: ",").map { String($0.filter { $0 != " " }) } }
    public func count(_ key: String, table: String? = nil) -> Int { checked(Int(value(key, table).text), key) }
    /// Nanoseconds.
    public func duration(_ key: String, table: String? = nil) -> Int64 { checked(Quantity.duration(value(key, table).text), key) }
    public func bytes(_ key: String, table: String? = nil) -> Int { Int(checked(Quantity.bytes(value(key, table).text), key)) }

    private func value(_ key: String, _ table: String? = nil) -> (text: String, origin: Origin) {
        if let table, let own = values[Self.tableKey(table, key)] { return own }
        guard let value = values[key] else { preconditionFailure("setting \(key) has no value") }
        return value
    }

    /// Values were checked when they were set; the wrong accessor for a key is a mistake in the program.
    private func checked<Value>(_ value: Value?, _ key: String) -> Value {
        guard let value else { preconditionFailure("setting \(key) is of another kind") }
        return value
    }

    private static func tableKey(_ table: String, _ key: String) -> String {
        "tables.\(table).\(lastPart(key))"
    }

    private static func lastPart(_ key: String) -> Substring { key.split(separator: ".").last ?? "" }

    private mutating func set(_ setting: Setting, _ text: String, _ origin: Origin, key: String? = nil) throws(ConfigFailure) {
        let key = key ?? setting.key
        if let complaint = setting.complaint(about: text) {
            throw ConfigFailure(
                description: setting.isDiscreet
                    ? "\(origin): \(key): \(complaint)" : "\(origin): \(key) is \"\(text)\"; expected \(complaint)")
        }
        if case .secret = setting.kind, case .file = origin {
            throw ConfigFailure(
                description: "\(origin): \(key) does not belong into a file that others read; use \(key)_file or \(setting.environmentName)"
            )
        }
        values[key] = (text, origin)
    }

    private mutating func read(_ path: String) throws(ConfigFailure) {
        let root: TOMLTable
        do {
            guard let text = try TextFile.read(path) else { throw ConfigFailure(description: "\(path): no such file") }
            if let (line, what) = TOMLScan.complaint(about: text) { throw ConfigFailure(description: "\(path):\(line): not TOML: \(what)") }
            root = try TOMLTable(string: text)
        } catch let failure as ConfigFailure {
            throw failure
        } catch let error as TOMLParseError {
            throw ConfigFailure(description: "\(path):\(error.source.begin.line): not TOML: \(error.description)")
        } catch {
            throw ConfigFailure(description: "\(path): \(error)")
        }
        for name in root.keys.sorted() {
            guard let value = root[name] else { continue }
            if name == "tables" {
                try readTables(value, path)
            } else if let section = value.table {
                for inner in section.keys.sorted() { try take("\(name).\(inner)", section[inner], path) }
            } else {
                try take(name, value, path)
            }
        }
    }

    private mutating func readTables(_ value: any TOMLValueConvertible, _ path: String) throws(ConfigFailure) {
        guard let tables = value.table else { throw ConfigFailure(description: "\(path): tables must be sections [tables.NAME]") }
        for table in tables.keys.sorted() {
            guard NameRule.isTable(table), let section = tables[table]?.table else {
                throw ConfigFailure(description: "\(path): tables.\(table) must be a section with a table's name")
            }
            tableSections[table] = path
            for name in section.keys.sorted() {
                guard let setting = Setting.perTable.first(where: { $0.key.hasSuffix(".\(name)") }) else {
                    let known = Setting.perTable.map { Self.lastPart($0.key) }
                    throw ConfigFailure(
                        description: "\(path): tables.\(table).\(name) is not a setting; known: \(known.joined(separator: ", "))")
                }
                try set(
                    setting, try Self.text(of: section[name], "tables.\(table).\(name)", path), .file(path),
                    key: Self.tableKey(table, setting.key))
            }
        }
    }

    private mutating func take(_ key: String, _ value: (any TOMLValueConvertible)?, _ path: String) throws(ConfigFailure) {
        guard let setting = Setting.all.first(where: { $0.key == key }) else {
            throw ConfigFailure(description: "\(path): \(key) is not a setting; check-config lists them")
        }
        try set(setting, try Self.text(of: value, key, path), .file(path))
    }

    private static func text(of value: (any TOMLValueConvertible)?, _ key: String, _ path: String) throws(ConfigFailure) -> String {
        if let text = value?.string { return text }
        if let number = value?.int { return String(number) }
        if let array = value?.array {
            var texts: [String] = []
            for item in array { texts.append(try text(of: item, key, path)) }
            return texts.joined(separator: ",")
        }
        throw ConfigFailure(description: "\(path): \(key) must be a text, a whole number or a list of texts")
    }
}
