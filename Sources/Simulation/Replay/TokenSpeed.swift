/// How fast an instance computes. Questions are read at one rate; answers slow one another down, and what they get
/// together grows.
package struct TokenSpeed: Hashable, Sendable {
  /// Tokens of a question a second.
  package var prefill: Double
  /// Tokens of an answer a second, for one request that is alone.
  package var decode: Double
  /// How much longer answers take with each further request: of k at once each has 1 / (1 + slowdown × (k − 1)).
  package var slowdown: Double

  package init(prefill: Double = 2_400, decode: Double = 60, slowdown: Double = 0.25) {
    self.prefill = prefill
    self.decode = decode
    self.slowdown = slowdown
  }

  func prefillSeconds(_ request: WorkloadRequest) -> Double { Double(request.inputTokens) / prefill }
  /// Alone.
  func answerSeconds(_ request: WorkloadRequest) -> Double { Double(request.outputTokens) / decode }

  /// What each of so many at once gets of what it would have alone.
  func share(of active: Int) -> Double { 1 / (1 + slowdown * Double(max(0, active - 1))) }

  /// How long such requests hold a slot, on average, where all slots are busy.
  package func seconds(_ lengths: TokenLengths, slots: Int) -> Double {
    lengths.input.mean / prefill + lengths.output.mean / decode / share(of: slots)
  }
}
