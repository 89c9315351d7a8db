import Testing

import OllamaAPI

@Suite struct StreamEndTests {
  struct Sample: CustomTestStringConvertible {
    let name: String
    let format: StreamFormat
    let text: String
    let outcome: StreamEnd.Outcome
    var testDescription: String { name }
    init(_ name: String, _ format: StreamFormat, _ text: String, _ outcome: StreamEnd.Outcome) {
      self.name = name
      self.format = format
      self.text = text
      self.outcome = outcome
    }
  }

  static let token = #"{"model":"m","created_at":"t","message":{"role":"assistant","content":"x"},"done":false}"# + "\n"
  static let last =
    #"{"model":"m","created_at":"t","response":"","done":true,"done_reason":"stop","context":[1,2]}"# + "\n"
  static let chunk =
    #"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}"# + "\n\n"
  static let delta = "event: content_block_delta\n" + #"data: {"type":"content_block_delta","index":0}"# + "\n\n"

  static let samples: [Sample] = [
    .init("native, whole", .generation, token + token + last, .complete),
    .init("native, only the last line", .generation, last, .complete),
    .init("native, cut between lines", .generation, token + token, .truncated),
    .init("native, cut within the last line", .generation, token + String(last.dropLast(5)), .truncated),
    .init("native, last line without its line feed", .generation, token + String(last.dropLast(1)), .truncated),
    .init("native, nothing at all", .generation, "", .truncated),
    .init("native, error line", .generation, token + #"{"error":"unexpected EOF"}"# + "\n", .failedInBand),
    .init("native, error line alone, with spaces", .generation, #" { "error" : "x" } "# + "\r\n", .failedInBand),
    .init("native, error then done", .generation, #"{"error":"x"}"# + "\n" + last, .failedInBand),
    .init("native, null error", .generation, #"{"error":null,"done":true}"# + "\n", .complete),
    .init("native, done then more", .generation, last + token, .truncated),
    .init("native, blank lines after done", .generation, token + last + "\n \r\n", .complete),
    .init("native, spaces", .generation, #"{ "done" : true }"# + "\n", .complete),
    .init(
      "native, done true within a string", .generation, #"{"response":"\"done\":true","done":false}"# + "\n", .truncated
    ),
    .init(
      "native, done true within a tool call", .generation,
      #"{"message":{"tool_calls":[{"function":{"arguments":{"done":true}}}]},"done":false}"# + "\n", .truncated),
    .init(
      "native, done false within a tool call", .generation,
      #"{"message":{"tool_calls":[{"function":{"arguments":{"done":false}}}]},"done":true}"# + "\n", .complete),
    .init("native, done false comes first", .generation, #"{"done":false,"model":"m"}"# + "\n", .truncated),
    .init("native, done true only deeper", .generation, #"{"message":{"done":true},"x":"done"}"# + "\n", .truncated),
    .init("native, done is no Boolean", .generation, #"{"done":"true"}"# + "\n", .truncated),
    .init("native, no JSON", .generation, "done:true\n", .truncated),
    .init("progress, whole", .progress, #"{"status":"pulling"}"# + "\n" + #"{"status":"success"}"# + "\n", .complete),
    .init("progress, cut", .progress, #"{"status":"pulling ab","total":5}"# + "\n", .truncated),
    .init(
      "progress, error", .progress, #"{"status":"pulling"}"# + "\n" + #"{"error":"no such host"}"# + "\n", .failedInBand
    ),
    .init("OpenAI, whole", .openAIEvents, chunk + chunk + "data: [DONE]\n\n", .complete),
    .init("OpenAI, whole, CRLF", .openAIEvents, "data: {}\r\n\r\ndata: [DONE]\r\n\r\n", .complete),
    .init("OpenAI, no space", .openAIEvents, "data:{}\n\ndata:[DONE]\n\n", .complete),
    .init("OpenAI, ends cleanly without its marker", .openAIEvents, chunk + chunk, .truncated),
    .init("OpenAI, cut within the marker", .openAIEvents, chunk + "data: [DONE", .truncated),
    .init("OpenAI, cut within the marker's event", .openAIEvents, chunk + "data: [DONE]\n", .truncated),
    .init("OpenAI, error", .openAIEvents, chunk + #"data: {"error":{"message":"x"}}"# + "\n\n", .failedInBand),
    .init("OpenAI, error then done", .openAIEvents, #"data: {"error":{}}"# + "\n\ndata: [DONE]\n\n", .failedInBand),
    .init("OpenAI, the text [DONE]", .openAIEvents, #"data: {"t":"data: [DONE]"}"# + "\n\n", .truncated),
    .init("OpenAI, comment", .openAIEvents, ": ping\n\n" + chunk + "data: [DONE]\n\n", .complete),
    .init(
      "responses, whole", .openAIEvents,
      "event: response.created\ndata: {\"response\":{\"error\":null}}\n\nevent: response.completed\ndata: {}\n\n",
      .complete),
    .init("responses, failed", .openAIEvents, "event: response.failed\ndata: {}\n\n", .failedInBand),
    .init(
      "Anthropic, whole", .anthropicEvents, delta + "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
      .complete),
    .init("Anthropic, cut", .anthropicEvents, delta + delta, .truncated),
    .init("Anthropic, cut within the last event", .anthropicEvents, delta + "event: message_stop\n", .truncated),
    .init("Anthropic, error", .anthropicEvents, delta + "event: error\ndata: {\"type\":\"error\"}\n\n", .failedInBand),
    .init("no stream", .wholeMessage, "{}", .complete),
  ]

  @Test(arguments: samples) func `judges a stream alike however it is split`(_ sample: Sample) {
    let bytes = Array(sample.text.utf8)
    for first in 0...bytes.count {
      for second in [first, (first + bytes.count) / 2, bytes.count] {
        var end = StreamEnd(sample.format)
        end.consume(bytes[..<first])
        end.consume(bytes[first..<second])
        end.consume(bytes[second...])
        #expect(end.outcome == sample.outcome, "split at \(first) and \(second)")
      }
    }
    var bytewise = StreamEnd(sample.format)
    for byte in bytes { bytewise.consume(CollectionOfOne(byte)) }
    #expect(bytewise.outcome == sample.outcome)
  }

  @Test(arguments: 0..<20) func `judges random streams alike however they are split`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<50 {
      let format = StreamFormat.allCases.randomElement(using: &random) ?? .generation
      let pieces = Self.samples.map(\.text) + ["\n", "x", "{", "data: ", "event: "]
      let text = (0..<4).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
      var bytes = Array(text.utf8)
      var whole = StreamEnd(format)
      whole.consume(bytes)
      var split = StreamEnd(format)
      while !bytes.isEmpty {
        let length = Int.random(in: 1...40, using: &random)
        split.consume(bytes.prefix(length))
        bytes.removeFirst(min(length, bytes.count))
      }
      #expect(whole.outcome == split.outcome, "seed \(seed), \(format): \(text)")
    }
  }

  @Test(arguments: [1_000, 65_536, 100_000]) func `a last line longer than the window is understood`(tail: Int) {
    let line = #"{"response":"","done":true,"context":["# + String(repeating: "1,", count: tail) + "1]}\n"
    for size in [line.utf8.count, 4_096] {
      var end = StreamEnd(.generation)
      var rest = Array((Self.token + line).utf8)[...]
      while !rest.isEmpty {
        end.consume(rest.prefix(size))
        rest = rest.dropFirst(size)
      }
      #expect(end.outcome == .complete, "pieces of \(size)")
    }
  }

  @Test func `an answer's pieces are counted, however it is split`() {
    let line = #"{"response":"x","done":false}"# + "\n"
    let event = "data: {}\n\n"
    for (format, text, tokens) in [
      (.generation, line + line + "\n" + #"{"done":true}"# + "\n", 3), (.openAIEvents, event + event, 2),
      // The last line has no token itself, and tells how many there were: also those of a tool's call, in one line.
      (.generation, line + line + #"{"done":true,"eval_count":2}"# + "\n", 2),
      (.generation, line + #"{"done":true,"prompt_eval_count":9,"eval_count":40}"# + "\n", 40),
      (.generation, line + line + #"{"done":true,"eval_count":1}"# + "\n", 2),
      (.generation, line + #"{"done":true,"eval_count":99999999999}"# + "\n", 69),
      (.generation, #"{"response":"\"done\":true,\"eval_count\":9"}"# + "\n", 1),
      (.anthropicEvents, "event: a\n" + event + "event: b\n" + event, 2),
      (.wholeMessage, String(repeating: "x", count: 40), 10), (.generation, "", 0),
    ] as [(StreamFormat, String, Int)] {
      for size in [1, 7, 1000] {
        var end = StreamEnd(format)
        for start in stride(from: 0, to: text.utf8.count, by: size) {
          end.consume(Array(text.utf8.dropFirst(start).prefix(size)))
        }
        #expect(end.tokens == tokens, "\(format) by \(size)")
      }
    }
  }

  @Test(arguments: [
    (#"{"response":"x","context":[1,2,3,4,5,6,7,8,9],"prompt_eval_count":7,"eval_count":4,"eval_duration":9}"#, 4),
    (#"{"choices":[],"usage":{"prompt_tokens":26,"completion_tokens": 12,"total_tokens":38}}"#, 12),
    (#"{"content":[],"usage":{"input_tokens":9,"output_tokens":3}}"#, 3),
    // No answer makes its own count up, and none is longer than the message.
    (#"{"response":"\"eval_count\":1","done":true}"#, 10), (#"{"eval_count":99999999999999}"#, 29),
    (#"{"eval_count":-1}"#, 4), (#"{"eval_count":"#, 3),
  ]) func `a whole message says how many tokens it has`(text: String, tokens: Int) {
    for size in [1, 9, 5000] {
      var end = StreamEnd(.wholeMessage)
      for start in stride(from: 0, to: text.utf8.count, by: size) {
        end.consume(Array(text.utf8.dropFirst(start).prefix(size)))
      }
      #expect(end.tokens == tokens, "by \(size)")
    }
  }

  private static let questions: [(format: StreamFormat, text: String, tokens: Int?)] = [
    (.wholeMessage, #"{"response":"x","prompt_eval_count":7,"eval_count":4}"#, 7),
    (.wholeMessage, #"{"usage":{"prompt_tokens":26,"completion_tokens":12,"total_tokens":38}}"#, 26),
    (.wholeMessage, #"{"content":[],"usage":{"input_tokens":9,"output_tokens":3}}"#, 9),
    (.wholeMessage, #"{"response":"x"}"#, nil),
    (
      .generation,
      """
      {"response":"\\"prompt_eval_count\\":9"}
      {"done":true,"prompt_eval_count":7}

      """, 7
    ),
    (.generation, "{\"prompt_eval_count\":7,\"done\":false}\n", nil),
    (.generation, "{\"done\":true,\"prompt_eval_count\":\"many\"}\n", nil),
    (.openAIEvents, "data: [DONE]\n\n", nil),
  ]

  @Test func `an answer says at its end how many tokens its question had`() {
    for (format, text, tokens) in Self.questions {
      for size in [1, 9, 5000] {
        var end = StreamEnd(format)
        for start in stride(from: 0, to: text.utf8.count, by: size) {
          end.consume(Array(text.utf8.dropFirst(start).prefix(size)))
        }
        #expect(end.questionTokens == tokens, "\(text) by \(size)")
      }
    }
  }

  @Test func `a context counts for nothing`() {
    var end = StreamEnd(.wholeMessage)
    end.consume((#"{"response":"x","context":["# + String(repeating: "12345,", count: 5000)).utf8)
    end.consume(#"1],"total_duration":5,"prompt_eval_count":4998,"eval_count":3,"eval_duration":9}"#.utf8)
    #expect(end.tokens == 3)
  }

  @Test func `the pool's own endings are recognised as failures`() {
    for format in StreamFormat.allCases where format != .wholeMessage {
      var end = StreamEnd(format)
      end.consume(ErrorBody.midStream(format, status: 502, message: "gone\n\"now\""))
      #expect(end.outcome == .failedInBand, "\(format)")
    }
  }
}
