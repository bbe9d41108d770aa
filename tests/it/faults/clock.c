/* Moves the clock of the process that it is loaded into, and of no other: by as many nanoseconds as the file says that CONSUMABLE_TEST_CLOCK
 * names. The file may be written at any time. Clocks that only run, never tell the time, are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void find_file(void) {
  const char *name = getenv("CONSUMABLE_TEST_CLOCK");
  int file = name ? open(name, O_RDONLY) : -1;
  void *mapped = file < 0 ? MAP_FAILED : mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) ahead = mapped;
}

static struct timespec moved(struct timespec from, int64_t by) {
  int64_t nanoseconds = from.tv_nsec + by % 1000000000;
  from.tv_sec += by / 1000000000 + (nanoseconds < 0 ? -1 : nanoseconds >= 1000000000 ? 1 : 0);
  from.tv_nsec = (nanoseconds + 1000000000) % 1000000000;
  return from;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (!failed && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *now = moved(*now, *ahead);
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (seconds) *seconds = now.tv_sec;
  return now.tv_sec;
}

/* The system does not know of the moved clock: a wait until an instant of it ends when the true clock is as far. Instants of clocks that only
 * run are small numbers. */
static struct timespec in_true_time(const struct timespec *until) {
  return ahead && until->tv_sec > 1000000000 ? moved(*until, -*ahead) : *until;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
  static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  struct timespec instant = in_true_time(until);
  return next(condition, mutex, &instant);
}

int pthread_cond_clockwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, clockid_t clock,
                           const struct timespec *restrict until) {
  static int (*next)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
  struct timespec instant = in_true_time(until);
  return next(condition, mutex, clock, &instant);
}
