import Gateway
import PoolCore
import Testing

@testable import Chat

/// What people are told when something went wrong.
@Suite struct ChatErrorTests {
  private static func error(_ code: String, retryAfter seconds: Int? = nil) -> ChatError {
    ChatError(PoolError(status: 429, code: code, message: "in English.", retryAfterSeconds: seconds))
  }

  @Test(arguments: RequestFailure.allCases.map(\.rawValue) + ["cancelled", "expired"])
  func whatThePoolRefusesHasWordsInBothLanguages(_ code: String) {
    let error = Self.error(code, retryAfter: 7)
    for language in ChatLanguage.allCases {
      let told = error.told(in: language)
      #expect(told.status == 429 && told.code == code && told.retryAfterSeconds == 7)
      #expect((told.message == "in English.") == (language == .english) && told.message.hasSuffix("."))
    }
  }

  @Test func whatNobodyHasTranslatedIsToldInEnglish() {
    #expect(Self.error("instance_failed").told(in: .italian).message == "in English.")
  }

  @Test(
    arguments: [
      (nil, "più tardi."), (1, "tra un minuto."), (60, "tra un minuto."), (61, "tra 2 minuti."),
      (3_540, "tra 59 minuti."),
    ] as [(Int?, String)])
  func itSaysWhenToComeAgain(_ seconds: Int?, _ words: String) {
    for code in ["rate_limited", "token_limited"] {
      #expect(Self.error(code, retryAfter: seconds).italian.hasSuffix(words))
    }
  }

  @Test func ofManyModelsTheFirstTwentyAreNamed() {
    let models = (1...22).map { "m\($0)" }
    let error = ChatError.modelNotFound(String(repeating: "x", count: 1000), instead: models)
    #expect(error.english.hasSuffix("m19, m20 and 2 more.") && error.italian.hasSuffix("m19, m20 e altri 2."))
    #expect(error.english.count < 300)
    let served = ChatError(PoolError(status: 404, code: "model_not_served", message: "…"), served: ["a", "b"])
    #expect(served.italian.hasSuffix("è riservato a: a, b."))
    #expect(ChatError.modelNeeded([]).italian.hasSuffix("Nessun modello installato sa chattare."))
  }
}
