/* SPDX-License-Identifier: MIT */
/*
 * The sandbox: what a daemon that was taken over by the files that it serves could still do.
 *
 * Knows how the process gets a mount namespace that has nothing but the source, which
 * capabilities the source's operations need (and gives up the others), and, by way of
 * sandbox_filter.h, which system calls.  Knows nothing of inodes and requests.
 */
#ifndef PASSTHROUGHFS_SANDBOX_H
#define PASSTHROUGHFS_SANDBOX_H

#include <stdbool.h>

enum sandbox_level {
	SANDBOX_AUTO, /* full for root with CAP_SYS_ADMIN, else none */
	SANDBOX_NONE,
	SANDBOX_NAMESPACE, /* without the filter of system calls */
	SANDBOX_FULL,
};

/** What the process needs beside the source. */
struct sandbox_needs {
	bool sys_admin; /* CAP_SYS_ADMIN: backing files, trusted.* attributes */
	bool io_uring;
};

struct sandbox {
	/* Not SANDBOX_AUTO. */
	enum sandbox_level level;
	/* A copy of the source's mounts that is mounted nowhere yet; -1 for SANDBOX_NONE. */
	int root_fd;
	/* In it, the directory that the mount point will cover; -1 if it is not in the source. */
	int covered_fd;
	/* A proc, once entered. */
	int proc_fd;
};

/** The level of that name; false if there is none. */
bool sandbox_level_parse(const char *name, enum sandbox_level *level);

const char *sandbox_level_name(enum sandbox_level level);

/**
 * Before the mount: copies the mounts of the directory @source, if not @one_file_system those in it too; it is to be
 * opened by way of root_fd.
 * Returns 0 or -errno; @step is then what failed, NULL if it was @source.
 */
int sandbox_prepare(struct sandbox *sandbox, enum sandbox_level level, const char *source, bool one_file_system,
		    const char *mountpoint, const char **step);

/**
 * Once mounted, and while there is one thread.  From here "/" is the source, nothing else can be reached by
 * a path, and names of descriptors (fd.h) need no /proc.
 * Returns 0 or -errno; @step is then what failed, and the process is half in.
 */
int sandbox_enter(struct sandbox *sandbox, const struct sandbox_needs *needs, const char **step);

void sandbox_done(struct sandbox *sandbox);

#endif
