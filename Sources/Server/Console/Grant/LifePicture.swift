import Foundation
import Vault

/// A ``LifeLine`` drawn: a line of time with now on it, what was to its left, what comes to its right.
///
/// Months and minutes have to stand on one line, so what is near has more room than what is far: places go by the logarithm
/// of the distance.
struct LifePicture: Sendable {
    static let width = 640.0
    private static let margin = 24.0
    /// Labels that are nearer than this would run into each other.
    private static let labelRoom = 64.0

    private let life: LifeLine
    private let unit: Double
    private let nowAt: Double

    init(_ life: LifeLine) {
        self.life = life
        let left = Self.distance((life.past.map(\.at) + [life.tokenSpan?.from]).compactMap(\.self).map { life.now.milliseconds - $0.milliseconds }.max() ?? 0)
        let right = Self.distance((life.ahead.map(\.at) + [life.tokenSpan?.to]).compactMap(\.self).map { $0.milliseconds - life.now.milliseconds }.max() ?? 0)
        unit = (Self.width - 2 * Self.margin) / max(left + right, 1)
        nowAt = Self.margin + left * unit
    }

    /// 0 for now; a minute, an hour and a day are about as far from each other.
    private static func distance(_ milliseconds: Int64) -> Double { log1p(Double(max(milliseconds, 0)) / 60_000) }

    func place(_ moment: Timestamp) -> Double {
        let offset = moment.milliseconds - life.now.milliseconds
        return offset < 0 ? nowAt - Self.distance(-offset) * unit : nowAt + Self.distance(offset) * unit
    }

    /// For a template: numbers as texts.
    var values: [String: Any] {
        var values: [String: Any] = [
            "now": Self.text(nowAt), "start": Self.text(Self.margin), "end": Self.text(Self.width - Self.margin),
            "dots": (life.past + life.ahead).map { ["x": Self.text(place($0.at)), "mark": $0.mark.rawValue, "event": $0.title] as [String: Any] },
            "ticks": ticks,
        ]
        if let span = life.tokenSpan {
            let from = max(place(span.from), Self.margin)
            values["token"] = ["x": Self.text(from), "width": Self.text(max(place(span.to) - from, 2))]
        }
        return values
    }

    private static let steps: [(seconds: Int, label: String)] = [
        (600, "10 min"), (3600, "1 hour"), (86_400, "1 day"), (604_800, "1 week"), (2_592_000, "1 month"), (31_536_000, "1 year"),
    ]

    /// As many as have room, from now outward.
    private var ticks: [[String: Any]] {
        var ticks: [[String: Any]] = []
        for sign in [-1.0, 1] {
            var last = nowAt
            for step in Self.steps {
                let x = nowAt + sign * Self.distance(Int64(step.seconds) * 1000) * unit
                guard abs(x - last) >= Self.labelRoom, x >= Self.margin, x <= Self.width - Self.margin else { continue }
                ticks.append(["x": Self.text(x), "label": sign < 0 ? step.label + " ago" : "in " + step.label])
                last = x
            }
        }
        return ticks
    }

    /// With one digit behind the point.
    private static func text(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(abs(tenths % 10))"
    }
}
