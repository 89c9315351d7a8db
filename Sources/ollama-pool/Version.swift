/// What `--version` says and what both daemons say of themselves; the file `VERSION` says the same.
enum Version {
  static let current = "0.1.0"
}
