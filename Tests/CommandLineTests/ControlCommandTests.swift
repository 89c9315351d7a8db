import ControlInterface
import Foundation
import Glibc
import TestSupport
import Testing
import Varlink

/// The commands that ask or order something over a control socket.
@Suite struct ControlCommandTests {
  @Test func `queue list shows who waits and who is served, without what clients sent to a terminal`() async throws {
    try await FakePool.run(dispatcher: ["ListRequests": Sample.requests]) { pool in
      let result = try await pool.run("queue", "list")
      #expect(result.end == .exited(0))
      #expect(
        result.output == """
          ID  PLACE  INSTANCE  STATE      AGE   ETA  P90  MODEL     USER  CLASS     CLIENT     REQUEST             X-REQUEST-ID
          41      -  gpu0      answering  31s     -    -  llama3.2  -     -         127.0.0.1  POST /api/chat      -
          42      2  -         waiting    12s  ~35s  ~1m  llama3.2  a b   standard  10.0.0.7   POST /api/chat [2J  -
          43      -  -         suspended   3s     -    -  -         -     -         10.0.0.8   POST /chat/stream   KqM7Zc1xT0a3yV9d2LwE5g

          """)
      let output = try await pool.run("queue").output
      #expect(output == result.output)
      let list = try await pool.run("queue", "--json").jsonList
      #expect(list.map { $0["id"] as? Int } == [41, 42, 43])
    }
  }

  @Test func `an empty queue is said in words`() async throws {
    try await FakePool.run(dispatcher: ["ListRequests": .json(#"{"requests":[]}"#)]) { pool in
      let output = try await pool.run("queue").output
      #expect(output == "No request waits, and none is being served.\n")
    }
  }

  @Test func `a list that is not whole says so`() async throws {
    let request = #"{"id":1,"method":"POST","path":"/api/chat","client":"127.0.0.1","ageSeconds":1,"begun":false}"#
    for (count, isWhole) in [(999, true), (1000, false)] {
      let all = Array(repeating: request, count: count).joined(separator: ",")
      try await FakePool.run(dispatcher: ["ListRequests": .json(#"{"requests":[\#(all)]}"#)]) { pool in
        let output = try await pool.run("queue").output
        #expect(output.contains("These are the oldest; `ollama-pool status` says how many there are.") == !isWhole)
      }
    }
  }

  @Test func `a request is cancelled by its number`() async throws {
    try await FakePool.run(dispatcher: ["CancelRequest": .nothing]) { pool in
      let result = try await pool.run("queue", "cancel", "42")
      #expect(result.output == "Request 42 is cancelled.\n")
      #expect(pool.calls["ollamapool.Dispatcher.CancelRequest"] == ["id": 42])
    }
  }

  @Test func `a question is cancelled and moved by its X-Request-Id`() async throws {
    try await FakePool.run(dispatcher: ["CancelRequest": .nothing, "SetPriority": .nothing]) { pool in
      let cancelled = try await pool.run("queue", "cancel", "KqM7Zc")
      #expect(cancelled.output == "Request KqM7Zc is cancelled.\n")
      #expect(pool.calls["ollamapool.Dispatcher.CancelRequest"] == ["requestID": "KqM7Zc"])
      let moved = try await pool.run("queue", "priority", "KqM7Zc", "0")
      #expect(moved.output == "Request KqM7Zc waits in priority 0 now.\n")
      #expect(pool.calls["ollamapool.Dispatcher.SetPriority"] == ["requestID": "KqM7Zc", "priority": 0])
    }
  }

  @Test func `a request is moved to another priority, if it waits`() async throws {
    try await FakePool.run(dispatcher: ["SetPriority": .nothing]) { pool in
      let result = try await pool.run("queue", "priority", "42", "0")
      #expect(result.output == "Request 42 waits in priority 0 now.\n")
      #expect(pool.calls["ollamapool.Dispatcher.SetPriority"] == ["id": 42, "priority": 0])
    }
    for (error, text) in [
      (ControlError.notWaiting, "request 41 does not wait for a slot: it is being served, or needs none"),
      (ControlError.noSuchRequest, "there is no request 41: there are 41, 42, 43"),
    ] {
      try await FakePool.run(dispatcher: [
        "SetPriority": .error(VarlinkErrorReply(error, ["id": 41])), "ListRequests": Sample.requests,
      ]) { pool in
        let result = try await pool.run("queue", "priority", "41", "0")
        #expect(result.end == .exited(1))
        #expect(result.complaint == "ollama-pool: \(text)")
      }
    }
  }

  @Test func `an unknown request is answered with those there are`() async throws {
    try await FakePool.run(dispatcher: [
      "CancelRequest": .error(VarlinkErrorReply(ControlError.noSuchRequest, ["id": 7])),
      "ListRequests": Sample.requests,
    ]) { pool in
      let result = try await pool.run("queue", "cancel", "7")
      #expect(result.end == .exited(1))
      #expect(result.complaint == "ollama-pool: there is no request 7: there are 41, 42, 43")
    }
  }

  @Test func `gpus lists them with what is known`() async throws {
    try await FakePool.run(supervisor: ["GetStatus": Sample.supervisorStatus]) { pool in
      let result = try await pool.run("gpus")
      #expect(
        result.output == """
          GPU  NAME         STATE     MEMORY     OURS   OTHERS    FREE  LOAD   TEMP  INSTANCES  UUID   REASON
            0  NVIDIA H100  ours      80 GiB  768 MiB  256 MiB  79 GiB  97 %  61 °C  gpu0       GPU-a  -
            1  nvidia       failed         -        -        -       -     -      -  gpu1       GPU-b  GPU is lost: restart
          2.7  nvidia       cordoned       -        -        -       -     -      -  gpu2       GPU-c  fan, for 2h more
            3  nvidia       failed         -        -        -       -     -      -  -          GPU-d  the GPU is lost, over by now, and used again in 8s

          """)
      let list = try await pool.run("gpus", "--json").jsonList
      #expect(list.map { $0["uuid"] as? String } == ["GPU-a", "GPU-b", "GPU-c", "GPU-d"])
    }
  }

  @Test func `gpus watched prints them again and again, and ends quietly with its reader`() async throws {
    try await FakePool.run(supervisor: ["GetStatus": Sample.supervisorStatus]) { pool in
      var variables = CommandLine.isolation
      variables["OLLAMA_POOL_SOCKET"] = pool.folder.path
      let (output, errorOutput, end) = try await run(
        "bash", ["-c", "set -o pipefail; \(CommandLine.program) gpus --watch --json | head -n 2"],
        environment: variables)
      #expect(end == .exited(0) && errorOutput.isEmpty)
      #expect(output.split(separator: "\n").count { $0.contains("GPU-a") } == 2)
    }
  }

  @Test func `explain shows the decisions with their reasons`() async throws {
    let decisions = """
      {"decisions":[{"secondsAgo":75,"what":"target 2 (was 1)","why":"the requests of now need 2; 1 ready, 2 requests"}]}
      """
    try await FakePool.run(supervisor: ["Explain": .json(decisions)]) { pool in
      let result = try await pool.run("explain")
      #expect(
        result.output == """
             AGO  DECISION          BECAUSE
          1m 15s  target 2 (was 1)  the requests of now need 2; 1 ready, 2 requests

          """)
      let list = try await pool.run("explain", "--json").jsonList
      #expect(list.map { $0["what"] as? String } == ["target 2 (was 1)"])
    }
  }

  @Test(
    arguments: [
      (["scale", "--min", "2", "--for", "2h"], "SetScale", ["min": 2, "forSeconds": 7200], "at least 2, for 2h"),
      (["scale", "--min", "1", "--max", "3"], "SetScale", ["min": 1, "max": 3], "at least 1 and at most 3, until"),
      (["scale", "--fixed", "0"], "SetScale", ["fixed": 0], "exactly 0, until `ollama-pool scale reset`"),
      (["scale", "reset"], "SetScale", [:], "as configured"),
      (["drain", "gpu1"], "DrainInstance", ["id": "gpu1"], "ollama-pool uncordon gpu1"),
      (
        ["drain", "gpu1", "--timeout", "90s"], "DrainInstance", ["id": "gpu1", "timeoutSeconds": 90],
        "90s at the latest"
      ),
      (["restart", "gpu1"], "RestartInstance", ["id": "gpu1"], "gpu1 restarts"),
      (["cordon", "gpu1", "--reason", "fan"], "CordonGPU", ["gpu": "gpu1", "reason": "fan"], "uncordon gpu1"),
      (
        ["cordon", "gpu1", "--for", "8h", "--reason", "training"], "CordonGPU",
        ["gpu": "gpu1", "reason": "training", "forSeconds": 28_800], "on gpu1 for 8h"
      ),
      (["cordon", "GPU-a"], "CordonGPU", ["gpu": "GPU-a", "reason": ""], "Nothing more is started on GPU-a"),
      (["uncordon", "gpu1"], "UncordonGPU", ["gpu": "gpu1"], "may start on gpu1 again"),
    ] as [([String], String, JSONValue, String)])
  func `an order reaches the supervisor as it was given`(
    arguments: [String], method: String, parameters: JSONValue, said: String
  ) async throws {
    try await FakePool.run(supervisor: [method: .nothing, "GetStatus": Sample.supervisorStatus]) { pool in
      let result = try await CommandLine.run(arguments, socket: pool.folder.path)
      #expect(result.end == .exited(0))
      #expect(result.outputLines.count == 1)
      #expect(result.output.contains(said))
      #expect(pool.calls["ollamapool.Supervisor.\(method)"] == parameters)
    }
  }

  @Test func `a minimum beyond the placements is taken, and what that means is said`() async throws {
    try await FakePool.run(supervisor: ["SetScale": .nothing, "GetStatus": Sample.supervisorStatus]) { pool in
      let result = try await pool.run("scale", "--fixed", "9")
      #expect(result.end == .exited(0))
      #expect(result.outputLines.last == "So many can't run at present: there are placements for 3.")
    }
  }

  @Test func `an unknown instance or GPU is answered with those there are`() async throws {
    try await FakePool.run(supervisor: [
      "GetStatus": Sample.supervisorStatus,
      "DrainInstance": .error(VarlinkErrorReply(ControlError.noSuchInstance, ["id": "gpu9"])),
      "CordonGPU": .error(VarlinkErrorReply(ControlError.noSuchGPU, ["gpu": "gpu9"])),
    ]) { pool in
      let drain = try await pool.run("drain", "gpu9")
      #expect(drain.end == .exited(1))
      #expect(drain.complaint == "ollama-pool: there is no instance gpu9: there are gpu0, gpu1, gpu2")
      let cordon = try await pool.run("cordon", "gpu9")
      #expect(cordon.end == .exited(1))
      #expect(
        cordon.complaint == "ollama-pool: there is no GPU gpu9: there are GPU-a, gpu0, GPU-b, gpu1, GPU-c, gpu2, GPU-d")
    }
  }

  @Test func `what the supervisor refuses is said in its words`() async throws {
    let error = VarlinkErrorReply(ControlError.invalidScale, ["reason": "min 5 is more than max 4"])
    try await FakePool.run(supervisor: ["SetScale": .error(error)]) { pool in
      let result = try await pool.run("scale", "--min", "5")
      #expect(result.end == .exited(1))
      #expect(result.complaint == "ollama-pool: the scale was not changed: min 5 is more than max 4")
    }
  }

  @Test(arguments: [
    (
      ["cordon", "gpu3", "--reason", String(repeating: "x", count: 257)],
      "--reason has 257 bytes, and 256 is the most: say it in fewer words"
    ),
    (
      ["cordon", "gpu3", "--reason", "two\nlines"],
      "--reason has a line break or another control character: give one line of text"
    ),
    (["cordon", "gpu3", "--for", "721h"], "--for 721h is too long: give at most 720h"),
    (["drain", "gpu2", "--timeout", "744h"], "--timeout 744h is too long: give at most 720h"),
    (["restart", "gpu2", "--timeout", "721h"], "--timeout 721h is too long: give at most 720h"),
  ])
  func `an order beyond its bounds says which, and what would do`(arguments: [String], said: String) async throws {
    try await FakePool.run(supervisor: [:]) { pool in
      let result = try await CommandLine.run(arguments, socket: pool.folder.path)
      #expect(result.end == .exited(EX_USAGE))
      #expect(result.complaint.hasPrefix("ollama-pool: \(said)"), "\(result.complaint)")
      #expect(pool.calls.isEmpty)
    }
  }

  @Test func `the longest reason and time there may be go to the supervisor`() async throws {
    try await FakePool.run(supervisor: ["CordonGPU": .nothing, "DrainInstance": .nothing]) { pool in
      let reason = String(repeating: "x", count: 256)
      let cordon = try await pool.run("cordon", "gpu3", "--reason", reason)
      let drain = try await pool.run("drain", "gpu3", "--timeout", "720h")
      #expect(cordon.end == .exited(0) && drain.end == .exited(0))
    }
  }

  @Test func `a parameter that the supervisor refuses all the same is named, and nobody is called a stranger`()
    async throws
  {
    try await FakePool.run(supervisor: ["CordonGPU": .error(.invalidParameter("reason"))]) { pool in
      let result = try await pool.run("cordon", "gpu3", "--reason", "fan")
      #expect(result.end == .exited(1))
      #expect(result.complaint.contains("the supervisor does not take the reason that this order has: see"))
      #expect(!result.complaint.contains("does not understand"))
    }
  }

  @Test func `a restart of what could not be started again is refused in one line`() async throws {
    let error = VarlinkErrorReply(ControlError.cannotStart, ["id": "gpu1", "reason": "it is cordoned (hot)"])
    try await FakePool.run(supervisor: ["RestartInstance": .error(error)]) { pool in
      let result = try await pool.run("restart", "gpu1")
      #expect(result.end == .exited(1))
      #expect(
        result.complaint
          == "ollama-pool: gpu1 is not restarted, for it could not be started again: it is cordoned (hot): see "
          + "`ollama-pool gpus`, and take a cordon back with `ollama-pool uncordon gpu1`")
    }
  }

  @Test func `who may not change the pool is told who may`() async throws {
    try await FakePool.run(supervisor: ["DrainInstance": .error(.permissionDenied)]) { pool in
      let result = try await pool.run("drain", "gpu0")
      #expect(result.end == .exited(1))
      #expect(result.complaint.contains("may look at the pool and not change it: be root (sudo)"))
    }
  }

  @Test func `who may not use the socket is told which group to join`() async throws {
    try await FakePool.run(supervisor: ["Explain": .nothing]) { pool in
      chmod(pool.folder.path, 0o755)
      chmod(pool.folder.path(to: "supervisor.sock"), 0o000)
      // A mode stops anyone but root.
      let asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
      let command = (geteuid() == 0 ? asNobody : ["env"]) + [CommandLine.program, "explain"]
      var variables = CommandLine.isolation
      variables["OLLAMA_POOL_SOCKET"] = pool.folder.path
      let (_, errorOutput, end) = try await run(command[0], Array(command.dropFirst()), environment: variables)
      #expect(end == .exited(1))
      #expect(
        errorOutput.contains("no right to use \(pool.folder.path)/supervisor.sock: be root (sudo), or in the group"))
    }
  }

  @Test(arguments: [
    ["queue"], ["queue", "cancel", "1"], ["gpus"], ["explain"], ["scale", "--min", "1"], ["scale", "reset"],
    ["drain", "gpu0"], ["restart", "gpu0"], ["cordon", "gpu0"], ["uncordon", "gpu0"],
  ])
  func `without the daemon every command says which socket and how to start it`(arguments: [String]) async throws {
    let folder = try TemporaryDirectory()
    let result = try await CommandLine.run(arguments + ["--socket", folder.path])
    #expect(result.end == .exited(1))
    #expect(result.output.isEmpty)
    #expect(result.complaint.contains("is not running (nobody answers at \(folder.path)/"))
    #expect(result.complaint.contains("systemctl start ollama-pool.target"))
  }

  @Test func `the wrong daemon at a socket is noticed`() async throws {
    try await FakePool.run(dispatcher: [:]) { pool in
      try FileManager.default.createSymbolicLink(
        atPath: pool.folder.path(to: "other"), withDestinationPath: pool.folder.path(to: "dispatcher.sock"))
      let result = try await pool.run("explain", "--socket", pool.folder.path(to: "other"))
      #expect(result.end == .exited(1))
      #expect(result.complaint.contains("does not understand this command"))
    }
  }
}
