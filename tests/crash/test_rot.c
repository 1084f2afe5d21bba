/* SPDX-License-Identifier: MIT */
/*
 * Every bit that bowimg wrote is flipped, one at a time: superblock, note, segment headers,
 * records, backups, saved map, block 0's copies, the plan of the last step. Status, verify and the
 * end must then give the right result, or report damage before anything is written. Environment:
 *   ROT_STEP=N   flip every N-th bit (default 11), and all of the superblock
 *   ROT_ID=V.B   flip only bit B (of the whole disk) of variant V
 *   SUMMARY_FD=N write the counts to this descriptor as well
 *   JOBS=N       processes (default: as many as there are processors)
 *
 * One thing cannot be seen: after a process was killed, the log's last record may be missing, and
 * then it looks the same whether the power took it or something else.
 */
#include "crew.h"
#include "rot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_JOBS 64u

struct counts {
	uint64_t flips, harmless, reported, last_record, failures;
};

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static bool is_damage(int rc)
{
	return rc == -EUCLEAN || rc == -EBADMSG || rc == -ESTALE;
}

struct results {
	int status, verify, end;
	bool wrote_early; /* something was written, and then damage reported */
};

static void run_all_on(struct lab *lab, bool commit, struct results *r)
{
	struct bowimg_end_options opts = {0};
	struct bowimg_end_report report;
	struct bowimg_status st;
	struct bowimg_disk *dev;
	uint64_t changes = lab->disk.changes;

	dev = sim_open(&lab->disk);
	r->status = bow_status_dev(dev, 0, &st, &lab->err);
	r->verify = bow_verify_dev(dev, &opts, &report, &lab->err);
	if (commit)
		r->end = bow_commit_dev(dev, &opts, &report, &lab->err);
	else
		r->end = bow_rollback_dev(dev, &opts, &report, &lab->err);
	bow_disk_close(dev, NULL);
	r->wrote_early = r->end && lab->disk.changes != changes;
}

static bool right_in_the_end(struct lab *lab, bool commit)
{
	struct oracle *o = &lab->oracle;

	if (commit)
		return oracle_check_committed(o, lab->disk.cache, lab->disk.touched, lab->disk.size,
					      false);
	return oracle_check_rolled_back(o, lab->disk.cache, lab->disk.touched, lab->disk.size);
}

/* NULL, or what is wrong about these results. */
static const char *judge(const struct rot_image *img, struct lab *lab, const struct results *r,
			 bool last_record, struct counts *counts)
{
	bool has_log = r->verify != -EINPROGRESS;

	if (r->wrote_early)
		return "something was written before the damage was reported";
	if (r->end && !is_damage(r->end))
		return "the damage is not reported as such";
	if (has_log && !r->verify != !r->end && !img->commit)
		return "verify and rollback do not agree";
	if (r->end) {
		counts->reported++;
		return NULL;
	}
	if (right_in_the_end(lab, img->commit)) {
		counts->harmless++;
		return NULL;
	}
	if (!last_record)
		return lab->oracle.why;
	counts->last_record++;
	return NULL;
}

static void flip(const struct rot_image *img, struct lab *lab, uint32_t variant, uint64_t bit,
		 struct counts *counts)
{
	static const struct sim_cut none = {'p', 0, false};
	bool last_record = img->killed && bit / 8 >= img->record_off && bit / 8 < img->record_end;
	struct results r;
	const char *why;
	uint8_t byte;

	lab_fork(lab, img->lab, &none, bit);
	byte = lab->disk.cache[bit / 8] ^ (uint8_t)(1u << bit % 8);
	sim_load(&lab->disk, bit / 8, &byte, 1);
	run_all_on(lab, img->commit, &r);
	counts->flips++;
	why = judge(img, lab, &r, last_record, counts);
	if (why && counts->failures++ < 5)
		printf("# ROT_ID=%u.%" PRIu64 ": block %" PRIu64 " byte %" PRIu64
		       ": %s (status %d, verify %d, end %d: %s)\n",
		       variant, bit, bit / 8 / SIM_BLOCK, bit / 8 % SIM_BLOCK, why, r.status,
		       r.verify, r.end, r.end ? lab->err.message : "done");
	fflush(stdout);
}

static void flip_all(const struct rot_image *img, struct lab *lab, uint32_t variant, uint32_t job,
		     uint32_t jobs, struct counts *counts)
{
	uint64_t step = env_number("ROT_STEP", 11), bit, b, i;

	for (b = 0; b < ROT_MAX_BLOCKS; b++)
		for (i = 0; img->written[b] && i < SIM_BLOCK * 8; i++) {
			bit = b * SIM_BLOCK * 8 + i;
			if (bit % jobs == job && (bit < SIM_SECTOR * 8 || bit / jobs % step == 0))
				flip(img, lab, variant, bit, counts);
		}
}

static void run_forked(const struct rot_image *img, struct lab *lab, uint32_t variant,
		       uint32_t jobs, struct counts *board)
{
	uint32_t job;
	int status;

	fflush(stdout);
	for (job = 0; job < jobs; job++) {
		pid_t pid = fork();

		if (pid == 0) {
			flip_all(img, lab, variant, job, jobs, &board[job]);
			exit(0);
		}
		board[job].failures += pid < 0;
	}
	while (wait(&status) > 0)
		board[0].failures += status != 0;
}

static void print_counts(FILE *f, const char *name, const struct counts *c)
{
	fprintf(f,
		"# %s: %" PRIu64 " bits flipped, %" PRIu64 " harmless, %" PRIu64
		" reported before anything was written, %" PRIu64
		" in the last record of a killed process\n",
		name, c->flips, c->harmless, c->reported, c->last_record);
}

static bool run_variant(struct lab *base, struct lab *lab, uint32_t variant, struct counts *board,
			FILE *summary)
{
	uint32_t jobs = (uint32_t)env_number("JOBS", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN)), i;
	struct counts sum = {0};
	struct rot_image img;
	const char *id = getenv("ROT_ID");
	uint64_t bit;

	memset(board, 0, MAX_JOBS * sizeof(*board));
	if (!rot_make(&img, base, variant)) {
		printf("# variant %u: %s\nnot ok %u - it can be made\n", variant, base->why,
		       variant + 1);
		return false;
	}
	if (!id || !*id)
		run_forked(&img, lab, variant, jobs < 1 || jobs > MAX_JOBS ? 1 : jobs, board);
	else if (sscanf(id, "%u.%" SCNu64, &i, &bit) == 2 && i == variant)
		flip(&img, lab, variant, bit, board);
	for (i = 0; i < MAX_JOBS; i++) {
		sum.flips += board[i].flips;
		sum.harmless += board[i].harmless;
		sum.reported += board[i].reported;
		sum.last_record += board[i].last_record;
		sum.failures += board[i].failures;
	}
	print_counts(stdout, img.name, &sum);
	if (summary)
		print_counts(summary, img.name, &sum);
	printf("%sok %u - flipped bits, %s: the right result, or reported in time\n",
	       sum.failures ? "not " : "", variant + 1, img.name);
	fflush(stdout);
	return !sum.failures;
}

int main(void)
{
	static struct lab base, lab;
	FILE *summary = crash_summary();
	struct counts *board = mmap(NULL, MAX_JOBS * sizeof(*board), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t variant;
	bool good = true;

	lab_keep_memory();
	if (board == MAP_FAILED || lab_init(&base, LAB_SMALL_BLOCKS) ||
	    lab_init(&lab, LAB_SMALL_BLOCKS)) {
		fprintf(stderr, "out of memory\n");
		return 2;
	}
	if (env_number("ROT_TRACE", 0))
		base.trace = lab.trace = stdout;
	printf("1..%u\n", ROT_IMAGES);
	for (variant = 0; variant < ROT_IMAGES; variant++)
		good &= run_variant(&base, &lab, variant, board, summary);
	if (summary)
		fclose(summary);
	lab_release(&base);
	lab_release(&lab);
	return !good;
}
