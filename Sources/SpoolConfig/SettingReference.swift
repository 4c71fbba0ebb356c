/// The table of settings as `docs/configuration.md` has it.
public enum SettingReference {
    public static var markdown: String {
        var text = """
            # Configuration

            One TOML file for both programs, given with `--config FILE` or `COLDPATH_CONFIG`. Every setting has a default that suits one machine. The \
            environment overrides the file, flags override both. `spool-writer check-config` prints every value with where it comes from, and checks \
            files and schemas. A setting that is not known, or an invalid value, is an error that names it.

            Durations are written `200ms`, `90s`, `10m`, `24h`, `90d`; sizes `64KiB`, `64MiB`, `1GiB`, or in bytes.

            This page is printed by `spool-writer check-config --markdown`; a test compares the two.

            """
        for (section, title, introduction) in sections {
            let settings = Setting.all.filter { $0.key.contains(".") ? $0.key.hasPrefix(section + ".") : section.isEmpty }
            text += "\n## \(title)\n\n\(introduction)\n\n| setting | default | environment | |\n| --- | --- | --- | --- |\n"
            for setting in settings {
                let name = setting.key.split(separator: ".").last.map(String.init) ?? setting.key
                let value = setting.fallback.map { $0.isEmpty ? "empty" : "`\($0)`" } ?? "none"
                let range = setting.rangeText.map { " (\($0))" } ?? ""
                text += "| `\(name)` | \(value) | `\(setting.environmentName)` | \(escaped(setting.meaning))\(range) |\n"
            }
        }
        let keys = Setting.perTable.map { "`\($0.key.split(separator: ".").last ?? "")`" }.joined(separator: ", ")
        return text + """

            ## Of one table: `[tables.NAME]`

            These can be set for one table: \(keys). A section of a table that the schemas do not have is an error.

            ```toml
            spool = "/var/lib/coldpath/spool"

            [writer]
            rings = "/run/coldpath/rings"
            checkpoints = "/var/lib/coldpath/checkpoints"
            metrics = "127.0.0.1:9464"

            [loader]
            url = "https://clickhouse.example:8443"
            metrics = "127.0.0.1:9465"

            [tables.market_data]
            record = "changes"
            retention = "30d"
            ```

            """
    }

    private static let sections = [
        ("", "Both programs", "At the top of the file, before any section."),
        ("writer", "The writer: `[writer]`", "What `spool-writer` reads."),
        ("loader", "The loader: `[loader]`", "What `spool-loader` reads. See [connections.md](connections.md) for servers and TLS."),
    ]

    private static func escaped(_ text: String) -> String {
        text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
    }
}

extension Setting {
    /// What values it may have, where its meaning does not say so.
    fileprivate var rangeText: String? {
        switch kind {
        case .count(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .choice(let choices): choices.joined(separator: ", ")
        case .percent: "1 to 100"
        case .text, .path, .duration, .bytes, .list, .servers, .proxy, .secret, .syncPolicy: nil
        }
    }
}
