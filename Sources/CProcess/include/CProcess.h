#ifndef CPROCESS_H
#define CPROCESS_H

#include <stdint.h>
#include <sys/types.h>

// The keeper: a small single-threaded process between the launcher and everything that the launcher starts. It is forked without
// exec, so it needs no program of its own, and it outlives the launcher just long enough to end what is left.
//
// Both directions use one SOCK_SEQPACKET pair: one request or report is one packet.

enum {
    DYNAMO_REQUEST_SPAWN = 1,
    DYNAMO_REQUEST_SIGNAL = 2,
    DYNAMO_REQUEST_KILL_TREE = 3,
};

enum {
    DYNAMO_REPORT_HELLO = 1,
    DYNAMO_REPORT_SPAWNED = 2,
    DYNAMO_REPORT_SPAWN_FAILED = 3,
    DYNAMO_REPORT_EXITED = 4,
};

// The step at which a start failed; `status` of the report is then the errno.
enum {
    DYNAMO_STEP_REQUEST = 1,
    DYNAMO_STEP_FORK = 2,
    DYNAMO_STEP_SESSION = 3,
    DYNAMO_STEP_DESCRIPTORS = 4,
    DYNAMO_STEP_DIRECTORY = 5,
    DYNAMO_STEP_EXECUTE = 6,
    DYNAMO_STEP_GROUP = 7,
    DYNAMO_STEP_OPEN_FILES = 8,
    DYNAMO_STEP_CORE_SIZE = 9,
    DYNAMO_STEP_LOCKED_MEMORY = 10,
    DYNAMO_STEP_CPUS = 11,
    DYNAMO_STEP_NICE = 12,
};

enum { DYNAMO_CPU_WORDS = 16 };

// What a program may use. Bit DYNAMO_STEP_... of `set` says which are meant; the others are the keeper's own.
struct dynamo_limits {
    uint32_t set;
    int32_t nice;
    // Soft and hard limit; UINT64_MAX: none.
    uint64_t open_files;
    uint64_t core_size;
    uint64_t locked_memory;
    // One bit for each processor.
    uint64_t cpus[DYNAMO_CPU_WORDS];
};

struct dynamo_request {
    uint32_t kind;
    int32_t signal;
    // Chosen by the launcher, never 0; names the started process in every report.
    uint64_t id;
    uint32_t argument_count;
    uint32_t environment_count;
    uint64_t size;
    struct dynamo_limits limits;
};

struct dynamo_report {
    uint32_t kind;
    int32_t pid;
    // The wait status of EXITED, an errno otherwise.
    int32_t status;
    int32_t step;
    // 0: an adopted process that the launcher did not ask for.
    uint64_t id;
};

// Forks the keeper. `lock_descriptor` (or -1) stays open in it, so that a lock outlives the launcher until all is ended.
// Returns 0 or an errno; `socket` is the launcher's end.
int dynamo_keeper_start(int lock_descriptor, uint64_t soft_limit, int *socket, pid_t *pid);

// An entry of a program's environment whose value becomes the program's own number, as sd_listen_fds(3) wants it.
#define DYNAMO_LISTEN_PID "LISTEN_PID=##########"

// Asks the keeper to start a program. `text` holds NUL-terminated strings: executable, directory, arguments (argv[0] first),
// environment. `descriptors` become 1, 2, 3... of the program; its 0 is /dev/null. With DYNAMO_STEP_GROUP among the limits, the last
// of them is not for the program: it is the cgroup.procs of the control group that it is to be in. Returns 0 or an errno.
int dynamo_keeper_spawn(int socket, uint64_t id, const char *text, size_t size, uint32_t argument_count,
                        uint32_t environment_count, const int *descriptors, uint32_t descriptor_count,
                        const struct dynamo_limits *limits);

// The processors that this process may run on, one bit for each of `words`. Returns 0 or an errno.
int dynamo_usable_cpus(uint64_t *words);

// Asks the keeper to signal the started process `id`, if it still runs. Returns 0 or an errno.
int dynamo_keeper_signal(int socket, uint64_t id, int signal);

// Asks the keeper to kill the started process `id`, if it still runs, with its session and all its descendants. Returns 0 or an errno.
int dynamo_keeper_kill_tree(int socket, uint64_t id);

// Waits for the next report. Returns 1, 0 when the keeper is gone, or a negated errno.
int dynamo_keeper_receive(int socket, struct dynamo_report *report);

// Tells the keeper that nothing more will be asked: it ends what is left, then itself.
void dynamo_keeper_finish(int socket);

// Signals a process only if it is still the one that was started at `start_time` (field 22 of /proc/PID/stat).
// Returns 0 or an errno; ESRCH when it is gone.
int dynamo_signal_process(pid_t pid, uint64_t start_time, int signal);

// Waits up to `milliseconds` for a child to end and reaps it. Returns 1 when reaped, 0 when it still runs, or a negated errno.
int dynamo_reap(pid_t pid, int milliseconds, int *status);

// Orphans below this process become its children instead of init's. Returns 0 or an errno.
int dynamo_become_subreaper(void);

// In the first process of a PID namespace, which must have one thread only: goes on in a child, and leaves the duties of the first
// process to a small loop that does not return. It reaps orphans, passes signals on, and, once the child has ended, ends what is left
// and exits as the child did. Anywhere else nothing happens. Returns 0 or an errno, after which the program is still the first process.
int dynamo_leave_first_process(void);

// A pipe whose ends are not inherited and whose reading end does not block. Returns 0 or an errno.
int dynamo_pipe(int *reading, int *writing);

// Gives back to the system what only the start needed: memory that nothing holds any more, and pages of the program
// and its libraries that are not looked at again.
void dynamo_trim_memory(void);

// A file in memory, not inherited; -1 on failure.
int dynamo_memory_file(void);

// Waiting for many descriptors at once (epoll): each is known by a number of the caller's choice.
int dynamo_poller_make(void);
int dynamo_poller_add(int poller, int descriptor, uint64_t id);
// Fills `ids` with those that can be read; returns how many. A negative timeout waits for good.
int dynamo_poller_wait(int poller, uint64_t *ids, int capacity, int milliseconds);

// A TCP socket that listens on a port of an address or name of this machine; not inherited. Returns 0, an errno, or a negative
// number of getaddrinfo(3).
int dynamo_listen(const char *host, int port, int *descriptor);

// A datagram socket at `path`, for its owner only, that is told who sends; not inherited, does not block. Something that is there
// already is removed. Returns 0 or an errno.
int dynamo_notify_socket(const char *path, int *descriptor);

// Takes a message from it; descriptors that come along are closed. Returns its size, or -1 when there is none. `sender` is 0 for a
// message that does not fit, or whose sender is unknown.
ssize_t dynamo_notify_receive(int descriptor, char *text, size_t capacity, pid_t *sender);

// A descriptor that interrupts such a wait: ring it from any thread, and silence it in the one that waits.
int dynamo_bell_make(void);
void dynamo_bell_ring(int bell);
void dynamo_bell_silence(int bell);

#endif
