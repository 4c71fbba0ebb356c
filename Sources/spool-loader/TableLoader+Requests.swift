import Logging
import SpoolFormat
import SpoolIO
import SpoolStatus

/// What is asked of ClickHouse and sent to it, and what the answers mean for a batch.
extension TableLoader {
    /// A checkpoint that was lost, or replaced by an old copy, must not double what was loaded since: if ClickHouse has the next
    /// rows without a gap, loading goes on behind them. Asked once after each start.
    func askForMoreRows(from first: UInt64) {
        if let settlingOfOthers, !knowsTokens { return askWhetherOver(settlingOfOthers) }
        ask(questions.extent(from: first)) { [self] body, now in
            guard let found = numbers(inLine: body), found.count == 4 else { return pause(for: noCount(body), now: now) }
            mayHaveMoreThere = false
            if found[0] > 0 { try adopt(count: found[0], distinct: found[1], least: found[2], most: found[3], first: first) }
        }
    }

    private func adopt(count: UInt64, distinct: UInt64, least: UInt64, most: UInt64, first: UInt64) throws {
        guard count == distinct, least == first, most >= least, most < .max, most - least == count - 1,
            let next = try tail.position(of: most + 1, from: wanted.position)
        else {
            return stop(
                "the checkpoint says that sequence \(first) is next, but ClickHouse has \(count) rows of this writer from there on, sequences "
                    + "\(least) to \(most), and they are not simply the next ones; restore the right checkpoint, or see with "
                    + "`spool-loader audit` what is missing")
        }
        wanted.position = next
        wanted.rowsLoaded += count
        try saveIfChanged()
        log.warning(
            "ClickHouse has rows \(least) to \(most), of which the checkpoint does not know: it is new, or an old copy; going on behind them"
        )
    }

    /// A batch in flight that cannot be read again: what ClickHouse has of it decides.
    func askForGone(_ inflight: InflightBatch) {
        if let settlingOfOthers, !knowsTokens { return askWhetherOver(settlingOfOthers) }
        ask(questions.count(of: inflight)) { [self] body, now in
            guard let found = numbers(inLine: body), found.count == 2 else { return pause(for: noCount(body), now: now) }
            try settle(inflight, present: found[0], distinct: found[1])
        }
    }

    func settle(_ inflight: InflightBatch, present: UInt64, distinct: UInt64) throws {
        let before = TailPosition(
            segmentNumber: inflight.segmentNumber, offset: inflight.fromOffset, next: inflight.firstSequence)
        let after = TailPosition(segmentNumber: inflight.segmentNumber, offset: inflight.toOffset, next: inflight.endSequence)
        var isDeclared = false
        if case .lost(let rows, _, _) = try tail.item(at: before) { isDeclared = rows.upperBound >= inflight.endSequence }
        let rows = "rows \(inflight.firstSequence) to \(inflight.endSequence - 1) were in flight and are not in the spool any more"
        switch GoneBatch(inflight, present: present, distinct: distinct, isDeclared: isDeclared) {
        case .loaded where wanted.next < inflight.firstSequence && !isDeclared:
            return stop(
                "\(table): rows \(wanted.next) to \(inflight.firstSequence - 1) are not loaded, and the segment behind them is not in the spool any "
                    + "more; `spool-loader audit` names those that are missing")
        case .loaded:
            log.notice("\(rows): ClickHouse has them")
            wanted.position = after
            wanted.rowsLoaded += inflight.rows
        case .absent: log.notice("\(rows): ClickHouse has none of them")
        case .stop(let why): return stop("\(table): \(why)")
        }
        gone.removeFirst()
    }

    // MARK: Servers without tokens

    var knowsTokens: Bool { target?.dialect.knowsTokens ?? true }

    /// Whether an insert of the batch may be under way in a server where nothing holds off a second one.
    func mayBeOpen(_ flight: Flight) -> Bool { flight.settling != nil && !knowsTokens }

    /// Asks whether the last insert of a batch has ended in the server; only then its rows can be counted.
    func askWhetherOver(_ flight: Flight) {
        flight.isWorking = true
        server.askWhetherRunning(flight.inflight.token(writer: wanted.writer, table: table)) { [self] answer in
            flight.isWorking = false
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, answer.reactionToQuestion, now: now) }
            guard let found = numbers(inLine: body), found.count == 1 else { return pause(for: noCount(body), now: now) }
            if found[0] > 0 { repeated.say(.notice, "ClickHouse still works on the insert of \(flight.rowsText); waiting for its end") }
            if flight.settling?.isOver(isRunning: found[0] > 0, now: now) ?? true {
                flight.settling = nil
                flight.lastUnanswered = nil
            } else {
                flight.waitsUntil = now + Settling.askAgainAfter
            }
            wake()
        }
    }

    /// The same for all inserts of the table, at a start.
    func askWhetherOver(_ settling: Settling) {
        ask(ClickHouse.questionWhetherRunning(prefix: "\(wanted.writer)/\(table)/")) { [self] body, now in
            guard let found = numbers(inLine: body), found.count == 1 else { return pause(for: noCount(body), now: now) }
            if found[0] > 0 { repeated.say(.notice, "ClickHouse still works on an insert of an earlier run; waiting for its end") }
            var settling = settling
            let isOver = settling.isOver(isRunning: found[0] > 0, now: now)
            settlingOfOthers = isOver ? nil : settling
            if !isOver { pausedUntil = now + Settling.askAgainAfter }
        }
    }

    /// Makes what is sent where the bytes cannot go as they lie in the spool.
    ///
    /// - Returns: false if the batch is too large for one insert so, and was cut; or if its columns do not fit after all.
    func prepare(_ flight: Flight, now: Int64) throws -> Bool {
        flight.plainBody = nil
        let batch = flight.batch
        guard let columns = sentColumns(of: batch.segment, now: now) else { return false }
        do {
            // What is only too large by our bound is sent all the same when it cannot be cut.
            if batch.middle != nil { try columns.checkSize(of: batch, unfixed: batch.segment.unfixedColumns) }
            guard columns.isRewritten else { return true }
            flight.plainBody = try PlainBody(
                chunks: batch.chunks, reader: batch.segment.reader, columns: columns.columns, rows: batch.slice?.rows)
            return true
        } catch let problem as OversizedBatch {
            guard let middle = batch.middle else { throw CommandFailure("\(table): \(flight.rowsText): \(problem)", code: 74) }
            if waitsForQuiet(flight, problem.description, now: now) { return false }
            log.notice("\(flight.rowsText): \(problem); sent in two parts, from \(middle) on apart")
            flights.replan(flight, cutAt: [middle])
            return false
        } catch let error as FormatError {
            throw CommandFailure("\(table)/\(batch.segment.name): \(flight.rowsText) cannot be decoded: \(error)", code: 74)
        }
    }

    // MARK: Requests

    var questions: TableQuestions { TableQuestions(table: table, writer: wanted.writer, target: target) }

    /// Asks a question on whose answer the whole lane waits.
    func ask(_ sql: String, then take: @escaping ([UInt8], Int64) throws -> Void) {
        isAsking = true
        server.query(sql) { [self] answer in
            isAsking = false
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, answer.reactionToQuestion, now: now) }
            wake()
            do {
                try take(body, now)
            } catch {
                stop("\(error)")
            }
        }
    }

    func send(_ flight: Flight, now: Int64) {
        guard let target else { return }
        flight.machine.sendBegins()
        flight.isWorking = true
        flight.wasSent = true
        pace.sent(at: now)
        server.insert(
            flight.plainBody ?? flight.body, table: table, columns: flight.plainBody?.columns ?? flight.batch.segment.reader.header.columns,
            token: flight.inflight.token(writer: wanted.writer, table: table), dialect: target.dialect, isPlain: flight.plainBody != nil
        ) { [self] answer in
            flight.isWorking = false
            flight.plainBody = nil
            flight.settling = answer.leavesInsertOpen ? Settling() : nil
            let sentAt = now
            let now = Clock.monotonic()
            meters.answered(answer, after: now - sentAt)
            switch answer {
            case .ok:
                flight.machine.sendSucceeded(isTokenCertain: target.hasCertainTokens)
                wake()
            case .unreachable:
                flight.machine.sendNeverLeft()
                failed(answer, answer.reaction, now: now)
            case .exception where answer.reaction.concernsRows:
                flight.refusal = answer
                flight.machine.sendRefused()
                repeated.say(.warning, "\(flight.rowsText) are refused: \(answer.problem)")
                wake()
            case .exception, .doubt:
                if case .doubt = answer { flight.lastUnanswered = now }
                flight.machine.sendDoubtful()
                failed(answer, answer.reaction, now: now)
            }
        }
    }

    func count(_ flight: Flight) {
        flight.isWorking = true
        server.query(questions.count(of: flight.batch)) { [self] answer in
            flight.isWorking = false
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, answer.reactionToQuestion, now: now) }
            guard let numbers = numbers(inLine: body), numbers.count == 2 else { return pause(for: noCount(body), now: now) }
            log.info("asked for \(flight.rowsText): \(numbers[0]) of \(flight.batch.rows) are there")
            let isWhollyExpired = target?.engine.retention.map { flight.batch.maxEventTime <= $0.expired(at: Clock.now()) } ?? false
            flight.machine.counted(present: numbers[0], distinct: numbers[1], isWhollyExpired: isWhollyExpired)
            wake()
        }
    }

    func compare(_ flight: Flight) {
        flight.isWorking = true
        server.query(questions.sequences(of: flight.batch)) { [self] answer in
            flight.isWorking = false
            let now = Clock.monotonic()
            guard case .ok(let body) = answer else { return failed(answer, answer.reactionToQuestion, now: now) }
            do {
                let found = try PartlyThere(
                    flight.batch, present: sequences(body), expiry: target?.engine.retention?.expired(at: Clock.now()) ?? .min)
                if found.missing > found.expired, mayBePartly(flight.batch) {
                    // It may still be bringing its rows, partition by partition: those that are sent apart now would come twice.
                    if waitsForQuiet(flight, "ClickHouse has some of \(flight.rowsText), whose insert may still be running", now: now) {
                        return
                    }
                    // Where nothing is cut it would be asked for again as it is, for ever.
                    guard !found.cuts.isEmpty else {
                        return pause(for: "ClickHouse counts some of \(flight.rowsText), and lists none of them", now: now)
                    }
                    flights.replan(flight, cutAt: found.cuts)
                } else {
                    flight.machine.compared(missing: found.missing, expired: found.expired)
                }
                wake()
            } catch {
                stop("\(error)")
            }
        }
    }

    /// Whether a part of a batch can be there without anything being wrong: where rows may have been loaded in other batches than these, or
    /// where ClickHouse cuts a batch by partitions that are not ours.
    private func mayBePartly(_ batch: Batch) -> Bool {
        let header = batch.segment.reader.header
        let time = header.columns[header.eventTimeColumn].name
        return scope.asksFirst || hasOtherPartitions || target?.engine.splits(header.partitionRule, of: time) ?? false
    }
}
