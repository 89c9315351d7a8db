import ArgumentParser
import ControlInterface
import Glibc
import Varlink

struct Keys: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make, list and revoke API keys, which say who somebody is.",
    discussion: """
      As long as there is no key and no trusted proxy, everyone on this machine is administrator. The first key ends \
      that: from then on whoever shows none is refused, unless the configuration says access.anonymous: allow.

      For example: ollama-pool keys list
      """,
    subcommands: [Add.self, List.self, Revoke.self], defaultSubcommand: List.self)

  struct Add: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make an API key, in force at once.",
      discussion: """
        The key alone goes to standard output, once: only its hash is kept. Clients send it as `Authorization: Bearer \
        KEY` or `X-Api-Key: KEY`, OpenAI's and Anthropic's libraries take it as api_key, and the chat page signs in \
        with it.

        For example: (umask 077; ollama-pool keys add web-shop --class free > web-shop.key)
        """)

    @OptionGroup var control: ControlOptions
    @Argument(
      help: ArgumentHelp(
        "What to call it, and whoever comes in by it: \(DispatcherCalls.AddKey.nameRule).", valueName: "name"))
    var name: String
    @Option(
      name: .customLong("class"),
      help: ArgumentHelp(
        "One of the classes in the configuration; without it access.default_class.", valueName: "class"))
    var className: String?
    @Flag(help: "May pull and delete models, and see and end others' requests.") var administrator = false
    @Option(
      help: ArgumentHelp("Requests in any sixty minutes, in place of the limit of its class.", valueName: "n"))
    var requestsPerHour: Int?
    @Option(help: ArgumentHelp("Tokens in any sixty minutes, likewise.", valueName: "n")) var tokensPerHour: Int?
    @Option(help: ArgumentHelp("Open requests at once, likewise.", valueName: "n")) var concurrent: Int?
    @Option(help: ArgumentHelp("Waiting requests at once, likewise.", valueName: "n")) var waiting: Int?
    @Flag(help: "Print JSON: the key with its id and its name.") var json = false

    private func checkUsage() throws(CommandFailure) {
      guard DispatcherCalls.AddKey.isName(name) else {
        throw CommandFailure(
          "\(ShellText.quoted(Printable.text(name))) can't be a key's name: take \(DispatcherCalls.AddKey.nameRule)",
          status: EX_USAGE)
      }
      let limits = [
        ("--requests-per-hour", requestsPerHour), ("--tokens-per-hour", tokensPerHour), ("--concurrent", concurrent),
        ("--waiting", waiting),
      ]
      let bounds = DispatcherCalls.AddKey.limits
      for (option, limit) in limits where limit.map({ !bounds.contains($0) }) ?? false {
        throw CommandFailure(
          "\(option) is a number from \(bounds.lowerBound) to \(bounds.upperBound); to let a key in no more: "
            + "ollama-pool keys revoke", status: EX_USAGE)
      }
    }

    private struct Made: Encodable {
      var id: String
      var name: String
      var key: String
    }

    func run() async throws {
      try checkUsage()
      let dispatcher = try await control.connect(to: .dispatcher)
      let order = DispatcherCalls.AddKey(
        name: name, role: administrator ? .administrator : .user, className: className,
        requestsPerHour: requestsPerHour, tokensPerHour: tokensPerHour, concurrent: concurrent, waiting: waiting)
      let made = try await dispatcher.call(.addKey, order, as: DispatcherCalls.AddKeyReply.self) {
        error throws(CommandFailure) in try explain(error)
      }
      if json { return try Output.say(json: Made(id: made.id, name: name, key: made.key)) }
      // Before anything else can fail: it can't be had again.
      Output.say(made.key)
      let keys = try await dispatcher.call(DispatcherInterface.Method.listKeys, as: DispatcherCalls.ListKeysReply.self)
        .keys
      Output.complain(Self.advice(keys.first { $0.id == made.id }, isFirst: keys.count == 1))
    }

    private func explain(_ error: VarlinkErrorReply) throws(CommandFailure) {
      switch error.name {
      case ControlError.unknownClass:
        let known = error.parameters["known"]?.strings ?? []
        throw .unknown("class", error.parameters["class"]?.string ?? "", known: known)
      case ControlError.keyNameTaken:
        throw CommandFailure(
          "there is a key \(name) already",
          remedy: "take another name, or revoke that one first: ollama-pool keys revoke \(name)")
      case ControlError.tooManyKeys:
        throw CommandFailure(
          "there are as many keys as may be, \(DispatcherCalls.AddKey.mostKeys)",
          remedy: "revoke some (`ollama-pool keys list`)")
      case ControlError.keyNotStored: throw .notStored(error)
      default: break
      }
    }

    static func advice(_ key: DispatcherTypes.Key?, isFirst: Bool) -> String {
      let facts = key.map { " \($0.name) (\($0.role == .administrator ? "administrator" : "user"), class \($0.class))" }
      return """
        That is the key\(facts ?? ""), in force from now on. It can't be shown again: keep it where others can't read it.
        Clients send it as `Authorization: Bearer KEY`; OpenAI's and Anthropic's libraries take it as api_key.
        """ + (isFirst ? firstKey : "")
    }

    private static let firstKey = """

      It is the first one. Whoever shows no key is refused from now on, also on this machine, unless the configuration \
      says otherwise (access.anonymous, access.trusted_proxies). Pulling and deleting models takes a key that was made \
      with --administrator.
      """
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the API keys in use, without the keys themselves.",
      discussion: """
        Class and limits are those in force, the key's own or those of its class; - is no limit.

        For example, for a program: ollama-pool keys list --json
        """)

    @OptionGroup var control: ControlOptions
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
      let dispatcher = try await control.connect(to: .dispatcher)
      let keys = try await dispatcher.call(DispatcherInterface.Method.listKeys, as: DispatcherCalls.ListKeysReply.self)
        .keys
      if json { return try Output.say(json: keys) }
      if keys.isEmpty { return Output.say("There is no API key: `ollama-pool keys add NAME` makes one.") }
      Output.say(Self.table(keys).text(on: .current))
    }

    static func table(_ keys: [DispatcherTypes.Key]) -> Table {
      var table = Table([
        "NAME", "ROLE", "CLASS", .number("REQUESTS/H"), .number("TOKENS/H"), .number("CONCURRENT"), .number("WAITING"),
        .number("AGE"), "ID",
      ])
      table.rows = keys.map { key in
        [
          Table.Cell(key.name), Table.Cell(key.role.rawValue), Table.Cell(key.class), Table.Cell(key.requestsPerHour),
          Table.Cell(key.tokensPerHour), Table.Cell(key.concurrent), Table.Cell(key.waiting),
          Table.Cell(Quantity.duration(seconds: key.createdSecondsAgo)), Table.Cell(key.id),
        ]
      }
      return table
    }
  }

  struct Revoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End the use of an API key at once.",
      discussion: """
        Whoever signed in with it is signed out; what it has asked already is answered. For example: ollama-pool keys \
        revoke web-shop
        """)

    @OptionGroup var control: ControlOptions
    @Argument(help: "The key's name or its ID, as `ollama-pool keys list` shows them.") var key: String

    func run() async throws {
      let dispatcher = try await control.connect(to: .dispatcher)
      func keys() async throws(CommandFailure) -> [DispatcherTypes.Key] {
        try await dispatcher.call(DispatcherInterface.Method.listKeys, as: DispatcherCalls.ListKeysReply.self).keys
      }
      let revoked = try await dispatcher.call(
        .revokeKey, DispatcherCalls.RevokeKey(key: key), as: DispatcherCalls.RevokeKeyReply.self
      ) { error throws(CommandFailure) in
        switch error.name {
        case ControlError.noSuchKey: throw .unknown("API key", key, known: try await keys().map(\.name))
        case ControlError.keyNotStored: throw .notStored(error)
        default: break
        }
      }
      Output.say("The API key \(revoked.name) is revoked.")
      guard try await keys().isEmpty else { return }
      Output.say(
        "It was the last one. Unless a proxy is trusted or the configuration says otherwise, everyone on this machine is "
          + "administrator again.")
    }
  }
}

extension CommandFailure {
  fileprivate static func notStored(_ error: VarlinkErrorReply) -> CommandFailure {
    CommandFailure("nothing has changed: \(Printable.text(error.parameters["reason"]?.string ?? "it can't be stored"))")
  }
}
