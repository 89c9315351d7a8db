import ControlInterface
import Glibc
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

@Suite(.timeLimit(.minutes(1)))
struct RightsTests {
  private static let nobody: uid_t = 65_534

  @Test(arguments: [
    (user: 0, own: 990, instances: 991, may: true),
    (user: 990, own: 990, instances: 991, may: true),
    (user: 991, own: 990, instances: 991, may: false),
    (user: 1000, own: 990, instances: 991, may: false),
    (user: 990, own: 990, instances: 990, may: false),
    (user: 0, own: 0, instances: 0, may: true),
  ])
  func rootAndTheDispatchersOwnUserMayChangeThingsTheInstancesUserNever(
    _ row: (user: uid_t, own: uid_t, instances: uid_t, may: Bool)
  ) {
    let rights = ControlRights(ownUserID: row.own, instanceUserID: row.instances)
    #expect(rights.mayChange(VarlinkPeer(userID: row.user, groupID: 0, processID: 1)) == row.may)
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, to become another user"))
  func aPeerWithoutTheRightMayReadAndReportAndNothingElse() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let folder = String(rig.socket.prefix(upTo: try #require(rig.socket.lastIndex(of: "/"))))
      #expect(chmod(folder, 0o755) == 0 && chmod(rig.socket, 0o666) == 0)

      for method in DispatcherInterface.Method.allCases {
        let answer = try await callAsNobody(rig, method)
        if method.changes {
          #expect(answer.contains("org.varlink.service.PermissionDenied"), "\(method): \(answer)")
        } else {
          #expect(!answer.contains("\"error\""), "\(method): \(answer)")
        }
      }
      let queue = try await rig.queue()
      #expect(queue.maxConcurrent == 1, "nothing was changed")
      try await rig.waitForJournal("user \(Self.nobody) (process")
      try await rig.waitForJournal("may not call SetInstances")
    }
  }

  private func callAsNobody(_ rig: DispatcherRig, _ method: DispatcherInterface.Method) async throws -> String {
    let parameters =
      switch method {
      case .setInstances: #"{"instances":[]}"#
      case .retireInstance: #"{"id":"gpu0","invocation":"i1"}"#
      case .cancelRequest: #"{"id":1}"#
      case .reportFleet: #"{"desired":1,"backingOff":0,"quarantined":0,"cordoned":0}"#
      case .reportQueueDepth: #"{"frontEnd":"f","depth":1}"#
      case .setPriority: #"{"id":1,"priority":0}"#
      case .addKey: #"{"name":"shop","role":"administrator"}"#
      case .revokeKey: #"{"key":"shop"}"#
      case .watchQueue, .watchCapacity, .getStatus, .listRequests, .listKeys: "{}"
      }
    let program = """
      import os, socket, sys
      os.setresuid(\(Self.nobody), \(Self.nobody), \(Self.nobody))
      peer = socket.socket(socket.AF_UNIX)
      peer.settimeout(10)
      peer.connect(sys.argv[1])
      peer.sendall(sys.stdin.buffer.read() + b"\\0")
      answer = b""
      while not answer.endswith(b"\\0"):
          answer += peer.recv(65536)
      print(answer[:-1].decode())
      """
    let (output, errors, end) = try await run(
      "python3", ["-c", program, rig.socket],
      input: #"{"method":"\#(method.qualified)","parameters":\#(parameters)}"#)
    #expect(end == .exited(0), "\(errors)")
    return output
  }
}
