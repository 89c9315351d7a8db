import Foundation
import TestSupport
import Testing

@Suite struct StatusTests {
  private static let both = (
    dispatcher: ["GetStatus": Sample.dispatcherStatus], supervisor: ["GetStatus": Sample.supervisorStatus]
  )

  @Test func `the table shows what both daemons know`() async throws {
    try await FakePool.run(dispatcher: Self.both.dispatcher, supervisor: Self.both.supervisor) { pool in
      let result = try await pool.run("status")
      #expect(result.end == .exited(0))
      #expect(result.errorOutput.isEmpty)
      #expect(
        result.output == """
          Pool      degraded: 1 instance ready, 1 backing off, 1 starting
          Queue     3 waiting, the oldest for 12s; 1 in flight of at most 1 at once; 7 more in front ends (web 7)
          Scale     2 instances wanted (1 to 4): the requests of now need 2
          Endpoint  http://127.0.0.1:11434, metrics at http://127.0.0.1:11435/metrics
          Models    /srv/models (by models_path), owned by ollama; written by gpu0 alone
          Reloads   llama3.2:3b, 7 times for the client at 10.0.0.7, last on gpu0 12s ago: num_ctx 8192 → 4096
                    old:latest, 1 time for the client at 10.0.0.9, last on gpu0 2h ago: num_gpu default → 20
                    → one num_ctx for all requests ends it; in the configuration: models: {'llama3.2:3b': {num_ctx: 8192}}
                    → clients of a model that send the same num_gpu, or none, end it

          INSTANCE  STATE        GPU  URL                     UNIT                           PID  SLOTS  ACTIVE     AGE  REASON
          gpu0      ready        0    http://127.0.0.1:11500  ollama-instance-gpu0.service  4711      1       1  1m 30s  -
          gpu1      starting     1    http://127.0.0.1:11501  ollama-instance-gpu1.service  4712      1       0      1s  -
          gpu2      backing off  2.7  -                       -                                -      1       0       -  exit status 1; next start in 4s

          """)
    }
  }

  @Test func `JSON has every key that programs rely on`() async throws {
    try await FakePool.run(dispatcher: Self.both.dispatcher, supervisor: Self.both.supervisor) { pool in
      let status = try await pool.run("status", "--json").json
      #expect(status["maxConcurrent"] as? Int == 1)
      #expect(status["queueDepth"] as? Int == 3)
      #expect(status["oldestWaitSeconds"] as? Double == 12.5)
      #expect(status["inFlight"] as? Int == 1)
      #expect(status["desired"] as? Int == 2)
      let store = try #require(status["store"] as? [String: Any])
      #expect(store["path"] as? String == "/srv/models" && store["writer"] as? String == "gpu0")
      #expect(store["refusal"] is NSNull)
      let reloads = try #require(status["reloads"] as? [[String: Any]])
      #expect(reloads.map { $0["client"] as? String } == ["10.0.0.9", "10.0.0.7"])
      #expect(reloads[1]["count"] as? Int == 7 && reloads[1]["differing"] as? [String] == ["num_ctx"])
      #expect(status["health"] as? String == "degraded")
      let instances = try #require(status["instances"] as? [[String: Any]])
      #expect(instances.map { $0["id"] as? String } == ["gpu0", "gpu1", "gpu2"])
      #expect(instances[0]["state"] as? String == "ready")
      #expect(instances[0]["gpus"] as? [String] == ["GPU-a"])
      #expect(instances[0]["url"] as? String == "http://127.0.0.1:11500")
      #expect(instances[0]["unit"] as? String == "ollama-instance-gpu0.service")
      #expect(instances[0]["mainPID"] as? Int == 4711)
      #expect(instances[0]["slots"] as? Int == 1)
      #expect(instances[0]["active"] as? Int == 1)
      #expect(instances[2]["mainPID"] is NSNull)
      #expect(instances[2]["unit"] is NSNull)
    }
  }

  @Test func `without the supervisor it shows the dispatcher's half, names the missing one, and fails`() async throws {
    try await FakePool.run(dispatcher: Self.both.dispatcher) { pool in
      let text = try await pool.run("status")
      #expect(text.end == .exited(1))
      #expect(text.output.contains("Queue     3 waiting"))
      #expect(text.output.contains("gpu0      ready"))
      #expect(text.complaint.hasPrefix("ollama-pool: the supervisor is not running (nobody answers at "))
      #expect(text.complaint.contains("systemctl start ollama-pool.target"))

      let json = try await pool.run("status", "--json")
      #expect(json.end == .exited(1))
      #expect(json.json["maxConcurrent"] as? Int == 1)
      #expect(json.json["desired"] is NSNull && json.json["store"] is NSNull)
      #expect((json.json["supervisor"] as? [String: Any])?["running"] as? Bool == false)
      #expect((json.json["instances"] as? [[String: Any]])?.count == 2)
    }
  }

  @Test func `without the dispatcher it shows the supervisor's half, names the missing one, and fails`() async throws {
    try await FakePool.run(supervisor: Self.both.supervisor) { pool in
      let result = try await pool.run("status")
      #expect(result.end == .exited(1))
      #expect(result.output.contains("Scale     2 instances wanted"))
      #expect(!result.output.contains("Queue"))
      #expect(result.complaint.hasPrefix("ollama-pool: the dispatcher is not running"))
      let json = try await pool.run("status", "--json").json
      #expect(json["queueDepth"] is NSNull && json["reloads"] is NSNull)
      #expect(json["desired"] as? Int == 2)
    }
  }

  @Test func `without both there is one line that says how to start the pool`() async throws {
    try await FakePool.run { pool in
      for arguments in [["status"], ["status", "--json"]] {
        let result = try await CommandLine.run(arguments, socket: pool.folder.path)
        #expect(result.end == .exited(1))
        #expect(result.output.isEmpty)
        #expect(result.complaint.contains("ollama-pool serve"))
      }
    }
  }

  @Test func `a supervisor that has lost the dispatcher is a problem that is shown`() async throws {
    let supervisor = Sample.supervisorStatus(problems: #"["GPU-c: fell off the bus"]"#, dispatcherConnected: false)
    try await FakePool.run(dispatcher: Self.both.dispatcher, supervisor: ["GetStatus": supervisor]) { pool in
      let result = try await pool.run("status")
      #expect(result.end == .exited(0))
      #expect(result.output.contains("Problem   GPU-c: fell off the bus\n"))
      #expect(result.output.contains("Problem   the supervisor has no connection to the dispatcher"))
    }
  }

  @Test(arguments: [
    (#""writer":"gpu0","refusal":"it is not the pool's: chown it""#, "never written: it is not the pool's: chown it"),
    (#""mode":"755""#, "written by nobody while no instance serves"),
  ])
  func `who may write the model store is said`(fields: String, text: String) async throws {
    let supervisor = FakePool.Answer.json(
      """
      {"status":{"version":"0.1.0","processID":702,"startedSecondsAgo":1,"launcher":"units","ollama":"",
       "inventory":"cpu","problems":[],"dispatcherConnected":true,"desired":0,"desiredReason":"","minimum":0,"maximum":1,
       "isOverridden":false,"coldStartSeconds":20,"gpus":[],"instances":[],
       "store":{"path":"/srv/models","source":"models_path","owner":"ollama",\(fields)}}}
      """)
    try await FakePool.run(dispatcher: Self.both.dispatcher, supervisor: ["GetStatus": supervisor]) { pool in
      let result = try await pool.run("status")
      #expect(result.output.contains("Models    /srv/models (by models_path), owned by ollama; \(text)\n"))
    }
  }

  @Test func `what a start takes is said, in its parts`() async throws {
    let supervisor = FakePool.Answer.json(
      """
      {"status":{"version":"0.1.0","processID":702,"startedSecondsAgo":1,"launcher":"units","ollama":"",
       "inventory":"cpu","problems":[],"dispatcherConnected":true,"desired":0,"desiredReason":"","minimum":0,"maximum":1,
       "isOverridden":false,"coldStartSeconds":20,"gpus":[],"instances":[],"startTimes":[
        {"instance":"gpu0","count":3,"totalSeconds":21.5,"startSeconds":0.04,"discoverySeconds":1.5,
         "loads":[{"model":"llama3:latest","seconds":19.9}]},
        {"instance":"gpu1","count":1,"totalSeconds":44,"startSeconds":0.1,"loads":[]}],
       "readModels":[
        {"model":"llama3:latest","sizeBytes":4294967296,"readBytes":2147483648,"seconds":2},
        {"model":"in-memory","sizeBytes":5,"readBytes":0,"seconds":0},
        {"model":"huge","sizeBytes":9,"readBytes":0,"seconds":0,"problem":"too large"}]}}
      """)
    try await FakePool.run(dispatcher: Self.both.dispatcher, supervisor: ["GetStatus": supervisor]) { pool in
      let result = try await pool.run("status")
      #expect(
        result.output.contains(
          "Starts    gpu0 in 21s: 0s until it runs, 1.5s until it answers, 19s for llama3:latest; gpu1 44s\n"))
      #expect(result.output.contains("Read      llama3:latest ahead, 2 GiB at 1 GiB/s; huge not: too large\n"))
      let status = try await pool.run("status", "--json").json
      let times = try #require(status["startTimes"] as? [[String: Any]])
      #expect(times.map { $0["instance"] as? String } == ["gpu0", "gpu1"])
    }
  }

  @Test(arguments: [
    ("absent", 0, "asleep"), ("backingOff", 0, "asleep"), ("cordoned", 0, "down"), ("quarantined", 0, "down"),
    ("absent", 1, "down"),
  ])
  func `a pool that no request can wake is down`(state: String, minimum: Int, health: String) async throws {
    let dispatcher = FakePool.Answer.json(
      """
      {"version":"0.1.0","processID":701,"startedSecondsAgo":1,"endpoints":[],"queue":{"epoch":"e1","depth":0,
       "inFlight":0,"peakDemand":0,"arrivals":0,"completions":0,"models":[],"frontEnds":[],"maxConcurrent":0,
       "draining":false,"instances":[]}}
      """)
    let supervisor = FakePool.Answer.json(
      """
      {"status":{"version":"0.1.0","processID":702,"startedSecondsAgo":1,"launcher":"units","ollama":"",
       "inventory":"cpu","problems":[],"dispatcherConnected":true,"desired":0,"desiredReason":"",
       "minimum":\(minimum),"maximum":1,"isOverridden":false,"coldStartSeconds":20,"gpus":[],"instances":[
        {"id":"cpu0","state":"\(state)","reason":"","gpus":[],"slots":1,"leases":0,"failures":0}]}}
      """)
    try await FakePool.run(dispatcher: ["GetStatus": dispatcher], supervisor: ["GetStatus": supervisor]) { pool in
      let status = try await pool.run("status", "--json").json
      #expect(status["health"] as? String == health)
    }
  }

  @Test func `watching prints the status again and again, and ends quietly with its reader`() async throws {
    try await FakePool.run(dispatcher: Self.both.dispatcher, supervisor: Self.both.supervisor) { pool in
      var variables = CommandLine.isolation
      variables["OLLAMA_POOL_SOCKET"] = pool.folder.path
      let (output, errorOutput, end) = try await run(
        "bash", ["-c", "set -o pipefail; \(CommandLine.program) status --watch --json | head -n 2"],
        environment: variables)
      #expect(end == .exited(0))
      #expect(errorOutput.isEmpty)
      #expect(output.split(separator: "\n").count == 2)
    }
  }

  @Test func `a daemon of another version gets one line too`() async throws {
    try await FakePool.run(
      dispatcher: Self.both.dispatcher, supervisor: ["GetStatus": .json(#"{"status":{"version":"9"}}"#)]
    ) { pool in
      let result = try await pool.run("status")
      #expect(result.end == .exited(1))
      #expect(result.complaint.contains("speaks another version"))
    }
  }
}
