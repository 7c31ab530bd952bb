/* Prints how many nanoseconds one CPUID takes: in a virtual machine it traps to the hypervisor. */
#include <stdio.h>
#if defined __x86_64__
#include <cpuid.h>
#include <time.h>

int main(void) {
  enum { TIMES = 1000 };
  unsigned a, b, c, d;
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (int i = 0; i < TIMES; i++) __cpuid_count(0, 0, a, b, c, d);
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("%lld\n", ((to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec) / TIMES);
}
#else
int main(void) { puts("0"); }
#endif
