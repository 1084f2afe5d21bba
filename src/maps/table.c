/* SPDX-License-Identifier: MIT */
/* Which partition table is this? Where two answers are possible, none is given. */
#include "maps/table.h"

#include <string.h>

#include "base/bytes.h"
#include "maps/freemap.h"

int bow_table_refuse(struct bow_dev *dev, int code, const char *why, struct bowimg_error *err)
{
	bow_err(err, code, "%s: read the partition table: %s", dev->name, why);
	if (code == -EUCLEAN)
		bow_err_hint(err,
			     "have it checked and written anew first (fdisk or gdisk, command v, "
			     "then w); --free-from=none or map:FILE do without the table");
	else
		bow_err_hint(err, "--free-from=none (backups past the end of the file) or map:FILE "
				  "(a GNU ddrescue map) do without the table");
	return code;
}

struct bow_mbr_entry bow_mbr_entry(const uint8_t sector[512], int i)
{
	const uint8_t *e = sector + 446 + 16 * i;

	return (struct bow_mbr_entry){e[4], bow_get32(e + 8), bow_get32(e + 12)};
}

bool bow_mbr_signed(const uint8_t sector[512])
{
	return sector[510] == 0x55 && sector[511] == 0xaa;
}

bool bow_gpt_signed(const uint8_t header[512])
{
	return memcmp(header, "EFI PART", 8) == 0;
}

/* How many of the MBR's entries say "there is a GPT", and how many something else. */
static void count_entries(const uint8_t mbr[512], int *gpt, int *other)
{
	*gpt = *other = 0;
	for (int i = 0; i < 4 && bow_mbr_signed(mbr); i++) {
		struct bow_mbr_entry e = bow_mbr_entry(mbr, i);

		if (e.type == BOW_MBR_GPT)
			++*gpt;
		else if (e.type && e.count)
			++*other;
	}
}

/* A GPT's signature in the second sector, whatever the sectors' size was when it was written. */
static int find_gpt(struct bow_dev *dev, bool *here, bool *elsewhere, struct bowimg_error *err)
{
	uint8_t at512[512] = {0}, at4096[512] = {0};
	bool is_4k = dev->sector_size == 4096;
	int rc = 0;

	if (dev->size >= 1024)
		rc = bow_dev_read(dev, at512, sizeof(at512), 512, err);
	if (!rc && dev->size >= 4096 + 512)
		rc = bow_dev_read(dev, at4096, sizeof(at4096), 4096, err);
	*here = bow_gpt_signed(is_4k ? at4096 : at512);
	*elsewhere = bow_gpt_signed(is_4k ? at512 : at4096);
	return rc;
}

/* The MBR says GPT: then it is one, or it is broken. */
static int read_gpt(struct bow_dev *dev, int others, bool here, bool elsewhere,
		    struct bow_table *out, struct bowimg_error *err)
{
	if (others)
		return bow_table_refuse(dev, -EOPNOTSUPP,
					"it is a hybrid of MBR and GPT, which may contradict each "
					"other",
					err);
	if (!here && elsewhere) {
		bow_table_refuse(dev, -EOPNOTSUPP, "it was made for sectors of another size", err);
		bow_err_hint(err, "give the image the sectors it had: losetup -f --show "
				  "--sector-size 4096 (or 512), then use the loop device");
		return -EOPNOTSUPP;
	}
	return bow_table_read_gpt(dev, out, err);
}

static int read_known(struct bow_dev *dev, const struct bow_probe *found, const uint8_t mbr[512],
		      struct bow_table *out, struct bowimg_error *err)
{
	bool here, elsewhere, is_gpt = !strcmp(found->pttype, "gpt");
	int gpts, others;
	int rc = find_gpt(dev, &here, &elsewhere, err);

	if (rc)
		return rc;
	count_entries(mbr, &gpts, &others);
	if (is_gpt || gpts)
		return read_gpt(dev, others, here, elsewhere, out, err);
	if (here)
		return bow_table_refuse(dev, found->pttype[0] ? -EOPNOTSUPP : -EUCLEAN,
					found->pttype[0]
						? "there is an MBR and a GPT besides, and they "
						  "know nothing of each other"
						: "there is a GPT, but no MBR that protects it",
					err);
	if (!found->pttype[0])
		return 0;
	if (strcmp(found->pttype, "dos") != 0)
		return bow_table_refuse(dev, -EOPNOTSUPP, "it is neither a GPT nor an MBR", err);
	return bow_table_read_mbr(dev, out, err);
}

int bow_table_read(struct bow_dev *dev, struct bow_table *out, struct bowimg_error *err)
{
	struct bow_probe found;
	uint8_t mbr[512] = {0};
	int rc = bow_probe_device(dev, &found, err);

	memset(out, 0, sizeof(*out));
	if (!rc)
		rc = bow_dev_read(dev, mbr, bow_min(sizeof(mbr), dev->size), 0, err);
	if (rc)
		return rc;
	/* A file system's boot sector can look like an MBR with nothing sensible in it. */
	if (found.type[0] && !found.pttype[0])
		return 0;
	/* That of an exFAT is an MBR without entries to libblkid. */
	if (!strcmp(found.type, "exfat") && bow_is_zero(mbr + 446, 64))
		return 0;
	if (found.type[0]) {
		bow_err(err, -EOPNOTSUPP,
			"%s: find out what it holds: a file system (%s) and a partition table (%s) "
			"both claim it",
			dev->name, found.type, found.pttype);
		bow_err_hint(err, "wipefs lists them; remove the stale one with it, or use "
				  "--free-from=none or map:FILE");
		return -EOPNOTSUPP;
	}
	return read_known(dev, &found, mbr, out, err);
}
