import ArgumentParser
import ControlInterface
import Varlink

struct Queue: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Look into the queue, or take a request out of it.", discussion: "For example: ollama-pool queue list",
    subcommands: [List.self, Cancel.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the requests that wait and those that are being served.",
      discussion: """
        In order of arrival, at most the \(DispatcherCalls.ListRequestsReply.most) oldest. PLACE is how many must go \
        before it starts, plus 1, and ETA how long that takes as expected; a request that is being served has an \
        instance instead.

        For example, for a program: ollama-pool queue list --json
        """)

    @OptionGroup var control: ControlOptions
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
      let dispatcher = try await control.connect(to: .dispatcher)
      let requests = try await dispatcher.call(
        DispatcherInterface.Method.listRequests, as: DispatcherCalls.ListRequestsReply.self)
      if json { return try Output.say(json: requests.requests) }
      if requests.requests.isEmpty { return Output.say("No request waits, and none is being served.") }
      Output.say(Self.table(requests.requests).text(on: .current))
      if requests.requests.count >= DispatcherCalls.ListRequestsReply.most {
        Output.say("These are the oldest; `ollama-pool status` says how many there are.")
      }
    }

    static func table(_ requests: [DispatcherTypes.Request]) -> Table {
      var table = Table([
        .number("ID"), .number("PLACE"), "INSTANCE", "STATE", .number("AGE"), .number("ETA"), "MODEL", "CLIENT",
        "REQUEST",
      ])
      table.rows = requests.map { request in
        let state = request.instance == nil ? "waiting" : request.begun ? "answering" : "handed over"
        return [
          Table.Cell("\(request.id)"), Table.Cell(request.position), Table.Cell(request.instance), Table.Cell(state),
          Table.Cell(Quantity.duration(seconds: request.ageSeconds)),
          Table.Cell(request.etaSeconds.map { "~" + Quantity.duration(seconds: $0.rounded()) }),
          Table.Cell(request.model), Table.Cell(request.client), Table.Cell("\(request.method) \(request.path)"),
        ]
      }
      return table
    }
  }

  struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Cancel a request: one that waits leaves the queue, one that is being served is cut.",
      discussion: "Its client gets an error in its own dialect. For example: ollama-pool queue cancel 1042")

    @OptionGroup var control: ControlOptions
    @Argument(help: "The request's ID, as `ollama-pool queue list` shows it.") var id: UInt64

    func run() async throws {
      let dispatcher = try await control.connect(to: .dispatcher)
      let _: NoParameters = try await dispatcher.call(
        .cancelRequest, DispatcherCalls.CancelRequest(id: id)
      ) { error throws(CommandFailure) in
        guard error.name == ControlError.noSuchRequest else { return }
        let requests = try await dispatcher.call(
          DispatcherInterface.Method.listRequests, as: DispatcherCalls.ListRequestsReply.self)
        throw .unknown("request", "\(id)", known: requests.requests.map { "\($0.id)" })
      }
      Output.say("Request \(id) is cancelled.")
    }
  }
}
