/// Those that wait, by what they wait for: a kind, or a model. Each group has a number while it has members, so that
/// one of many members is found without looking for its name, which clients make up.
struct KeyGroups<Name: Hashable & Sendable>: Sendable {
  typealias Key = ServiceOrder.Key

  private struct Group: Sendable {
    let name: Name
    /// Those that wait, in the order of service.
    var keys = RankedSet<Key>()
    /// Also those that don't wait now.
    var members = 1
  }

  private var numbers: [Name: Int] = [:]
  private var groups: [Group?] = []
  private var free: [Int] = []

  /// Of groups with somebody who waits.
  var names: [Name] { groups.compactMap { $0?.keys.isEmpty == false ? $0?.name : nil } }

  /// - Parameter number: of a group that has members.
  func name(of number: Int) -> Name? { groups[number]?.name }

  subscript(name: Name) -> RankedSet<Key>? { numbers[name].flatMap { groups[$0]?.keys } }

  /// - Returns: the group's number.
  mutating func join(_ name: Name) -> Int {
    if let number = numbers[name] {
      groups[number]?.members += 1
      return number
    }
    let number = free.popLast() ?? groups.count
    if number == groups.count { groups.append(nil) }
    groups[number] = Group(name: name)
    numbers[name] = number
    return number
  }

  mutating func leave(_ number: Int) {
    guard let group = groups[number] else { return }
    groups[number]?.members -= 1
    guard group.members == 1 else { return }
    numbers[group.name] = nil
    groups[number] = nil
    free.append(number)
  }

  mutating func insert(_ key: Key, _ number: Int) { groups[number]?.keys.insert(key) }
  mutating func remove(_ key: Key, _ number: Int) { groups[number]?.keys.remove(key) }
  mutating func replace(_ old: [Key], with new: [Key], _ number: Int) {
    groups[number]?.keys.replace(old, with: new)
  }

  mutating func removeAllKeys() {
    for number in groups.indices { groups[number]?.keys = RankedSet() }
  }
}
