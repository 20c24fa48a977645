// How the keeper starts a program.

#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct failure {
    int step;
    int error;
};

static void fail_child(int pipe, int step) {
    struct failure failure = {.step = step, .error = errno};
    while (write(pipe, &failure, sizeof failure) < 0 && errno == EINTR) {
    }
    _exit(127);
}

// Gives a program that is passed listening sockets its own number, which nobody knew before.
static void fill_listen_pid(char **environment) {
    for (char **entry = environment; *entry != NULL; entry++) {
        if (strcmp(*entry, DYNAMO_LISTEN_PID) != 0) continue;
        char digits[16];
        int count = 0;
        for (pid_t rest = getpid(); rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
        char *cursor = strchr(*entry, '=') + 1;
        while (count > 0) *cursor++ = digits[--count];
        *cursor = 0;
    }
}

static int is_set(const struct dynamo_limits *limits, int step) { return (limits->set & (1U << step)) != 0; }

static void set_limit(int pipe, const struct dynamo_limits *limits, int step, int resource, uint64_t value) {
    if (!is_set(limits, step)) return;
    rlim_t amount = value == UINT64_MAX ? RLIM_INFINITY : (rlim_t)value;
    struct rlimit limit = {.rlim_cur = amount, .rlim_max = amount};
    if (setrlimit(resource, &limit) < 0) fail_child(pipe, step);
}

static void set_limits(int pipe, const struct dynamo_limits *limits) {
    struct rlimit files;
    if (keeper_soft_limit > 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = keeper_soft_limit < files.rlim_max ? keeper_soft_limit : files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    set_limit(pipe, limits, DYNAMO_STEP_OPEN_FILES, RLIMIT_NOFILE, limits->open_files);
    set_limit(pipe, limits, DYNAMO_STEP_CORE_SIZE, RLIMIT_CORE, limits->core_size);
    set_limit(pipe, limits, DYNAMO_STEP_LOCKED_MEMORY, RLIMIT_MEMLOCK, limits->locked_memory);
    if (is_set(limits, DYNAMO_STEP_CPUS)) {
        if (sched_setaffinity(0, sizeof limits->cpus, (const cpu_set_t *)limits->cpus) < 0) fail_child(pipe, DYNAMO_STEP_CPUS);
        // The kernel leaves out those that it does not have, without a word.
        uint64_t given[DYNAMO_CPU_WORDS] = {0};
        if (sched_getaffinity(0, sizeof given, (cpu_set_t *)given) < 0) fail_child(pipe, DYNAMO_STEP_CPUS);
        errno = EINVAL;
        if (memcmp(given, limits->cpus, sizeof given) != 0) fail_child(pipe, DYNAMO_STEP_CPUS);
    }
    if (is_set(limits, DYNAMO_STEP_NICE) && setpriority(PRIO_PROCESS, 0, limits->nice) < 0) fail_child(pipe, DYNAMO_STEP_NICE);
}

static void run_child(pid_t keeper, int error_pipe, const char *executable, const char *directory, char **arguments,
                      char **environment, const int *descriptors, uint32_t descriptor_count,
                      const struct dynamo_limits *limits) {
    // First, so that all that it takes from here on counts; and while the descriptor is what was sent.
    if (is_set(limits, DYNAMO_STEP_GROUP)) {
        descriptor_count--;
        if (write(descriptors[descriptor_count], "0", 1) < 0) fail_child(error_pipe, DYNAMO_STEP_GROUP);
    }
    // Out of the way of the final numbers first, or one dup2 could close the source of the next.
    int lowest = 16 + (int)descriptor_count;
    int pipe = fcntl(error_pipe, F_DUPFD_CLOEXEC, lowest);
    if (pipe < 0) fail_child(error_pipe, DYNAMO_STEP_DESCRIPTORS);
    int moved[DYNAMO_MAXIMUM_DESCRIPTORS];
    for (uint32_t index = 0; index < descriptor_count; index++) {
        moved[index] = fcntl(descriptors[index], F_DUPFD, lowest);
        if (moved[index] < 0) fail_child(pipe, DYNAMO_STEP_DESCRIPTORS);
    }
    for (uint32_t index = 0; index < descriptor_count; index++) {
        if (dup2(moved[index], (int)index + 1) < 0) fail_child(pipe, DYNAMO_STEP_DESCRIPTORS);
    }
    unsigned first = descriptor_count < 2 ? 3 : descriptor_count + 1;
    if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) < 0) fail_child(pipe, DYNAMO_STEP_DESCRIPTORS);

    if (setsid() < 0) fail_child(pipe, DYNAMO_STEP_SESSION);
    // The parent-death signal belongs to the thread that forked; the keeper has only one.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) fail_child(pipe, DYNAMO_STEP_SESSION);
    if (getppid() != keeper) _exit(127);

    for (int number = 1; number < 65; number++) {
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigaction(number, &action, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    set_limits(pipe, limits);
    fill_listen_pid(environment);
    if (chdir(directory) < 0) fail_child(pipe, DYNAMO_STEP_DIRECTORY);
    execve(executable, arguments, environment);
    fail_child(pipe, DYNAMO_STEP_EXECUTE);
}

// Fills `list` with `count` strings from `cursor` on; returns the position behind them, or NULL when the text is too short.
static char *take_strings(char *cursor, char *end, char **list, uint32_t count) {
    for (uint32_t index = 0; index < count; index++) {
        char *stop = cursor < end ? memchr(cursor, 0, (size_t)(end - cursor)) : NULL;
        if (stop == NULL) return NULL;
        list[index] = cursor;
        cursor = stop + 1;
    }
    return cursor;
}

// `descriptors` are the program's, behind which those follow that are kept; they are the leader's, and -1, once it runs.
static void spawn_from(const struct dynamo_request *request, char *text, char **list, int *descriptors, uint32_t count) {
    char *end = text + request->size;
    char *heads[2];
    char **arguments = list;
    char **environment = list + request->argument_count + 1;
    char *cursor = take_strings(text, end, heads, 2);
    if (cursor != NULL) cursor = take_strings(cursor, end, arguments, request->argument_count);
    if (cursor != NULL) cursor = take_strings(cursor, end, environment, request->environment_count);
    if (cursor == NULL || keeper_leader_count == LEADER_CAPACITY) {
        keeper_report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, cursor == NULL ? EINVAL : EAGAIN, DYNAMO_STEP_REQUEST);
        return;
    }
    if (is_set(&request->limits, DYNAMO_STEP_GROUP) && count == 0) {
        keeper_report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, EBADF, DYNAMO_STEP_GROUP);
        return;
    }
    int pipe[2];
    if (pipe2(pipe, O_CLOEXEC) < 0) {
        keeper_report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, errno, DYNAMO_STEP_DESCRIPTORS);
        return;
    }
    pid_t keeper = getpid();
    // The child borrows this process's memory until it executes: copying the page tables of a large launcher, whose memory the keeper
    // still has, would cost milliseconds for each start. It only writes to its own frames and to the environment that it is started
    // with, and ends or executes inside run_child().
    pid_t pid = vfork();
    if (pid == 0) run_child(keeper, pipe[1], heads[0], heads[1], arguments, environment, descriptors, count, &request->limits);
    int error = errno;
    close(pipe[1]);
    if (pid < 0) {
        close(pipe[0]);
        keeper_report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, error, DYNAMO_STEP_FORK);
        return;
    }
    // Ends with exec (the pipe closes) or with the reason why there was none.
    struct failure failure;
    ssize_t size;
    while ((size = read(pipe[0], &failure, sizeof failure)) < 0 && errno == EINTR) {
    }
    close(pipe[0]);
    if (size == (ssize_t)sizeof failure) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
        keeper_report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, failure.error, failure.step);
        return;
    }
    struct leader *leader = &keeper_leaders[keeper_leader_count++];
    *leader = (struct leader){.id = request->id, .pid = pid, .kept_count = request->kept_count};
    for (uint32_t index = 0; index < request->kept_count; index++) {
        leader->kept[index] = descriptors[count + index];
        descriptors[count + index] = -1;
    }
    keeper_report(DYNAMO_REPORT_SPAWNED, request->id, pid, 0, 0);
}

void keeper_spawn(const struct dynamo_request *request, int *received, uint32_t received_count) {
    if (received_count < 1 || request->kept_count > received_count - 1 || request->kept_count > DYNAMO_MAXIMUM_KEPT) {
        keeper_report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, EINVAL, DYNAMO_STEP_REQUEST);
        return;
    }
    size_t list_size = ((size_t)request->argument_count + request->environment_count + 2) * sizeof(char *);
    char *text = mmap(NULL, request->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, received[0], 0);
    char **list = mmap(NULL, list_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED || list == (void *)MAP_FAILED) {
        keeper_report(DYNAMO_REPORT_SPAWN_FAILED, request->id, 0, errno, DYNAMO_STEP_REQUEST);
    } else {
        spawn_from(request, text, list, received + 1, received_count - 1 - request->kept_count);
    }
    if (text != MAP_FAILED) munmap(text, request->size);
    if (list != (void *)MAP_FAILED) munmap(list, list_size);
}

