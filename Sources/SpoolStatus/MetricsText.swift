/// Metrics in the Prometheus text format, version 0.0.4.
public struct MetricsText {
    public private(set) var text = ""
    private var described: Set<String> = []

    public enum Kind: String { case counter, gauge, histogram }

    public init() {}

    /// Adds a sample. All samples of one name must be added one behind the other.
    ///
    /// - Parameter labels: names and values, in their order.
    public mutating func add(_ name: String, _ kind: Kind, _ help: String, _ labels: [(String, String)] = [], _ value: Double) {
        describe(name, kind, help)
        sample(name, labels, value)
    }

    /// Adds a further sample of a name that was added before.
    public mutating func add(_ name: String, _ labels: [(String, String)], _ value: Double) {
        precondition(described.contains(name), "\(name) was not described")
        sample(name, labels, value)
    }

    /// Adds a histogram: its buckets, sum and count.
    public mutating func add(_ name: String, _ help: String, _ labels: [(String, String)] = [], _ histogram: Histogram) {
        describe(name, .histogram, help)
        var below: UInt64 = 0
        for (bound, count) in zip(Histogram.bounds, histogram.counts) {
            below += count
            sample("\(name)_bucket", labels + [("le", Self.number(bound))], Double(below))
        }
        sample("\(name)_bucket", labels + [("le", "+Inf")], Double(histogram.count))
        sample("\(name)_sum", labels, histogram.sum)
        sample("\(name)_count", labels, Double(histogram.count))
    }

    private mutating func describe(_ name: String, _ kind: Kind, _ help: String) {
        if described.insert(name).inserted { text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n" }
    }

    private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: Double) {
        let pairs = labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        text += "\(name)\(pairs.isEmpty ? "" : "{\(pairs)}") \(Self.number(value))\n"
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 9e15 ? String(Int64(value)) : "\(value)"
    }

    private static func escaped(_ label: String) -> String {
        var text = ""
        for character in label.unicodeScalars {
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(character)
            }
        }
        return text
    }
}
