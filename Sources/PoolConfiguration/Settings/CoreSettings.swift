package import PoolCore

extension Settings {
  /// What bounds the dispatch; what the file has no key for stays the core's.
  package var dispatchLimits: DispatchLimits {
    var limits = DispatchLimits()
    limits.waitingRequests = queue.requests
    limits.maximumWait = queue.maximumWait
    limits.assumedService = queue.assumedService
    limits.coldStart = scaling.coldStart
    limits.firstByteLimit = health.firstByteLimit
    limits.stallTimeout = health.stallTimeout
    limits.probeTimeout = health.probeTimeout
    limits.probeFailures = health.probeFailures
    limits.preload = preload
    return limits
  }
}
