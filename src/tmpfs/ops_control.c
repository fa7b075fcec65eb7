/* SPDX-License-Identifier: MIT */
/* What llfusectl asks.  See control.h. */
#include "control.h"
#include "ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Who mounted, and root. */
static bool may_change(const struct llfuse_request *req)
{
	return req->uid == 0 || req->uid == geteuid();
}

static int change_limits(struct tree *tree, const struct control_limits *wanted)
{
	struct tree_limits limits, used;

	tree_usage(tree, &limits, &used);
	if (wanted->set & CONTROL_SET_SIZE)
		limits.size = wanted->size;
	if (wanted->set & CONTROL_SET_INODES)
		limits.inodes = wanted->inodes;
	return tree_set_limits(tree, &limits);
}

static int control_limits(struct llfuse_request *req, const struct control_limits *in, struct control_limits *out)
{
	struct tree_limits limits, used;
	int err;

	if (in->set & ~(unsigned)(CONTROL_SET_SIZE | CONTROL_SET_INODES))
		return -EINVAL;
	if (in->set && !may_change(req))
		return -EPERM;
	err = in->set ? change_limits(tree_of(req), in) : 0;
	if (err)
		return err;
	tree_usage(tree_of(req), &limits, &used);
	*out = (struct control_limits){
		.size = limits.size, .inodes = limits.inodes, .size_used = used.size, .inodes_used = used.inodes};
	snprintf(out->data, sizeof(out->data), "%s", tree_of(req)->plane->ops->name);
	return 0;
}

int op_ioctl(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned cmd, const void *in,
	     size_t in_size, void *out, size_t out_size)
{
	struct control_limits limits;
	int err;

	(void)file;
	if (ino != TREE_ROOT_NUMBER || cmd != CONTROL_LIMITS)
		return -ENOTTY;
	if (in_size < sizeof(limits) || out_size < sizeof(limits))
		return -EINVAL;
	memcpy(&limits, in, sizeof(limits)); /* which may lie anywhere */
	err = control_limits(req, &limits, &limits);
	if (!err)
		memcpy(out, &limits, sizeof(limits));
	return err;
}
