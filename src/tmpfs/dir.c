/* SPDX-License-Identifier: MIT */
/*
 * The names in one directory.  See dir.h.
 *
 * A cookie has 63 bits: the low 56 bits of the name's hash, the lowest at the top,
 * and 7 bits that tell apart the entries for which those are the same.
 */
#include "dir.h"

#include "mem.h"

#include <errno.h>
#include <string.h>

#define COOKIE_BITS 63
#define TWIN_BITS 7
#define TWIN_FIRST 3 /* keeps cookies off 0, 1 and 2 */
#define TWIN_END (1 << TWIN_BITS)

static uint64_t reverse_bits(uint64_t x)
{
	x = (x >> 1 & UINT64_C(0x5555555555555555)) | (x & UINT64_C(0x5555555555555555)) << 1;
	x = (x >> 2 & UINT64_C(0x3333333333333333)) | (x & UINT64_C(0x3333333333333333)) << 2;
	x = (x >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) | (x & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
	return __builtin_bswap64(x);
}

/* The cookie of @hash without what tells twins apart. */
static uint64_t cookie_of(uint64_t hash)
{
	return reverse_bits(hash) >> (64 - COOKIE_BITS + TWIN_BITS) << TWIN_BITS;
}

/* The hash by which the table knows a cookie: the low 56 bits are the name's. */
static uint64_t hash_of_cookie(uint64_t cookie)
{
	return reverse_bits(cookie << (64 - COOKIE_BITS));
}

static uint64_t hash_of_link(const struct table_link *link)
{
	return hash_of_cookie(((const struct dir_entry *)link)->cookie);
}

static size_t entry_bytes(size_t name_len)
{
	return sizeof(struct dir_entry) + name_len + 1;
}

static struct dir_entry *first_of_chain(const struct dir *dir, uint64_t hash)
{
	struct table_link **chain = table_chain(&dir->names, hash);

	return chain ? (struct dir_entry *)*chain : NULL;
}

static struct dir_entry *next_of_chain(const struct dir_entry *entry)
{
	return (struct dir_entry *)entry->link.next;
}

/* The chain of a hash whose low 56 bits alone are known to the table's cookies. */
static uint64_t table_hash_of(const struct dir_name *name)
{
	return hash_of_cookie(cookie_of(name->hash));
}

struct dir_entry *dir_find(const struct dir *dir, const struct dir_name *name)
{
	uint64_t cookie = cookie_of(name->hash);
	struct dir_entry *entry;

	for (entry = first_of_chain(dir, table_hash_of(name)); entry; entry = next_of_chain(entry))
		if (entry->cookie >> TWIN_BITS == cookie >> TWIN_BITS && entry->name_len == name->len &&
		    memcmp(entry->name, name->bytes, name->len) == 0)
			return entry;
	return NULL;
}

/* The entry in the chain of @from with the least cookie that is not less than @from. */
static struct dir_entry *least_in_chain(const struct dir *dir, uint64_t from)
{
	struct dir_entry *entry, *least = NULL;

	for (entry = first_of_chain(dir, hash_of_cookie(from)); entry; entry = next_of_chain(entry))
		if (entry->cookie >= from && (!least || entry->cookie < least->cookie))
			least = entry;
	return least;
}

struct dir_entry *dir_next(const struct dir *dir, uint64_t cookie)
{
	const uint64_t end = UINT64_C(1) << COOKIE_BITS;
	uint64_t from = cookie + 1;
	struct dir_entry *entry;
	unsigned free_bits;

	if (dir_count(dir) == 0 || cookie >= end)
		return NULL;
	while (from < end) {
		entry = least_in_chain(dir, from);
		if (entry)
			return entry;
		/* On to the first cookie of the chain that follows in cookie order. */
		free_bits = COOKIE_BITS - table_chain_bits(&dir->names, hash_of_cookie(from));
		from = ((from >> free_bits) + 1) << free_bits;
	}
	return NULL;
}

/* Finds a cookie for @hash that no entry has.  Returns 0 or -ENOSPC. */
static int choose_cookie(const struct dir *dir, uint64_t hash, uint64_t *cookie)
{
	uint64_t base = cookie_of(hash);
	uint64_t taken[TWIN_END / 64] = {0};
	struct dir_entry *entry;
	unsigned twin;

	for (entry = first_of_chain(dir, hash_of_cookie(base)); entry; entry = next_of_chain(entry))
		if (entry->cookie >> TWIN_BITS == base >> TWIN_BITS)
			taken[(entry->cookie & (TWIN_END - 1)) / 64] |= UINT64_C(1) << (entry->cookie & 63);
	for (twin = TWIN_FIRST; twin < TWIN_END; twin++)
		if (!(taken[twin / 64] >> (twin & 63) & 1)) {
			*cookie = base | twin;
			return 0;
		}
	return -ENOSPC;
}

int dir_add(struct dir *dir, struct mem *mem, const struct dir_name *name, struct inode *inode,
	    struct dir_entry **added)
{
	struct dir_entry *entry;
	int err;

	err = table_reserve(&dir->names, mem);
	if (err)
		return err;
	entry = mem_alloc(mem, entry_bytes(name->len));
	if (!entry) {
		err = -errno;
		goto unreserve;
	}
	err = choose_cookie(dir, name->hash, &entry->cookie);
	if (err)
		goto free_entry;
	entry->inode = inode;
	entry->name_len = (uint8_t)name->len;
	memcpy(entry->name, name->bytes, name->len);
	entry->name[name->len] = '\0';
	table_insert(&dir->names, mem, &entry->link, hash_of_link);
	*added = entry;
	return 0;
free_entry:
	mem_free(mem, entry, entry_bytes(name->len));
unreserve:
	table_unreserve(&dir->names, mem);
	return err;
}

void dir_remove(struct dir *dir, struct mem *mem, struct dir_entry *entry)
{
	struct table_link **at = table_chain(&dir->names, hash_of_cookie(entry->cookie));

	while (*at != &entry->link)
		at = &(*at)->next;
	table_remove(&dir->names, mem, at);
	mem_free(mem, entry, entry_bytes(entry->name_len));
}

static void free_entry(struct table_link *link, void *arg)
{
	struct dir_entry *entry = (struct dir_entry *)link;
	struct mem *mem = arg;

	mem_free(mem, entry, entry_bytes(entry->name_len));
}

void dir_done(struct dir *dir, struct mem *mem)
{
	table_drain(&dir->names, mem, free_entry, mem);
}
