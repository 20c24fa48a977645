import Deployment
import Testing

/// Every file of `BadManifests` gives exactly the text of its `.expected` file.
@Suite struct BadManifestTests {
    private static let folder = "Tests/DeploymentTests/BadManifests"
    private static let names = (try? Fixtures.names(in: Self.folder, ending: "yaml")) ?? []

    @Test(arguments: Self.names)
    func saysExactlyWhatIsWrong(_ name: String) throws {
        let badCase = ManifestCase(path: "\(name).yaml", bytes: try Fixtures.bytes("\(Self.folder)/\(name).yaml"))
        let expected = try Fixtures.text("\(Self.folder)/\(name).expected")
        #expect(badCase.errors == expected)
    }

    @Test func thereAreManyAndEachSaysWhatToDo() throws {
        #expect(Self.names.count >= 150)
        #expect(try Fixtures.names(in: Self.folder, ending: "expected") == Self.names)
        for name in Self.names {
            let lines = try Fixtures.text("\(Self.folder)/\(name).expected").split(separator: "\n")
            #expect(lines.count >= 2, "\(name) has no remedy")
            #expect(
                lines.filter { $0.contains(": error: ") }.count == lines.filter { $0.hasPrefix("  remedy: ") }.count
            )
            #expect(!lines.contains { $0.contains("hunter2") }, "\(name) shows a secret")
        }
    }
}
