/* SPDX-License-Identifier: MIT */
/* What llfusectl asks.  See control.h. */
#include "control.h"
#include "flusher.h"
#include "ops.h"
#include "saver.h"

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

static int control_save(struct llfuse_request *req, struct control_save *save)
{
	if (!may_change(req))
		return -EPERM;
	if (save->path[0] != '/' || !memchr(save->path, '\0', sizeof(save->path)))
		return -EINVAL;
	return saver_begin_copy(tmpfs_of(req)->saver, save->path, &save->number);
}

static int control_copy(struct llfuse_request *req, struct control_copy *inout)
{
	static const uint32_t states[] = {
		[SAVER_COPY_NONE] = CONTROL_COPY_NONE,
		[SAVER_COPY_RUNS] = CONTROL_COPY_RUNS,
		[SAVER_COPY_DONE] = CONTROL_COPY_DONE,
		[SAVER_COPY_FAILED] = CONTROL_COPY_FAILED,
	};
	struct saver_copy copy;
	int err;

	if (!may_change(req))
		return -EPERM;
	err = saver_look_at_copy(tmpfs_of(req)->saver, inout->number, &copy);
	if (err)
		return err;
	*inout = (struct control_copy){
		.number = copy.number,
		.state = states[copy.state],
		.error = -copy.err,
		.done = copy.done,
		.total = copy.total,
		.stop_ns = copy.stop_ns,
	};
	memcpy(inout->reason, copy.reason, sizeof(inout->reason));
	return 0;
}

static int control_sync(struct llfuse_request *req)
{
	if (!may_change(req))
		return -EPERM;
	return saver_keeps(tmpfs_of(req)->saver) ? saver_sync(tmpfs_of(req)->saver) : -ENODATA;
}

static int control_flush(struct llfuse_request *req, uint64_t *number)
{
	struct flusher *flusher = tmpfs_of(req)->flusher;
	int err;

	if (!may_change(req))
		return -EPERM;
	if (*number == 0)
		return flusher_begin(flusher, number);
	err = flusher_look(flusher, *number);
	if (!err)
		*number = 0;
	return err == -EINPROGRESS ? 0 : err;
}

/* What goes in and comes out of one request; the buffers of the request may lie anywhere. */
union control {
	struct control_limits limits;
	struct control_save save;
	struct control_copy copy;
	uint64_t number;
};

static int control(struct llfuse_request *req, unsigned cmd, union control *control)
{
	switch (cmd) {
	case CONTROL_LIMITS:
		return control_limits(req, &control->limits, &control->limits);
	case CONTROL_SAVE:
		return control_save(req, &control->save);
	case CONTROL_COPY:
		return control_copy(req, &control->copy);
	case CONTROL_SYNC:
		return control_sync(req);
	case CONTROL_FLUSH:
		return control_flush(req, &control->number);
	default:
		return -ENOTTY;
	}
}

int op_ioctl(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned cmd, const void *in,
	     size_t in_size, void *out, size_t out_size)
{
	const size_t size = _IOC_SIZE(cmd);
	union control data = {0};
	int err;

	(void)file;
	if (ino != TREE_ROOT_NUMBER || _IOC_TYPE(cmd) != 'L' || !tmpfs_of(req)->saver)
		return -ENOTTY;
	if (size > sizeof(data) || ((_IOC_DIR(cmd) & _IOC_WRITE) && in_size < size) ||
	    ((_IOC_DIR(cmd) & _IOC_READ) && out_size < size))
		return -EINVAL;
	if (_IOC_DIR(cmd) & _IOC_WRITE)
		memcpy(&data, in, size);
	err = control(req, cmd, &data);
	if (!err && (_IOC_DIR(cmd) & _IOC_READ))
		memcpy(out, &data, size);
	return err;
}
