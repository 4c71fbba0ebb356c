/// The lines in which two texts differ, as `diff` shows them.
enum TextDifference {
    /// Longer texts are shown whole, one behind the other.
    private static let maxLines = 2_000

    static func text(old: String, new: String) -> String {
        let old = old.split(separator: "\n", omittingEmptySubsequences: false)
        let new = new.split(separator: "\n", omittingEmptySubsequences: false)
        guard old.count <= maxLines, new.count <= maxLines else {
            return (old.map { "- \($0)" } + new.map { "+ \($0)" }).joined(separator: "\n")
        }
        let common = lengths(old, new)
        var lines: [String] = []
        var (left, right) = (0, 0)
        while left < old.count || right < new.count {
            if left < old.count, right < new.count, old[left] == new[right] {
                lines.append("  \(old[left])")
                (left, right) = (left + 1, right + 1)
            } else if left < old.count, right == new.count || common[left + 1][right] >= common[left][right + 1] {
                lines.append("- \(old[left])")
                left += 1
            } else {
                lines.append("+ \(new[right])")
                right += 1
            }
        }
        return around(lines).joined(separator: "\n")
    }

    /// For each pair of places, how many lines the rests have in common.
    private static func lengths(_ old: [Substring], _ new: [Substring]) -> [[Int]] {
        var table = Array(repeating: Array(repeating: 0, count: new.count + 1), count: old.count + 1)
        for left in old.indices.reversed() {
            for right in new.indices.reversed() {
                table[left][right] =
                    old[left] == new[right] ? table[left + 1][right + 1] + 1 : max(table[left + 1][right], table[left][right + 1])
            }
        }
        return table
    }

    /// Differences with three lines around each.
    private static func around(_ lines: [String]) -> [String] {
        var shown: [String] = []
        var isCut = false
        for index in lines.indices {
            let near = lines[max(0, index - 3)...min(lines.count - 1, index + 3)]
            if near.contains(where: { !$0.hasPrefix(" ") }) {
                shown.append(lines[index])
                isCut = false
            } else if !isCut {
                shown.append("  ...")
                isCut = true
            }
        }
        return shown
    }
}
