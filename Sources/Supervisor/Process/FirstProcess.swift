internal import CProcess

/// The first process of a container, which has duties that no other program has.
package enum FirstProcess {
    /// If this is the first process of its PID namespace: goes on as a child of a small process that has these duties.
    ///
    /// It reaps whatever loses its parent, passes signals on to this one (whose default actions work again), ends what is left when this one
    /// has ended, and exits with its code. To be called while there is one thread.
    ///
    /// - Returns: why this is still the first process, in words; nil when it is not.
    package static func leave() -> String? {
        let error = dynamo_leave_first_process()
        return error == 0
            ? nil
            : "processes that lose their parent will stay as zombies: there cannot be a second process (\(errorText(error)))"
    }
}
