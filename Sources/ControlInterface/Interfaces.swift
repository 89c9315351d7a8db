/// The two interfaces of the control socket, by name and description. The types beside are their parameters; what
/// each field means stands in the `.varlink` files, which are what a client sees.
package enum DispatcherInterface {
  package static let name = "ollamapool.Dispatcher"
  package static let description = String(decoding: PackageResources.ollamapool_Dispatcher_varlink, as: UTF8.self)

  package enum Method: String, CaseIterable, Sendable {
    case watchQueue = "WatchQueue"
    case setInstances = "SetInstances"
    case retireInstance = "RetireInstance"
    case reportFleet = "ReportFleet"
    case reportQueueDepth = "ReportQueueDepth"
    case watchCapacity = "WatchCapacity"
    case getStatus = "GetStatus"
    case listRequests = "ListRequests"
    case cancelRequest = "CancelRequest"
    case setPriority = "SetPriority"
    case addKey = "AddKey"
    case listKeys = "ListKeys"
    case revokeKey = "RevokeKey"

    package var qualified: String { "\(DispatcherInterface.name).\(rawValue)" }
    /// Whether it takes the right to change something.
    package var changes: Bool {
      switch self {
      case .setInstances, .retireInstance, .reportFleet, .cancelRequest, .setPriority, .addKey, .revokeKey: true
      case .watchQueue, .reportQueueDepth, .watchCapacity, .getStatus, .listRequests, .listKeys: false
      }
    }
  }
}

package enum SupervisorInterface {
  package static let name = "ollamapool.Supervisor"
  package static let description = String(decoding: PackageResources.ollamapool_Supervisor_varlink, as: UTF8.self)

  package enum Method: String, CaseIterable, Sendable {
    case getStatus = "GetStatus"
    case watch = "Watch"
    case explain = "Explain"
    case setScale = "SetScale"
    case cordonGPU = "CordonGPU"
    case uncordonGPU = "UncordonGPU"
    case drainInstance = "DrainInstance"
    case restartInstance = "RestartInstance"
    case reload = "Reload"

    package var qualified: String { "\(SupervisorInterface.name).\(rawValue)" }
    /// Whether it takes the right to change something.
    package var changes: Bool {
      switch self {
      case .setScale, .cordonGPU, .uncordonGPU, .drainInstance, .restartInstance, .reload: true
      case .getStatus, .watch, .explain: false
      }
    }
  }
}

/// The errors of both interfaces, by their qualified names.
package enum ControlError {
  package static let noSuchRequest = "ollamapool.Dispatcher.NoSuchRequest"
  package static let tooManyFrontEnds = "ollamapool.Dispatcher.TooManyFrontEnds"
  package static let notWaiting = "ollamapool.Dispatcher.NotWaiting"
  package static let unknownClass = "ollamapool.Dispatcher.UnknownClass"
  package static let keyNameTaken = "ollamapool.Dispatcher.KeyNameTaken"
  package static let noSuchKey = "ollamapool.Dispatcher.NoSuchKey"
  package static let tooManyKeys = "ollamapool.Dispatcher.TooManyKeys"
  package static let keyNotStored = "ollamapool.Dispatcher.NotStored"
  package static let noSuchGPU = "ollamapool.Supervisor.NoSuchGPU"
  package static let noSuchInstance = "ollamapool.Supervisor.NoSuchInstance"
  package static let cannotStart = "ollamapool.Supervisor.CannotStart"
  package static let invalidScale = "ollamapool.Supervisor.InvalidScale"
  package static let notStored = "ollamapool.Supervisor.NotStored"
  package static let invalidConfiguration = "ollamapool.Supervisor.InvalidConfiguration"
}
