/// What was read of one GPU at one moment. What could not be learnt is `nil`: it holds nothing back.
package struct GPUReading: Hashable, Sendable {
  package struct Process: Hashable, Sendable {
    package enum Owner: Hashable, Sendable {
      /// It belongs to the instance in this placement.
      case instance(InstanceID)
      /// Somebody else's, with the command as it can be told.
      case other(command: String)
      /// Nobody can be named: it may be one of ours.
      case unknown
    }

    package var pid: Int32
    /// Bytes that it holds of this GPU.
    package var memory: Int?
    package var owner: Owner

    package init(pid: Int32, memory: Int?, owner: Owner) {
      self.pid = pid
      self.memory = memory
      self.owner = owner
    }
  }

  package var uuid: String
  /// Bytes.
  package var memoryTotal: Int?
  /// Bytes, of all processes and the driver together.
  package var memoryUsed: Int?
  package var processes: [Process]?
  package var trouble: GPUTrouble?

  package init(
    uuid: String, memoryTotal: Int? = nil, memoryUsed: Int? = nil, processes: [Process]? = nil,
    trouble: GPUTrouble? = nil
  ) {
    self.uuid = uuid
    self.memoryTotal = memoryTotal
    self.memoryUsed = memoryUsed
    self.processes = processes
    self.trouble = trouble
  }
}

extension GPUReading.Process: CustomStringConvertible {
  package var description: String { memory.map { "\(name) with \(byteText($0))" } ?? name }

  /// The same without what changes all the time.
  var name: String {
    switch owner {
    case .instance(let id): "\(id) (process \(pid))"
    case .other(let command): "\(command) (process \(pid))"
    case .unknown: "process \(pid)"
    }
  }
}

/// Why a GPU can't be used, as a reading shows it.
package enum GPUTrouble: Hashable, Sendable, CustomStringConvertible {
  /// The driver says that it fell off the bus. What ran on it has lost what it computed.
  case lost
  /// It was there before, and a complete reading has nothing of it.
  case missing
  /// A device node, without which nothing that starts can use it. What runs has opened it long ago.
  case missingNode(String)
  /// The driver refuses it until it is reset.
  case needsReset
  /// The driver gives no answer, or one that tells nothing: what runs may go on, what starts would find no GPU.
  case unanswered(String)

  package var description: String {
    switch self {
    case .lost: "the GPU is lost (it fell off the bus)"
    case .missing: "the GPU is not there any more"
    case .missingNode(let path):
      "its device node \(path) is missing" + (path == "/dev/nvidia-uvm" ? "; `nvidia-modprobe -u -c=0` makes it" : "")
    case .needsReset: "the GPU needs a reset"
    case .unanswered(let text): "the driver can't be asked about it: \(text)"
    }
  }

  /// What becomes of an instance on the GPU.
  enum Consequence: Hashable, Sendable {
    /// It goes on; only nothing is started.
    case none
    /// It may finish what it has begun, for a while.
    case drain
    /// Nothing of it can be saved.
    case end
  }

  var consequence: Consequence {
    switch self {
    case .lost, .missing: .end
    case .needsReset: .drain
    case .missingNode, .unanswered: .none
    }
  }
}
