extension Dispatch {
  package mutating func suspend(_ id: RequestID, at now: Instant) -> [DispatchAction] { cancel(id, at: now) ?? [] }
  package mutating func resume(_ id: RequestID, at now: Instant) -> [DispatchAction] { [] }
}
