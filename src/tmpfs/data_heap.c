/* SPDX-License-Identifier: MIT */
/*
 * Bytes of files in memory of our own.  See data_heap.h.
 *
 * A file of at most one page is that page, cut to what it needs (height 0).  Any other
 * is a tree of nodes with 64 branches: at height h a node covers 64^h pages, and
 * the branches of a node of height 1 are pages.  A missing branch is a hole.
 */
#include "data_heap.h"

#include "mem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BITS 12
#define BRANCH_BITS 6
#define BRANCHES (1u << BRANCH_BITS)
/* A first page is not made shorter than this: the heap has no smaller blocks. */
#define SMALL_MIN 64
#define NO_PAGE UINT64_MAX

_Static_assert(DATA_PAGE_SIZE == 1 << PAGE_BITS, "the page size and its bits");

struct node {
	uint32_t used; /* branches that are there */
	void *branch[BRANCHES];
};

static uint64_t page_of(uint64_t off)
{
	return off >> PAGE_BITS;
}

static size_t in_page(uint64_t off)
{
	return (size_t)(off & (DATA_PAGE_SIZE - 1));
}

/* How far the page number is shifted to find the branch in a node of @height. */
static unsigned shift_of(uint32_t height)
{
	return (height - 1) * BRANCH_BITS;
}

static unsigned branch_of(uint64_t page, uint32_t height)
{
	return (unsigned)(page >> shift_of(height)) & (BRANCHES - 1);
}

/* Whether a tree of @height has a place for @page. */
static bool covers(uint32_t height, uint64_t page)
{
	unsigned bits = height * BRANCH_BITS;

	return bits >= 64 || page >> bits == 0;
}

/* ------------------------------------------------------------------------ */
/* Finding                                                                   */

/* The page with number @page and its length, or NULL. */
static unsigned char *find_page(const struct data *data, uint64_t page, size_t *len)
{
	void *at = data->heap.root;
	uint32_t height;

	if (!at || !covers(data->heap.height, page))
		return NULL;
	for (height = data->heap.height; height > 0; height--) {
		at = ((struct node *)at)->branch[branch_of(page, height)];
		if (!at)
			return NULL;
	}
	*len = data->heap.height == 0 ? data->heap.small : DATA_PAGE_SIZE;
	return at;
}

/* The first page not before @page that is there, or is not there (@there), below @at; NO_PAGE if none.
 * Page numbers count from the first that @at covers. */
static uint64_t search(const void *at, uint32_t height, uint64_t page, bool there)
{
	const struct node *node = at;
	uint64_t inner, found;
	unsigned branch;

	if (!at)
		return there ? NO_PAGE : page;
	if (height == 0)
		return there ? page : NO_PAGE;
	inner = page & ((UINT64_C(1) << shift_of(height)) - 1);
	for (branch = (unsigned)(page >> shift_of(height)); branch < BRANCHES; branch++, inner = 0) {
		found = search(node->branch[branch], height - 1, inner, there);
		if (found != NO_PAGE)
			return ((uint64_t)branch << shift_of(height)) + found;
	}
	return NO_PAGE;
}

/* As search(), in the whole file. */
static uint64_t search_file(const struct data *data, uint64_t page, bool there)
{
	uint64_t found;

	if (!covers(data->heap.height, page))
		return there ? NO_PAGE : page;
	found = search(data->heap.root, data->heap.height, page, there);
	/* All that the tree covers is there: the hole begins behind it. */
	if (found == NO_PAGE && !there)
		found = UINT64_C(1) << (data->heap.height * BRANCH_BITS);
	return found;
}

/* ------------------------------------------------------------------------ */
/* Freeing                                                                   */

/* Frees the pages @first to @last below @at, and nodes that get empty.  Numbers count
 * from the first page that @at covers; they may lie beyond it. */
static void free_range(struct data *data, struct mem *mem, void **at, uint32_t height, uint64_t first, uint64_t last)
{
	struct node *node = *at;
	uint64_t span, start;
	unsigned branch;

	if (!node)
		return;
	if (height == 0) {
		mem_free(mem, node, DATA_PAGE_SIZE);
		data->heap.allocated -= DATA_PAGE_SIZE;
		*at = NULL;
		return;
	}
	span = UINT64_C(1) << shift_of(height);
	for (branch = (unsigned)(first >> shift_of(height)); branch < BRANCHES; branch++) {
		start = branch * span;
		if (start > last)
			break;
		if (!node->branch[branch])
			continue;
		free_range(data, mem, &node->branch[branch], height - 1, first > start ? first - start : 0,
			   last - start < span ? last - start : span - 1);
		if (!node->branch[branch])
			node->used--;
	}
	if (node->used == 0) {
		mem_free(mem, node, sizeof(*node));
		*at = NULL;
	}
}

static void free_small(struct data *data, struct mem *mem)
{
	mem_free(mem, data->heap.root, data->heap.small);
	data->heap.allocated -= data->heap.small;
	data->heap.root = NULL;
	data->heap.small = 0;
}

/* Lets the tree sink as far as a failed raise_root() or an empty one may have left it. */
static void settle_empty(struct data *data)
{
	if (data->heap.root)
		return;
	data->heap.height = 0;
	data->heap.small = 0;
}

/* Frees the pages @first to @last of the file. */
static void free_pages(struct data *data, struct mem *mem, uint64_t first, uint64_t last)
{
	if (!data->heap.root || first > last || !covers(data->heap.height, first))
		return;
	if (data->heap.height == 0) {
		free_small(data, mem);
		return;
	}
	free_range(data, mem, &data->heap.root, data->heap.height, first, last);
	settle_empty(data);
}

/* Zeroes the bytes @from to @to - 1 of a page, if it is there. */
static void zero_in_page(struct data *data, uint64_t page, size_t from, size_t to)
{
	size_t len;
	unsigned char *bytes = find_page(data, page, &len);

	if (!bytes || from >= len)
		return;
	memset(bytes + from, 0, (to < len ? to : len) - from);
}

/* ------------------------------------------------------------------------ */
/* Making                                                                    */

/* Gives page 0, of a file of height 0, room for @need bytes. */
static bool extend_small(struct data *data, struct mem *mem, size_t need)
{
	size_t room = SMALL_MIN;
	unsigned char *page;

	while (room < need)
		room *= 2;
	if (data->heap.root && data->heap.small >= room)
		return true;
	page = mem_alloc(mem, room);
	if (!page)
		return false;
	if (data->heap.root)
		memcpy(page, data->heap.root, data->heap.small);
	memset(page + data->heap.small, 0, room - data->heap.small);
	mem_free(mem, data->heap.root, data->heap.small);
	data->heap.allocated += room - data->heap.small;
	data->heap.root = page;
	data->heap.small = (uint32_t)room;
	return true;
}

/* Puts a node above the root. */
static bool raise_root(struct data *data, struct mem *mem)
{
	struct node *node;

	if (data->heap.root) {
		if (data->heap.height == 0 && !extend_small(data, mem, DATA_PAGE_SIZE))
			return false;
		node = mem_zalloc(mem, sizeof(*node));
		if (!node)
			return false;
		node->branch[0] = data->heap.root;
		node->used = 1;
		data->heap.root = node;
	}
	data->heap.height++;
	data->heap.small = 0;
	return true;
}

/* Makes the branch @at of @node, a page or a node of @height, zeroed unless it @is_overwritten. */
static void *make_branch(struct data *data, struct mem *mem, struct node *node, void **at, uint32_t height,
			 bool is_overwritten)
{
	if (height == 0 && is_overwritten)
		*at = mem_alloc(mem, DATA_PAGE_SIZE);
	else
		*at = mem_zalloc(mem, height == 0 ? DATA_PAGE_SIZE : sizeof(struct node));
	if (!*at)
		return NULL;
	node->used++;
	if (height == 0)
		data->heap.allocated += DATA_PAGE_SIZE;
	return *at;
}

/* The page with number @page, made if it is not there, with room for its first @need
 * bytes, and not zeroed if it @is_overwritten as a whole; NULL if there is no memory. */
static unsigned char *make_page(struct data *data, struct mem *mem, uint64_t page, size_t need, bool is_overwritten)
{
	uint32_t height;
	void **at;

	while (!covers(data->heap.height, page))
		if (!raise_root(data, mem)) {
			settle_empty(data);
			return NULL;
		}
	if (data->heap.height == 0)
		return extend_small(data, mem, need) ? data->heap.root : NULL;
	if (!data->heap.root) {
		data->heap.root = mem_zalloc(mem, sizeof(struct node));
		if (!data->heap.root) {
			settle_empty(data);
			return NULL;
		}
	}
	at = &data->heap.root;
	for (height = data->heap.height; height > 0; height--) {
		struct node *node = *at;

		at = &node->branch[branch_of(page, height)];
		if (!*at && !make_branch(data, mem, node, at, height - 1, is_overwritten)) {
			int err = errno;

			free_pages(data, mem, page, page); /* nodes that wait for it */
			errno = err;
			return NULL;
		}
	}
	return *at;
}

/* ------------------------------------------------------------------------ */
/* The interface                                                             */

static void heap_free(struct data_plane *plane)
{
	free(plane); /* there is nothing but the files */
}

static void heap_clear(struct data_plane *plane, struct data *data)
{
	free_pages(data, plane->mem, 0, NO_PAGE);
	data->heap.size = 0;
}

static void heap_look(struct data_plane *plane, const struct data *data, struct data_look *look)
{
	(void)plane;
	*look = (struct data_look){.size = data->heap.size, .allocated = data->heap.allocated};
}

/* The bytes that lie in one piece at @off, at most @n: sets @bytes to them, or to NULL for zeros, and
 * returns how many (0 only at or past the end). */
static size_t segment(const struct data *data, uint64_t off, size_t n, const void **bytes)
{
	const unsigned char *page;
	size_t len;

	if (off >= data->heap.size)
		return 0;
	if (n > data->heap.size - off)
		n = (size_t)(data->heap.size - off);
	if (n > DATA_PAGE_SIZE - in_page(off))
		n = DATA_PAGE_SIZE - in_page(off);
	page = find_page(data, page_of(off), &len);
	if (!page || in_page(off) >= len) {
		*bytes = NULL;
		return n;
	}
	*bytes = page + in_page(off);
	return n < len - in_page(off) ? n : len - in_page(off);
}

static ssize_t heap_read(struct data_plane *plane, const struct data *data, void *buf, size_t n, uint64_t off)
{
	unsigned char *to = buf;
	const void *bytes;
	size_t done, part;

	(void)plane;
	for (done = 0; done < n && (part = segment(data, off + done, n - done, &bytes)) > 0; done += part) {
		if (bytes)
			memcpy(to + done, bytes, part);
		else
			memset(to + done, 0, part);
	}
	return (ssize_t)done;
}

static int check_range(uint64_t off, uint64_t n)
{
	return off > DATA_SIZE_MAX || n > DATA_SIZE_MAX - off ? -EFBIG : 0;
}

static ssize_t heap_write(struct data_plane *plane, struct data *data, const void *buf, size_t n, uint64_t off)
{
	const unsigned char *from = buf;
	size_t done, part;
	unsigned char *page;
	int err;

	err = check_range(off, n);
	for (done = 0; !err && done < n; done += part) {
		part = DATA_PAGE_SIZE - in_page(off + done);
		if (part > n - done)
			part = n - done;
		page = make_page(data, plane->mem, page_of(off + done), in_page(off + done) + part,
				 part == DATA_PAGE_SIZE);
		if (!page) {
			err = -errno;
			break;
		}
		memcpy(page + in_page(off + done), from + done, part);
	}
	if (done == 0 && err)
		return err;
	if (off + done > data->heap.size && done > 0)
		data->heap.size = off + done;
	return (ssize_t)done;
}

static int heap_resize(struct data_plane *plane, struct data *data, uint64_t size)
{
	if (size > DATA_SIZE_MAX)
		return -EFBIG;
	if (size == 0) {
		heap_clear(plane, data);
		return 0;
	}
	if (size < data->heap.size) {
		free_pages(data, plane->mem, page_of(size - 1) + 1, NO_PAGE);
		if (in_page(size) > 0)
			zero_in_page(data, page_of(size), in_page(size), DATA_PAGE_SIZE);
	}
	data->heap.size = size;
	return 0;
}

struct missing {
	uint64_t pages, nodes;
};

/* Counts what the pages @first to @last below @at lack.  Numbers count from the first that @at covers. */
static void count_missing(const void *at, uint32_t height, uint64_t first, uint64_t last, struct missing *missing)
{
	const struct node *node = at;
	uint64_t span, start, branch;

	if (!at) {
		missing->pages += last - first + 1;
		for (; height > 0; height--)
			missing->nodes += (last >> height * BRANCH_BITS) - (first >> height * BRANCH_BITS) + 1;
		return;
	}
	if (height == 0)
		return;
	span = UINT64_C(1) << shift_of(height);
	for (branch = first / span; branch <= last / span; branch++) {
		start = branch * span;
		count_missing(node->branch[branch], height - 1, first > start ? first - start : 0,
			      last - start < span ? last - start : span - 1, missing);
	}
}

/* What it costs to fill the holes between two pages: a few nodes too much where the tree gets higher. */
static uint64_t cost_of_filling(const struct data *data, uint64_t first, uint64_t last)
{
	uint32_t height = data->heap.height;
	struct missing missing = {0};
	uint64_t covered;

	while (!covers(height, last))
		height++;
	covered = data->heap.root ? UINT64_C(1) << data->heap.height * BRANCH_BITS : 0;
	if (first < covered)
		count_missing(data->heap.root, data->heap.height, first, last < covered ? last : covered - 1, &missing);
	if (last >= covered)
		count_missing(NULL, height, first > covered ? first : covered, last, &missing);
	missing.nodes += height - data->heap.height;
	/* A first page that is shorter than a page is made anew. */
	if (data->heap.height == 0)
		missing.pages++;
	return missing.pages * mem_block_cost(DATA_PAGE_SIZE) + missing.nodes * mem_block_cost(sizeof(struct node));
}

static int fill_holes(struct data *data, struct mem *mem, uint64_t off, uint64_t len)
{
	const uint64_t last = page_of(off + len - 1);
	uint64_t page;

	for (page = page_of(off); page <= last; page++)
		if (!make_page(data, mem, page, page == last ? in_page(off + len - 1) + 1 : DATA_PAGE_SIZE, false))
			return -errno;
	return 0;
}

static int heap_allocate(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len)
{
	int err;

	if (len == 0)
		return 0;
	err = check_range(off, len);
	if (err)
		return err;
	/* Paid before anything is done: nothing is left half done. */
	err = mem_prepay(plane->mem, cost_of_filling(data, page_of(off), page_of(off + len - 1)));
	if (err)
		return err;
	err = fill_holes(data, plane->mem, off, len);
	mem_prepay_end(plane->mem);
	return err;
}

static int heap_zero(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len)
{
	const uint64_t end = off + len;
	uint64_t page;

	(void)plane;
	for (page = page_of(off); page <= page_of(end - 1); page++)
		zero_in_page(data, page, page == page_of(off) ? in_page(off) : 0,
			     page == page_of(end) ? in_page(end) : DATA_PAGE_SIZE);
	return 0;
}

static int heap_punch(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len)
{
	uint64_t end = len > UINT64_MAX - off ? UINT64_MAX : off + len;
	uint64_t first = page_of(off), last = page_of(end);

	if (len == 0)
		return 0;
	if (first == last) {
		zero_in_page(data, first, in_page(off), in_page(end));
		return 0;
	}
	if (in_page(off) > 0)
		zero_in_page(data, first++, in_page(off), DATA_PAGE_SIZE);
	zero_in_page(data, last, 0, in_page(end));
	if (last > 0)
		free_pages(data, plane->mem, first, last - 1);
	return 0;
}

static int64_t heap_seek(struct data_plane *plane, const struct data *data, uint64_t off, int whence)
{
	uint64_t page;

	(void)plane;
	if (off >= data->heap.size)
		return -ENXIO;
	page = search_file(data, page_of(off), whence == SEEK_DATA);
	if (page == NO_PAGE || page > page_of(data->heap.size - 1))
		return whence == SEEK_DATA ? -ENXIO : (int64_t)data->heap.size;
	return (int64_t)(page == page_of(off) ? off : page << PAGE_BITS);
}

/* By way of a buffer: a write may move the bytes that are read, when both are one file. */
static ssize_t heap_copy(struct data_plane *plane, const struct data *from, uint64_t off, struct data *to,
			 uint64_t to_off, size_t n)
{
	unsigned char buf[DATA_PAGE_SIZE];
	ssize_t part, written;
	size_t done;

	for (done = 0; done < n; done += (size_t)written) {
		part = heap_read(plane, from, buf, n - done < sizeof(buf) ? n - done : sizeof(buf), off + done);
		if (part == 0)
			break;
		written = heap_write(plane, to, buf, (size_t)part, to_off + done);
		if (written < 0 && done == 0)
			return written;
		if (written <= 0)
			break;
	}
	return (ssize_t)done;
}

static uint64_t heap_hole_end(struct data_plane *plane, const struct data *data, uint64_t off, uint64_t end)
{
	int64_t found = heap_seek(plane, data, off, SEEK_DATA);

	if (found < 0)
		return found == -ENXIO ? end : off;
	return (uint64_t)found < end ? (uint64_t)found : end;
}

static const struct data_ops data_heap_ops = {
	.name = "heap",
	.free = heap_free,
	.clear = heap_clear,
	.look = heap_look,
	.read = heap_read,
	.write = heap_write,
	.resize = heap_resize,
	.allocate = heap_allocate,
	.zero = heap_zero,
	.punch = heap_punch,
	.seek = heap_seek,
	.hole_end = heap_hole_end,
	.copy = heap_copy,
};

int data_heap_new(struct mem *mem, struct data_plane **made)
{
	struct data_plane *plane = calloc(1, sizeof(*plane));

	if (!plane)
		return -ENOMEM;
	*plane = (struct data_plane){.ops = &data_heap_ops, .mem = mem};
	*made = plane;
	return 0;
}
