/// Why a request gets no answer, as Ollama says it.
struct Refusal: Error {
  let status: Int
  let message: String

  static let busy = Refusal(
    status: 503, message: "server busy, please try again.  maximum pending requests exceeded")
  static let runnerDied = Refusal(
    status: 500, message: "an error was encountered while running the model: unexpected EOF")
  static let outOfMemory = Refusal(
    status: 500, message: "llama-server process has terminated: cudaMalloc failed: out of memory")
  static let loadTimeout = Refusal(
    status: 500, message: "timed out waiting for llama-server to start: progress 0.00")

  static func modelNotFound(_ name: String) -> Refusal {
    Refusal(status: 404, message: "model '\(name)' not found")
  }
  static func badRequest(_ message: String) -> Refusal { Refusal(status: 400, message: message) }
}
