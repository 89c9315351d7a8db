import Gateway
import PoolCore
import Testing

@testable import Dispatcher

/// What a client is told of a request that was refused or failed.
@Suite struct RequestErrorTests {
  @Test func aLimitOfAUserIsAnsweredWithItsEnd() {
    let error = PoolError(.rateLimited, retryAfter: .milliseconds(1_800_001))
    #expect(error.status == 429 && error.code == "rate_limited" && error.retryAfterSeconds == 1801)
    #expect(error.message.hasSuffix("Please ask again in 31 minutes."))
    let longest = PoolError(.rateLimited, retryAfter: .seconds(61 * 60))
    #expect(longest.message.hasSuffix("Please ask again in about an hour.") && longest.retryAfterSeconds == 3660)
    #expect(PoolError(.tokenLimited, retryAfter: .seconds(3)).message.hasSuffix("Please ask again in a minute."))
    #expect(PoolError(.failed(.tooManyWaiting), retryAfter: .seconds(5))?.retryAfterSeconds == 5)
  }

  @Test func whatMayBeAskedAgainSaysWhen() {
    for failure in RequestFailure.allCases {
      let error = PoolError(failure)
      #expect((error.retryAfterSeconds != nil) == [429, 503].contains(error.status), "\(failure)")
      #expect(error.code == failure.rawValue && error.message.hasSuffix("."))
    }
  }
}
