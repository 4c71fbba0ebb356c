import Testing

@testable import spool_loader

/// The machine's single steps, and what the model leaves out: rows that expire, and what a person must look at.
@Suite struct BatchMachineTests {
    private func asking(_ rows: UInt64 = 10) -> BatchMachine { BatchMachine(resuming: rows, attempt: 0) }

    @Test func aFirstSuccessNeedsNoQuestion() {
        var machine = BatchMachine(rows: 10)
        #expect(machine.action() == .send(attempt: 0))
        machine.sendBegins()
        machine.sendSucceeded()
        #expect(machine.action() == .finish(loaded: 10, expired: 0))
    }

    @Test func aSuccessAfterAnUnreachableServerIsAFirstSuccess() {
        var machine = BatchMachine(rows: 10)
        for _ in 0..<3 {
            machine.sendBegins()
            machine.sendNeverLeft()
            #expect(machine.action() == .send(attempt: 0))
        }
        machine.sendBegins()
        machine.sendSucceeded()
        #expect(machine.action() == .finish(loaded: 10, expired: 0))
    }

    @Test func anUnreachableServerDoesNotEndADoubt() {
        var machine = BatchMachine(rows: 10)
        machine.sendBegins()
        machine.sendDoubtful()
        machine.counted(present: 0, distinct: 0, isWhollyExpired: false)
        machine.sendBegins()
        machine.sendNeverLeft()
        #expect(machine.action() == .count)
    }

    @Test func aResumedBatchIsAskedForFirst() {
        var machine = BatchMachine(resuming: 10, attempt: 3)
        #expect(machine.action() == .count)
        machine.counted(present: 0, distinct: 0, isWhollyExpired: false)
        #expect(machine.action() == .send(attempt: 3))
        machine.sendBegins()
        machine.sendSucceeded()
        #expect(machine.action() == .count, "the earlier run may have spent the token")
    }

    @Test func whereATokenIsCertainASuccessfulRepeatIsTheEnd() {
        var machine = BatchMachine(rows: 10)
        machine.sendBegins()
        machine.sendDoubtful()
        // Asked of a replica that lags.
        machine.counted(present: 0, distinct: 0, isWhollyExpired: false)
        machine.sendBegins()
        machine.sendSucceeded(isTokenCertain: true)
        #expect(machine.action() == .finish(loaded: 10, expired: 0))
    }

    @Test func aRefusalIsAskedForAndThenDivided() {
        var machine = BatchMachine(rows: 10)
        machine.sendBegins()
        machine.sendRefused()
        #expect(machine.action() == .count, "an error is not that nothing happened")
        machine.counted(present: 0, distinct: 0, isWhollyExpired: false)
        #expect(machine.action() == .divide)
        machine.sendsAgain()
        #expect(machine.action() == .send(attempt: 0))
    }

    @Test func aRefusalOfWhichAllRowsAreThereIsASuccess() {
        var machine = BatchMachine(rows: 10)
        machine.sendBegins()
        machine.sendRefused()
        // A view that threw leaves the rows in the table.
        machine.counted(present: 10, distinct: 10, isWhollyExpired: false)
        #expect(machine.action() == .finish(loaded: 10, expired: 0))
    }

    @Test func doubledRowsStopTheTable() {
        var machine = asking()
        machine.counted(present: 20, distinct: 10, isWhollyExpired: false)
        #expect(machine.action() == .stop("20 rows with 10 different sequences are there, of 10: some are doubled"))
    }

    @Test func doubledRowsStopTheTableEvenIfTheirNumberIsRight() {
        var machine = asking()
        machine.counted(present: 10, distinct: 5, isWhollyExpired: false)
        #expect(machine.action() == .stop("10 rows with 5 different sequences are there, of 10: some are doubled"))
    }

    @Test func anAnswerThatCannotBeStopsTheTable() {
        var machine = asking()
        machine.counted(present: 11, distinct: 11, isWhollyExpired: false)
        guard case .stop = machine.action() else { return #expect(Bool(false), "\(machine.action())") }
    }

    @Test func aPartOfTheBatchIsCompared() {
        var machine = asking()
        machine.counted(present: 4, distinct: 4, isWhollyExpired: false)
        #expect(machine.action() == .compare)
        machine.compared(missing: 6, expired: 5)
        #expect(machine.action() == .stop("4 of 10 rows are there, and 1 of the missing ones are not expired"))
    }

    @Test func expiredRowsAreNotMissing() {
        var machine = asking()
        machine.counted(present: 4, distinct: 4, isWhollyExpired: false)
        machine.compared(missing: 6, expired: 6)
        #expect(machine.action() == .finish(loaded: 4, expired: 6))
    }

    @Test func aWhollyExpiredBatchIsNotSentAgain() {
        var machine = asking()
        machine.counted(present: 0, distinct: 0, isWhollyExpired: true)
        #expect(machine.action() == .finish(loaded: 0, expired: 10))
    }

    @Test func rowsThatVanishUnseenDoNotMakeItSendForever() {
        // The table's TTL takes the rows although the loader does not think them expired.
        var machine = BatchMachine(rows: 10)
        machine.sendBegins()
        machine.sendDoubtful()
        var sends = 1
        for _ in 0..<20 {
            switch machine.action() {
            case .count: machine.counted(present: 0, distinct: 0, isWhollyExpired: false)
            case .send:
                sends += 1
                machine.sendBegins()
                machine.sendSucceeded()
            default: break
            }
        }
        #expect(machine.action() == .finish(loaded: 10, expired: 0))
        #expect(sends == 3)
    }
}
