// For each byte of its input, this program reads CLOCK_REALTIME and CLOCK_MONOTONIC a
// thousand times, and prints how long that took, in ns.
#include <stdio.h>
#include <time.h>

int main(void) {
	struct timespec begin, real, mono, end;
	while (getchar() != EOF) {
		clock_gettime(CLOCK_MONOTONIC, &begin);
		for (int i = 0; i < 1000; i++) {
			clock_gettime(CLOCK_REALTIME, &real);
			clock_gettime(CLOCK_MONOTONIC, &mono);
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		printf("%ld\n", (end.tv_sec - begin.tv_sec) * 1000000000L + end.tv_nsec - begin.tv_nsec);
		fflush(stdout);
	}
	return 0;
}
