import PoolCore
import Systemd

/// Something that the supervisor tells, once: to the journal, and to whoever asks it to explain itself.
struct SupervisorEvent: Equatable, Sendable {
  var kind: Kind
  /// What happened, as the beginning of a sentence.
  var what: String
  /// From what, or what follows; may be empty.
  var why: String
  /// Where it is about a placement.
  var instance: InstanceID?
  /// UUIDs, where it is about GPUs.
  var gpus: [String] = []

  init(_ kind: Kind, _ what: String, why: String = "", instance: InstanceID? = nil, gpus: [String] = []) {
    self.kind = kind
    self.what = what
    self.why = why
    self.instance = instance
    self.gpus = gpus
  }

  /// For the journal.
  var entry: JournalEntry {
    var fields: [(name: String, value: String)] = []
    if let instance { fields.append((name: "POOL_INSTANCE", value: instance.name)) }
    if !gpus.isEmpty { fields.append((name: "POOL_GPU", value: gpus.joined(separator: ","))) }
    if !why.isEmpty { fields.append((name: "POOL_REASON", value: why)) }
    return JournalEntry(
      why.isEmpty ? what : "\(what): \(why)", priority: kind.priority, messageID: kind.messageID, fields: fields)
  }
}

extension SupervisorEvent {
  /// The kinds of events. `units/ollama-pool-supervisor.catalog` explains each, by its MESSAGE_ID.
  enum Kind: CaseIterable, Sendable {
    // What the core decides and finds out.
    case targetChanged, starting, running, adopted, ready, failed, quarantined, draining, stopping, stopped
    case replacementHeld, dispatcherFound, dispatcherLost, dispatcherEnded, scaleSet, cordoned, uncordoned
    case cordonEnded, startHeld, goesOn, gpuFailed, gpuBack, gpuEvent, modelBesideGPU, writerChanged, modelRead,
      readAheadFailed
    // What the daemon meets.
    case began, ends, reloaded, reloadRefused, scaleEnded, ordersRestored, dispatcherUnreachable, stopRefused
    case serviceManagerBack, networkTrouble, storeChanged, stateTrouble, stateStored, permissionDenied,
      inventoryTrouble, placementsChanged,
      programChanged, programMissing

    var messageID: String {
      switch self {
      case .targetChanged: "bc122fa41251483cbf1cb1d8aed00431"
      case .starting: "2f3015c6af9d405990c885fb0840f376"
      case .running: "351666634e844e8bb8a8cd49cda908f2"
      case .adopted: "7ffa415695234626b82abed6f44462f4"
      case .ready: "120d4f52e0ee489f956d71214fab7dcc"
      case .failed: "bbda1674ec2545feb534c95220c17c20"
      case .quarantined: "3f440e03b7214c3cb43b3d82ec5e54e9"
      case .draining: "6d0ed676a2ab4ec786d88c475f6ea3d7"
      case .stopping: "bb55e9fef98f4f79b80fcad7130216b0"
      case .stopped: "c6e5acf0ba734e0582a35eba5553bccd"
      case .replacementHeld: "bb6b581341004bfa9de69432ea9531a5"
      case .dispatcherFound: "00a53045ac224a26bffdb67657da2639"
      case .dispatcherLost: "dc005aea464e4a95b5ccfec105d24667"
      case .dispatcherEnded: "d00404dcd84d42a589f6c02534f808c0"
      case .scaleSet: "c3940a3e6346470a8b2f5ff41097a205"
      case .cordoned: "fc036bb6989740919fcf1e30a5b05749"
      case .uncordoned: "a14d35e36f5f4678a543e54af091857a"
      case .cordonEnded: "0e85d50ebf6943de914d6ed45800e392"
      case .startHeld: "4d04f06ee5df44ab94826f2f10895597"
      case .goesOn: "4e5468dda5774912b80afb915e081131"
      case .gpuFailed: "e0528897a85e48379ac6e8031993cd4d"
      case .gpuBack: "9e8fbb78c9a449e39711feff420924bc"
      case .gpuEvent: "f492d75bcb1947158b08dd4629f9b552"
      case .modelBesideGPU: "535bd6726d48454798ceb6cd40367394"
      case .writerChanged: "10991cc4f4864dd58fe40cb94279b9d5"
      case .modelRead: "5f0c6f3a8c5b4f0d9c2e3b7a61d4e8f2"
      case .readAheadFailed: "e3a1b6d27f944c0f8a5d9b0c4e7f1a63"
      case .began: "c57fa52dd6164a14b432f5835556d5ba"
      case .ends: "ec0a83499bb54020ad093f3fdf7d965a"
      case .reloaded: "44db7d2bfc6e432a830f3fc08c5e93f1"
      case .reloadRefused: "af61cb8b086143f38a6cec89d2119ced"
      case .scaleEnded: "a5bef24313034d67abdf92597870c04b"
      case .ordersRestored: "4167dd43e3574ab984aa6c7cba06ddda"
      case .dispatcherUnreachable: "99f0ddcfe2f14aea970fe41fb8cebd62"
      case .stopRefused: "2a96222109d442319a9ab466d0a03c51"
      case .serviceManagerBack: "251e0909e6da4672a27d10483011f7f4"
      case .networkTrouble: "c0f44ae25f5746eeab958171410cc0c7"
      case .storeChanged: "d6e567be9a4b4a08bef909903b478881"
      case .stateTrouble: "af1b46651a4d4eca8d12982620eea398"
      case .stateStored: "a935a3e31b58159e58fec8a5dae8185d"
      case .permissionDenied: "a999806b94fabefcb7ffe5070324c0da"
      case .inventoryTrouble: "c3e3ae2d7faf4c29b0f178714c76f5c7"
      case .placementsChanged: "0a1a5e7d6d6e4c93982f0b3957387513"
      case .programChanged: "cd539757c6b04a268ce49fedaf997616"
      case .programMissing: "ce7883c81e924cbd9238b838a814b7f8"
      }
    }

    var priority: JournalPriority {
      switch self {
      case .quarantined, .gpuFailed, .stopRefused, .reloadRefused, .programMissing: .error
      case .failed, .startHeld, .gpuEvent, .modelBesideGPU, .replacementHeld, .dispatcherLost, .dispatcherUnreachable,
        .readAheadFailed, .stateTrouble, .networkTrouble, .inventoryTrouble,
        .permissionDenied:
        .warning
      case .targetChanged, .storeChanged, .began, .ends, .reloaded, .scaleSet, .scaleEnded, .cordoned, .uncordoned,
        .cordonEnded, .gpuBack,
        .programChanged:
        .notice
      case .starting, .running, .adopted, .ready, .draining, .goesOn, .writerChanged, .modelRead, .stopping, .stopped,
        .dispatcherFound, .dispatcherEnded,
        .ordersRestored,
        .serviceManagerBack, .stateStored, .placementsChanged:
        .info
      }
    }
  }
}
