import ArgumentParser
import FoundationEssentials
import Glibc
import PoolConfiguration
import Retrieval

struct Index: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read documents for the chat, which answers with passages of them.",
    discussion: """
      Reads the files below the folders that end with .txt, .md or .pdf (PDF by pdftotext of poppler-utils) and has the \
      pool make embeddings of their passages. The index then holds these documents and no others: what has not changed \
      is kept, what is gone is removed. The chat notices a new index by itself, where the configuration names it under \
      sources.index. Documents that can't be read are named, and the exit status is 1.

      For example: ollama-pool index /srv/manuals
      """)

  @OptionGroup var configuration: ConfigurationOptions

  @Argument(help: "Folders with documents.", completion: .directory) var folders: [String] = []

  @Option(
    help: ArgumentHelp(
      "The index.", discussion: "Without it: sources.index of the configuration.", valueName: "file"),
    completion: .file())
  var index: String?

  @Option(help: "The embedding model. Without it: sources.model of the configuration.") var model: String?

  @Option(
    help: ArgumentHelp(
      "The pool, such as http://127.0.0.1:11434.", discussion: "Without it: the first of listen in the configuration.",
      valueName: "url"))
  var endpoint: String?

  @Option(help: ArgumentHelp("A file with the API key to use.", valueName: "file"), completion: .file())
  var keyFile: String?

  @Flag(help: "Show what the index holds, and read nothing.") var list = false
  @Flag(help: "With --list: print JSON.") var json = false

  func validate() throws {
    if list != folders.isEmpty { throw ValidationError("Name folders to read, or --list to see what was read.") }
    if json, !list { throw ValidationError("--json goes with --list.") }
  }

  func run() async throws {
    let settings = try configuration.read().settings
    guard let named = index ?? settings.sources.index else {
      throw CommandFailure(
        "it isn't said where the index is", remedy: "name it with --index, or as sources.index in the configuration")
    }
    let path = named.hasPrefix("/") ? named : FileManager.default.currentDirectoryPath + "/" + named
    if list { return try show(path) }
    let run = IndexRun(
      folders: try folders.map(Self.resolved), path: path,
      embedder: PoolEmbedder(
        endpoint: try address(settings), key: try key(), model: EmbeddingModel(model ?? settings.sources.model)))
    let line = ProgressLine()
    let summary = try await run.run { done, all, path in
      line.show("\(done) of \(all) documents: \(Printable.text(path))")
    }
    line.end()
    Output.say(Self.text(summary, path: path, model: run.embedder.model.name))
    for problem in summary.problems { Output.complain("\(Printable.text(problem.path)): \(problem.reason)") }
    guard summary.problems.isEmpty else {
      let count = summary.problems.count
      throw CommandFailure(
        "\(count == 1 ? "1 document" : "\(count) documents") could not be read",
        remedy: "see above; of what the index had before it keeps the old text")
    }
  }

  private static func resolved(_ folder: String) throws -> DocumentPath {
    guard let resolved = realpath(folder, nil) else {
      throw CommandFailure("\(folder) can't be read (\(String(cString: strerror(errno))))", remedy: "name a folder")
    }
    defer { free(resolved) }
    return DocumentPath(bytes: UnsafeRawBufferPointer(start: resolved, count: strlen(resolved)).map { $0 })
  }

  private func address(_ settings: Settings) throws -> ServiceAddress {
    let text = endpoint ?? settings.listen.first.map { "http://\($0)" } ?? ""
    guard let address = ServiceAddress(parsing: text) else {
      throw CommandFailure("\(text) is no endpoint", remedy: "name one such as http://127.0.0.1:11434, without https")
    }
    return address
  }

  private func key() throws -> String? {
    guard let keyFile else { return nil }
    let content = (try? Data(contentsOf: URL(filePath: keyFile))).map { String(decoding: $0, as: UTF8.self) }
    let key = content.map { String($0.drop(while: \.isWhitespace).prefix { !$0.isWhitespace }) } ?? ""
    guard !key.isEmpty, key.utf8.count <= 1_024, key.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value < 0x7f })
    else {
      throw CommandFailure("there is no API key in \(keyFile)", remedy: "it must be readable, with the key alone")
    }
    return key
  }

  private static func text(_ summary: IndexRun.Summary, path: String, model: String) -> String {
    var text =
      "\(path), by \(model): \(summary.read) read with \(summary.passages) passages, \(summary.unchanged) unchanged, "
      + "\(summary.removed) removed."
    if summary.links > 0 { text += " Links that were not followed: \(summary.links)." }
    if summary.others > 0 { text += " Files of other kinds: \(summary.others)." }
    return text
  }

  // MARK: What it holds

  private struct Listed: Encodable {
    struct Document: Encodable {
      var path: String
      var title: String
      var passages: Int
      var indexedAt: String
    }
    var index: String
    var model: String
    var documents: [Document]
  }

  private func show(_ path: String) throws {
    let contents = try IndexContents.read(path)
    let documents = contents.documents.map { document in
      Listed.Document(
        path: document.path, title: document.title, passages: document.passages,
        indexedAt: Date(timeIntervalSince1970: Double(document.indexedAtSecondsSince1970)).formatted(.iso8601))
    }
    if json { return try Output.say(json: Listed(index: path, model: contents.model, documents: documents)) }
    var table = Table([.number("PASSAGES"), "READ", "TITLE", "FILE"])
    table.rows = documents.map {
      [Table.Cell($0.passages), Table.Cell($0.indexedAt), Table.Cell($0.title), Table.Cell($0.path)]
    }
    Output.say(table.text(on: .current))
    let passages = documents.reduce(0) { $0 + $1.passages }
    Output.say("\(documents.count) documents with \(passages) passages, by \(contents.model)")
  }
}
