/* SPDX-License-Identifier: MIT */
/*
 * The bytes of one file.  See data.h.
 *
 * A file of at most one page is that page, cut to what it needs (height 0).  Any other
 * is a tree of nodes with 64 branches: at height h a node covers 64^h pages, and
 * the branches of a node of height 1 are pages.  A missing branch is a hole.
 */
#include "data.h"

#include "mem.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

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
	void *at = data->root;
	uint32_t height;

	if (!at || !covers(data->height, page))
		return NULL;
	for (height = data->height; height > 0; height--) {
		at = ((struct node *)at)->branch[branch_of(page, height)];
		if (!at)
			return NULL;
	}
	*len = data->height == 0 ? data->small : DATA_PAGE_SIZE;
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

	if (!covers(data->height, page))
		return there ? NO_PAGE : page;
	found = search(data->root, data->height, page, there);
	/* All that the tree covers is there: the hole begins behind it. */
	if (found == NO_PAGE && !there)
		found = UINT64_C(1) << (data->height * BRANCH_BITS);
	return found;
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
	if (data->root && data->small >= room)
		return true;
	page = mem_alloc(mem, room);
	if (!page)
		return false;
	if (data->root)
		memcpy(page, data->root, data->small);
	memset(page + data->small, 0, room - data->small);
	mem_free(mem, data->root, data->small);
	data->allocated += room - data->small;
	data->root = page;
	data->small = (uint32_t)room;
	return true;
}

/* Puts a node above the root. */
static bool raise_root(struct data *data, struct mem *mem)
{
	struct node *node;

	if (data->root) {
		if (data->height == 0 && !extend_small(data, mem, DATA_PAGE_SIZE))
			return false;
		node = mem_zalloc(mem, sizeof(*node));
		if (!node)
			return false;
		node->branch[0] = data->root;
		node->used = 1;
		data->root = node;
	}
	data->height++;
	data->small = 0;
	return true;
}

/* Makes the branch @at of @node, a page or a node of @height, zeroed. */
static void *make_branch(struct data *data, struct mem *mem, struct node *node, void **at, uint32_t height)
{
	*at = mem_zalloc(mem, height == 0 ? DATA_PAGE_SIZE : sizeof(struct node));
	if (!*at)
		return NULL;
	node->used++;
	if (height == 0)
		data->allocated += DATA_PAGE_SIZE;
	return *at;
}

/* Lets the tree sink as far as a failed raise_root() or an empty one may have left it. */
static void settle_empty(struct data *data)
{
	if (data->root)
		return;
	data->height = 0;
	data->small = 0;
}

/* The page with number @page, made if it is not there, with room for its first @need
 * bytes; NULL if there is no memory. */
static unsigned char *make_page(struct data *data, struct mem *mem, uint64_t page, size_t need)
{
	uint32_t height;
	void **at;

	while (!covers(data->height, page))
		if (!raise_root(data, mem)) {
			settle_empty(data);
			return NULL;
		}
	if (data->height == 0)
		return extend_small(data, mem, need) ? data->root : NULL;
	if (!data->root) {
		data->root = mem_zalloc(mem, sizeof(struct node));
		if (!data->root) {
			settle_empty(data);
			return NULL;
		}
	}
	at = &data->root;
	for (height = data->height; height > 0; height--) {
		struct node *node = *at;

		at = &node->branch[branch_of(page, height)];
		if (!*at && !make_branch(data, mem, node, at, height - 1))
			return NULL;
	}
	return *at;
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
		data->allocated -= DATA_PAGE_SIZE;
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
	mem_free(mem, data->root, data->small);
	data->allocated -= data->small;
	data->root = NULL;
	data->small = 0;
}

/* Frees the pages @first to @last of the file. */
static void free_pages(struct data *data, struct mem *mem, uint64_t first, uint64_t last)
{
	if (!data->root || first > last || !covers(data->height, first))
		return;
	if (data->height == 0) {
		free_small(data, mem);
		return;
	}
	free_range(data, mem, &data->root, data->height, first, last);
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

void data_clear(struct data *data, struct mem *mem)
{
	free_pages(data, mem, 0, NO_PAGE);
	data->size = 0;
}

/* ------------------------------------------------------------------------ */
/* The interface                                                             */

size_t data_segment(const struct data *data, uint64_t off, size_t n, const void **bytes)
{
	const unsigned char *page;
	size_t len;

	if (off >= data->size)
		return 0;
	if (n > data->size - off)
		n = (size_t)(data->size - off);
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

ssize_t data_write(struct data *data, struct mem *mem, const void *buf, size_t n, uint64_t off)
{
	const unsigned char *from = buf;
	size_t done, part;
	unsigned char *page;

	if (off > DATA_SIZE_MAX || n > DATA_SIZE_MAX - off)
		return -EFBIG;
	for (done = 0; done < n; done += part) {
		part = DATA_PAGE_SIZE - in_page(off + done);
		if (part > n - done)
			part = n - done;
		page = make_page(data, mem, page_of(off + done), in_page(off + done) + part);
		if (!page)
			break;
		memcpy(page + in_page(off + done), from + done, part);
	}
	if (done == 0 && n > 0)
		return -ENOMEM;
	if (off + done > data->size && done > 0)
		data->size = off + done;
	return (ssize_t)done;
}

int data_resize(struct data *data, struct mem *mem, uint64_t size)
{
	if (size > DATA_SIZE_MAX)
		return -EFBIG;
	if (size == 0) {
		data_clear(data, mem);
		return 0;
	}
	if (size < data->size) {
		free_pages(data, mem, page_of(size - 1) + 1, NO_PAGE);
		if (in_page(size) > 0)
			zero_in_page(data, page_of(size), in_page(size), DATA_PAGE_SIZE);
	}
	data->size = size;
	return 0;
}

int data_allocate(struct data *data, struct mem *mem, uint64_t off, uint64_t len)
{
	uint64_t page;

	if (off > DATA_SIZE_MAX || len > DATA_SIZE_MAX - off)
		return -EFBIG;
	if (len == 0)
		return 0;
	for (page = page_of(off); page <= page_of(off + len - 1); page++)
		if (!make_page(data, mem, page,
			       page == page_of(off + len - 1) ? in_page(off + len - 1) + 1 : DATA_PAGE_SIZE))
			return -ENOMEM;
	return 0;
}

void data_punch(struct data *data, struct mem *mem, uint64_t off, uint64_t len)
{
	uint64_t end = len > UINT64_MAX - off ? UINT64_MAX : off + len;
	uint64_t first = page_of(off), last = page_of(end);

	if (len == 0)
		return;
	if (first == last) {
		zero_in_page(data, first, in_page(off), in_page(end));
		return;
	}
	if (in_page(off) > 0)
		zero_in_page(data, first++, in_page(off), DATA_PAGE_SIZE);
	zero_in_page(data, last, 0, in_page(end));
	if (last > 0)
		free_pages(data, mem, first, last - 1);
}

int64_t data_next_data(const struct data *data, uint64_t off)
{
	uint64_t page;

	if (off >= data->size)
		return -ENXIO;
	page = search_file(data, page_of(off), true);
	if (page == NO_PAGE || page > page_of(data->size - 1))
		return -ENXIO;
	return (int64_t)(page == page_of(off) ? off : page << PAGE_BITS);
}

int64_t data_next_hole(const struct data *data, uint64_t off)
{
	uint64_t page;

	if (off >= data->size)
		return -ENXIO;
	page = search_file(data, page_of(off), false);
	if (page == NO_PAGE || page > page_of(data->size - 1))
		return (int64_t)data->size;
	return (int64_t)(page == page_of(off) ? off : page << PAGE_BITS);
}
