import NIOCore
import NIOHTTP1
import OllamaAPI

/// One request and its answer. Belongs to its connection's event loop; what is written after the client went is lost.
final class Exchange {
  let head: HTTPRequestHead
  var body: [UInt8] = []
  var route: Route?
  var extraHeaders: [(name: String, value: String)] = []
  /// A fault says not to answer.
  var isIgnored = false
  var closesAfterwards = false
  /// Whether the answer's head has been written.
  private(set) var hasBegun = false
  /// Whether the whole answer has been written.
  private(set) var isAnswered = false
  private(set) var isGone = false
  /// Called once if the client goes before the answer is complete.
  var onGone: (() -> Void)?
  private var onWritable: (() -> Void)?
  private let context: ChannelHandlerContext

  init(_ head: HTTPRequestHead, context: ChannelHandlerContext) {
    self.head = head
    self.context = context
  }

  var dialect: Dialect { Dialect.of(path: head.uri) }
  var isWritable: Bool { context.channel.isWritable }

  /// The last segment of the path, decoded.
  var lastPathSegment: String {
    let path = RequestPath.decoded(head.uri) ?? ""
    return path.split(separator: "/").last.map(String.init) ?? ""
  }

  /// Calls back once when the client has taken enough of what was written.
  func whenWritable(_ callback: @escaping () -> Void) { onWritable = callback }

  // MARK: Answering

  /// Answers as a whole.
  func answer(status: Int, contentType: String? = nil, _ content: [UInt8] = []) {
    guard !isAnswered, !isGone else { return }
    writeHead(status, contentType, length: content.count)
    if head.method != .HEAD { writePart(content) }
    end()
  }

  func answer(_ json: JSON) { answer(status: 200, contentType: "application/json; charset=utf-8", json.bytes) }

  func fail(_ refusal: Refusal) {
    answer(
      status: refusal.status, contentType: "application/json; charset=utf-8", ErrorFormat.body(dialect, refusal))
  }

  /// Begins an answer that comes in parts.
  func begin(contentType: String) {
    guard !hasBegun, !isGone else { return }
    writeHead(200, contentType, length: nil)
  }

  /// Writes a part, and sends it at once.
  func write(_ content: [UInt8]) {
    guard !isAnswered, !isGone, !content.isEmpty else { return }
    writePart(content)
    context.flush()
  }

  func end() {
    guard !isAnswered, !isGone else { return }
    isAnswered = true
    onGone = nil
    onWritable = nil
    let closes = closesAfterwards || !head.isKeepAlive
    let written = context.writeAndFlush(NIOAny(HTTPServerResponsePart.end(nil)))
    if closes { written.assumeIsolated().whenComplete { [context] _ in context.close(promise: nil) } }
  }

  func continueIfExpected() {
    guard head.headers.first(name: "expect")?.lowercased() == "100-continue" else { return }
    let head = HTTPResponseHead(version: .http1_1, status: .continue)
    context.writeAndFlush(NIOAny(HTTPServerResponsePart.head(head)), promise: nil)
  }

  private func writeHead(_ status: Int, _ contentType: String?, length: Int?) {
    hasBegun = true
    var headers = HTTPHeaders()
    if let contentType { headers.add(name: "Content-Type", value: contentType) }
    headers.add(name: "Date", value: WallTime.now.httpText)
    headers.add(name: "Server", value: "ollama-simulator")
    for (name, value) in extraHeaders { headers.add(name: name, value: value) }
    if let length, status != 204 { headers.add(name: "Content-Length", value: String(length)) }
    if closesAfterwards { headers.add(name: "Connection", value: "close") }
    let head = HTTPResponseHead(
      version: head.version, status: HTTPResponseStatus(statusCode: status), headers: headers)
    context.write(NIOAny(HTTPServerResponsePart.head(head)), promise: nil)
  }

  private func writePart(_ content: [UInt8]) {
    guard !content.isEmpty else { return }
    let buffer = context.channel.allocator.buffer(bytes: content)
    context.write(NIOAny(HTTPServerResponsePart.body(.byteBuffer(buffer))), promise: nil)
  }

  // MARK: What the connection reports

  func becameWritable() {
    let callback = onWritable
    onWritable = nil
    callback?()
  }

  func clientWent() {
    isGone = true
    onWritable = nil
    let callback = onGone
    onGone = nil
    if !isAnswered { callback?() }
  }
}
