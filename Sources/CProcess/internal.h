#ifndef CPROCESS_INTERNAL_H
#define CPROCESS_INTERNAL_H

#include <sys/types.h>

#include <stddef.h>
#include <stdint.h>

// Runs the keeper in a forked child; `door` is -1 when nothing is to outlive the launcher. Does not return.
void dynamo_keeper_main(int channel, int lock_descriptor, int door, uint64_t soft_limit, pid_t launcher);

// The field 22 of /proc/PID/stat, and whether a process is in the session of another. Without malloc.
uint64_t dynamo_start_time(pid_t pid);
int dynamo_is_in_session(pid_t pid, pid_t leader);

// Signals the processes below `root`: its children only, or all descendants. What is in the session of `root` counts as a child
// of it, since its own parent may be gone.
void dynamo_signal_below(pid_t root, int signal, int children_only);

// Sends one packet, with descriptors if there are any (DYNAMO_MAXIMUM_DESCRIPTORS at most). Returns 0 or an errno. Without malloc.
int dynamo_send_packet(int socket, const void *packet, size_t size, const int *descriptors, uint32_t count);

// Sets what `ps` shows as the name and the command line of this process.
void dynamo_rename_self(const char *name);

#endif
