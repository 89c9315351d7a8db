import Foundation
import Glibc
import TestSupport
import Testing

/// Documents that `ollama-pool index` reads are found by the chat, shown with the answer and kept with it.
@Suite(.serialized) struct SourcesTests {
  private static let chat = "chat:\n  default_model: llama3.2\n"

  /// A pool whose index would be in its own folder.
  private func withIndexedPool(
    _ more: String = "", faults: String = "", _ body: (Pool, _ documents: TemporaryDirectory) async throws -> Void
  ) async throws {
    let documents = try TemporaryDirectory()
    let settings =
      Self.chat + "sources:\n  index: \(documents.path)/index/documents.sqlite\n  least_score: 0.2\n" + more
    try documents.put("", to: "index/.keep")
    try await withPool(Pool.Setup(settings: settings, faults: faults)) { try await body($0, documents) }
  }

  private func index(_ pool: Pool, _ arguments: String...) async throws -> (
    output: String, errors: String, end: ProgramEnd
  ) {
    try await run(["--config", pool.configuration] + arguments)
  }

  private func run(_ arguments: [String]) async throws -> (output: String, errors: String, end: ProgramEnd) {
    let result = try await TestSupport.run(
      BuiltProduct.path("ollama-pool"), ["index"] + arguments, within: .seconds(60))
    return (result.output, result.errorOutput, result.end)
  }

  /// What the chat tells of a question, event by event.
  private func ask(_ pool: Pool, _ message: String, cookie: String? = nil) async throws -> [[String: Any]] {
    let body = try JSONSerialization.data(withJSONObject: ["message": message])
    let answer = try await pool.post(
      "/chat/stream", String(decoding: body, as: UTF8.self), headers: cookie.map { [("Cookie", $0)] } ?? [])
    #expect(answer.status == 200, "\(answer.text)")
    return answer.text.split(separator: "\n").filter { $0.hasPrefix("data: ") }.compactMap {
      try? JSONSerialization.jsonObject(with: Data($0.dropFirst(6).utf8)) as? [String: Any]
    }
  }

  private func sources(_ events: [[String: Any]]) -> [[String: Any]] {
    events.filter { $0["type"] as? String == "sources" }.flatMap { $0["sources"] as? [[String: Any]] ?? [] }
  }

  private func title(_ source: [String: Any]?) -> String? { source?["title"] as? String }

  @Test("Markdown, text and PDF are found, told before the answer with a score, and kept in the history")
  func found() async throws {
    try await withIndexedPool { pool, documents in
      try documents.put("# TK3+ 130bar\n\nThe pump TK3+ works at 130 bar of pressure.", to: "docs/a.md")
      try documents.put("Gli uffici sono chiusi in agosto. <script>alert(1)</script>", to: "docs/ferie.txt")
      try documents.put(SmallPDF.text("The compressor KX9 needs oil every month."), to: "docs/deep/KX9.pdf")
      let first = try await index(pool, documents.path(to: "docs"))
      #expect(first.end == .exited(0), "\(first.errors)")
      #expect(first.output.contains("3 read with 3 passages, 0 unchanged, 0 removed"))

      let events = try await ask(pool, "At what pressure does the pump TK3+ work?")
      let found = sources(events)
      #expect(title(found.first) == "TK3+ 130bar")
      let score = try #require(found.first?["score"] as? Double)
      #expect(score > 0.2 && score <= 1)
      #expect(found.first?["excerpt"] as? String == "The pump TK3+ works at 130 bar of pressure.")
      let types = events.compactMap { $0["type"] as? String }
      #expect(types.first == "sources" && types[1] == "token" && types.last == "done")

      #expect(title(sources(try await ask(pool, "When does the compressor need oil?")).first) == "KX9")
      let office = try #require(sources(try await ask(pool, "quando sono chiusi gli uffici")).first)
      #expect(office["excerpt"] as? String == "Gli uffici sono chiusi in agosto. <script>alert(1)</script>")
      #expect(sources(try await ask(pool, "xyzzy")).isEmpty)
    }
  }

  @Test("the history has the sources of each answer")
  func history() async throws {
    try await withIndexedPool { pool, documents in
      try documents.put("The pump works at 130 bar.", to: "docs/Pump.txt")
      #expect(try await index(pool, documents.path(to: "docs")).end == .exited(0))
      let answer = try await pool.post("/chat/stream", #"{"message":"at what bar works the pump"}"#)
      let cookie = try #require(answer.head["Set-Cookie"]?.split(separator: ";").first)
      let history = try await pool.get("/chat/history", headers: [("Cookie", String(cookie))]).object
      let messages = try #require(history["messages"] as? [[String: Any]])
      let kept = try #require(messages.last?["sources"] as? [[String: Any]])
      #expect(kept.map { $0["title"] as? String } == ["Pump"])
    }
  }

  @Test("a new index is used without a restart; what is unchanged is kept, what is gone is removed")
  func incremental() async throws {
    try await withIndexedPool { pool, documents in
      try documents.put("The red fox jumps.", to: "docs/fox.txt")
      try documents.put("The blue whale swims.", to: "docs/whale.txt")
      #expect(sources(try await ask(pool, "red fox jumps")).isEmpty)
      #expect(try await index(pool, documents.path(to: "docs")).end == .exited(0))
      #expect(title(sources(try await ask(pool, "red fox jumps")).first) == "fox")

      try FileManager.default.removeItem(atPath: documents.path(to: "docs/fox.txt"))
      try documents.put("The green parrot talks.", to: "docs/parrot.txt")
      let second = try await index(pool, documents.path(to: "docs"))
      #expect(second.output.contains("1 read with 1 passages, 1 unchanged, 1 removed"))
      #expect(sources(try await ask(pool, "red fox jumps")).allSatisfy { title($0) != "fox" })
      #expect(title(sources(try await ask(pool, "green parrot talks")).first) == "parrot")

      let list = try await index(pool, "--list", "--json")
      let listed = try #require(try JSONSerialization.jsonObject(with: Data(list.output.utf8)) as? [String: Any])
      #expect(listed["model"] as? String == "nomic-embed-text")
      #expect((listed["documents"] as? [[String: Any]])?.compactMap { $0["title"] as? String } == ["parrot", "whale"])
    }
  }

  @Test("what can't be read is named and stops nothing; links are not followed")
  func unreadable() async throws {
    try await withIndexedPool { pool, documents in
      try documents.put("The red fox jumps.", to: "docs/fox.txt")
      try documents.put("%PDF-1.4\n" + String(repeating: "x", count: 3_000), to: "docs/damaged.pdf")
      try documents.put(SmallPDF.encrypted, to: "docs/locked.pdf")
      try documents.put("plain", to: "docs/fake.pdf")
      try documents.put("a\0b", to: "docs/binary.txt")
      try documents.put("no", to: "docs/.hidden.txt")
      try documents.put("no", to: "docs/program.exe")
      try documents.put("The secret badger digs.", to: "secret/badger.txt")
      for (link, target) in [("docs/link.txt", "secret/badger.txt"), ("docs/out", "secret"), ("docs/loop", "docs")] {
        try FileManager.default.createSymbolicLink(
          atPath: documents.path(to: link), withDestinationPath: documents.path(to: target))
      }
      let result = try await index(pool, documents.path(to: "docs"))
      #expect(result.end == .exited(1))
      #expect(result.output.contains("1 read") && result.output.contains("not followed: 3"))
      for line in [
        "damaged.pdf: is a damaged PDF, as pdftotext finds", "locked.pdf: is encrypted: store it without a password",
        "fake.pdf: is no PDF", "binary.txt: is no text, but binary", "4 documents could not be read",
      ] { #expect(result.errors.contains(line), "\(line) in \(result.errors)") }
      #expect(title(sources(try await ask(pool, "red fox jumps")).first) == "fox")
      #expect(sources(try await ask(pool, "secret badger digs")).allSatisfy { title($0) != "badger" })
    }
  }

  @Test("a document that the model makes no embedding of is named and stops nothing; a model that fails on all does")
  func poison() async throws {
    try await withEmbeddingPool { service, documents, index in
      for number in 0..<40 { try documents.put("Page \(number).", to: "docs/\(number).txt") }
      let pages = (0..<40).map { "# Page \($0)\n\nText of page \($0)." }
      try documents.put(pages.joined(separator: "\n") + "\n# Odd\n\nThis has a NaN.", to: "docs/long.md")
      try documents.put("nothing at all", to: "docs/zero.txt")
      let first = try await index()
      #expect(first.end == .exited(1))
      #expect(first.output.contains("40 read with 40 passages"), "\(first.output)")
      for line in [
        #"long.md: nomic-embed-text makes no embedding of the passage that begins with "This has a NaN.": status 500"#,
        #"zero.txt: nomic-embed-text makes no embedding of the passage that begins with "nothing at all""#,
        "2 documents could not be read",
      ] { #expect(first.errors.contains(line), "\(line) in \(first.errors)") }

      try documents.put(pages.joined(separator: "\n"), to: "docs/long.md")
      try documents.put("", to: "docs/zero.txt")
      let second = try await index()
      #expect(second.end == .exited(0), "\(second.errors)")
      #expect(second.output.contains("2 read with 40 passages, 40 unchanged"), "\(second.output)")

      try documents.put("This breaks the model.", to: "docs/0.txt")
      let third = try await index()
      #expect(third.end == .exited(1))
      #expect(third.errors.contains("made no embeddings by nomic-embed-text (status 500"), "\(third.errors)")
    }
  }

  /// A stand-in for a pool, and what `index` says with it.
  private func withEmbeddingPool(
    _ body: (
      RunningProgram, TemporaryDirectory, _ index: () async throws -> (output: String, errors: String, end: ProgramEnd)
    ) async throws -> Void
  ) async throws {
    let documents = try TemporaryDirectory()
    let port = try freePort()
    let service = try await startService("embedding_pool.py", port)
    defer { service.killTree() }
    try await body(service, documents) {
      try await run([
        documents.path(to: "docs"), "--index", documents.path(to: "documents.sqlite"), "--endpoint",
        "http://127.0.0.1:\(port)",
      ])
    }
  }

  @Test("an index of embeddings of another length than the model's now is searched by words until it is made anew")
  func otherLength() async throws {
    try await withEmbeddingPool { _, documents, indexElsewhere in
      try documents.put("The red fox jumps.", to: "docs/fox.txt")
      #expect(try await indexElsewhere().end == .exited(0))
      let settings = Self.chat + "sources:\n  index: \(documents.path(to: "documents.sqlite"))\n  least_score: 0.2\n"
      try await withPool(Pool.Setup(settings: settings)) { pool in
        #expect(title(sources(try await ask(pool, "red fox")).first) == "fox")
        _ = try await pool.program.line(containing: "searched by words alone")
        let anew = try await index(pool, documents.path(to: "docs"))
        #expect(anew.output.contains("1 read with 1 passages, 0 unchanged"), "\(anew.output)")
      }
    }
  }

  @Test("a model that has another content under the same name embeds all anew")
  func otherContent() async throws {
    try await withIndexedPool { pool, documents in
      try documents.put("The red fox jumps.", to: "docs/fox.txt")
      #expect(try await index(pool, documents.path(to: "docs")).end == .exited(0))
      #expect(try await index(pool, documents.path(to: "docs")).output.contains("1 unchanged"))
      let made = try await pool.post(
        "/api/create", #"{"model":"nomic-embed-text","from":"nomic-embed-text","system":"x","stream":false}"#)
      #expect(made.status == 200)
      let anew = try await index(pool, documents.path(to: "docs"))
      #expect(anew.output.contains("1 read with 1 passages, 0 unchanged"), "\(anew.output)")
    }
  }

  @Test("file names are of any bytes; of what isn't read nobody hears; an emptied document takes its old text away")
  func names() async throws {
    try await withIndexedPool { pool, documents in
      try documents.put("The red fox jumps.", to: "docs/fox.txt")
      // Latin-1, as old archives have it.
      try putBytes(
        "The blue whale swims.", in: documents.path(to: "docs"), Array("bal".utf8) + [0xE8] + Array("ne.txt".utf8))
      try putBytes("x", in: documents.path(to: "docs"), [0xFF, 0xE9] + Array(".jpg".utf8))
      let first = try await index(pool, documents.path(to: "docs"))
      #expect(first.end == .exited(0), "\(first.errors)")
      #expect(first.output.contains("2 read with 2 passages") && first.output.contains("other kinds: 1"))
      #expect(title(sources(try await ask(pool, "blue whale swims")).first) == "balène")
      let list = try await index(pool, "--list")
      #expect(list.output.contains(#"bal\xE8ne.txt"#), "\(list.output)")

      try documents.put("", to: "docs/fox.txt")
      let second = try await index(pool, documents.path(to: "docs"))
      #expect(second.end == .exited(0), "\(second.errors)")
      #expect(second.output.contains("1 read with 0 passages, 1 unchanged, 0 removed"), "\(second.output)")
      #expect(sources(try await ask(pool, "red fox jumps")).allSatisfy { title($0) != "fox" })
    }
  }

  private func putBytes(_ text: String, in folder: String, _ name: [UInt8]) throws {
    let path = Array(folder.utf8) + [UInt8(ascii: "/")] + name + [0]
    let file = path.withUnsafeBytes {
      Glibc.open($0.baseAddress!.assumingMemoryBound(to: CChar.self), O_WRONLY | O_CREAT, 0o600)
    }
    defer { close(file) }
    #expect(write(file, text, text.utf8.count) == text.utf8.count)
  }

  @Test("wrong folders, models and endpoints are told, and leave the index as it was")
  func refused() async throws {
    try await withIndexedPool { pool, documents in
      try documents.put("The red fox jumps.", to: "docs/fox.txt")
      try documents.put("nothing", to: "empty/a.exe")
      #expect(try await index(pool, documents.path(to: "docs")).end == .exited(0))
      try documents.put("The red fox sleeps.", to: "docs/fox2.txt")
      let pipe = documents.path(to: "pipe")
      #expect(mkfifo(pipe, 0o600) == 0)
      for (arguments, words) in [
        ([documents.path(to: "nowhere")], "nowhere can't be read"),
        ([documents.path(to: "empty")], "there is no document below"),
        ([documents.path(to: "docs/fox.txt")], "fox.txt: Not a directory: name a folder that \(NSUserName()) may read"),
        ([documents.path(to: "docs"), "--model", "missing-model"], "ollama pull missing-model"),
        ([documents.path(to: "docs"), "--endpoint", "http://127.0.0.1:1"], "can't be asked for embeddings"),
        ([documents.path(to: "docs"), "--endpoint", "https://pool"], "https://pool is no endpoint"),
        ([documents.path(to: "docs"), "--key-file", "/nowhere"], "there is no API key in /nowhere"),
        ([documents.path(to: "docs"), "--index", "/nowhere/x"], "/nowhere/x.new can't be written"),
        ([documents.path(to: "docs"), "--index", pipe], "pipe is no index"),
        (["--list", "--index", pipe], "pipe is no index"),
      ] {
        let result = try await run(["--config", pool.configuration] + arguments)
        #expect(result.end == .exited(1) && result.errors.contains(words), "\(words) in \(result.errors)")
      }
      #expect(title(sources(try await ask(pool, "red fox jumps")).first) == "fox")
    }
  }

  @Test("without an embedding model the words find what they can; without an index the question is answered")
  func degraded() async throws {
    try await withIndexedPool { pool, documents in
      try documents.put("The red fox jumps.", to: "docs/fox.txt")
      #expect(try await ask(pool, "red fox").last?["type"] as? String == "done")
      _ = try await pool.program.line(containing: "there is no index at")
      #expect(try await index(pool, documents.path(to: "docs")).end == .exited(0))
      let deleted = try await HTTPProbe.exchange(
        "DELETE", "/api/delete", port: pool.port, body: #"{"model":"nomic-embed-text"}"#)
      #expect(deleted.status == 200)
      let events = try await ask(pool, "red fox")
      #expect(title(sources(events).first) == "fox")
      #expect(events.last?["type"] as? String == "done")
    }
  }

  @Test("without configuration no question has sources")
  func unconfigured() async throws {
    try await withPool(Pool.Setup(settings: Self.chat)) { pool in
      let events = try await ask(pool, "red fox")
      #expect(sources(events).isEmpty && events.last?["type"] as? String == "done")
      let result = try await index(pool, pool.folder.path)
      #expect(result.end == .exited(1) && result.errors.contains("it isn't said where the index is"))
    }
  }

  @Test("who leaves while sources are looked for gives the slot up at once")
  func leaving() async throws {
    let port = try freePort()
    let service = try await startService("source_service.py", port)
    defer { service.killTree() }
    let settings = Self.chat + "sources:\n  service: http://127.0.0.1:\(port)/find?x=1\n  timeout: 60s\n"
    try await withPool(Pool.Setup(settings: settings)) { pool in
      let first = try await pool.open("/chat/stream", #"{"message":"endless"}"#)
      _ = try await service.line(containing: "asked endless")
      #expect(try await pool.status.inFlight == 1)
      await first.close()
      _ = try await service.line(containing: "gone endless", within: .seconds(2))
      try await pool.expectIdle(within: .seconds(2))
      #expect(!sources(try await ask(pool, "good")).isEmpty)
    }
  }

  private func startService(_ script: String, _ port: Int) async throws -> RunningProgram {
    let service = try RunningProgram(
      "/usr/bin/env", ["python3", "-B", PackageRoot.path(to: "Tests/EndToEndTests/\(script)"), "\(port)"])
    _ = try await service.line(containing: "ready", within: .seconds(30))
    return service
  }

  @Test(
    "an operator's own service finds the sources; when it fails, is slow or talks nonsense the answer comes without")
  func service() async throws {
    let port = try freePort()
    let service = try await startService("source_service.py", port)
    defer { service.killTree() }
    let settings =
      Self.chat + "sources:\n  service: http://localhost:\(port)/find?x=1\n  passages: 2\n  timeout: 500ms\n"
    try await withPool(Pool.Setup(settings: settings)) { pool in
      let found = sources(try await ask(pool, "good"))
      #expect(found.map { title($0) } == ["One <b>", "Two"])
      #expect(found.map { $0["score"] as? Double } == [1, 0.5])
      #expect(found.first?["excerpt"] as? String == "2 good")
      for question in ["status", "nonsense", "huge", "slow", "cut"] {
        let events = try await ask(pool, question)
        #expect(sources(events).isEmpty && events.last?["type"] as? String == "done", "\(question)")
      }
      try await pool.expectIdle()
    }
  }
}

extension TemporaryDirectory {
  /// Writes a file, and the folders that it lies in.
  fileprivate func put(_ text: String, to name: String) throws {
    let folder = path(to: name).split(separator: "/").dropLast().joined(separator: "/")
    try FileManager.default.createDirectory(atPath: "/" + folder, withIntermediateDirectories: true)
    try write(text, to: name)
  }
}

/// PDFs of one page, as small as they can be.
private enum SmallPDF {
  static func text(_ line: String) -> String { file("BT /F1 12 Tf 72 720 Td (\(line)) Tj ET", trailer: "") }

  /// By a password that nobody knows: PDF 1.4, 3.5.2.
  static var encrypted: String {
    let (owner, user) = (String(repeating: "ab", count: 32), String(repeating: "cd", count: 32))
    let id = "<00112233445566778899aabbccddeeff>"
    return file(
      "BT ET",
      trailer: " /ID [\(id) \(id)] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <\(owner)> /U <\(user)> >>")
  }

  private static func file(_ page: String, trailer: String) -> String {
    let objects = [
      "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
      "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 5 0 R >> >> /Contents 4 0 R >>",
      "<< /Length \(page.utf8.count) >>\nstream\n\(page)\nendstream",
      "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    var text = "%PDF-1.4\n"
    var table = "0000000000 65535 f \n"
    for (index, object) in objects.enumerated() {
      let offset = "\(text.utf8.count)"
      table += String(repeating: "0", count: 10 - offset.count) + offset + " 00000 n \n"
      text += "\(index + 1) 0 obj\n\(object)\nendobj\n"
    }
    let start = text.utf8.count
    return text
      + "xref\n0 6\n\(table)trailer\n<< /Size 6 /Root 1 0 R\(trailer) >>\nstartxref\n\(start)\n%%EOF\n"
  }
}
