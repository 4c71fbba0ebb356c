import Logging
import SpoolFormat
import SpoolIO
import SpoolStatus

/// Which batch is next, and what stands in its way.
extension TableLoader {
    /// Whether no further batch may be begun before one of those under way has ended.
    var isFull: Bool { flights.underWay >= depth || !flights.hasRoom }

    /// Most batches on their way. While a batch is being cut one at a time, the first first: halves that wait behind others which are not done would
    /// else fill the list of flights.
    private var depth: Int {
        guard let target, target.dialect.knowsTokens, !target.isOrderOfInsertsSeen, !flights.isCutting else { return 1 }
        return settings.inflight
    }

    /// Plans batches while there are places for them.
    ///
    /// - Returns: what the lane does when no request ends.
    func refill(now: Int64, mayBegin: Bool, _ toSend: inout [Flight]) throws -> Status {
        planner.limits = scope.rate?.limit.limits(pace.limits) ?? pace.limits
        while pausedUntil == nil, !isAsking {
            if case .stopped = status { return status }
            if isFull { return .working }
            let rest: Status?
            if let gap = flights.firstGap(next: wanted.next) {
                rest = try fill(gap: gap, now: now, &toSend)
            } else {
                rest = try planBehindAll(now: now, mayBegin: mayBegin, &toSend)
            }
            if let rest { return rest }
        }
        return .working
    }

    /// Plans the first batch of the rows before a flight.
    ///
    /// - Returns: nil to go on planning.
    private func fill(gap index: Int, now: Int64, _ toSend: inout [Flight]) throws -> Status? {
        let start = flights.start(before: index, checkpoint: wanted.position)
        let end = flights[index].batch.firstSequence
        var place = start
        while place.next < end {
            switch try planner.plan(from: place, until: min(end, flights.nextCut(after: place.next) ?? end)) {
            case .batch(let batch, _):
                return try begin(batch, at: index, follows: start.next, now: now, &toSend) ? nil : .working
            case .skip(let to), .other(.move(let to)): place = to
            case .other where index > 0: return .working
            case .other(.damaged(let damage)):
                try quarantine(damage.clipped(to: flights[0].batch.start))
                return nil
            case .other(.lost(let rows, let isShed, _)):
                return try take(.lost(rows.lowerBound..<min(rows.upperBound, end), isShed: isShed, then: flights[0].batch.start), now: now)
            case .other(.notHereYet(let why)): return try take(.notHereYet(why), now: now)
            case .other(let item):
                throw CommandFailure("\(table): rows before \(end) are not loaded and cannot be read any more: \(item.text)", code: 74)
            }
        }
        flights[index].follows = start.next
        return nil
    }

    /// Plans the next batch behind all others.
    ///
    /// - Returns: nil to go on planning.
    private func planBehindAll(now: Int64, mayBegin: Bool, _ toSend: inout [Flight]) throws -> Status? {
        let start = flights.start(before: flights.count, checkpoint: wanted.position)
        if let end = scope.end, start.next >= end { return .drained }
        switch try planner.plan(from: start, until: min(scope.end ?? .max, flights.nextCut(after: start.next) ?? .max)) {
        case .batch(let batch, let isFull):
            if !mayBegin && now - (heldSince ?? now) < DrainOrder.longestHold {
                heldSince = heldSince ?? now
                return .held
            }
            if let until = pace.earliest(isFull: isFull), now < until { return .waiting(until: until) }
            if let wait = scope.rate?.limit.wait(now: now), wait > 0 { return .waiting(until: now + wait) }
            if target == nil {
                askTarget()
                return .working
            }
            if mayHaveMoreThere {
                if flights.isEmpty { askForMoreRows(from: batch.firstSequence) }
                return .working
            }
            heldSince = nil
            return try begin(batch, at: flights.count, follows: flights.flights.last?.batch.endSequence ?? wanted.next, now: now, &toSend)
                ? nil : .working
        case .skip(let next), .other(.move(let next)):
            let next = try planner.behindUnwanted(from: next)
            if flights.isEmpty { wanted.position = next } else { flights.skip(to: next) }
            return nil
        case .other(.end), .other(.chunk): return .drained
        case .other where !flights.isEmpty: return .working
        case .other(let item): return try take(item, now: now)
        }
    }

    /// What is no chunk, with nothing before it that is still on its way.
    ///
    /// - Returns: nil to go on planning.
    private func take(_ item: TailItem, now: Int64) throws -> Status? {
        switch item {
        case .damaged(let damage): try quarantine(damage)
        case .lost(let rows, isShed: true, let then):
            log.warning(
                "rows \(rows.lowerBound) to \(rows.upperBound - 1) were given up by the writer for want of room, before they could be loaded; system_events says why"
            )
            wanted.position = then
            wanted.rowsShed += UInt64(rows.count)
        case .lost(let rows, isShed: false, let then):
            log.critical(
                "RecorderFailure: rows \(rows.lowerBound) to \(rows.upperBound - 1) were lost before they could be loaded; the writer's recovery says so"
            )
            try store.quarantine.append(
                .damaged(
                    QuarantineList.Place(
                        rows: rows, segment: SegmentName(number: then.segmentNumber, firstSequence: then.next), offset: 0, bytes: 0),
                    reason: "lost, as the segment's header declares"))
            wanted.position = then
            wanted.rowsQuarantined += UInt64(rows.count)
            tally.quarantined += UInt64(rows.count)
        case .notHereYet(let why):
            repeated.say(.warning, "waiting for a copy in progress: \(why)")
            lastProblem = why
            isWaitingForCopy = true
            return .waiting(until: now + Self.lookAgainAfter)
        case .stop(let why): stop(why)
        case .move(let next): wanted.position = next
        case .end, .chunk: return .drained
        }
        return nil
    }

    /// Checks a batch's bytes and puts it into its place among the flights.
    ///
    /// - Returns: false if it must wait for those before it, or for a person.
    private func begin(_ batch: Batch, at index: Int, follows: UInt64, now: Int64, _ toSend: inout [Flight]) throws -> Bool {
        guard sentColumns(of: batch.segment, now: now) != nil else { return false }
        var batch = batch
        let checked = try reader.check(batch)
        if let error = checked.error {
            if checked.sound == 0 {
                // Only behind a checkpoint that has passed all rows before it.
                guard index == 0 else { return false }
                let damage = tail.damage(of: batch.chunks[0], in: batch.segment, error).clipped(from: batch.firstSequence)
                try quarantine(flights.first.map { damage.clipped(to: $0.batch.start) } ?? damage)
                return true
            }
            batch = Batch(segment: batch.segment, chunks: Array(batch.chunks[..<checked.sound]))
        }
        // Of a batch that was cut, parts may be there.
        let asksFirst = scope.asksFirst || mayHaveMoreThere || flights.isCut(batch.firstSequence)
        let flight = Flight(
            batch, checked,
            asksFirst ? BatchMachine(resuming: batch.rows, attempt: scope.firstAttempt) : BatchMachine(rows: batch.rows), follows: follows)
        flights.insert(flight, at: index)
        scope.rate?.limit.take(rows: batch.rows, bytes: batch.to - batch.from, now: now)
        if asksFirst { count(flight) } else { toSend.append(flight) }
        return true
    }

    private func quarantine(_ damage: TailItem.Damage) throws {
        let rows = damage.rows.isEmpty ? "no rows" : "rows \(damage.rows.lowerBound) to \(damage.rows.upperBound - 1)"
        log.critical("RecorderFailure: quarantined \(rows): \(table)/\(damage.segment) at \(damage.offset): \(damage.reason)")
        try store.quarantine.append(
            .damaged(
                QuarantineList.Place(rows: damage.rows, segment: damage.segment, offset: damage.offset, bytes: damage.bytes),
                reason: damage.reason))
        wanted.position = damage.then
        wanted.rowsQuarantined += UInt64(damage.rows.count)
        tally.quarantined += UInt64(damage.rows.count)
    }
}
