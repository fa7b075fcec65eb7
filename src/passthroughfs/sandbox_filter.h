/* SPDX-License-Identifier: MIT */
/*
 * The system calls that the daemon needs.  Hides libseccomp.
 *
 * Any other gives ENOSYS, as on a kernel that lacks it.  Killing the process would take
 * the mount away from everybody when a new C library tries a new call, and after
 * ENOSYS it goes on with the old one, which EPERM would keep it from.
 */
#ifndef PASSTHROUGHFS_SANDBOX_FILTER_H
#define PASSTHROUGHFS_SANDBOX_FILTER_H

#include <stdbool.h>

/**
 * Confines all threads of the process, for good.  @io_uring: the calls for it are
 * needed too, and what is asked of a ring is not filtered.
 * Returns 0 or -errno.
 */
int sandbox_filter_load(bool io_uring);

#endif
