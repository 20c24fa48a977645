import ArgumentParser

/// `migrate`: moves a running deployment to another generation.
struct MigrateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Move a running deployment to another request plane, release or manifest, losing no request.",
        discussion: """
            A second generation is started beside the first, proved, and given the requests step by step; when it goes wrong, the \
            first one serves as before. 'migrate begin' is what happens without a subcommand, and its --help has all options: \
            --to, --to-manifest, --set, --strategy, --steps, --observe, --rollback-window, --confirm, --dry-run, --detach, --json, --deployment.

            Examples:
              dynamo-launch migrate --to nats --dry-run   say what would be done
              dynamo-launch migrate --to nats             do it, and watch it
              dynamo-launch migrate --to-manifest new.yaml --confirm
              dynamo-launch migrate --to tcp --steps 10,50,100 --observe 30
              dynamo-launch migrate status --follow       watch it from elsewhere
              dynamo-launch migrate abort                 take it back
              dynamo-launch rollback                      the same, and wait
            """,
        subcommands: [
            BeginMigrationCommand.self, MigrationStatusCommand.self, MigrationHistoryCommand.self,
            PauseMigrationCommand.self, ResumeMigrationCommand.self, PromoteMigrationCommand.self,
            AbortMigrationCommand.self,
        ],
        defaultSubcommand: BeginMigrationCommand.self
    )
}
