import Dispatch
import PoolCore
import Synchronization
import TestSupport
import Testing

@testable import Launching

@Suite struct PatienceTests {
  @Test func `who looks at what does not answer waits for a while, and no second thread does`() async throws {
    let patience = Patience()
    let gate = DispatchSemaphore(value: 0)
    let began = Mutex<[Int]>([])
    // The server hangs.
    let hanging: Void? = await patience.answer(within: .milliseconds(50)) {
      began.withLock { $0.append(0) }
      gate.wait()
    }
    #expect(hanging == nil)
    for number in 1...3 {
      let later: Void? = await patience.answer(within: .milliseconds(20)) { began.withLock { $0.append(number) } }
      #expect(later == nil)
    }
    #expect(began.withLock(\.self) == [0])
    async let last: Void? = patience.answer(within: .seconds(60)) { began.withLock { $0.append(4) } }
    gate.signal()
    #expect(await last != nil)
    // What nobody waits for any more is not looked at.
    #expect(began.withLock(\.self) == [0, 4])
  }
}
