extension String {
    /// The text as the inside of a JSON string.
    ///
    /// libnats puts user, password, token and name between quotation marks as they are.
    var escapedForJSON: String {
        var result = ""
        for scalar in self.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
