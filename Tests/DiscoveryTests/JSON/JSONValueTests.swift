import Discovery
import Testing

@Suite("JSON that keeps what it was read from")
struct JSONValueTests {
    @Test("numbers, order and unknown members survive")
    func roundTrip() throws {
        let text = #"{"z":18446744073709551615,"a":[1.50,-0,1e-7,true,false,null],"s":"é\u0001\"\\\n","":{}}"#
        #expect(try JSONValue(parsing: text).text == text)
    }

    @Test("ids above 2^63 are exact")
    func largeNumbers() throws {
        let value = try JSONValue(parsing: #"{"instance_id":16506099476009761263}"#)
        #expect(value["instance_id"]?.uint64 == 16_506_099_476_009_761_263)
        #expect(value["instance_id"]?.int == nil)
        #expect(try JSONValue(parsing: "18446744073709551616").uint64 == nil)
    }

    @Test("escapes give the characters they stand for")
    func escapes() throws {
        #expect(try JSONValue(parsing: #""\u00e9\ud83d\ude00\/\b\f\n\r\t""#) == "é😀/\u{8}\u{C}\n\r\t")
    }

    @Test(
        "what is no JSON is refused with its place",
        arguments: [
            ("", "EOF while parsing a value at line 1 column 1"),
            (#"{"model":"#, "EOF while parsing a value at line 1 column 10"),
            (#"{"a":1,}"#, "key must be a string at line 1 column 8"),
            ("[1 2]", "expected `,` or `]` at line 1 column 4"),
            ("{\n\"a\" 1}", "expected `:` at line 2 column 5"),
            ("01", "trailing characters at line 1 column 2"),
            ("1.", "invalid number at line 1 column 3"),
            ("nul", "expected ident at line 1 column 1"),
            (#""\ud800""#, "lone surrogate in a string at line 1 column 8"),
            (#""\x""#, "invalid escape at line 1 column 4"),
            ("\"a\nb\"", "control character in a string at line 1 column 3"),
            ("\"open", "EOF while parsing a string at line 1 column 6"),
            ("{} x", "trailing characters at line 1 column 4"),
        ]
    )
    func refusals(text: String, message: String) {
        let error = #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
        #expect(error?.description == message)
    }

    @Test("bytes that are not UTF-8 are refused")
    func invalidUTF8() {
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xFF, 0x22]) }
    }

    @Test("nesting cannot exhaust the stack")
    func depth() {
        let open = String(repeating: "[", count: 100_000)
        #expect(throws: JSONError.self) { try JSONValue(parsing: open) }
        let nested = String(repeating: "[", count: 128) + String(repeating: "]", count: 128)
        #expect(throws: Never.self) { try JSONValue(parsing: nested) }
    }

    @Test("of two members with one name the last counts; removing removes both")
    func duplicates() throws {
        var fields = try #require(try JSONValue(parsing: #"{"a":1,"a":2}"#).object)
        #expect(fields["a"] == 2)
        fields["a"] = nil
        #expect(fields.members.isEmpty)
    }
}
