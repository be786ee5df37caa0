import Broker
import RehearsalProvider
import TestSupport
import Testing

@testable import Server

/// Text of others stays text, on every page and in every place of it. SEC-104.
@Suite struct ConsoleInjectionTests {
    static let plants = [
        Plant(name: "end of an attribute", payload: #""><script>alert(1)</script>"#),
        Plant(name: "end of a comment", payload: #"'"--><img src=x onerror=alert(1)>"#), Plant(name: "address", payload: "javascript:alert(1)"),
        Plant(name: "template", payload: "{{csrf}}{{{csrf}}}{{&csrf}}{{#navigation}}x{{/navigation}}{{> layout}}{{! }}"),
        // Swift takes a quote with an accent behind it for another character; a browser does not.
        Plant(name: "combining marks", payload: "\"\u{301} onfocus=alert(1) autofocus x=\"\u{301}>\u{301}<svg/onload=alert(1)>\u{338}&\u{301}"),
        Plant(name: "invisible characters", payload: "\u{0}\u{202E}\u{200B}\u{2066}\u{FEFF}\"><b onclick=alert(1)>\u{2028}\u{7F}\u{85}"),
        Plant(name: "end of an element", payload: "</textarea></title></pre></select></script></svg><svg/onload=alert(1)><a href=javascript:alert(1)>"),
        Plant(name: "references", payload: "&lt;script&gt;&#34;&quot;&#x3c;&amp;lt;"),
        Plant(name: "100 KiB", payload: String(repeating: #"<b>"'&"#, count: 17_100)),
    ]

    private static let walkOfHarmless = Task { try await PlantedConsole.walk(.harmless) }

    /// Of providers whose data comes with the server: the only addresses elsewhere that a page of the console links to.
    static let presetLinks = Set(Preset.all.compactMap(\.website).filter { $0.hasPrefix("https://") })

    @Test(arguments: plants) func nothingThatIsPlantedBecomesAPartOfAPage(plant: Plant) async throws {  // SEC-52, SEC-102, SEC-104
        let harmless = try await Self.walkOfHarmless.value
        let walk = try await PlantedConsole.walk(plant)
        let known = harmless.seen.reduce(into: Set<String>()) { $0.formUnion(PageMarkup($1.page.body).pairs) }
        #expect(walk.seen.map(\.what) == harmless.seen.map(\.what))
        for (seen, other) in zip(walk.seen, harmless.seen) {
            let page = PageMarkup(seen.page.body)
            // 502 is a provider's refusal.
            #expect(
                (seen.page.status < 500 || seen.page.status == 502) && !(seen.isSteady && seen.page.status != other.page.status),
                "\(seen.what): \(seen.page.status)")
            let links = Self.presetLinks.union([PlantedConsole.returnURL])
            #expect(page.violations(at: walk.origin, links: links).isEmpty, "\(seen.what): \(page.violations(at: walk.origin, links: links))")
            #expect(page.pairs.subtracting(known).isEmpty, "\(seen.what): \(page.pairs.subtracting(known).sorted())")
            if seen.isSteady {
                let kinds = (page.kinds, PageMarkup(other.page.body).kinds)
                // Uses are noted every now and then: what says when the last one was comes and goes.
                let differing = Set(kinds.0.keys).union(kinds.1.keys).filter { kinds.0[$0] != kinds.1[$0] && !$0.hasPrefix("time[") }
                #expect(differing.isEmpty, "\(seen.what): \(differing.sorted())")
            }
            for mark in seen.marks { #expect(page.holds(Plant.mark(mark)), "\(seen.what) does not show \(mark)") }
            // All of it, to the letter.
            if seen.isSteady, seen.marks.contains("name") { #expect(page.holds(plant.line("name")), "\(seen.what)") }
            // The session's token stands in hidden fields of forms, and nowhere else.
            let held = seen.page.body.ranges(of: walk.csrf).count
            #expect(held == seen.page.body.ranges(of: #"<input type="hidden" name="csrf" value="\#(walk.csrf)">"#).count, "\(seen.what)")
        }
    }

    // MARK: The reader of markup itself

    @Test(arguments: [
        #"<p title="a"b">x</p>"#, #"<p title="a"onclick="b">x</p>"#, "<p title=a>x</p>", "<p title='a'>x</p>", "<p>a < b</p>", "<p><b></p></b>", "<p>", "</p>",
        #"<p a="1" a="2">x</p>"#, "<p><!-- x --></p>", "<p/>", #"<p title="a"#, "<textarea>x", #"<p "x">y</p>"#,
    ]) func whatABrowserWouldMendIsAFault(markup: String) {
        #expect(!PageMarkup(markup).faults.isEmpty)
    }

    @Test(arguments: [
        "<script>1</script>", #"<script src="/assets/other.js" defer></script>"#, #"<p onclick="x">y</p>"#, #"<p style="x">y</p>"#, "<style>x</style>",
        #"<img src="/x">"#, #"<a href="javascript:alert(1)">x</a>"#, #"<a href="//evil.example">x</a>"#, #"<a href="/\evil.example">x</a>"#,
        #"<a href="https://evil.example">x</a>"#, #"<form action="http://127.0.0.1:1.evil.example/connect/x"></form>"#, #"<a href=" /x">x</a>"#,
        #"<iframe src="/console"></iframe>"#, #"<base href="/">"#, #"<a href="/x" target="_blank">x</a>"#, #"<button formaction="/x">x</button>"#,
    ]) func whatNoPageMayHaveIsFound(markup: String) {
        #expect(PageMarkup(markup).faults.isEmpty)
        #expect(!PageMarkup(markup).violations(at: "http://127.0.0.1:1").isEmpty)
    }

    @Test func whatAPageMayHaveIsNone() {
        let page = PageMarkup(
            #"<!doctype html><html lang="en"><head><title>a &lt;b&gt;</title><script src="/assets/console.js" defer></script></head><body hidden>"#
                + ##"<svg hidden><path d="M1"/></svg><a href="/console?a=1&amp;b=2">x &amp;lt; y</a><a href="#x"></a><input value="&quot;"></body></html>"##)
        #expect(page.violations(at: "http://127.0.0.1:1").isEmpty, "\(page.violations(at: "http://127.0.0.1:1"))")
        #expect(page.shown.contains("a <b>") && page.shown.contains("/console?a=1&b=2") && page.shown.contains("x &lt; y") && page.shown.contains("\""))
        #expect(page.kinds["a[href]"] == 2 && page.kinds["path[d]"] == 1)
        #expect(page.pairs.isSuperset(of: ["input", "input value", "body hidden", "script defer"]))
    }
}
