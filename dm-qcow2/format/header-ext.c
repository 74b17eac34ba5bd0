// SPDX-License-Identifier: GPL-2.0-only
/*
 * The header extensions: walked and checked, never changed.
 *
 * Builds in user space, too.
 */
#include "header-ext.h"

static int refuse(const char *sentence, const char **why)
{
	*why = sentence;
	return -EUCLEAN;
}

static int take_bitmaps(struct qcow2_header *h, const struct qcow2_disk_ext_bitmaps *b,
			const char **why)
{
	u32 count = be32_to_cpu(b->nb_bitmaps);

	if (b->reserved)
		return refuse("bitmaps extension has reserved bits set", why);
	if (!count || count > QCOW2_MAX_BITMAPS)
		return refuse("number of bitmaps is out of range", why);
	if (!IS_ALIGNED(be64_to_cpu(b->directory_offset), BIT_ULL(h->cluster_bits)) ||
	    be64_to_cpu(b->directory_bytes) > QCOW2_MAX_BITMAP_DIR_BYTES)
		return refuse("bitmap directory is out of range", why);
	h->nb_bitmaps = count;
	h->bitmap_dir_offset = be64_to_cpu(b->directory_offset);
	h->bitmap_dir_bytes = be64_to_cpu(b->directory_bytes);
	return 0;
}

/* @data is valid if the extension is as long as that of bitmaps has to be. */
static int check_one(struct qcow2_header *h, u32 type, u32 bytes, const void *data,
		     const char **why)
{
	struct qcow2_disk_ext_bitmaps bitmaps;

	if (type == QCOW2_EXT_BACKING_FORMAT && bytes > QCOW2_MAX_BACKING_FORMAT_BYTES)
		return refuse("backing file format name is too long", why);
	if (type == QCOW2_EXT_CRYPTO && h->crypt_method != QCOW2_CRYPT_LUKS)
		return refuse("encryption extension without encryption", why);
	if (type == QCOW2_EXT_BITMAPS && bytes != sizeof(bitmaps))
		return refuse("bitmaps extension has a wrong length", why);
	/* Without the bit, a program that knows no bitmaps has changed the image. */
	if (type != QCOW2_EXT_BITMAPS || !(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	memcpy(&bitmaps, data, sizeof(bitmaps));
	return take_bitmaps(h, &bitmaps, why);
}

int qcow2_header_ext_check(struct qcow2_header *h, u64 base, const void *buf,
			   size_t len, u64 *next, const char **why)
{
	u64 end = qcow2_header_ext_end(h);
	u64 seen = min(base + len, end);
	struct qcow2_disk_ext ext;
	u32 type, bytes;
	const u8 *at;
	int err;

	while (*next < end) {
		if (end - *next < sizeof(ext))
			return refuse("header extension is too large", why);
		if (*next + min((u64)QCOW2_HEADER_EXT_WINDOW, end - *next) > seen)
			return 0;
		at = (const u8 *)buf + (*next - base);
		memcpy(&ext, at, sizeof(ext));
		type = be32_to_cpu(ext.type);
		bytes = be32_to_cpu(ext.bytes);
		if (bytes > end - *next - sizeof(ext))
			return refuse("header extension is too large", why);
		if (type == QCOW2_EXT_END)
			break;
		err = check_one(h, type, bytes, at + sizeof(ext), why);
		if (err)
			return err;
		*next += sizeof(ext) + round_up((u64)bytes, 8);
	}
	*next = max(*next, end);
	return 0;
}
