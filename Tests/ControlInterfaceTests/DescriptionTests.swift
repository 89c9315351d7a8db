import Foundation
import Testing

@testable import ControlInterface

/// The Swift types say what the descriptions say, which is what other programs go by.
@Suite struct DescriptionTests {
  private typealias Method = (name: String, parameters: (any Codable.Type)?, reply: (any Codable.Type)?)

  @Test func `the dispatcher's types are those of its description`() throws {
    let description = try InterfaceDescription(DispatcherInterface.description)
    #expect(description.name == DispatcherInterface.name)
    try expectTypes(
      [
        "Instance": DispatcherTypes.Instance.self, "InstanceState": DispatcherTypes.InstanceState.self,
        "LoadedModel": DispatcherTypes.LoadedModel.self, "ModelLoad": DispatcherTypes.ModelLoad.self,
        "ModelDemand": DispatcherTypes.ModelDemand.self,
        "FrontEnd": DispatcherTypes.FrontEnd.self, "GPU": DispatcherTypes.GPU.self,
        "GPUFaults": DispatcherTypes.GPUFaults.self, "Reloads": DispatcherTypes.Reloads.self,
        "Queue": DispatcherTypes.Queue.self, "Request": DispatcherTypes.Request.self,
        "Key": DispatcherTypes.Key.self,
      ], in: description)
    try expectMethods(
      [
        ("WatchQueue", nil, DispatcherCalls.WatchQueueReply.self),
        ("SetInstances", DispatcherCalls.SetInstances.self, nil),
        ("RetireInstance", DispatcherCalls.RetireInstance.self, DispatcherCalls.RetireInstanceReply.self),
        ("ReportFleet", DispatcherCalls.ReportFleet.self, nil),
        ("ReportQueueDepth", DispatcherCalls.ReportQueueDepth.self, nil),
        ("WatchCapacity", nil, DispatcherCalls.WatchCapacityReply.self),
        ("GetStatus", nil, DispatcherCalls.GetStatusReply.self),
        ("ListRequests", nil, DispatcherCalls.ListRequestsReply.self),
        ("CancelRequest", DispatcherCalls.CancelRequest.self, nil),
        ("SetPriority", DispatcherCalls.SetPriority.self, nil),
        ("AddKey", DispatcherCalls.AddKey.self, DispatcherCalls.AddKeyReply.self),
        ("ListKeys", nil, DispatcherCalls.ListKeysReply.self),
        ("RevokeKey", DispatcherCalls.RevokeKey.self, DispatcherCalls.RevokeKeyReply.self),
      ], in: description)
    #expect(Set(DispatcherInterface.Method.allCases.map(\.rawValue)) == Set(description.methods.keys))
  }

  @Test func `the supervisor's types are those of its description`() throws {
    let description = try InterfaceDescription(SupervisorInterface.description)
    #expect(description.name == SupervisorInterface.name)
    try expectTypes(
      [
        "Instance": SupervisorTypes.Instance.self, "GPU": SupervisorTypes.GPU.self,
        "GPUProcess": SupervisorTypes.GPUProcess.self, "ModelStore": SupervisorTypes.ModelStore.self,
        "Status": SupervisorTypes.Status.self, "Decision": SupervisorTypes.Decision.self,
        "StartTimes": SupervisorTypes.StartTimes.self, "ModelLoad": SupervisorTypes.ModelLoad.self,
        "ReadModel": SupervisorTypes.ReadModel.self,
      ], in: description)
    try expectMethods(
      [
        ("GetStatus", nil, SupervisorCalls.StatusReply.self), ("Watch", nil, SupervisorCalls.StatusReply.self),
        ("Explain", nil, SupervisorCalls.ExplainReply.self), ("SetScale", SupervisorCalls.SetScale.self, nil),
        ("CordonGPU", SupervisorCalls.CordonGPU.self, nil), ("UncordonGPU", SupervisorCalls.UncordonGPU.self, nil),
        ("DrainInstance", SupervisorCalls.InstanceOrder.self, nil),
        ("RestartInstance", SupervisorCalls.InstanceOrder.self, nil), ("Reload", nil, nil),
      ], in: description)
    #expect(Set(SupervisorInterface.Method.allCases.map(\.rawValue)) == Set(description.methods.keys))
  }

  @Test func `the errors are those of the descriptions`() throws {
    let described = try [DispatcherInterface.description, SupervisorInterface.description].flatMap { text in
      let description = try InterfaceDescription(text)
      return description.errors.keys.map { "\(description.name).\($0)" }
    }
    #expect(
      Set(described) == [
        ControlError.notWaiting, ControlError.unknownClass, ControlError.keyNameTaken, ControlError.noSuchKey,
        ControlError.tooManyKeys,
        ControlError.keyNotStored, ControlError.noSuchRequest, ControlError.tooManyFrontEnds, ControlError.noSuchGPU,
        ControlError.noSuchInstance,
        ControlError.cannotStart, ControlError.invalidScale, ControlError.notStored, ControlError.invalidConfiguration,
      ])
  }

  // MARK: Comparing

  private func expectTypes(_ types: [String: any Codable.Type], in description: InterfaceDescription) throws {
    #expect(Set(types.keys) == Set(description.types.keys))
    for (name, fields) in description.types {
      if let type = types[name] { try expect(type, is: fields, in: description, "type \(name)") }
    }
  }

  private func expectMethods(_ methods: [Method], in description: InterfaceDescription) throws {
    #expect(methods.map(\.name).sorted() == description.methods.keys.sorted())
    for (name, parameters, reply) in methods {
      let method = try #require(description.methods[name])
      for (type, fields) in [(parameters, method.parameters), (reply, method.reply)] {
        #expect((type == nil) == fields.isEmpty, "\(name)")
        if let type { try expect(type, is: fields, in: description, "method \(name)") }
      }
    }
  }

  private func expect<Value: Codable>(
    _ type: Value.Type, is fields: [InterfaceDescription.Field], in description: InterfaceDescription, _ place: String
  ) throws {
    let whole = try description.example(of: fields)
    let value = try decode(type, whole)
    let encoded = try JSONSerialization.jsonObject(with: try JSONEncoder().encode(value)) as? NSDictionary
    #expect(encoded == whole as NSDictionary, "\(place)")
    let parts = Mirror(reflecting: value).children
    #expect(parts.compactMap(\.label).sorted() == fields.map(\.name).sorted(), "\(place)")
    for field in fields {
      var rest = whole
      rest[field.name] = nil
      let isOptional = (try? decode(type, rest)) != nil
      #expect(isOptional == field.isOptional, "\(place), \(field.name)")
      guard case .words(let words) = field.kind else { continue }
      let part = try #require(parts.first { $0.label == field.name }?.value)
      let choice = try #require(part as? any CaseIterable, "\(place), \(field.name)")
      #expect(Self.words(of: choice) == words, "\(place), \(field.name)")
    }
  }

  private static func words<Choice: CaseIterable>(of choice: Choice) -> [String] { Choice.allCases.map { "\($0)" } }

  private func decode<Value: Decodable>(_ type: Value.Type, _ object: [String: Any]) throws -> Value {
    try JSONDecoder().decode(type, from: try JSONSerialization.data(withJSONObject: object))
  }
}
