extension Plan {
    /// What there is when a launcher goes on with the processes of an earlier one.
    ///
    /// - Parameter running: what they are.
    /// - Returns: this plan, with those replicas as they run. It is changed to this one as it would be while it runs.
    package func adopting(_ running: Plan) -> Plan {
        var plan = PlanChange.naming(self, after: running)
        for index in plan.replicas.indices {
            let name = plan.replicas[index].name
            guard var known = running.replicas.first(where: { $0.name == name }) else { continue }
            // What a process waits for counts at its next start, and is not known from the last one.
            known.dependencies = plan.replicas[index].dependencies
            plan.replicas[index] = known
        }
        // Of no use any more, but they run.
        plan.replicas += running.replicas.filter { known in !plan.replicas.contains { $0.name == known.name } }
        return plan
    }
}
