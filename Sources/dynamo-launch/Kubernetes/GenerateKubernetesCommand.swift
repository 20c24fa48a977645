import ArgumentParser
import Deployment
import DynamoRuntime
import FoundationEssentials
import Rollout

/// `generate k8s`: objects of a Kubernetes cluster that run a manifest.
struct GenerateKubernetesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "k8s",
        abstract: "Print or write the Kubernetes objects that run a manifest.",
        discussion: """
            Nothing is sent to a cluster: kubectl does that. Variables that are secret, or have a secret in their value, are not \
            written; they come from a Secret whose keys are the variables' names.
            """
    )

    @OptionGroup var options: ManifestOptions
    @OptionGroup var fidelity: FidelityOptions

    @Option(help: "operator: a DynamoGraphDeployment for Dynamo's operator; plain: objects that need no operator.")
    var flavor = KubernetesFlavor.plain

    @Flag(help: "One pod, in which the launcher runs the manifest as on one machine.")
    var singlePod = false

    @Option(
        help: ArgumentHelp(
            "The release of Dynamo in the images; default: the manifest's, else that of the Python of this machine.",
            valueName: "release"
        )
    )
    var dynamoRelease: String?

    @Option(
        help: ArgumentHelp(
            "Which generation of the deployment; its objects stand beside those of the others.",
            valueName: "number"
        )
    )
    var generation = 1

    @Option(
        help: ArgumentHelp(
            "Write what moves the generation to its next one on this request plane: objects, and a script for kubectl.",
            valueName: "plane"
        )
    )
    var migrateTo: PlaneFlag?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Write files into this folder; - prints all.", valueName: "folder"),
        completion: .directory
    )
    var output = "-"

    @Flag(help: "Write a kustomization.yaml too.")
    var kustomize = false

    func validate() throws {
        guard (1...999_999).contains(self.generation) else {
            throw ValidationError("--generation is from 1 to 999999, not \(self.generation)")
        }
        if self.output.isEmpty { throw ValidationError("--output is empty: name a folder, or - to print") }
        if self.kustomize, self.output == "-" {
            throw ValidationError("--kustomize needs a folder: add --output FOLDER")
        }
        if self.migrateTo != nil, self.output == "-" {
            throw ValidationError("--migrate-to needs a folder: add --output FOLDER")
        }
        if self.migrateTo != nil, self.singlePod {
            throw ValidationError(
                "--migrate-to moves pods; a single pod has a launcher that migrates by itself (dynamo-launch migrate)"
            )
        }
        if self.singlePod, self.flavor == .operator {
            throw ValidationError(
                "--single-pod runs the launcher, which needs no operator: leave out --flavor operator"
            )
        }
        if self.migrateTo != nil, self.kustomize {
            throw ValidationError(
                "--kustomize cannot be used with --migrate-to: the script applies files in its own order"
            )
        }
        if let dynamoRelease, DynamoRelease(dynamoRelease) == nil {
            throw ValidationError("'\(dynamoRelease)' is no release of Dynamo: write it as 1.6.1")
        }
    }

    func run() async throws {
        let preparation = try Preparation(self.options, orElse: "nothing was written")
        if let plane = self.migrateTo { return try await self.writeMigration(preparation, to: plane) }
        let plan = try await self.clusterPlan(preparation, generation: self.generation)
        let objects: [KubernetesObject]
        var notes = plan.notes
        do throws(ManifestErrors) {
            if self.singlePod {
                let pod = try self.singlePod(plan, preparation)
                objects = pod.objects
                notes += pod.notes
            } else {
                objects = try self.flavor.objects(of: plan)
                notes += plan.secretNotes + plan.policyNotes
            }
        } catch { throw Self.report(error) }
        for note in notes { Terminal.printError("note: \(note)") }
        let target = self.singlePod ? .singlePod : self.flavor.target
        try self.fidelity.tell(preparation.manifest, for: target, FidelityReport.Facts(plan))
        guard self.output != "-" else {
            return Terminal.printVerbatim(ObjectFiles.mark + "\n" + YAMLValue.documents(objects.map(\.yaml)))
        }
        let folder = ObjectFolder(path: self.output)
        guard !folder.hasMigration else {
            throw ObjectFolder.failure(
                "'\(self.output)' has a migration, whose files would be removed: name another folder; nothing was written"
            )
        }
        try folder.write(ObjectFiles(objects, kustomize: self.kustomize).files)
        Terminal.print("to run it, run:")
        Terminal.print("  kubectl apply \(self.kustomize ? "-k" : "-f") \(self.output)")
    }

    /// The plan, with the release that was given, stated, or found.
    func clusterPlan(_ preparation: Preparation, generation: Int) async throws -> ClusterPlan {
        var options = ClusterPlanner.Options(
            release: self.dynamoRelease.flatMap { DynamoRelease($0) },
            generation: generation,
            version: ProgramVersion.text,
            environment: preparation.environment,
            workingDirectory: FileManager.default.currentDirectoryPath,
            passthroughArguments: self.options.extra,
            isSinglePod: self.singlePod
        )
        if options.release == nil { options.release = await preparation.installedRelease() }
        do throws(ManifestErrors) { return try ClusterPlanner.plan(preparation.manifest, options) } catch {
            throw Self.report(error)
        }
    }

    private func singlePod(_ plan: ClusterPlan, _ preparation: Preparation) throws(ManifestErrors) -> SinglePod {
        let source = preparation.source
        return try SinglePod(
            plan,
            preparation.manifest,
            SinglePod.Options(
                manifestText: source.manifestText,
                flags: (source.requestPlane.map { ["--\($0)"] } ?? []) + source.overrides.flatMap { ["--set", $0] },
                passthroughArguments: source.arguments,
                environment: preparation.environment,
                version: ProgramVersion.text
            )
        )
    }

    /// Says what is wrong, and that nothing was written.
    static func report(_ errors: ManifestErrors) -> ExitCode {
        for diagnostic in errors.diagnostics { Terminal.printError(diagnostic.description) }
        Terminal.printError("nothing was written")
        return ExitCode(1)
    }
}

/// The form of the objects.
enum KubernetesFlavor: String, ExpressibleByArgument, CaseIterable {
    case `operator`
    case plain

    /// The objects of a plan in this form.
    func objects(of plan: ClusterPlan) throws(ManifestErrors) -> [KubernetesObject] {
        switch self {
        case .operator: try OperatorObjects.objects(of: plan)
        case .plain: PlainObjects.objects(of: plan)
        }
    }

    var target: FidelityReport.Target {
        switch self {
        case .operator: .operator
        case .plain: .plain
        }
    }
}
