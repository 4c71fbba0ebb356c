import SpoolConfig
import SpoolIO

/// What the disk's use asks for.
enum DiskLevel: Int, Comparable, CaseIterable {
    case ok = 0
    case warn, shed, emergency

    static func < (one: DiskLevel, other: DiskLevel) -> Bool { one.rawValue < other.rawValue }
}

/// Thresholds of the disk's use, each left again only some way below it, so that nothing flaps around it.
struct DiskThresholds {
    /// Shares of the disk.
    let warn: Double
    let shed: Double
    let emergency: Double
    static let hysteresis = 0.02

    private(set) var level = DiskLevel.ok

    init(configuration: Configuration) throws(ConfigFailure) {
        let percents = ["writer.disk_warn", "writer.disk_shed", "writer.disk_emergency"].map { configuration.count($0) }
        guard percents == percents.sorted() else {
            throw ConfigFailure(
                description:
                    "writer.disk_warn, disk_shed and disk_emergency are \(percents.map(String.init).joined(separator: ", ")); expected rising"
            )
        }
        self.init(warn: Double(percents[0]) / 100, shed: Double(percents[1]) / 100, emergency: Double(percents[2]) / 100)
    }

    init(warn: Double, shed: Double, emergency: Double) {
        self.warn = warn
        self.shed = shed
        self.emergency = emergency
    }

    private func threshold(_ level: DiskLevel) -> Double {
        switch level {
        case .ok: 0
        case .warn: warn
        case .shed: shed
        case .emergency: emergency
        }
    }

    mutating func update(_ ratio: Double) {
        let reached = DiskLevel.allCases.last { ratio >= threshold($0) } ?? .ok
        if reached > level {
            level = reached
        } else {
            while level > reached, ratio < threshold(level) - Self.hysteresis { level = DiskLevel(rawValue: level.rawValue - 1) ?? .ok }
        }
    }
}
