import ArgumentParser
import ControlInterface
import Glibc
import PoolCore
import Varlink

struct Queue: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Look into the queue, move a request in it, or take one out of it.",
    discussion: "For example: ollama-pool queue list",
    subcommands: [List.self, Priority.self, Cancel.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the requests that wait and those that are being served.",
      discussion: """
        In order of arrival, at most the \(DispatcherCalls.ListRequestsReply.most) oldest. PLACE is how many must go \
        before it starts, plus 1, ETA how long that takes as expected, and P90 in nine of ten cases at most; a request \
        that is being served has an instance instead. One that is suspended keeps its place until its client is back. \
        USER is the name of an API key, or the user whom a trusted proxy names; whoever is neither is known by the \
        address alone, under CLIENT. X-REQUEST-ID is what the client of a question of the chat's knows it by.

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
        .number("ID"), .number("PLACE"), "INSTANCE", "STATE", .number("AGE"), .number("ETA"), .number("P90"), "MODEL",
        "USER", "CLASS", "CLIENT", "REQUEST", "X-REQUEST-ID",
      ])
      table.rows = requests.map { request in
        [
          Table.Cell("\(request.id)"), Table.Cell(request.position), Table.Cell(request.instance),
          Table.Cell(state(of: request)), Table.Cell(Quantity.duration(seconds: request.ageSeconds)),
          Table.Cell(request.etaSeconds.map(about)), Table.Cell(request.etaP90Seconds.map(about)),
          Table.Cell(request.model), Table.Cell(request.user), Table.Cell(request.class), Table.Cell(request.client),
          Table.Cell("\(request.method) \(request.path)"), Table.Cell(request.requestID),
        ]
      }
      return table
    }

    private static func state(of request: DispatcherTypes.Request) -> String {
      if request.suspended == true { return "suspended" }
      return request.instance == nil ? "waiting" : request.begun ? "answering" : "handed over"
    }

    private static func about(seconds: Double) -> String { "~" + Quantity.duration(seconds: seconds.rounded()) }
  }

  struct Priority: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give a request that waits another priority.",
      discussion: """
        All of a priority are served before those of the next; 0 is the first. Its place there follows from what its \
        user has had. For example: ollama-pool queue priority 1042 0
        """)

    @OptionGroup var control: ControlOptions
    @Argument(help: Queue.requestHelp) var request: String
    @Argument(
      help: "The priority, from \(UserClass.priorities.lowerBound), the first, to \(UserClass.priorities.upperBound).")
    var priority: Int

    func run() async throws {
      guard UserClass.priorities.contains(priority) else {
        throw CommandFailure(
          "\(priority) is no priority: it is from \(UserClass.priorities.lowerBound), the first, to "
            + "\(UserClass.priorities.upperBound)", status: EX_USAGE)
      }
      let dispatcher = try await control.connect(to: .dispatcher)
      let _: NoParameters = try await dispatcher.call(
        .setPriority, DispatcherCalls.SetPriority(DispatcherCalls.RequestReference(request), priority: priority)
      ) { error throws(CommandFailure) in
        switch error.name {
        case ControlError.notWaiting:
          throw CommandFailure(
            "request \(Printable.text(request)) does not wait for a slot: it is being served, or needs none")
        case ControlError.noSuchRequest:
          throw try await Queue.unknown(request, dispatcher)
        default: break
        }
      }
      Output.say("Request \(Printable.text(request)) waits in priority \(priority) now.")
    }
  }

  struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Cancel a request: one that waits leaves the queue, one that is being served is cut.",
      discussion: "Its client gets an error in its own dialect. For example: ollama-pool queue cancel 1042")

    @OptionGroup var control: ControlOptions
    @Argument(help: Queue.requestHelp) var request: String

    func run() async throws {
      let dispatcher = try await control.connect(to: .dispatcher)
      let _: NoParameters = try await dispatcher.call(
        .cancelRequest, DispatcherCalls.CancelRequest(DispatcherCalls.RequestReference(request))
      ) { error throws(CommandFailure) in
        if error.name == ControlError.noSuchRequest { throw try await Queue.unknown(request, dispatcher) }
      }
      Output.say("Request \(Printable.text(request)) is cancelled.")
    }
  }

  private static let requestHelp = ArgumentHelp(
    "The request's ID, as `ollama-pool queue list` shows it, or the X-Request-Id of a question of the chat's.",
    valueName: "id")

  private static func unknown(
    _ request: String, _ dispatcher: ControlClient
  ) async throws(CommandFailure) -> CommandFailure {
    let requests = try await dispatcher.call(
      DispatcherInterface.Method.listRequests, as: DispatcherCalls.ListRequestsReply.self)
    return .unknown("request", Printable.text(request), known: requests.requests.map { "\($0.id)" })
  }
}
