import Logging
import SpoolFormat
import SpoolIO

/// Batches that ClickHouse refuses for what they hold: cut in two, down to the row that is set aside.
extension TableLoader {
    /// Whether an earlier send that had no answer may still be running in ClickHouse.
    private func isUnsettled(_ flight: Flight, now: Int64) -> Bool {
        flight.lastUnanswered.map { now - $0 < settings.quiet } ?? false
    }

    /// Whether an earlier send of the whole may still be running, and would double what its parts bring. Then the lane pauses.
    func waitsForQuiet(_ flight: Flight, _ problem: String, now: Int64) -> Bool {
        guard isUnsettled(flight, now: now), let lastUnanswered = flight.lastUnanswered else { return false }
        pause(for: problem, atLeast: settings.quiet - (now - lastUnanswered), now: now)
        return true
    }

    /// - Returns: whether it is to be sent once more as it is.
    func divide(_ flight: Flight, now: Int64) throws -> Bool {
        if waitsForQuiet(flight, flight.refusal?.problem ?? "", now: now) {
            flight.machine.sendsAgain()
            return false
        }
        guard let refusal = flight.refusal else { preconditionFailure("a refused batch without a refusal") }
        if refusal.reaction == .splitPartitions { hasOtherPartitions = true }
        if refusal.reaction == .payloadSuspect, flight.suspicions == 0 {
            flight.suspicions += 1
            // Read once more from the disk; if it is damaged now, the planner finds out.
            if try reader.check(flight.batch).checksum == flight.checksum {
                flight.machine.sendsAgain()
                return true
            }
            flights.replan(flight, cutAt: [])
            return false
        }
        if let middle = flight.batch.middle {
            log.notice("\(flight.rowsText): sent in two parts, from \(middle) on apart")
            flights.replan(flight, cutAt: [middle])
            return false
        }
        guard refusedRows < settings.quarantineRows else {
            flight.machine.sendsAgain()
            pause(
                for: "ClickHouse refuses row \(flight.batch.firstSequence) too, after \(refusedRows) others that are quarantined "
                    + "(loader.quarantine_rows): \(refusal.problem); mend the cause, then run `spool-loader requeue`",
                reaction: .configuration, now: now)
            return false
        }
        try quarantineRow(of: flight, refusal)
        return false
    }

    private func quarantineRow(of flight: Flight, _ refusal: ServerAnswer) throws {
        let batch = flight.batch
        refusedRows += 1
        let values = try values(of: batch)
        log.critical(
            "RecorderFailure: quarantined row \(batch.firstSequence): ClickHouse refuses it: \(refusal.problem); \(refusal.advice), then run `spool-loader requeue`"
        )
        try store.quarantine.append(
            .refused(
                QuarantineList.Place(
                    rows: batch.firstSequence..<batch.endSequence, segment: batch.segment.name, offset: batch.from,
                    bytes: batch.to - batch.from),
                QuarantineList.Refusal(refusal, values: values)))
        flight.outcome = .quarantined
        tally.quarantined += batch.rows
    }

    /// A row's values as one line of JSON.
    private func values(of batch: Batch) throws -> String {
        let chunk = batch.chunks[0]
        let block = try batch.segment.reader.block(of: chunk)
        let row = Int(batch.firstSequence - chunk.header.firstSequence)
        return RowText.json(block, row: row, table: table)
    }
}
