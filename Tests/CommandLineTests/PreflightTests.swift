import Glibc
import PoolConfiguration
import Systemd
import TestSupport
import Testing

@testable import Dispatcher
@testable import ollama_pool

@Suite struct PreflightTests {
  @Test func `a free port is no obstacle`() async throws {
    let result = try await CommandLine.run(["preflight", "127.0.0.1:\(try freePort())"])
    #expect(result.end == .exited(0))
    #expect(result.output.isEmpty && result.errorOutput.isEmpty)
  }

  @Test func `a port that is held is refused with its holder and the remedy`() async throws {
    let port = try freePort()
    let holder = try RunningProgram("python3", ["-m", "http.server", "\(port)", "--bind", "127.0.0.1"])
    try await eventually("the port is held") { try await HTTPProbe.exchange("GET", "/", port: port).status == 200 }
    let folder = try TemporaryDirectory()
    let file = try folder.write("listen: [\(port)]\n", to: "pool.yaml")
    for arguments in [["127.0.0.1:\(port)"], ["--config", file]] {
      let result = try await CommandLine.run(["preflight"] + arguments)
      #expect(result.end == .exited(1))
      #expect(result.complaint.contains("127.0.0.1:\(port) is held by python3 (process \(holder.processID)"))
      #expect(result.complaint.contains("or give the pool another address"))
    }
    let everywhere = try await CommandLine.run(["preflight", "0.0.0.0:\(port)"])
    #expect(everywhere.end == .exited(1))
    holder.killTree()
  }

  @Test func `what is no address is said to be none`() async throws {
    let result = try await CommandLine.run(["preflight", "somewhere"])
    #expect(result.end == .exited(1))
    #expect(result.complaint.contains("somewhere is no address"))
  }

  @Test func `the addresses of a socket unit are read as systemctl prints them`() {
    let text =
      "127.0.0.1:11434 (Stream)\n[::1]:11434 (Stream)\n/run/ollama-pool/x.sock (Stream)\n0.0.0.0:53 (Datagram)\n"
    #expect(Preflight.addresses(listed: text).map(\.description) == ["127.0.0.1:11434", "[::1]:11434"])
    #expect(Preflight.addresses(listed: "").isEmpty)
  }

  @Test(
    arguments: [
      ("ollama.service", 812, "systemctl disable --now ollama.service"),
      ("nginx.service", 9, "systemctl stop nginx.service"),
      (nil, 1, "systemctl list-sockets"), (nil, 812, "kill 812"), (nil, nil, "ss -tlnp"),
    ] as [(String?, Int32?, String)])
  func `the remedy is that for the holder`(unit: String?, processID: Int32?, remedy: String) {
    let holder = PortHolder(userID: 0, processID: processID, name: "x", owner: unit.map { .service($0) })
    #expect(PortHolder.remedy(against: holder).contains(remedy))
  }
}
