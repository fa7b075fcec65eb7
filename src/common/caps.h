/* SPDX-License-Identifier: MIT */
/*
 * The capabilities of the calling thread: capabilities(7).
 *
 * By the raw system calls, as each thread has its own; knows nothing of what they are good for.
 * Source: capget(2).
 */
#ifndef COMMON_CAPS_H
#define COMMON_CAPS_H

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

struct caps {
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

/** Returns 0 or -errno. */
static inline int caps_get(struct caps *caps)
{
	*caps = (struct caps){.header.version = _LINUX_CAPABILITY_VERSION_3};
	return syscall(SYS_capget, &caps->header, caps->data) < 0 ? -errno : 0;
}

/** Returns 0 or -errno. */
static inline int caps_set(struct caps *caps)
{
	return syscall(SYS_capset, &caps->header, caps->data) < 0 ? -errno : 0;
}

/** Whether @cap is in effect. */
static inline bool caps_have(const struct caps *caps, unsigned cap)
{
	return caps->data[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap);
}

/** Puts @cap out of effect, or into effect if it is permitted. */
static inline void caps_put(struct caps *caps, unsigned cap, bool in_effect)
{
	struct __user_cap_data_struct *data = &caps->data[CAP_TO_INDEX(cap)];

	data->effective &= ~CAP_TO_MASK(cap);
	if (in_effect)
		data->effective |= data->permitted & CAP_TO_MASK(cap);
}

/** Whether @cap is in effect for the calling thread. */
static inline bool caps_thread_has(unsigned cap)
{
	struct caps caps;

	return caps_get(&caps) == 0 && caps_have(&caps, cap);
}

#endif
