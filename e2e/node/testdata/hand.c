// The tests' hand inside the cluster, for what the image cannot do itself: there is no shell in it. Linked statically, it
// is small enough for a ConfigMap.
//
//   hand stop POD             stop (SIGSTOP) the nowd that serves in a pod, from a pod that sees the node's processes
//   hand flood IP PORT SEC    send datagrams as fast as can be
//   hand hold IP PORT N SEC   open N connections, ask on each, keep them for that long, and ask on each again
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

static size_t slurp(const char *pid, const char *file, char *buf, size_t size) {
  char path[300];
  snprintf(path, sizeof path, "/proc/%s/%s", pid, file);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  size_t n = 0;
  for (ssize_t r; n < size - 1 && (r = read(fd, buf + n, size - 1 - n)) > 0;) n += r;
  close(fd);
  buf[n] = 0;
  return n;
}

// A container's host name is its pod's; the application in the example is of the same image, but has arguments.
static int stop(const char *pod) {
  char cmd[4096], env[65536], want[300];
  snprintf(want, sizeof want, "HOSTNAME=%s", pod);
  DIR *proc = opendir("/proc");
  for (struct dirent *e; proc && (e = readdir(proc));) {
    if (e->d_name[0] < '1' || e->d_name[0] > '9') continue;
    size_t n = slurp(e->d_name, "cmdline", cmd, sizeof cmd);
    if (n != sizeof "/nowd" || strcmp(cmd, "/nowd")) continue;
    n = slurp(e->d_name, "environ", env, sizeof env);
    for (char *p = env; p < env + n; p += strlen(p) + 1)
      if (!strcmp(p, want)) {
        if (kill(atoi(e->d_name), SIGSTOP)) return perror("kill"), 1;
        return printf("stopped %s\n", e->d_name), 0;
      }
  }
  return fprintf(stderr, "no nowd in %s\n", pod), 1;
}

static int dial(int type, const char *ip, const char *port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  inet_pton(AF_INET, ip, &a.sin_addr);
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  struct timeval patience = {.tv_sec = 30};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a)) return perror("connect"), -1;
  return fd;
}

static int ask(int fd) {
  char buf[64];
  return send(fd, "unix\n", 5, MSG_NOSIGNAL) == 5 && recv(fd, buf, sizeof buf, 0) > 0;
}

static int hold(const char *ip, const char *port, int n, int seconds) {
  struct rlimit l;
  getrlimit(RLIMIT_NOFILE, &l);
  l.rlim_cur = l.rlim_max;
  setrlimit(RLIMIT_NOFILE, &l);
  int *fd = calloc(n, sizeof *fd), first = 0, again = 0;
  for (int i = 0; i < n; i++) first += (fd[i] = dial(SOCK_STREAM, ip, port)) >= 0 && ask(fd[i]);
  printf("held %d\n", first), fflush(stdout);
  sleep(seconds);
  for (int i = 0; i < n; i++) again += fd[i] >= 0 && ask(fd[i]);
  printf("answered %d\n", again);
  return first < n || again < n;
}

static int flood(const char *ip, const char *port, int seconds) {
  int fd = dial(SOCK_DGRAM, ip, port);
  if (fd < 0) return 1;
  unsigned long sent = 0;
  for (time_t end = time(NULL) + seconds; time(NULL) < end;)
    for (int i = 0; i < 64; i++) sent += send(fd, "unix", 4, 0) == 4;
  printf("sent %lu\n", sent);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "stop")) return stop(argv[2]);
  if (argc == 5 && !strcmp(argv[1], "flood")) return flood(argv[2], argv[3], atoi(argv[4]));
  if (argc == 6 && !strcmp(argv[1], "hold")) return hold(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
  return fprintf(stderr, "hand stop POD | flood IP PORT SECONDS | hold IP PORT CONNECTIONS SECONDS\n"), 2;
}
