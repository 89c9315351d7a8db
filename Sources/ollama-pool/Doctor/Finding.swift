/// One thing that `doctor` looked at.
struct Finding: Encodable, Equatable, Sendable {
  enum Status: String, Encodable, Sendable { case ok, warning, problem }

  /// What was looked at, in a word.
  var check: String
  var status: Status
  var text: String
  /// What to do.
  @OrNull var remedy: String?

  static func ok(_ check: String, _ text: String) -> Finding {
    Finding(check: check, status: .ok, text: text, remedy: nil)
  }

  /// The pool works, or may, and not as one might expect.
  static func warning(_ check: String, _ text: String, remedy: String) -> Finding {
    Finding(check: check, status: .warning, text: text, remedy: remedy)
  }

  /// The pool does not work like this.
  static func problem(_ check: String, _ text: String, remedy: String) -> Finding {
    Finding(check: check, status: .problem, text: text, remedy: remedy)
  }

  private init(check: String, status: Status, text: String, remedy: String?) {
    self.check = check
    self.status = status
    self.text = text
    self.remedy = remedy
  }
}
