// A client of ClockBound's shared memory, version 2, written from the description of
// the format alone.
//
//   reader now PATH               prints "EARLIEST LATEST STATUS BOUND", in ns
//   reader at PATH REAL MONO      prints the same for the given readings of the clocks,
//                                 in ns
//   reader hammer PATH SECONDS    reads a segment without a pause. All values in it
//                                 follow from the disruption marker; the program
//                                 fails if one does not. It prints the number of
//                                 reads, and of those that took too long to check
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct body {
	int64_t as_of_s, as_of_ns;
	int64_t void_after_s, void_after_ns;
	int64_t bound;
	uint64_t marker;
	uint32_t max_drift;
	int32_t status;
	uint8_t vmclock;
	uint8_t padding[7];
};

struct segment {
	uint32_t magic[2];
	uint32_t size;
	_Atomic uint16_t version;
	_Atomic uint16_t generation;
	struct body body;
};

_Static_assert(sizeof(struct segment) == 80, "the segment has 80 bytes");

static void die(const char *why) {
	fprintf(stderr, "%s\n", why);
	exit(1);
}

static struct segment *map(const char *path) {
	int fd = open(path, O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0) die("cannot open");
	if (st.st_size < 80) die("too short");
	struct segment *s = mmap(NULL, 80, PROT_READ, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED) die("cannot map");
	if (s->magic[0] != 0x414D5A4E || s->magic[1] != 0x43420200) die("no segment");
	if (s->size != 80) die("wrong size");
	if (s->version != 2) die("wrong version");
	close(fd);
	return s;
}

// copy makes a whole copy and returns its generation.
static uint16_t copy(struct segment *s, struct body *b) {
	for (;;) {
		uint16_t before = atomic_load_explicit(&s->generation, memory_order_acquire);
		if (before == 0 || before & 1) continue;
		const volatile uint64_t *from = (const volatile uint64_t *)&s->body;
		uint64_t words[8];
		for (int i = 0; i < 8; i++) words[i] = from[i];
		memcpy(b, words, sizeof *b);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&s->generation, memory_order_relaxed) == before) return before;
	}
}

static int64_t read_clock(clockid_t id) {
	struct timespec t;
	clock_gettime(id, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void print(const struct body *b, int64_t real, int64_t mono) {
	int64_t as_of = b->as_of_s * INT64_C(1000000000) + b->as_of_ns;
	int64_t void_after = b->void_after_s * INT64_C(1000000000) + b->void_after_ns;
	int64_t age = mono - as_of;
	if (b->max_drift >= 1000000000) die("the drift is too large");
	if (age < -1000) die("from the future");
	if (age < 0) age = 0;
	int32_t status = b->status;
	if (status == 1 || status == 2) {
		if (mono < as_of + INT64_C(5000000000)) {
		} else if (mono < void_after) {
			status = 2;
		} else {
			status = 0;
		}
	}
	int64_t bound = b->bound + (int64_t)((double)age / 1e9 * b->max_drift);
	printf("%" PRId64 " %" PRId64 " %d %" PRId64 "\n", real - bound, real + bound, status, bound);
}

static uint64_t marker(struct segment *s) { return *(volatile uint64_t *)&s->body.marker; }

static void hammer(struct segment *s, int seconds) {
	uint64_t reads = 0, late = 0;
	int64_t end = read_clock(CLOCK_MONOTONIC) + seconds * INT64_C(1000000000);
	while (read_clock(CLOCK_MONOTONIC) < end) {
		struct body b;
		uint64_t before = marker(s);
		copy(s, &b);
		uint64_t n = b.marker;
		// During a long read the generation may wrap.
		if (marker(s) - before > 65536 / 3 / 2) {
			late++;
			continue;
		}
		reads++;
		if (b.as_of_s != (int64_t)n || b.as_of_ns != (int64_t)(n % 1000) || b.void_after_s != (int64_t)n + 1 ||
		    b.void_after_ns != (int64_t)(n % 7) || b.bound != (int64_t)(3 * n) || b.max_drift != (uint32_t)(n % 1000) ||
		    b.status != (int32_t)(n % 4) || b.vmclock != 0)
			die("torn");
	}
	printf("%" PRIu64 " %" PRIu64 "\n", reads, late);
}

int main(int argc, char **argv) {
	struct body b;
	if (argc == 3 && strcmp(argv[1], "now") == 0) {
		copy(map(argv[2]), &b);
		int64_t real = read_clock(CLOCK_REALTIME);
		print(&b, real, read_clock(CLOCK_MONOTONIC));
	} else if (argc == 5 && strcmp(argv[1], "at") == 0) {
		copy(map(argv[2]), &b);
		print(&b, atoll(argv[3]), atoll(argv[4]));
	} else if (argc == 4 && strcmp(argv[1], "hammer") == 0) {
		hammer(map(argv[2]), atoi(argv[3]));
	} else {
		die("usage");
	}
	return 0;
}
