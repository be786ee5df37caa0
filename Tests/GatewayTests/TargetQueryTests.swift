import Broker
import Testing

@testable import Gateway

@Suite struct TargetQueryTests {
    @Test(
        arguments: [
            "", "a=1", "a=1&b=2", "a=1;b=2", "a=+", "a=%00", "a=1&a=2", "&&", "=", "a[]=1&a[b]=2", #"filter={"a":1}"#, "a|b", "a^b", "a`b", "?",
            "a/b?c", "q=%C3%A9", "q=%c0%ae", "t=12:00@x", "access_token=x",
        ])
    func aQueryIsKeptByteForByte(query: String) throws {  // SEC-83
        #expect(try TargetQuery.checked(query[...], reserved: []).map { Array($0.utf8) } == Array(query.utf8))
    }

    @Test func noQueryIsNone() throws {
        #expect(try TargetQuery.checked(nil, reserved: ["key"]) == nil)
    }

    @Test(arguments: ["a b", "a\n", "a\r\nX: y", "a\u{0}", "a\u{7f}", "é", "a#b", "a\\b", "<a", "a>", "%", "a=%2", "a=%zz", "100%&a=b"])
    func whatNoQueryMayHoldIsRefused(query: String) {  // SEC-83
        let problem = #expect(throws: Problem.self) { try TargetQuery.checked(query[...], reserved: []) }
        #expect(problem?.code == .invalidRequest)
        #expect(problem?.fix != nil)
    }

    @Test func aLongQueryIsRefused() throws {  // SEC-83
        #expect(try TargetQuery.checked(String(repeating: "a", count: 32_768)[...], reserved: []) != nil)
        #expect(throws: Problem.self) { try TargetQuery.checked(String(repeating: "a", count: 32_769)[...], reserved: []) }
        #expect(throws: Problem.self) { try TargetQuery.checked(String(repeating: "a=1&", count: 20_000)[...], reserved: []) }
    }

    @Test(
        arguments: [
            "access_token=x", "access_token", "access_token=", "a=1&access_token=x", "a=1;access_token=x", "ACCESS_TOKEN=x", "Access_Token=x",
            "%61ccess_token=x", "access%5Ftoken=x", "access%5ftoken", "%2561ccess_token=x", "%252561ccess_token=x", "access_token[]=x",
            "access_token[a]=x", "access_token%5B%5D=x", "access_token%00x=y", "+access_token=x", "%20access_token=x", "access.token=x",
            "access+token=x", "&&access_token=x&",
        ])
    func theCallerNamesNoParameterThatIsPutIn(query: String) {  // SEC-80, SEC-84
        let problem = #expect(throws: Problem.self) { try TargetQuery.checked(query[...], reserved: ["key", "access_token"]) }
        #expect(problem?.code == .invalidRequest)
        #expect(problem?.detail.hasSuffix("which the connection's instructions put in") == true)
        #expect(problem?.detail.contains("=") == false)
    }

    @Test(
        arguments: [
            "a=access_token", "access_tokens=x", "xaccess_token=1", "access_toke", "access-token=x", "a=1&b=%26access_token", "a[access_token]=x",
        ])
    func othersPass(query: String) throws {
        #expect(try TargetQuery.checked(query[...], reserved: ["access_token"]) == query[...])
    }
}
