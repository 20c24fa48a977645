extension Manifest {
    /// Reads and checks a manifest.
    ///
    /// - Parameters:
    ///   - source: Its text.
    ///   - environment: The caller's environment, for `${VAR}`.
    ///   - overrides: What the command line says against it.
    /// - Returns: The manifest, possibly with warnings.
    /// - Throws: `ManifestErrors` with everything that is wrong.
    package static func load(
        _ source: ManifestSource,
        environment: [String: String],
        overrides: ManifestOverrides = ManifestOverrides()
    ) throws(ManifestErrors) -> Manifest {
        guard source.text.utf8.count <= ManifestSource.sizeLimit else {
            throw ManifestSource.tooLarge(path: source.path, bytes: source.text.utf8.count)
        }
        var reader = YAMLReader(file: source.path)
        guard var root = reader.read(source.text) else {
            throw ManifestErrors(reader.diagnostics)
        }
        var merge = OverrideMerge()
        if case .mapping = root.content {
            for override in overrides.set {
                root = merge.merge(override, into: root)
            }
        }
        var interpolation = Interpolation(environment: environment)
        root = interpolation.resolve(root)
        var decoder = ManifestDecoder(file: source.path, environment: environment, overrides: overrides)
        var manifest = decoder.manifest(root)
        manifest?.variables = interpolation.variables
        manifest?.neededVariables = interpolation.neededVariables
        manifest?.uses = ManifestUse.all(in: root)
        var diagnostics = reader.diagnostics + merge.diagnostics + interpolation.diagnostics + decoder.node.diagnostics
        if let manifest {
            var validation = ManifestValidation(manifest: manifest)
            validation.validate()
            diagnostics += validation.diagnostics
        }
        guard var manifest, !diagnostics.contains(where: { $0.severity == .error }) else {
            throw ManifestErrors(diagnostics.filter { $0.severity == .error }).masking(environment)
        }
        manifest.warnings = ManifestErrors(diagnostics).masking(environment).diagnostics
        return manifest
    }
}
