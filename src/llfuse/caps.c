/* SPDX-License-Identifier: MIT */
/* The capabilities of the calling thread: capabilities(7), capget(2). */
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

static bool get_caps(struct thread_caps *caps)
{
	*caps = (struct thread_caps){.header.version = _LINUX_CAPABILITY_VERSION_3};
	return syscall(SYS_capget, &caps->header, caps->data) == 0;
}

static bool is_in_effect(const struct thread_caps *caps, unsigned cap)
{
	return caps->data[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap);
}

bool ll_has_cap(unsigned cap)
{
	struct thread_caps caps;

	return get_caps(&caps) && is_in_effect(&caps, cap);
}

bool ll_give_up_cap(unsigned cap, struct thread_caps *before)
{
	struct thread_caps without;

	if (!get_caps(before) || !is_in_effect(before, cap))
		return false;
	without = *before;
	without.data[CAP_TO_INDEX(cap)].effective &= ~CAP_TO_MASK(cap);
	return syscall(SYS_capset, &without.header, without.data) == 0;
}

void ll_take_back_caps(const struct thread_caps *before)
{
	struct thread_caps caps = *before; /* the kernel may write its version into it */

	(void)syscall(SYS_capset, &caps.header, caps.data); /* what was in effect may be so again */
}
