import Supervisor

/// A table whose columns are left out, the least important first, until it fits.
struct TopTable: Sendable {
    struct Column: Sendable {
        var title: String
        /// Which is left out first, from 1; nil: never.
        var rank: Int?
        var isNumber = false
    }

    struct Row: Sendable {
        var cells: [String]
        var mark = " "
        var colour: StyledLine.Colour?
    }

    var columns: [Column]
    var rows: [Row]
    /// The last column takes what is left, so that it may be cut.
    var isLastOpen = false

    /// A title and the rows, no wider than so many columns as long as those that stay are.
    func lines(width: Int) -> [StyledLine] {
        var shown = Array(self.columns.indices)
        let open = self.isLastOpen ? self.columns.indices.last : nil
        let widths = self.columns.indices.map { index in
            ([self.columns[index].title] + self.rows.map { $0.cells[index] }).map(StyledLine.width(of:)).max() ?? 0
        }
        func needed() -> Int {
            // Of the last one there must be at least its title.
            shown.reduce(1) { sum, index in
                sum + 1 + (index == open ? StyledLine.width(of: self.columns[index].title) : widths[index])
            }
        }
        while needed() > width, let rank = shown.compactMap({ self.columns[$0].rank }).min() {
            shown.removeAll { self.columns[$0].rank == rank }
        }
        func text(_ cells: [String], mark: String) -> String {
            var line = mark
            for index in shown {
                let space = String(repeating: " ", count: max(0, widths[index] - StyledLine.width(of: cells[index])))
                line += " " + (self.columns[index].isNumber ? space + cells[index] : cells[index] + space)
            }
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
        return [StyledLine(text(self.columns.map(\.title), mark: " "), .dim)]
            + self.rows.map { StyledLine(text($0.cells, mark: $0.mark), $0.colour) }
    }
}
