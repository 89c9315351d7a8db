import ArgumentParser
import Glibc

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Serve Ollama's API until SIGTERM or SIGINT.",
    discussion: """
      Every option below can be given as a variable instead, in capitals: OLLAMA_SIMULATOR_TOKENS_PER_SECOND=20. \
      An option wins over its variable. Of Ollama's own variables it obeys OLLAMA_HOST, OLLAMA_MODELS, \
      OLLAMA_NUM_PARALLEL, OLLAMA_MAX_QUEUE, OLLAMA_MAX_LOADED_MODELS, OLLAMA_KEEP_ALIVE, OLLAMA_LOAD_TIMEOUT, \
      OLLAMA_CONTEXT_LENGTH, OLLAMA_ORIGINS, OLLAMA_DEBUG, and CUDA_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES as the \
      list of the GPUs that it claims to have. With --gpus its models hold memory on simulated GPUs: what does not \
      fit is computed on the CPU, and what is on a GPU that gets lost fails.

      FAULTS, separated by commas, after `for NAME:` where they are for one server only (NAME: the variable \
      POOL_INSTANCE, or the port):
      \(Fault.help)

      In a file named by --faults each line is such a list, and is read anew at each request, so that faults can be \
      switched on and off while it runs: `echo 'gpu2: stall-at-token 5' > faults`.
      """)

  @Option(help: "Address to listen on, as in OLLAMA_HOST.") var host: String?
  @Option(help: "Folder of the models, as in OLLAMA_MODELS; all is kept in its subfolder `simulator`.")
  var models: String?
  @Option(help: "Tokens of an answer whose request sets no limit (default: 32).") var tokens: String?
  @Option(help: "Speed of one answer alone; 0 is without limit (default: 60).") var tokensPerSecond: String?
  @Option(
    help: ArgumentHelp(
      "How much longer answers take with each further one: of k at once each has 1 / (1 + slowdown × (k - 1)) of the "
        + "speed (default: 1, they share it)."))
  var slowdown: String?
  @Option(help: "Seconds from getting a slot to the first token (default: 0.05).") var firstTokenSeconds: String?
  @Option(help: "Tokens of a question that are read in a second, beside these; 0 is without limit (default: 0).")
  var promptTokensPerSecond: String?
  @Option(help: "Seconds that a model takes to load, and exceptions: 0.5,llama3.2=3 (default: 0.5).")
  var loadSeconds: String?
  @Option(help: "Seconds from listening to serving HTTP, as GPU discovery takes (default: 0.1).")
  var discoverySeconds: String?
  @Option(help: "Seconds that a pull takes (default: 0.5).") var pullSeconds: String?
  @Option(help: "Changes the made-up words (default: 1).") var seed: String?
  @Option(help: "Folder of simulated GPUs, see `ollama-simulator gpus --help`.") var gpus: String?
  @Option(help: "Faults, see above.") var fault: String?
  @Option(help: "File with faults, see above.") var faults: String?

  func run() async throws {
    let given = [
      "HOST": host, "MODELS": models, "TOKENS": tokens, "TOKENS_PER_SECOND": tokensPerSecond, "SLOWDOWN": slowdown,
      "FIRST_TOKEN_SECONDS": firstTokenSeconds, "PROMPT_TOKENS_PER_SECOND": promptTokensPerSecond,
      "LOAD_SECONDS": loadSeconds, "DISCOVERY_SECONDS": discoverySeconds, "PULL_SECONDS": pullSeconds, "SEED": seed,
      "GPUS": gpus, "FAULT": fault, "FAULTS": faults,
    ].compactMapValues { $0 }
    do throws(SimulatorError) {
      let settings = try Settings(environment: Environment.current, options: given)
      try await Service.run(settings)
    } catch {
      // As Ollama: one line, and status 1.
      Log.plain("Error: \(error.message)")
      Glibc.exit(1)
    }
  }
}
