#ifndef CPROCESS_INTERNAL_H
#define CPROCESS_INTERNAL_H

#include <sys/types.h>

enum { DYNAMO_MAXIMUM_DESCRIPTORS = 32 };

// Runs the keeper in a forked child; does not return.
void dynamo_keeper_main(int channel, int lock_descriptor, pid_t launcher);

// Signals the processes below `root`: its children only, or all descendants. What is in the session of `root` counts as a child
// of it, since its own parent may be gone.
void dynamo_signal_below(pid_t root, int signal, int children_only);

// Sets what `ps` shows as the name and the command line of this process.
void dynamo_rename_self(const char *name);

#endif
