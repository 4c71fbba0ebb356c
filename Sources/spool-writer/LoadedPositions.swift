import SpoolFormat
import SpoolIO
import SpoolRing

/// How far each ring's rows are in ClickHouse, where the loader's checkpoints can be read from here.
///
/// Now and then it notes how far every ring and every table are durable. Once the checkpoints have passed all those sequences, what was durable
/// then is loaded: no bookkeeping by row.
final class LoadedPositions {
    private struct Moment {
        /// Sequence before which all rows of a table were durable.
        let ends: [(table: String, end: UInt64)]
        /// Position before which all rows of a ring were durable.
        let positions: [String: UInt64]
    }

    /// Moments that wait for the loader; during a long outage no more are noted, and the newest waits longer.
    private static let maxMoments = 1_000

    private let checkpoints: Checkpoints
    private let recorder: Recorder
    private var moments: [Moment] = []
    private var loaded: [String: UInt64] = [:]
    private var durable: [String: UInt64] = [:]

    /// - Parameter checkpoints: the loader's directory.
    init(checkpoints: String, recorder: Recorder) {
        self.checkpoints = Checkpoints(directory: checkpoints, writer: recorder.spool.writer)
        self.recorder = recorder
    }

    func begin(_ ring: AttachedRing) { loaded[ring.file.sourceName] = ring.publishedLoaded }

    /// Publishes how far a ring is loaded, as of the last ``look(at:)``.
    func publish(_ ring: AttachedRing) throws(RingDefect) {
        guard let position = loaded[ring.file.sourceName], position > ring.publishedLoaded else { return }
        try ring.file.setLoaded(position)
        ring.publishedLoaded = position
    }

    /// Notes where the rings are, and reads how far the loader is.
    func look(at rings: [AttachedRing]) {
        let positions = Dictionary(rings.map { ($0.file.sourceName, $0.publishedDurable) }, uniquingKeysWith: min)
        loaded = loaded.filter { positions[$0.key] != nil }
        if positions != durable, moments.count < Self.maxMoments {
            durable = positions
            moments.append(Moment(ends: recorder.durableEnds, positions: positions))
        }
        guard !moments.isEmpty else { return }
        let passed = Dictionary(uniqueKeysWithValues: recorder.durableEnds.map { ($0.table, next($0.table)) })
        // A table without rows has no checkpoint, and nothing that could be missing.
        while let moment = moments.first, moment.ends.allSatisfy({ $0.end <= max(passed[$0.table] ?? 1, 1) }) {
            loaded.merge(moment.positions) { max($0, $1) }
            moments.removeFirst()
        }
    }

    /// The sequence before which all rows of a table are in ClickHouse; 1 if nobody knows.
    private func next(_ table: String) -> UInt64 { checkpoints.checkpoint(of: table)?.next ?? 1 }
}
