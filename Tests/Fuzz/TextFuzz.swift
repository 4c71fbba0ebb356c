import SpoolConfig
import SpoolFormat
import SpoolIO

/// Texts that people and servers write: schemas, types, settings.
enum TextFuzz {
    static func schemas(_ bytes: UnsafeRawBufferPointer) {
        guard let blocks = try? StatementBlock.blocks(of: bytes.text, file: "0001_x.sql") else { return }
        var model = SchemaModel()
        for block in blocks { try? model.apply(block) }
        for table in model.tables { _ = try? model.recorded().first { $0.table == table.name } }
    }

    static func types(_ bytes: UnsafeRawBufferPointer) {
        let text = bytes.text
        if let type = try? ColumnType(text) {
            precondition((try? ColumnType(type.wireText)) == type, "\(type.wireText) is another type than \(text)")
            for other in ["String", "UInt64", "Decimal(38, 10)", "Enum8('a' = 1)"] {
                if let other = try? ColumnType(other) { _ = (type.holdsAll(of: other), other.holdsAll(of: type)) }
            }
        }
        _ = TargetEngine(text)
    }

    static func settings(_ bytes: UnsafeRawBufferPointer) {
        let text = bytes.text
        _ = (Quantity.duration(text), Quantity.bytes(text), ServerAddress(text), ProxySetting(text), SyncPolicy(text))
        let path = Fuzz.file("fuzz.toml")
        guard let file = try? File.openForWriting(path) else { return }
        try? file.truncate(to: 0)
        try? file.write(bytes, at: 0)
        _ = try? Configuration(file: path, environment: [:])
    }
}
