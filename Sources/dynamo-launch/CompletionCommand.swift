import ArgumentParser

/// `completion`: a script for tab completion.
struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion",
        abstract: "Print a completion script for a shell.",
        discussion: """
            bash:  dynamo-launch completion bash > /etc/bash_completion.d/dynamo-launch
            zsh:   dynamo-launch completion zsh > "${fpath[1]}/_dynamo-launch"
            fish:  dynamo-launch completion fish > ~/.config/fish/completions/dynamo-launch.fish
            """
    )

    enum Shell: String, ExpressibleByArgument, CaseIterable {
        case bash, zsh, fish
    }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() throws {
        let shell: CompletionShell =
            switch self.shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        Terminal.print(DynamoLaunch.completionScript(for: shell))
    }
}
