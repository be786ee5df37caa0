import Broker
import Gateway
import HTTPTypes
import OAuth
import Vault

/// Sends one request through the gateway and shows what came of it. No token is ever shown.
enum TryPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        let subject = inbound.asked("subject")
        let form = TryForm(for: head, subject: subject.isEmpty ? nil : subject)
        return inbound.page(page(head, form.values(head)))
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        let form = TryForm(try inbound.form)
        let call: Call
        switch form.call(of: head.connection) {
        case .success(let made): call = made
        case .failure(let faults):
            return inbound.page(page(head, form.values(head, faults: faults.list), status: .unprocessableContent))
        }
        let began = ContinuousClock.now
        do throws(Problem) {
            let answer = try await inbound.faces.gateway.call(call, for: try inbound.caller, limit: TryAnswer.shown, isAgent: false)
            var values = form.values(head)
            values["answer"] = TryAnswer.values(answer, to: call, took: ContinuousClock.now - began)
            return inbound.page(page(head, values))
        } catch {
            guard let fault = error.errors.first(where: { $0.pointer == "/subject" }) else { return inbound.page(refused(error, head, form)) }
            let faults = [TryForm.Fault(field: "subject", text: TroubleNotice.sentence(fault.detail))]
            return inbound.page(page(head, form.values(head, faults: faults), status: .unprocessableContent))
        }
    }

    private static func refused(_ problem: Problem, _ head: ConnectionHead, _ form: TryForm) -> ConsolePage {
        let isOfAPI = [.providerError, .providerUnreachable].contains(problem.code)
        var trouble = TroubleNotice.value(problem, heading: isOfAPI ? "No answer came" : "The request was not sent", connection: head.connection.id)
        if problem.code == .misconfigured {
            trouble["link"] = ["path": ConnectionHead.path(head.connection.id, .edit), "label": "Edit the connection"]
        }
        var values = form.values(head)
        values["trouble"] = trouble
        return page(head, values, status: .init(code: problem.code.status))
    }

    private static func page(_ head: ConnectionHead, _ values: [String: Any], status: HTTPResponse.Status = .ok) -> ConsolePage {
        var values = values
        let works = head.grants.contains { $0.state == "active" || $0.state == "expired" }
        values["is_unconnected"] = !works && !head.connection.fetchesAlone
        var page = head.page(.tryIt, values, template: "try")
        page.status = status
        return page
    }
}
