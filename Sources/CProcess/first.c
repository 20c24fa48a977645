// The first process of a container: the kernel gives it every orphan, and signals that it has no handler for do not reach it.

#define _GNU_SOURCE
#include "CProcess.h"
#include "internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    // A keeper whose launcher is gone needs two seconds for those that do not end when they are asked to.
    KILL_MILLISECONDS = 4000,
    LEAVE_MILLISECONDS = 12000,
    SWEEP_MILLISECONDS = 100,
};

static int64_t now_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Reaps everything that has ended. Returns 0 when no child is left; `status` is set once `program` is among them.
static int reap(pid_t program, int *status, int *has_ended) {
    for (;;) {
        int one;
        pid_t pid = waitpid(-1, &one, WNOHANG);
        if (pid == 0) return 1;
        if (pid < 0 && errno == EINTR) continue;
        if (pid < 0) return 0;
        if (pid != program) continue;
        *status = one;
        *has_ended = 1;
    }
}

// Waits for one of the blocked signals and passes it on.
static void wait_for_signal(const sigset_t *all, pid_t program, int has_ended, const struct timespec *limit) {
    siginfo_t info;
    int number = sigtimedwait(all, &info, limit);
    // A terminal's signals go to the whole foreground group, so the program has got them already.
    if (number > 0 && number != SIGCHLD && !has_ended && info.si_code != SI_KERNEL) kill(program, number);
}

static void run_first(pid_t program, const sigset_t *all) {
    dynamo_rename_self("dynamo-init");
    int status = 0;
    int has_ended = 0;
    const struct timespec sweep = {.tv_nsec = SWEEP_MILLISECONDS * 1000000};
    while (!has_ended) {
        wait_for_signal(all, program, 0, NULL);
        reap(program, &status, &has_ended);
    }
    int64_t start = now_milliseconds();
    int is_left = reap(program, &status, &has_ended);
    if (is_left) dynamo_signal_below(getpid(), SIGTERM, 1);
    while (is_left && now_milliseconds() - start < LEAVE_MILLISECONDS) {
        if (now_milliseconds() - start > KILL_MILLISECONDS) kill(-1, SIGKILL);
        wait_for_signal(all, program, 1, &sweep);
        is_left = reap(program, &status, &has_ended);
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

// What was meant for the first process is now for this one.
static void take_over_variable(const char *name) {
    const char *value = getenv(name);
    if (value == NULL || strcmp(value, "1") != 0) return;
    char digits[16];
    snprintf(digits, sizeof digits, "%d", (int)getpid());
    setenv(name, digits, 1);
}

int dynamo_leave_first_process(void) {
    if (getpid() != 1) return 0;
    sigset_t all, previous;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &previous);
    pid_t program = fork();
    if (program > 0) run_first(program, &all);
    int error = errno;
    if (program == 0) {
        take_over_variable("LISTEN_PID");
        take_over_variable("WATCHDOG_PID");
    }
    sigprocmask(SIG_SETMASK, &previous, NULL);
    return program < 0 ? error : 0;
}
