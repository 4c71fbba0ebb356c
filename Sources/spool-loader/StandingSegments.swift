import SpoolFormat
import SpoolIO

/// A table's segments, one for each number.
///
/// A crash between creating a tombstone and removing the segment that it replaces leaves two files of one number: the one with the
/// higher first sequence stands (`docs/spool-format.md` §5).
struct StandingSegments {
    /// In the order of writing.
    private(set) var names: [SegmentName] = []
    /// Those in whose place another one stands.
    private(set) var replaced: [SegmentName] = []

    init(_ all: [SegmentName]) {
        for name in all.sorted(by: { ($0.number, $0.firstSequence) < ($1.number, $1.firstSequence) }) {
            if let last = names.last, last.number == name.number { replaced.append(names.removeLast()) }
            names.append(name)
        }
    }
}

extension SpoolDirectory {
    func standingSegments(of table: String) throws(IOFailure) -> [SegmentName] { StandingSegments(try segments(of: table)).names }
}
