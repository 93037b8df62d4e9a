// hand does inside the cluster what tests need and nowd's image cannot do, because it has no shell. Linked statically,
// it is small enough for a ConfigMap.
//
//   hand stop|kill POD        stop (SIGSTOP) or kill the nowd of a pod, from a pod that sees the node's processes
//   hand ntp PORT             run an NTP server that serves the node's clock as the true time
//   hand flood IP PORT SEC    send datagrams as fast as possible
//   hand hold IP PORT N SEC   open N connections, ask on each, wait SEC seconds, and ask on each again
//   hand load KIND IP PORT N SEC
//                             keep N connections busy: read (pipeline requests and read), unread (ask for json and read
//                             nothing), http (requests over HTTP, read), heads (HTTP heads without an end)
//   hand ask udp|tcp IP PORT CLIENTS EACH SEC
//                             run CLIENTS clients that ask again when they are answered, EACH requests at a time
//   hand probe IP PORT SEC    ask for /live as a kubelet does, four times a second, and print how long it takes
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
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

// A container's host name is its pod's name. The example's application has the same image, but with arguments.
static int hit(const char *pod, int signal) {
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
        if (kill(atoi(e->d_name), signal)) return perror("kill"), 1;
        return printf("%s: %s\n", e->d_name, strsignal(signal)), 0;
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

// An NTP timestamp: seconds since 1900, in units of 1/2^32 s.
static void stamp(uint32_t *at, int earlier) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  at[0] = htonl(t.tv_sec - earlier + 2208988800u);
  at[1] = htonl((uint64_t)t.tv_nsec * 4294967296 / 1000000000);
}

static int ntp(const char *port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a)) return perror("bind"), 1;
  for (;;) {
    uint32_t q[12], p[12] = {0};
    socklen_t size = sizeof a;
    if (recvfrom(fd, q, sizeof q, 0, (struct sockaddr *)&a, &size) != sizeof q) continue;
    stamp(p + 8, 0);                                                  // receive
    p[0] = htonl(4 << 27 | 4 << 24 | 1 << 16 | 6 << 8 | (-20 & 0xff)); // version 4, server, stratum 1, poll, precision
    p[3] = htonl(0x47505300);                                         // reference id: GPS
    stamp(p + 4, 1);                                                  // reference
    p[6] = q[10], p[7] = q[11];                                       // origin
    stamp(p + 10, 0);                                                 // transmit
    sendto(fd, p, sizeof p, 0, (struct sockaddr *)&a, size);
  }
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int load(const char *kind, const char *ip, const char *port, int n, int seconds) {
  static const struct {
    const char *kind, *text;
    int reads;
  } kinds[] = {{"read", "hi\n", 1}, {"unread", "json\n", 0}, {"http", "GET /json HTTP/1.1\r\n\r\n", 1}, {"heads", "X: y\r\n", 1}};
  int k = 0;
  while (k < 4 && strcmp(kinds[k].kind, kind)) k++;
  if (k == 4) return fprintf(stderr, "no such kind\n"), 2;
  char many[4096] = "", sink[65536];
  while (strlen(many) + strlen(kinds[k].text) < (k == 3 ? 100 : 1024)) strcat(many, kinds[k].text);
  struct pollfd *p = calloc(n, sizeof *p);
  unsigned long sent = 0, got = 0, opened = 0;
  for (int i = 0; i < n; i++) p[i].fd = -1;
  for (double end = now() + seconds; now() < end;) {
    for (int i = 0; i < n; i++) {
      if (p[i].fd < 0) {
        if ((p[i].fd = dial(SOCK_STREAM, ip, port)) < 0) {
          usleep(100000);
          break;
        }
        opened++;
        fcntl(p[i].fd, F_SETFL, O_NONBLOCK);
        if (k == 3) send(p[i].fd, "GET / HTTP/1.1\r\n", 16, MSG_NOSIGNAL);
      }
      p[i].events = POLLOUT | (kinds[k].reads ? POLLIN : 0);
    }
    poll(p, n, 100);
    for (int i = 0; i < n; i++) {
      ssize_t r = 1;
      if (p[i].fd < 0) continue;
      if (p[i].revents & POLLIN) {
        r = recv(p[i].fd, sink, sizeof sink, 0);
        if (r > 0) got += r;
      }
      if (r > 0 && p[i].revents & POLLOUT) {
        r = send(p[i].fd, many, strlen(many), MSG_NOSIGNAL);
        if (r > 0) sent += r;
      }
      if (r == 0 || (r < 0 && errno != EAGAIN) || p[i].revents & POLLERR) close(p[i].fd), p[i].fd = -1;
    }
  }
  return printf("%s: %lu connections, %lu bytes sent, %lu received\n", kind, opened, sent, got), 0;
}

static int ask_on(const char *proto, const char *ip, const char *port, int clients, int each, int seconds) {
  int type = strcmp(proto, "udp") ? SOCK_STREAM : SOCK_DGRAM;
  char many[4096] = "", answers[65536];
  for (int i = 0; i < each; i++) strcat(many, "hi\n");
  struct pollfd *p = calloc(clients, sizeof *p);
  double *asked = calloc(clients, sizeof *asked), began = now(), worst = 0;
  int *owed = calloc(clients, sizeof *owed);
  unsigned long got = 0, lost = 0;
  for (int i = 0; i < clients; i++) {
    if ((p[i].fd = dial(type, ip, port)) < 0) return 1;
    p[i].events = POLLIN;
  }
  for (double t; (t = now()) < began + seconds;) {
    for (int i = 0; i < clients; i++) {
      if (owed[i] > 0 && type == SOCK_DGRAM && t > asked[i] + 2) owed[i] = 0, lost++;
      if (owed[i] > 0) continue;
      if (send(p[i].fd, many, strlen(many), MSG_NOSIGNAL) < 0) return perror("send"), 1;
      owed[i] = each, asked[i] = t;
    }
    if (poll(p, clients, 100) <= 0) continue;
    for (int i = 0; i < clients; i++) {
      if (!(p[i].revents & POLLIN)) continue;
      ssize_t r = recv(p[i].fd, answers, sizeof answers, 0);
      if (r <= 0) return perror("recv"), 1;
      for (ssize_t j = 0; j < r; j++) owed[i] -= answers[j] == '\n', got += answers[j] == '\n';
      if (owed[i] <= 0 && now() - asked[i] > worst) worst = now() - asked[i];
    }
  }
  return printf("%.0f a second, the slowest %.0f ms, %lu lost\n", got / (now() - began), worst * 1000, lost), 0;
}

static int probe(const char *ip, const char *port, int seconds) {
  int probes = 0, slow = 0, failed = 0;
  double worst = 0;
  for (double end = now() + seconds; now() < end; usleep(250000)) {
    char buf[64] = "";
    double began = now();
    int fd = dial(SOCK_STREAM, ip, port);
    int ok = fd >= 0 && send(fd, "GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 50, MSG_NOSIGNAL) == 50 &&
             recv(fd, buf, sizeof buf, 0) > 12 && !strncmp(buf + 9, "200", 3);
    double took = now() - began;
    if (fd >= 0) close(fd);
    probes++, failed += !ok, slow += took > 1;
    if (took > worst) worst = took;
  }
  return printf("%d probes, %d over 1 s, %d failed, the slowest %.0f ms\n", probes, slow, failed, worst * 1000), 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "stop")) return hit(argv[2], SIGSTOP);
  if (argc == 3 && !strcmp(argv[1], "kill")) return hit(argv[2], SIGKILL);
  if (argc == 3 && !strcmp(argv[1], "ntp")) return ntp(argv[2]);
  if (argc == 5 && !strcmp(argv[1], "flood")) return flood(argv[2], argv[3], atoi(argv[4]));
  if (argc == 6 && !strcmp(argv[1], "hold")) return hold(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
  if (argc == 7 && !strcmp(argv[1], "load")) return load(argv[2], argv[3], argv[4], atoi(argv[5]), atoi(argv[6]));
  if (argc == 8 && !strcmp(argv[1], "ask")) return ask_on(argv[2], argv[3], argv[4], atoi(argv[5]), atoi(argv[6]), atoi(argv[7]));
  if (argc == 5 && !strcmp(argv[1], "probe")) return probe(argv[2], argv[3], atoi(argv[4]));
  return fprintf(stderr, "usage: see the first comment of hand.c\n"), 2;
}
