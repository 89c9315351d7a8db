import OllamaAPI
import Testing

@Suite struct QuestionTokensTests {
  @Test func `four bytes of text are a token`() {
    let text = #"{"model":"m","prompt":"Why is the sky blue?"}"#
    #expect(QuestionTokens.count(text.utf8, isJSON: true) == text.utf8.count / 4)
    let long = #"{"prompt":"\#(String(repeating: "Why is the sky blue? ", count: 1000))"}"#
    #expect(QuestionTokens.count(long.utf8, isJSON: true) == long.utf8.count / 4)
    #expect(QuestionTokens.count([], isJSON: true) == 0)
  }

  @Test(arguments: ["+/AZaz09", #"\/+AZaz09"#]) func `a picture counts as one whatever its size`(part: String) {
    let text = #"{"messages":[{"role":"user","content":"What is this?","#
    for size in [10_000, 1_000_000] {
      let picture = String(repeating: part, count: size / part.utf8.count) + "=="
      for pictures in [
        #""images":["\#(picture)", "\#(picture)"]"#,
        #""parts":[{"image_url" : {"url":"data:image/png;base64,\#(picture)"}},{"image_url":"\#(picture)"}]"#,
        #""source":[{"type":"base64","media_type":"image/png","data":"\#(picture)"},{"data":"\#(picture)"}]"#,
      ] {
        let body = text + pictures + "}]}"
        #expect((2000...2060).contains(QuestionTokens.count(body.utf8, isJSON: true)), "\(pictures.prefix(80))")
      }
    }
  }

  @Test func `what only looks like a picture is text`() {
    let letters = String(repeating: "TheQuickBrownFox", count: 1000)
    for body in [
      #"{"prompt":"\#(letters)"}"#, #"{"messages":[{"images":[],"content":"\#(letters)"}]}"#,
      #"{"images":["\#(letters) and a blank"]}"#, #"{"prompt":"\"images\":[\"\#(letters)\"]"}"#,
      #"{"prompt":"\#(String(repeating: #"\u7a7a"#, count: 4000))"}"#, #"{"images":["\#(letters)"#,
    ] {
      #expect(QuestionTokens.count(body.utf8, isJSON: true) == body.utf8.count / 4, "\(body.prefix(60))")
    }
  }

  @Test func `what is no JSON counts as a picture at most`() {
    #expect(QuestionTokens.count([UInt8](repeating: 7, count: 1_000_000), isJSON: false) == 1000)
    #expect(QuestionTokens.count([UInt8](repeating: 7, count: 400), isJSON: false) == 100)
  }

  @Test func `text in other letters is no picture`() {
    let text = #"{"prompt":"\#(String(repeating: "空はなぜ青いのですか", count: 500))"}"#
    #expect(QuestionTokens.count(text.utf8, isJSON: true) == text.utf8.count / 4)
  }
}
