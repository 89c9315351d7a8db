import ControlInterface
import Foundation
import PoolConfiguration
import TestSupport
import Testing

@testable import Dispatcher

/// Which models the chat knows, and which of them it lets answer.
@Suite(.timeLimit(.minutes(1)))
struct ChatModelTests {
  private struct Session: Decodable, Equatable {
    let models: [String]
    let default_model: String?
  }

  private static let english = [("Accept-Language", "en")]
  /// As a server lists them that tells what they can.
  private static let declared =
    #"{"models":[{"name":"m:latest","capabilities":["completion"]},{"name":"e","capabilities":["embedding"]}]}"#
  /// As older ones do.
  private static let guessed = #"{"models":[{"name":"m:latest"},{"name":"embedded-writer"}]}"#

  private func session(_ rig: DispatcherRig) async throws -> Session {
    try JSONDecoder().decode(Session.self, from: Data(try await rig.get("/chat/session").bytes))
  }

  private func ask(_ rig: DispatcherRig, _ model: String?) async throws -> HTTPProbe {
    let named = model.map { #","model":"\#($0)""# } ?? ""
    return try await rig.send("POST", "/chat/stream", headers: Self.english, body: #"{"message":"a"\#(named)}"#)
  }

  @Test func whoTheCallerIsAndTheModelsAreToldWithoutAnInstance() async throws {
    try await DispatcherRig.run { rig in
      #expect(try await session(rig) == Session(models: [], default_model: nil))
      // Each has its place at once, whether or not it names a model.
      let unnamed = try await ask(rig, nil)
      #expect(try await unnamed.head().status == 200)
      #expect(try await ask(rig, "m").head().status == 200)
      #expect(try await session(rig) == Session(models: [], default_model: nil))

      let gpu0 = try await FakeOllama.start()
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      let list = try await gpu0.ask(0)
      #expect(list.path == "/api/tags")
      try await list.answer(Self.declared)
      let chat = try await gpu0.ask(1)
      #expect(chat.path == "/api/chat" && chat.body.contains(#""model":"m:latest""#), "\(chat.body)")
      let known = Session(models: ["m:latest"], default_model: "m:latest")
      #expect(try await session(rig) == known)

      try await rig.setInstances([])
      try await rig.wait("none is left") { $0.instances.isEmpty }
      #expect(try await session(rig) == known, "as it was listed last")
      #expect(try await ask(rig, nil).head().status == 200, "the only one that can chat")
    }
  }

  @Test func anInstanceThatTakesItsTimeHoldsNobodyUp() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      // It never says which models it has.
      #expect(try await session(rig) == Session(models: [], default_model: nil))
      #expect(gpu0.asked.map(\.path) == ["/api/tags"])
      let unnamed = try await ask(rig, nil)
      #expect(try await unnamed.head().status == 200)
      #expect(try await ask(rig, "m").head().status == 200)
      #expect(gpu0.asked.map(\.path) == ["/api/tags"], "the first has the slot, and waits for the list")
    }
  }

  @Test func aQuestionThatHasToNameItsModelHearsSoWhenItsTurnComes() async throws {
    try await DispatcherRig.run { rig in
      let asking = try await ask(rig, nil)
      #expect(try await asking.head().status == 200)
      let gpu0 = try await FakeOllama.start()
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      try await gpu0.ask(0).answer(#"{"models":[{"name":"a"},{"name":"b"}]}"#)
      let end = try await asking.rest()
      #expect(end.contains(#""error":"The question has to name its 'model'. There are: a, b.","code":"model_needed""#))
      // As the list is known now, it is refused at once.
      #expect(try await ask(rig, nil).head().status == 400)
    }
  }

  @Test func aModelThatCannotChatIsRefusedByNameAndSaysWhichCan() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      gpu0.behave { $0.chatModelList = Self.declared }
      try await rig.use(gpu0)
      let asking = try await ask(rig, "e")
      let refused = try await asking.answer()
      #expect(refused.status == 400)
      #expect(refused.text == #"{"error":"The model 'e' can't chat. These can: m:latest.","code":"model_cannot_chat"}"#)
      #expect(gpu0.asked.isEmpty, "no instance is asked for an answer")
    }
  }

  @Test func whatAnInstanceRefusesIsToldInThePoolsWords() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let asking = try await ask(rig, "embedded-writer")
      try await gpu0.ask(0).answer(Self.guessed)
      #expect(try await session(rig).models == ["m:latest"])
      // Its name alone keeps nobody from asking it.
      #expect(try await asking.head().status == 200)
      let chat = try await gpu0.ask(1)
      #expect(chat.path == "/api/chat")
      try await chat.answer(#"{"error":"\"embedded-writer\" does not support chat"}"#, status: 400)
      let end = try await asking.rest()
      #expect(end.contains("The model 'embedded-writer' can't chat. These can: m:latest."), "\(end)")
      #expect(end.contains(#""code":"model_cannot_chat""#))

      for (number, status, words, code, told) in [
        (2, 400, "invalid", "upstream_error", "The model reported an error: invalid"),
        (3, 404, "model 'm' not found", "model_not_found", "There is no model 'm'. There are: m:latest."),
      ] as [(Int, UInt, String, String, String)] {
        let asking = try await ask(rig, "m")
        #expect(try await asking.head().status == 200)
        try await gpu0.ask(number).answer(#"{"error":"\#(words)"}"#, status: status)
        let end = try await asking.rest()
        #expect(end.contains(told) && end.contains(#""code":"\#(code)""#), "\(end)")
      }
    }
  }
}
