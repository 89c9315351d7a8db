import Gateway
import PoolCore

/// What the journal tells of the dispatcher. Each kind has an entry in `units/ollama-pool-dispatcher.catalog`.
enum DispatcherEvent {
  case started(version: String, endpoints: [String], metrics: String?)
  /// A port was taken, and another one is used instead.
  case portMoved(from: String, holder: String?, to: String)
  /// A socket was passed on whose name means nothing here.
  case socketUnused(name: String)
  /// `forRestart`: keys whose new values wait for the next start.
  case reloaded(forRestart: [String])
  /// The new configuration is wrong; the old one stays in force.
  case reloadRefused(reason: String)
  case supervisorConnected(processID: Int32, instances: Int)
  case supervisorGone
  /// A peer on the control socket asked for what it may not do.
  case permissionDenied(method: String, userID: UInt32, processID: Int32)
  /// A decision of the core's.
  case decided(DispatchReport, InstanceFacts?)
  /// A request that was not served: refused, expired or failed.
  case requestLost(RequestFacts, RequestOutcome)
  case requestCancelled(RequestFacts, byUserID: UInt32)
  /// An operator gave a request that waits another priority.
  case requestMoved(RequestFacts, priority: Int, byUserID: UInt32)
  case keyAdded(KeyFacts, byUserID: UInt32)
  case keyRevoked(KeyFacts, byUserID: UInt32)
  /// A client's options cost a load.
  case modelReloaded(ModelReload)
  /// A client was refused before its request was read, because the pool lacks something.
  case noRoom(GatewayRefusal, client: String)
  /// The dispatcher could not connect to an instance, for want of something of its own.
  case connectionLacked(problem: String)
  /// Something that was to outlive the dispatcher could not be written down.
  case storeFailed(problem: String)
  /// Questions are answered without the sources that they should have, or with fewer.
  case sourcesFailed(problem: String)

  /// The values are MESSAGE_IDs.
  enum Kind: String, CaseIterable {
    case started = "3179c652497045828df1dfa44a39a0a7"
    case portMoved = "935a730583c94616919237143b64fc88"
    case socketUnused = "6b72ae26179e479898d1e894c0930413"
    case reloaded = "31a5ad988c4742cb8c95c13fdcecbfa6"
    case reloadRefused = "af79997b0be34b6d96a81abed1324ae1"
    case supervisorConnected = "90477bbb2a344af1b9612f96c66b1ddc"
    case supervisorGone = "81a24664fc0147ac804448c13f35bb50"
    case permissionDenied = "c1af80a9cf6249f2a083a912b62d199e"
    case instanceRegistered = "c10e730eeab74b8593d351ff69ed93ee"
    case instanceAnswered = "0d437d1bde134a7b925d5d061318e57e"
    case instanceReady = "b7ac19993dc84d3bb1fbc67be787a93a"
    case instanceUnhealthy = "22d45329add447b3a6b7e3d49c20872b"
    case instanceRecovered = "4cab4d0de7534d399896e19d12765d88"
    case instanceDeregistered = "d173c9f96a6c4a4cb42de2984358ef9a"
    case requestPutBack = "35c9c7e1714a450b9afbbd973180c067"
    case requestRefused = "17044a38ffa44bbcb65d0ea5da778134"
    case requestExpired = "06669dcd8d034f84b07fb4fd587b51d4"
    case requestFailed = "79c1c0e1c0a74654b21f48645ec2c50f"
    case requestCancelled = "95fe942bd03a41348f3cfd4589ca6b2e"
    case requestMoved = "e1ded149ea8b41ada57d46df58be7065"
    case keyAdded = "1c32539ae0c047d9a5b0e296154e56cb"
    case keyRevoked = "acaeab59d40f43ddbcd65616f6ee138c"
    case modelReloaded = "5743fa35c4904e46883f5fa78812154b"
    case preloadEvicted = "330a59b858694e7f95f2d5691d9cd266"
    case preloadFailed = "07d8974da11c4babb62de0ca0ca88bc6"
    case preloadPartlyOnGPU = "a0b69e98cbfc436f9d8e8e948082d22b"
    case noRoom = "a7751812e3ba4244b3d8ce85c986c9db"
    case connectionLacked = "b14c493231574134b42da435f0136058"
    case storeFailed = "dc187255a89442f1875318802705ecf2"
    case sourcesFailed = "3cb7583f34944d6ba082b32b9d818913"
    case drainBegan = "cf622944cb2144d79d5bc8e20f79315b"
    case drained = "a96cf5a434fb46978789e1161dc581f2"
  }
}

/// What an entry says of an instance beside its name.
struct InstanceFacts: Equatable {
  var invocation: InvocationID
  var address: String
  var gpus: [String]
  var slots: Int
  /// The pool's, with this instance.
  var maxConcurrent: Int
}

/// What an entry says of a request.
struct RequestFacts: Equatable {
  var id: RequestID
  /// Method and path.
  var route: String
  var model: String?
  /// Who sent it: a name, or what stands for an address.
  var user: String?
  /// The instance that it was sent to last.
  var instance: InstanceID?
  /// What went wrong in the last attempt.
  var problem: String?
  /// Whether its answer had begun.
  var hadBegun: Bool
}

/// What an entry says of an API key. Never the key.
struct KeyFacts: Equatable {
  var id: String
  var name: String
  var role: Caller.Role
  var className: String
}

extension DispatcherEvent {
  var kind: Kind {
    switch self {
    case .started: .started
    case .portMoved: .portMoved
    case .socketUnused: .socketUnused
    case .reloaded: .reloaded
    case .reloadRefused: .reloadRefused
    case .supervisorConnected: .supervisorConnected
    case .supervisorGone: .supervisorGone
    case .permissionDenied: .permissionDenied
    case .requestCancelled: .requestCancelled
    case .requestMoved: .requestMoved
    case .keyAdded: .keyAdded
    case .keyRevoked: .keyRevoked
    case .modelReloaded: .modelReloaded
    case .noRoom: .noRoom
    case .connectionLacked: .connectionLacked
    case .storeFailed: .storeFailed
    case .sourcesFailed: .sourcesFailed
    case .requestLost(_, let outcome):
      switch outcome {
      case .expired: .requestExpired
      case .failed(.queueFull), .failed(.shuttingDown), .failed(.modelNotServed), .failed(.storeRefused),
        .failed(.rateLimited), .failed(.tokenLimited), .failed(.tooManyConcurrent), .failed(.tooManyWaiting):
        .requestRefused
      case .served, .cancelled, .failed: .requestFailed
      }
    case .decided(let report, _):
      switch report {
      case .instanceRegistered: .instanceRegistered
      case .instanceAnswered: .instanceAnswered
      case .instanceReady: .instanceReady
      case .instanceUnhealthy: .instanceUnhealthy
      case .instanceRecovered: .instanceRecovered
      case .instanceDeregistered: .instanceDeregistered
      case .requestPutBack: .requestPutBack
      case .modelReloaded: .modelReloaded
      case .preloadEvicted: .preloadEvicted
      case .preloadFailed: .preloadFailed
      case .preloadPartlyOnGPU: .preloadPartlyOnGPU
      case .drainBegan: .drainBegan
      case .drained: .drained
      }
    }
  }

  /// Events of one key are told at once only after a pause, and summed up within it; nil for what is always told.
  var repetition: String? {
    switch self {
    case .started, .portMoved, .socketUnused, .reloaded, .reloadRefused, .supervisorConnected, .supervisorGone,
      .requestCancelled, .requestMoved, .keyAdded, .keyRevoked:
      return nil
    case .noRoom(let refusal, _): return "\(kind) \(refusal)"
    case .connectionLacked, .storeFailed, .sourcesFailed: return "\(kind)"
    case .permissionDenied(_, let userID, _): return "\(kind) \(userID)"
    case .modelReloaded(let reload): return "\(kind) \(reload.model) \(reload.client)"
    case .requestLost(let request, let outcome): return "\(kind) \(outcome) \(request.instance?.name ?? "")"
    case .decided(let report, let facts):
      switch report {
      case .instanceUnhealthy(let id, _, _, _), .instanceRecovered(let id):
        // An instance may come and go; its successor's first fault is told at once.
        return "\(kind) \(id) \(facts?.invocation.text ?? "")"
      case .requestPutBack(_, let id, _), .modelReloaded(_, let id, _, _, _): return "\(kind) \(id)"
      case .preloadEvicted(let id, let model), .preloadFailed(let id, let model, _): return "\(kind) \(id) \(model)"
      case .preloadPartlyOnGPU(let id, let model): return "\(kind) \(id) \(model.name)"
      case .instanceRegistered, .instanceAnswered, .instanceReady, .instanceDeregistered, .drainBegan, .drained:
        return nil
      }
    }
  }
}
