/* SPDX-License-Identifier: MIT */
/*
 * Answers of variable size.  A handler either fills a room, which on io_uring is the
 * memory that the kernel reads, or names segments of memory and files.  On /dev/fuse memory
 * is sent from where it is, by writev(2).  All else is gathered, on io_uring in the ring's
 * memory.  Files are not spliced: a file that cannot be read beyond some place would be
 * answered up to there, and the kernel takes a short answer for the end of the file.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

enum {
	ZEROS = 64 * 1024,
	MAX_IOV = 512, /* below UIO_MAXIOV, with room for libfuse's header */
};

static const char zeros[ZEROS];

void ll_data_init(struct llfuse_data *data, fuse_req_t req, struct worker *worker, size_t size)
{
	data->size = size;
	data->room = NULL;
	data->filled = 0;
	data->req = req;
	data->worker = worker;
	data->segments = data->inline_segments;
	data->n_segments = 0;
	data->max_segments = DATA_INLINE_SEGMENTS;
	data->total = 0;
	data->release = NULL;
	data->release_arg = NULL;
}

/* Memory for an answer of data->size bytes. */
static void *answer_memory(struct llfuse_data *data)
{
	char *payload;
	size_t payload_size;

	if (data->req && fuse_req_is_uring(data->req) &&
	    !fuse_req_get_payload(data->req, &payload, &payload_size, NULL) && payload_size >= data->size)
		return payload;
	if (data->worker)
		return ll_worker_scratch(data->worker, data->size ? data->size : 1);
	return NULL;
}

void *llfuse_data_room(struct llfuse_data *data)
{
	if (!data->room)
		data->room = data->req ? answer_memory(data) : malloc(data->size ? data->size : 1);
	return data->room;
}

size_t llfuse_data_size(const struct llfuse_data *data)
{
	return data->size;
}

void llfuse_data_filled(struct llfuse_data *data, size_t n)
{
	data->filled = n;
}

static int add_segment(struct llfuse_data *data, const struct data_segment *segment)
{
	if (!segment->n)
		return 0;
	if (data->n_segments == data->max_segments) {
		bool is_inline = data->segments == data->inline_segments;
		size_t max = data->max_segments * 2;
		struct data_segment *more = realloc(is_inline ? NULL : data->segments, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		if (is_inline)
			memcpy(more, data->inline_segments, sizeof(data->inline_segments));
		data->segments = more;
		data->max_segments = max;
	}
	data->segments[data->n_segments++] = *segment;
	data->total += segment->n;
	return 0;
}

int llfuse_data_mem(struct llfuse_data *data, const void *bytes, size_t n)
{
	return add_segment(data, &(struct data_segment){.bytes = bytes, .fd = -1, .n = n});
}

int llfuse_data_fd(struct llfuse_data *data, int fd, off_t off, size_t n)
{
	if (fd < 0)
		return -EBADF; /* such a segment would be zeros */
	return add_segment(data, &(struct data_segment){.fd = fd, .off = off, .n = n});
}

void llfuse_data_release(struct llfuse_data *data, void (*release)(void *arg), void *arg)
{
	data->release = release;
	data->release_arg = arg;
}

size_t ll_data_length(const struct llfuse_data *data)
{
	size_t n = data->n_segments ? data->total : data->filled;

	return n < data->size ? n : data->size;
}

bool ll_data_is_cut(const struct llfuse_data *data)
{
	return (data->n_segments ? data->total : data->filled) > data->size;
}

/* Returns how many bytes there were, or -errno. */
static ssize_t read_fully(int fd, char *buf, size_t size, off_t off)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, buf + done, size - done, off + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Copies the segments to @buf, up to the first one that is shorter than it was said to be.  One that cannot be read is
 * the error of all: the kernel then asks again, page by page, and has what can be read. */
static ssize_t gather(const struct llfuse_data *data, char *buf, size_t size)
{
	size_t done = 0;

	for (size_t i = 0; i < data->n_segments && done < size; i++) {
		const struct data_segment *segment = &data->segments[i];
		size_t want = segment->n < size - done ? segment->n : size - done;
		ssize_t n = (ssize_t)want;

		if (segment->fd >= 0)
			n = read_fully(segment->fd, buf + done, want, segment->off);
		else if (segment->bytes)
			memcpy(buf + done, segment->bytes, want);
		else
			memset(buf + done, 0, want);
		if (n < 0)
			return n;
		done += (size_t)n;
		if ((size_t)n < want)
			break;
	}
	return (ssize_t)done;
}

static int reply_gathered(struct llfuse_data *data)
{
	char *buf = answer_memory(data);
	ssize_t n = buf ? gather(data, buf, ll_data_length(data)) : -ENOMEM;

	if (n < 0)
		return fuse_reply_err(data->req, (int)-n);
	return fuse_reply_buf(data->req, buf, (size_t)n);
}

static bool is_only_memory(const struct llfuse_data *data)
{
	for (size_t i = 0; i < data->n_segments; i++)
		if (data->segments[i].fd >= 0)
			return false;
	return true;
}

/* Fills @iov with the segments, zeros included.  Returns how many, or MAX_IOV + 1 if they do not fit. */
static int to_iov(const struct llfuse_data *data, struct iovec *iov)
{
	size_t left = ll_data_length(data);
	int count = 0;

	for (size_t i = 0; i < data->n_segments && left; i++) {
		const struct data_segment *segment = &data->segments[i];
		size_t in_segment = segment->n < left ? segment->n : left;

		left -= in_segment;
		while (in_segment) {
			size_t n = segment->bytes || in_segment < ZEROS ? in_segment : ZEROS;

			if (count == MAX_IOV)
				return MAX_IOV + 1;
			iov[count].iov_base = (void *)(segment->bytes ? segment->bytes : zeros);
			iov[count++].iov_len = n;
			in_segment -= n;
		}
	}
	return count;
}

static int reply_memory(struct llfuse_data *data)
{
	struct iovec iov[MAX_IOV];
	int count = to_iov(data, iov);

	if (count > MAX_IOV)
		return reply_gathered(data);
	return fuse_reply_iov(data->req, iov, count);
}

int ll_data_reply(struct llfuse_data *data)
{
	if (!data->n_segments)
		return fuse_reply_buf(data->req, data->room, data->room ? ll_data_length(data) : 0);
	if (!fuse_req_is_uring(data->req) && is_only_memory(data))
		return reply_memory(data);
	return reply_gathered(data);
}

void ll_data_done(struct llfuse_data *data)
{
	if (data->release)
		data->release(data->release_arg);
	if (data->segments != data->inline_segments)
		free(data->segments);
}

struct llfuse_data *llfuse_data_new(size_t size)
{
	struct llfuse_data *data = malloc(sizeof(*data));

	if (data)
		ll_data_init(data, NULL, NULL, size);
	return data;
}

ssize_t llfuse_data_copy(const struct llfuse_data *data, void *buf, size_t size)
{
	size_t n = ll_data_length(data);

	if (n > size)
		n = size;
	if (data->n_segments)
		return gather(data, buf, n);
	if (n)
		memcpy(buf, data->room, n);
	return (ssize_t)n;
}

void llfuse_data_free(struct llfuse_data *data)
{
	if (!data)
		return;
	ll_data_done(data);
	free(data->room);
	free(data);
}
