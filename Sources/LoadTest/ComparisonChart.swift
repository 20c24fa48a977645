/// A comparison as a picture (SVG): one group of bars for each figure, one bar for each target.
package struct ComparisonChart {
    private let comparison: Comparison
    private let title: String

    /// Names what is drawn.
    ///
    /// - Parameters:
    ///   - comparison: the figures.
    ///   - title: the line above them.
    package init(_ comparison: Comparison, title: String) {
        self.comparison = comparison
        self.title = title
    }

    private static let colours = ["#2b6cb0", "#dd6b20", "#2f855a", "#805ad5", "#b83280"]
    private static let panels = [
        "requests", "tokens", "first token p50", "first token p99", "between tokens p99", "request p99",
    ]
    private static let width = 760
    private static let rowHeight = 22

    /// The SVG document.
    package var svg: String {
        let columns = self.comparison.columns
        let totals = columns.map(\.total)
        let figures = ComparisonTable.figures.filter { Self.panels.contains($0.name) }
        let panelHeight = columns.count * Self.rowHeight + 34
        let height = 60 + figures.count * panelHeight
        var lines = [
            #"<svg xmlns="http://www.w3.org/2000/svg" width="\#(Self.width)" height="\#(height)" "#
                + #"viewBox="0 0 \#(Self.width) \#(height)" font-family="sans-serif" font-size="13">"#,
            #"<rect width="100%" height="100%" fill="white"/>"#,
            #"<text x="16" y="28" font-size="16" font-weight="bold">\#(Self.escape(self.title))</text>"#,
        ]
        for (position, figure) in figures.enumerated() {
            let top = 50 + position * panelHeight
            let better = figure.unit == "1/s" ? "more is better" : "less is better"
            lines.append(
                #"<text x="16" y="\#(top + 14)" font-weight="bold">\#(figure.name), \#(figure.unit)</text>"#
                    + #"<text x="\#(Self.width - 16)" y="\#(top + 14)" text-anchor="end" fill="gray">\#(better)</text>"#
            )
            let longest = totals.map(figure.value).max() ?? 0
            for (index, total) in totals.enumerated() {
                let y = top + 22 + index * Self.rowHeight
                let value = figure.value(total)
                let length = longest > 0 ? Int(value / longest * 460) : 0
                lines.append(
                    #"<text x="150" y="\#(y + 14)" text-anchor="end">\#(Self.escape(columns[index].label))</text>"#
                        + #"<rect x="160" y="\#(y + 2)" width="\#(length)" height="\#(Self.rowHeight - 6)" "#
                        + #"fill="\#(Self.colours[index % Self.colours.count])"/>"#
                        + #"<text x="\#(168 + length)" y="\#(y + 14)">\#(ComparisonTable.decimals(value, 2))</text>"#
                )
            }
        }
        lines.append("</svg>")
        return lines.joined(separator: "\n") + "\n"
    }

    private static func escape(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
