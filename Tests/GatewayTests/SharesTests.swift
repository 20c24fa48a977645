import Gateway
import NIOCore
import Testing

/// The machine alone: which generation gets a request.
@Suite struct SharesTests {
    typealias Machine = Traffic<Int>

    private static func backend(_ generation: Int, _ replica: Int = 0) -> Backend {
        Backend(id: "frontend-\(replica)", generation: generation, host: "127.0.0.1", port: generation * 10 + replica)
    }

    private static let both = [backend(1), backend(2)]
    private static let now = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private static func machine(_ shares: [Int: Int]?, _ backends: [Backend] = both) -> Machine {
        var machine = Machine(
            hold: HoldPolicy(maximumRequests: 1000, patience: .seconds(60)),
            upstream: UpstreamPolicy(),
            maximumRequests: 10_000
        )
        _ = machine.setBackends(backends, shares: shares, now: self.now)
        return machine
    }

    /// Where a request goes; nil: nowhere.
    private static func arrive(
        _ machine: inout Machine,
        from generation: Int? = nil
    ) -> Machine.Assignment? {
        let decision = machine.arrive(
            0,
            bytes: 1,
            deadline: generation == nil ? nil : self.now + .seconds(60),
            generation: generation,
            now: self.now
        )
        if case .send(let assignment) = decision { return assignment }
        if case .hold(let id) = decision { machine.leave(id) }
        return nil
    }

    /// The generations of some requests, each ended at once, or all of them running.
    private static func run(_ machine: inout Machine, _ count: Int, ends: Bool = true) -> [Int?] {
        (0..<count).map { _ in
            guard let assignment = self.arrive(&machine) else { return nil }
            if ends { _ = machine.finish(assignment, ExchangeResult(.answered(status: 200)), now: self.now) }
            return assignment.backend.generation
        }
    }

    @Test(arguments: [5, 25, 37, 50, 95, 99], [true, false])
    func eachGetsExactlyItsShareEvenly(_ percent: Int, ends: Bool) {
        var machine = Self.machine([1: 100 - percent, 2: percent])
        let order = Self.run(&machine, 1000, ends: ends)
        var count = 0
        var worst = 0.0
        for (index, generation) in order.enumerated() {
            if generation == 2 { count += 1 }
            worst = max(worst, abs(Double(count) - Double((index + 1) * percent) / 100))
            if (index + 1) % 100 == 0 { #expect(count == (index + 1) / 100 * percent, "of \(index + 1)") }
        }
        #expect(worst < 1, "never a whole request away from what is fair")
        guard percent == 5 else { return }
        let places = order.indices.filter { order[$0] == 2 }
        #expect(zip(places.dropFirst(), places).allSatisfy { $0 - $1 == 20 }, "\(places)")
    }

    @Test func threeGenerationsAndAnyWeights() {
        var machine = Self.machine([1: 1, 2: 2, 7: 3], Self.both + [Self.backend(7)])
        let order = Self.run(&machine, 60)
        #expect([1, 2, 7].map { number in order.count { $0 == number } } == [10, 20, 30])
        _ = machine.setBackends(Self.both, shares: [1: .max, 2: .max], now: Self.now)
        #expect(Self.run(&machine, 4).count { $0 == 2 } == 2, "no sum overflows")
    }

    @Test func sharesChangeInTheMiddle() {
        var machine = Self.machine([1: 100, 2: 0])
        #expect(Self.run(&machine, 50).allSatisfy { $0 == 1 })
        // Whatever the row before had come to.
        for (percent, count) in [(5, 33), (25, 7), (50, 1), (100, 20), (0, 20), (5, 100)] {
            _ = machine.setBackends(Self.both, shares: [1: 100 - percent, 2: percent], now: Self.now)
            let new = Self.run(&machine, count).count { $0 == 2 }
            #expect(abs(Double(new) - Double(count * percent) / 100) < 1, "\(new) of \(count) at \(percent) %")
        }
        _ = machine.setBackends(Self.both, now: Self.now)
        #expect(Self.run(&machine, 10).count { $0 == 2 } == 5, "without shares all are equal")
    }

    @Test func aRowGoesOnWhileBackendsComeAndGo() {
        var machine = Self.machine([1: 95, 2: 5])
        var count = 0
        for index in 0..<200 {
            let backends = index % 2 == 0 ? Self.both + [Self.backend(1, 1)] : Self.both
            _ = machine.setBackends(backends, shares: [1: 95, 2: 5], now: Self.now)
            count += Self.run(&machine, 1).count { $0 == 2 }
        }
        #expect(count == 10)
    }

    @Test func insideAGenerationTheLeastBusyIsChosenAndEqualsTakeTurns() throws {
        let backends = [Self.backend(1), Self.backend(1, 1), Self.backend(2), Self.backend(2, 1)]
        var machine = Self.machine([1: 50, 2: 50], backends)
        var counts: [Backend: Int] = [:]
        for _ in 0..<40 {
            let assignment = try #require(Self.arrive(&machine))
            counts[assignment.backend, default: 0] += 1
            _ = machine.finish(assignment, ExchangeResult(.answered(status: 200)), now: Self.now)
        }
        #expect(backends.map { counts[$0] } == [10, 10, 10, 10])
        let busy = try #require(Self.arrive(&machine))
        for _ in 0..<4 {
            let assignment = try #require(Self.arrive(&machine))
            #expect(assignment.backend != busy.backend)
            _ = machine.finish(assignment, ExchangeResult(.answered(status: 200)), now: Self.now)
        }
    }

    @Test(arguments: [[1: 100, 2: 0], [1: 100], [1: 100, 2: -5]])
    func aGenerationWithoutAShareGetsNothingAndIsNotDoneWith(_ shares: [Int: Int]) throws {
        var machine = Self.machine([1: 50, 2: 50])
        let running = try #require(
            (0..<2).compactMap { _ in Self.arrive(&machine) }.first { $0.backend.generation == 2 }
        )
        #expect(machine.setBackends(Self.both, shares: shares, now: Self.now).isEmpty, "no slot is done with")
        #expect(Self.run(&machine, 100).allSatisfy { $0 == 1 })
        #expect(machine.outstanding(generation: 2) == 1 && machine.outstanding(generation: 1) == 1)
        _ = machine.finish(running, ExchangeResult(.answered(status: 200)), now: Self.now)
        #expect(machine.outstanding(generation: 2) == 0 && machine.outstanding(generation: 3) == 0)
        _ = machine.setBackends(Self.both, shares: [2: 1], now: Self.now)
        let again = try #require(Self.arrive(&machine))
        #expect(again.backend.generation == 2 && again.slot == running.slot, "its place is the same")
    }

    @Test func nobodyWithAShareMeansThatRequestsWait() {
        var machine = Self.machine([:])
        #expect(machine.arrive(1, bytes: 1, now: Self.now) == .hold(0))
        for number in 2...20 { _ = machine.arrive(number, bytes: 1, now: Self.now) }
        // A share for somebody who is not there helps nobody.
        #expect(machine.setBackends(Self.both, shares: [3: 100], now: Self.now).isEmpty && machine.heldRequests == 20)
        let actions = machine.setBackends(Self.both, shares: [1: 95, 2: 5], now: Self.now)
        var waiters: [Int] = []
        var generations: [Int] = []
        for case .send(let waiter, let assignment) in actions {
            waiters.append(waiter)
            generations.append(assignment.backend.generation)
        }
        #expect(waiters == Array(1...20), "in the order of arrival")
        #expect(generations.count { $0 == 2 } == 1 && machine.heldRequests == 0)
        #expect(machine.outstanding(generation: 1) == 19 && machine.figures(of: 2).inFlight == 1)
    }

    @Test func whatAnEjectedGenerationCannotTakeGoesToOthersWithAShare() throws {
        var machine = Self.machine([1: 5, 2: 95, 3: 0], Self.both + [Self.backend(3)])
        let refused = try #require(Self.arrive(&machine))
        #expect(refused.backend.generation == 2)
        _ = machine.finish(refused, ExchangeResult(.failed(.connect)), now: Self.now)
        // It comes back, and cannot stay where it was.
        let second = try #require(Self.arrive(&machine, from: 2))
        #expect(second.backend.generation == 1)
        #expect(Self.run(&machine, 50).allSatisfy { $0 == 1 })
        #expect(machine.tick(now: Self.now + .seconds(1)).count == 1)
        _ = machine.probed(slot: refused.slot, isWell: true, now: Self.now + .seconds(1))
        // What it missed is not made up for.
        #expect(Self.run(&machine, 100).count { $0 == 2 } == 95)
        // Nobody else: it waits rather than going to one without a share.
        for _ in 0..<2 {
            let assignment = try #require(Self.arrive(&machine))
            _ = machine.finish(assignment, ExchangeResult(.failed(.connect)), now: Self.now + .seconds(1))
            guard assignment.backend.generation == 2 else { continue }
            let last = try #require(Self.arrive(&machine))
            _ = machine.finish(last, ExchangeResult(.failed(.connect)), now: Self.now + .seconds(1))
            break
        }
        #expect(Self.arrive(&machine) == nil)
    }

    @Test func aRequestThatComesBackStaysWithItsGenerationAndCountsOnce() throws {
        var machine = Self.machine([1: 75, 2: 25])
        var counts: [Int: Int] = [:]
        var moved = 0
        for _ in 0..<400 {
            let first = try #require(Self.arrive(&machine))
            _ = machine.finish(first, ExchangeResult(.stale), now: Self.now)
            let second = try #require(Self.arrive(&machine, from: first.backend.generation))
            if second.backend.generation != first.backend.generation { moved += 1 }
            _ = machine.finish(second, ExchangeResult(.answered(status: 200)), now: Self.now)
            counts[second.backend.generation, default: 0] += 1
        }
        #expect(moved == 0 && counts == [1: 300, 2: 100])
        #expect(machine.figures(of: 2).retries == 100 && machine.figures(of: 2).requests == 100)
        _ = machine.setBackends(Self.both, shares: [1: 100, 2: 0], now: Self.now)
        #expect(Self.arrive(&machine, from: 2)?.backend.generation == 1, "it has no share any more")
    }
}
