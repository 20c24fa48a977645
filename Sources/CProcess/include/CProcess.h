#ifndef CPROCESS_H
#define CPROCESS_H

#include <stdint.h>
#include <sys/types.h>

// The keeper: a small single-threaded process between the launcher and everything that the launcher starts. It is forked without
// exec, so it needs no program of its own, and it outlives the launcher just long enough to end what is left; or, when it has a
// door, until another launcher comes in and adopts what runs.
//
// Both directions use one SOCK_SEQPACKET pair, or a connection to the door: one request or report is one packet.

// Of the packets, and of what is kept. A launcher of another version must leave the keeper alone.
enum { DYNAMO_KEEPER_VERSION = 2 };

// The keeper's own descriptor of the lock that it shares with the launcher.
enum { DYNAMO_KEEPER_LOCK = 4 };

enum {
    DYNAMO_REQUEST_SPAWN = 1,
    DYNAMO_REQUEST_SIGNAL = 2,
    DYNAMO_REQUEST_KILL_TREE = 3,
    // Nothing more will be asked: end everything.
    DYNAMO_REQUEST_FINISH = 4,
    // What is kept of the ended process `id` is of no use any more.
    DYNAMO_REQUEST_FORGET = 5,
    // Remember `note` with `id`.
    DYNAMO_REQUEST_NOTE = 6,
    // Whether what runs outlives the launcher from now on: `signal` is 1, 2 (nothing is remembered of what has ended) or 0.
    DYNAMO_REQUEST_SURVIVE = 7,
    // Keep this file in the place of the one of the last such request.
    DYNAMO_REQUEST_KEEP = 8,
    // Close the sockets that are kept for programs.
    DYNAMO_REQUEST_CLOSE_SOCKETS = 9,
    // Only on a new connection to the door of a keeper without a launcher.
    DYNAMO_REQUEST_LOOK = 10,
    DYNAMO_REQUEST_ADOPT = 11,
    // Hold these sockets, whose names are leases, in the place of those of the last such request: `signal` is 1 when more of them follow.
    DYNAMO_REQUEST_LEASES = 12,
    // As LOOK, with the answer to ADOPT: who asks becomes no launcher by it, and the keeper goes on reading what is written.
    DYNAMO_REQUEST_PEEK = 13,
};

enum {
    DYNAMO_REPORT_HELLO = 1,
    DYNAMO_REPORT_SPAWNED = 2,
    DYNAMO_REPORT_SPAWN_FAILED = 3,
    DYNAMO_REPORT_EXITED = 4,
    // The answer to LOOK, and the beginning of the one to ADOPT and PEEK, with the lock and the kept file: `step` is the version, `pid` the
    // keeper, `status` how many processes follow, `id` how many of them run, `note` when the launcher ended, in seconds since 1970, and
    // `start_time` how many leases follow the processes.
    DYNAMO_REPORT_KEPT = 5,
    // One process, with its kept descriptors; `step` is 1 when it has ended, with `status`.
    DYNAMO_REPORT_CHILD = 6,
    // Some of the leases.
    DYNAMO_REPORT_LEASES = 7,
};

// The order of the descriptors that are kept for a process. Those behind them are the sockets that it was passed, or is heard on.
enum {
    DYNAMO_KEPT_LABEL = 0,
    DYNAMO_KEPT_OUTPUT = 1,
    DYNAMO_KEPT_ERRORS = 2,
    DYNAMO_KEPT_OUTPUT_SPOOL = 3,
    DYNAMO_KEPT_ERRORS_SPOOL = 4,
    DYNAMO_KEPT_SOCKETS = 5,
};

enum { DYNAMO_MAXIMUM_DESCRIPTORS = 128, DYNAMO_MAXIMUM_KEPT = 48 };

// A bit of `note` that the keeper sets itself: the process said READY=1 while there was no launcher.
#define DYNAMO_NOTE_READY (1ULL << 63)

// What a process has written and nobody has logged yet: a file in memory, whose content begins at DYNAMO_SPOOL_DATA. The launcher
// reads into it, and a keeper without a launcher goes on there.
//
// `position` is one word, so that it is never half written: the lower half is how much is there, the upper half how much of that was
// logged. What lies behind is 0 for DYNAMO_SPOOL_READ bytes, unless a reader died between reading and saying so.
struct dynamo_spool {
    uint64_t position;
    // Bytes that had no room.
    uint64_t dropped;
    // How far the launcher is about to log, or 0: when it dies meanwhile, only the log tells whether it did.
    uint64_t logging;
};

enum { DYNAMO_SPOOL_DATA = 4096, DYNAMO_SPOOL_CAPACITY = 4 << 20, DYNAMO_SPOOL_READ = 1 << 16 };

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
    uint64_t note;
    // So many of the descriptors, the last ones, stay in the keeper.
    uint32_t kept_count;
    uint32_t reserved;
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
    uint64_t note;
    // Field 22 of /proc/PID/stat.
    uint64_t start_time;
};

// Forks the keeper. `lock_descriptor` (or -1) stays open in it, so that a lock outlives the launcher until all is ended. With a
// `door` (or -1), a listening socket of dynamo_keeper_door(), what runs outlives the launcher.
// Returns 0 or an errno; `socket` is the launcher's end.
int dynamo_keeper_start(int lock_descriptor, int door, uint64_t soft_limit, int *socket, pid_t *pid);

// A socket on which a keeper without a launcher is found, for its owner only; something that is there already is removed.
// Returns 0 or an errno.
int dynamo_keeper_door(const char *path, int *descriptor);

// Connects to the keeper behind a door. One that has a launcher does not answer, so that waiting is limited to `milliseconds`.
// Returns 0 or an errno: ECONNREFUSED or ENOENT when there is no keeper.
int dynamo_keeper_knock(const char *path, int milliseconds, int *socket);

// Asks the keeper for what has only an `id` and a number or a file (or -1). Returns 0 or an errno.
int dynamo_keeper_ask(int socket, uint32_t kind, uint64_t id, int signal, uint64_t note, int descriptor);

// Has the keeper hold sockets, whose names are leases, in the place of those that it holds. Returns 0 or an errno.
int dynamo_keeper_lease(int socket, const int *descriptors, size_t count);

// As dynamo_keeper_receive, with descriptors that come along: room for DYNAMO_MAXIMUM_KEPT; -ETIME after the limit of the socket.
int dynamo_keeper_receive_with(int socket, struct dynamo_report *report, int *descriptors, uint32_t *count);

// The limit of waiting for answers from a keeper; 0: none.
void dynamo_keeper_limit(int socket, int milliseconds);

// A file in memory with room for a spool, not inherited; -1 on failure.
int dynamo_spool_make(void);

// Maps the beginning of a spool: all of it when `whole`. NULL on failure.
struct dynamo_spool *dynamo_spool_map(int descriptor, int whole);
void dynamo_spool_unmap(struct dynamo_spool *spool, int whole);
char *dynamo_spool_data(struct dynamo_spool *spool);
uint32_t dynamo_spool_used(struct dynamo_spool *spool);
uint32_t dynamo_spool_logged(struct dynamo_spool *spool);
uint64_t dynamo_spool_take_dropped(struct dynamo_spool *spool);
// Says how far it is filled and logged.
void dynamo_spool_set(struct dynamo_spool *spool, uint32_t used, uint32_t logged);
uint32_t dynamo_spool_logging(struct dynamo_spool *spool);
void dynamo_spool_set_logging(struct dynamo_spool *spool, uint32_t end);
// Gives memory behind what the launcher maps back, and makes it 0.
void dynamo_spool_trim(int descriptor);

// An entry of a program's environment whose value becomes the program's own number, as sd_listen_fds(3) wants it.
#define DYNAMO_LISTEN_PID "LISTEN_PID=##########"

// Asks the keeper to start a program. `text` holds NUL-terminated strings: executable, directory, arguments (argv[0] first),
// environment. `descriptors` become 1, 2, 3... of the program; its 0 is /dev/null. With DYNAMO_STEP_GROUP among the limits, the last
// of them is not for the program: it is the cgroup.procs of the control group that it is to be in. Behind them are `kept_count` more,
// which stay in the keeper for the next launcher. Returns 0 or an errno.
int dynamo_keeper_spawn(int socket, uint64_t id, const char *text, size_t size, uint32_t argument_count,
                        uint32_t environment_count, const int *descriptors, uint32_t descriptor_count, uint32_t kept_count,
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

// Executes a program in the place of this one; of the descriptors it gets only the first three. Returns an errno when it cannot.
int dynamo_replace_program(const char *path, char **arguments);

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
