/// Elements in ascending order, each once: insertion, removal, the rank of an element and the element of a rank in
/// O(log n), also at worst.
///
/// A weight-balanced tree with the parameters (3, 2) of Hirai and Yamamoto ("Balancing weight-balanced trees", Journal
/// of Functional Programming, 2011), in one array: no allocation for each element, and what is removed leaves its node
/// to the next.
package struct RankedSet<Element: Comparable & Sendable>: Sendable {
  private typealias Link = Int32
  private static var nothing: Link { -1 }

  private struct Node: Sendable {
    var element: Element
    var left: Link
    var right: Link
    /// Elements in this node and below.
    var weight: Int32
  }

  private var nodes: [Node] = []
  /// Nodes of elements that were removed.
  private var free: [Link] = []
  private var root = RankedSet.nothing

  init() {}

  package var count: Int { Int(weight(of: root)) }
  var isEmpty: Bool { root == Self.nothing }
  var first: Element? { self[0] }

  /// How many elements are less. O(log n)
  func rank(of element: Element) -> Int {
    var (link, rank) = (root, 0)
    while link != Self.nothing {
      let node = nodes[Int(link)]
      if node.element < element {
        rank += Int(weight(of: node.left)) + 1
        link = node.right
      } else {
        link = node.left
      }
    }
    return rank
  }

  /// The element that so many others are less than; nil where there are not so many. O(log n)
  package subscript(rank: Int) -> Element? {
    guard rank >= 0, rank < count else { return nil }
    var (link, rest) = (root, rank)
    while true {
      let node = nodes[Int(link)]
      let less = Int(weight(of: node.left))
      if rest == less { return node.element }
      if rest < less {
        link = node.left
      } else {
        rest -= less + 1
        link = node.right
      }
    }
  }

  /// All elements in their order.
  package var elements: [Element] {
    var elements: [Element] = []
    elements.reserveCapacity(count)
    var path: [Link] = []
    var link = root
    while link != Self.nothing || !path.isEmpty {
      while link != Self.nothing {
        path.append(link)
        link = nodes[Int(link)].left
      }
      let node = nodes[Int(path.removeLast())]
      elements.append(node.element)
      link = node.right
    }
    return elements
  }

  /// Does nothing where it is there already.
  mutating func insert(_ element: Element) { root = inserted(element, below: root) }

  /// Does nothing where it is not there.
  mutating func remove(_ element: Element) { root = removed(element, below: root) }

  /// Does the same for many at once: removes those of `old`, then inserts `new`. O(n) at worst, however many they are.
  mutating func replace(_ old: [Element], with new: [Element]) {
    guard (old.count + new.count) * Self.costOfOne > count else {
      for element in old { remove(element) }
      for element in new { insert(element) }
      return
    }
    let (old, new) = (old.sorted(), new.sorted())
    var (gone, come) = (old.startIndex, new.startIndex)
    var elements: [Element] = []
    elements.reserveCapacity(count + new.count)
    for element in self.elements {
      while gone < old.endIndex, old[gone] < element { gone += 1 }
      if gone < old.endIndex, old[gone] == element { continue }
      while come < new.endIndex, new[come] < element {
        elements.append(new[come])
        come += 1
      }
      if come < new.endIndex, new[come] == element { come += 1 }
      elements.append(element)
    }
    elements.append(contentsOf: new[come...])
    self = RankedSet(ascending: elements)
  }

  /// About how many elements of a tree that is made anew cost as much as one that is inserted or removed.
  private static var costOfOne: Int { 8 }

  /// - Parameter elements: in ascending order, each once.
  private init(ascending elements: [Element]) {
    nodes.reserveCapacity(elements.count)
    root = built(from: elements[...])
  }

  private mutating func built(from elements: ArraySlice<Element>) -> Link {
    guard !elements.isEmpty else { return Self.nothing }
    let middle = elements.startIndex + elements.count / 2
    let link = newNode(elements[middle])
    let left = built(from: elements[..<middle])
    let right = built(from: elements[(middle + 1)...])
    nodes[Int(link)].left = left
    nodes[Int(link)].right = right
    nodes[Int(link)].weight = Int32(elements.count)
    return link
  }

  // MARK: The tree

  private func weight(of link: Link) -> Int32 { link == Self.nothing ? 0 : nodes[Int(link)].weight }

  private mutating func inserted(_ element: Element, below link: Link) -> Link {
    guard link != Self.nothing else { return newNode(element) }
    let index = Int(link)
    if element < nodes[index].element {
      nodes[index].left = inserted(element, below: nodes[index].left)
    } else if nodes[index].element < element {
      nodes[index].right = inserted(element, below: nodes[index].right)
    } else {
      return link
    }
    return balanced(link)
  }

  private mutating func removed(_ element: Element, below link: Link) -> Link {
    guard link != Self.nothing else { return link }
    let index = Int(link)
    if element < nodes[index].element {
      nodes[index].left = removed(element, below: nodes[index].left)
    } else if nodes[index].element < element {
      nodes[index].right = removed(element, below: nodes[index].right)
    } else {
      let (left, right) = (nodes[index].left, nodes[index].right)
      free.append(link)
      guard left != Self.nothing else { return right }
      guard right != Self.nothing else { return left }
      let (least, rest) = withoutLeast(below: right)
      nodes[Int(least)].left = left
      nodes[Int(least)].right = rest
      return balanced(least)
    }
    return balanced(link)
  }

  /// Takes the least node out of a tree that is not empty.
  private mutating func withoutLeast(below link: Link) -> (least: Link, rest: Link) {
    let index = Int(link)
    guard nodes[index].left != Self.nothing else { return (link, nodes[index].right) }
    let (least, rest) = withoutLeast(below: nodes[index].left)
    nodes[index].left = rest
    return (least, balanced(link))
  }

  private mutating func newNode(_ element: Element) -> Link {
    let node = Node(element: element, left: Self.nothing, right: Self.nothing, weight: 1)
    if let link = free.popLast() {
      nodes[Int(link)] = node
      return link
    }
    nodes.append(node)
    return Link(nodes.count - 1)
  }

  // MARK: Balance

  /// Whether a tree may have this one beside it: counted with one more each, it is not three times as large.
  private func isBalanced(_ link: Link, beside other: Link) -> Bool {
    3 * (weight(of: other) + 1) >= weight(of: link) + 1
  }

  /// Puts right what one insertion or removal below has changed, and the node's own weight.
  private mutating func balanced(_ link: Link) -> Link {
    let index = Int(link)
    let (left, right) = (nodes[index].left, nodes[index].right)
    if !isBalanced(right, beside: left) {
      let (inner, outer) = (nodes[Int(right)].left, nodes[Int(right)].right)
      if weight(of: inner) + 1 >= 2 * (weight(of: outer) + 1) { nodes[index].right = rotatedRight(right) }
      return rotatedLeft(link)
    }
    if !isBalanced(left, beside: right) {
      let (outer, inner) = (nodes[Int(left)].left, nodes[Int(left)].right)
      if weight(of: inner) + 1 >= 2 * (weight(of: outer) + 1) { nodes[index].left = rotatedLeft(left) }
      return rotatedRight(link)
    }
    weigh(link)
    return link
  }

  private mutating func rotatedLeft(_ link: Link) -> Link {
    let top = nodes[Int(link)].right
    nodes[Int(link)].right = nodes[Int(top)].left
    weigh(link)
    nodes[Int(top)].left = link
    weigh(top)
    return top
  }

  private mutating func rotatedRight(_ link: Link) -> Link {
    let top = nodes[Int(link)].left
    nodes[Int(link)].left = nodes[Int(top)].right
    weigh(link)
    nodes[Int(top)].right = link
    weigh(top)
    return top
  }

  private mutating func weigh(_ link: Link) {
    let node = nodes[Int(link)]
    nodes[Int(link)].weight = weight(of: node.left) + weight(of: node.right) + 1
  }
}
