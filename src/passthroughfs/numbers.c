/* SPDX-License-Identifier: MIT */
/*
 * Numbers made of file handles: see numbers.h.
 *
 * Source: the encode_fh functions of Linux fs/libfs.c, fs/btrfs/export.c, fs/xfs/xfs_export.c, mm/shmem.c.
 */
#include "numbers.h"

#include <string.h>

enum { INO_MAX = INT32_MAX }; /* so that the highest bit is left for NUMBERS_COUNTED */

static const struct {
	unsigned long fs_type;
	int type;
	unsigned size;
	unsigned ino_at;
	unsigned generation_at;
} forms[] = {
	{0xef53, 0x1, 8, 0, 4}, /* ext2, ext3, ext4 */
	{0xf2f52010, 0x1, 8, 0, 4}, /* f2fs */
	{0x01021994, 0x1, 12, 4, 0}, /* tmpfs */
	{0x58465342, 0x1, 8, 0, 4}, /* xfs with 32-bit inode numbers */
	{0x58465342, 0x81, 12, 0, 8}, /* xfs */
	{0x9123683e, 0x4d, 20, 0, 16}, /* btrfs; between them the subvolume */
};

static uint32_t get_word(const struct handle *handle, unsigned at)
{
	uint32_t word;

	memcpy(&word, handle->bytes + at, sizeof(word));
	return word;
}

static void put_word(struct handle *handle, unsigned at, uint32_t word)
{
	memcpy(handle->bytes + at, &word, sizeof(word));
}

void numbers_init(struct numbers *numbers, unsigned long fs_type, const struct handle *handle, uint64_t source_ino)
{
	*numbers = (struct numbers){.work = false};
	if (source_ino > INO_MAX)
		return;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (forms[i].fs_type != fs_type || forms[i].type != handle->type || forms[i].size != handle->size ||
		    get_word(handle, forms[i].ino_at) != source_ino)
			continue;
		numbers->work = true;
		numbers->form = *handle;
		numbers->ino_at = forms[i].ino_at;
		numbers->generation_at = forms[i].generation_at;
	}
}

/* Below, @ino 0 is no inode of any file system; it would give a small number. */
uint64_t numbers_pack(const struct numbers *numbers, const struct handle *handle)
{
	struct handle expected;
	uint32_t generation;
	uint32_t ino;

	if (!numbers->work || handle->type != numbers->form.type || handle->size != numbers->form.size)
		return 0;
	ino = get_word(handle, numbers->ino_at);
	generation = get_word(handle, numbers->generation_at);
	if (!ino || ino > INO_MAX)
		return 0;
	expected = numbers->form;
	put_word(&expected, numbers->ino_at, ino);
	put_word(&expected, numbers->generation_at, generation);
	return memcmp(expected.bytes, handle->bytes, handle->size) == 0 ? (uint64_t)ino << 32 | generation : 0;
}

uint64_t numbers_source_ino(uint64_t number)
{
	return number >> 32;
}

bool numbers_unpack(const struct numbers *numbers, uint64_t number, struct handle *handle)
{
	if (!numbers->work || number >> 32 == 0 || number >= NUMBERS_COUNTED)
		return false;
	*handle = numbers->form;
	put_word(handle, numbers->ino_at, (uint32_t)(number >> 32));
	put_word(handle, numbers->generation_at, (uint32_t)number);
	return true;
}
