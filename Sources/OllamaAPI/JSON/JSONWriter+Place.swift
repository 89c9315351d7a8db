package import PoolCore

extension JSONWriter {
  /// Appends the members of an object that tells where a request stands.
  package mutating func members(of place: QueuePlace) {
    raw("\"position\":")
    number(place.position)
    raw(",\"eta_seconds\":")
    number(place.etaSeconds)
    raw(",\"eta_p90_seconds\":")
    number(place.etaP90Seconds)
    raw(place.isGuess ? ",\"eta_is_guess\":true" : ",\"eta_is_guess\":false")
  }

  package mutating func object(of place: QueuePlace) {
    raw("{")
    members(of: place)
    raw("}")
  }
}
