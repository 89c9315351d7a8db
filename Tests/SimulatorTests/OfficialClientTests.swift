import TestSupport
import Testing

/// The simulator as the clients that others wrote see it.
@Suite struct OfficialClientTests {
  @Test(
    .enabled("needs the ollama package: see PythonEnvironment") { await PythonEnvironment.isReady(for: "ollama") })
  func `the ollama package is content`() async throws {
    try await runPython(
      """
      from ollama import Client, ResponseError, Tool
      client = Client(host=f"http://127.0.0.1:{port}")
      names = {m.model for m in client.list().models}
      assert names == {"llama3.2:latest", "qwen3:0.6b", "nomic-embed-text:latest"}, names
      assert client.list().models[0].modified_at.year > 2000
      assert "completion" in client.show("llama3.2").capabilities
      assert client.show("llama3.2").modelinfo["general.architecture"] == "llama"

      hello = [{"role": "user", "content": "hello"}]
      whole = client.chat("llama3.2", hello)
      assert whole.done and whole.done_reason == "stop" and len(whole.message.content.split()) == 8
      parts = list(client.chat("llama3.2", hello, stream=True))
      assert "".join(p.message.content for p in parts) == whole.message.content
      assert parts[-1].done and parts[-1].eval_count == 8 and not parts[0].done
      text = client.generate("llama3.2", "hello", options={"num_predict": 3})
      assert text.done_reason == "length" and len(text.response.split()) == 3 and text.context
      assert len(list(client.generate("llama3.2", "hello", stream=True))) == 9

      running = client.ps().models
      assert running[0].model == "llama3.2:latest" and running[0].size_vram == running[0].size > 0
      assert running[0].expires_at.year > 2000 and running[0].context_length == 4096
      assert client.generate("qwen3:0.6b", keep_alive=-1).done_reason == "load"

      def weather(city: str, days: int) -> str:
          '''Tells the weather.'''
      asked = client.chat("llama3.2", [{"role": "user", "content": "call the tool"}], tools=[weather])
      call = asked.message.tool_calls[0].function
      assert call.name == "weather" and call.arguments == {"city": "simulated", "days": 1}, call

      embedded = client.embed("nomic-embed-text", ["a", "b"]).embeddings
      assert len(embedded) == 2 and len(embedded[0]) == 768
      assert len(client.embeddings("nomic-embed-text", "a").embedding) == 768

      steps = [p.status for p in client.pull("mistral", stream=True)]
      assert steps[0] == "pulling manifest" and steps[-1] == "success", steps
      assert client.pull("mistral").status == "success"
      assert client.copy("mistral", "mine").status == "success"
      assert client.create("pirate", from_="llama3.2", system="Arr").status == "success"
      assert client.delete("mistral").status == "success"
      assert client.push("mine").status == "success"
      digest = client.create_blob(__file__)
      assert digest.startswith("sha256:")

      for call, status in [
          (lambda: client.chat("nope", hello), 404), (lambda: list(client.chat("nope", hello, stream=True)), 404),
          (lambda: client.generate("nomic-embed-text", "x"), 400), (lambda: client.delete("nope"), 404),
      ]:
          try:
              call()
          except ResponseError as error:
              assert error.status_code == status, error
          else:
              raise AssertionError("no error")
      """)
  }

  @Test(
    .enabled("needs the openai package: see PythonEnvironment") { await PythonEnvironment.isReady(for: "openai") })
  func `the openai package is content`() async throws {
    try await runPython(
      """
      import json, openai
      client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
      assert "llama3.2:latest" in {m.id for m in client.models.list()}
      assert client.models.retrieve("llama3.2").owned_by == "library"

      hello = [{"role": "user", "content": "hello"}]
      whole = client.chat.completions.create(model="llama3.2", messages=hello)
      assert whole.choices[0].finish_reason == "stop" and whole.usage.completion_tokens == 8
      parts = list(client.chat.completions.create(
          model="llama3.2", messages=hello, stream=True, stream_options={"include_usage": True}))
      text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
      assert text == whole.choices[0].message.content, text
      assert parts[-1].usage.total_tokens > 8 and parts[-2].choices[0].finish_reason == "stop"
      short = client.chat.completions.create(model="llama3.2", messages=hello, max_tokens=2)
      assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 2
      blocks = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
      assert client.chat.completions.create(model="llama3.2", messages=blocks).choices[0].message.content == text

      tools = [{"type": "function", "function": {"name": "weather", "parameters": {
          "type": "object", "properties": {"city": {"type": "string"}}}}}]
      ask = [{"role": "user", "content": "call the tool"}]
      called = client.chat.completions.create(model="llama3.2", messages=ask, tools=tools).choices[0]
      assert called.finish_reason == "tool_calls"
      assert json.loads(called.message.tool_calls[0].function.arguments) == {"city": "simulated"}
      deltas = list(client.chat.completions.create(model="llama3.2", messages=ask, tools=tools, stream=True))
      assert deltas[0].choices[0].delta.tool_calls[0].function.name == "weather"

      assert len(client.completions.create(model="llama3.2", prompt="x").choices[0].text.split()) == 8
      assert len(list(client.completions.create(model="llama3.2", prompt="x", stream=True))) == 9
      floats = client.embeddings.create(model="nomic-embed-text", input=["a", "b"]).data
      assert len(floats) == 2 and abs(sum(x * x for x in floats[0].embedding) - 1) < 1e-3
      plain = client.embeddings.create(model="nomic-embed-text", input="a", encoding_format="float").data
      assert max(abs(a - b) for a, b in zip(plain[0].embedding, floats[0].embedding)) < 1e-6

      answer = client.responses.create(model="llama3.2", input="hello")
      assert answer.status == "completed" and len(answer.output_text.split()) == 8
      with client.responses.stream(model="llama3.2", input="hello") as stream:
          for event in stream:
              pass
          assert stream.get_final_response().output_text == answer.output_text

      for call, kind in [
          (lambda: client.chat.completions.create(model="nope", messages=hello), openai.NotFoundError),
          (lambda: client.chat.completions.create(model="llama3.2", messages=[]), openai.BadRequestError),
      ]:
          try:
              call()
          except kind as error:
              assert error.body["message"] and error.body["type"], error.body
          else:
              raise AssertionError("no error")
      """)
  }

  private func runPython(_ program: String) async throws {
    let simulator = try await Simulator.start()
    let script = try simulator.folder.write("import sys\nport = int(sys.argv[1])\n" + program, to: "script.py")
    let result = try await run(PythonEnvironment.interpreter, [script, String(simulator.port)])
    #expect(result.end == .exited(0), "\(result.errorOutput)")
  }
}
