// common.h - the small pieces that the upstream, the load client and the
// floor proxy share: a clock, a latency histogram, socket helpers, and reading
// another process's CPU time and memory.
//
// Everything here is Linux-only and single-threaded by design: one epoll loop
// per process, so that a measurement disturbs the two cores as little as it can.
#pragma once
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

// ---------------------------------------------------------------- clock

// CLOCK_MONOTONIC in nanoseconds. All processes on one host read the same
// clock, so a stamp written by the upstream can be subtracted by the client.
inline int64_t now_ns() {
    timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return int64_t(ts.tv_sec) * 1000000000 + ts.tv_nsec;
}

[[noreturn]] inline void die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}

// ---------------------------------------------------------------- histogram

// Log-linear histogram of nanoseconds: 64 linear steps in every power of two,
// so any quantile is within 1.6 % of the truth, at 32 KiB and O(1) per sample.
class Hist {
    static constexpr int kSub = 6;                    // log2(steps per octave)
    static constexpr int kSlots = (64 - kSub + 1) << kSub;
    std::vector<uint64_t> slot_ = std::vector<uint64_t>(kSlots, 0);
    uint64_t n_ = 0;
    int64_t max_ = 0;
    double sum_ = 0;

    static int index(uint64_t v) {
        if (v < (1u << kSub)) return int(v);
        int top = 63 - __builtin_clzll(v);
        int shift = top - kSub;
        return ((shift + 1) << kSub) + int((v >> shift) & ((1u << kSub) - 1));
    }
    static uint64_t lower(int i) {
        int oct = i >> kSub, sub = i & ((1 << kSub) - 1);
        if (oct == 0) return uint64_t(sub);
        return (uint64_t(sub) + (1u << kSub)) << (oct - 1);
    }

  public:
    void add(int64_t v) {
        if (v < 0) v = 0;
        slot_[size_t(index(uint64_t(v)))]++;
        n_++;
        sum_ += double(v);
        if (v > max_) max_ = v;
    }
    uint64_t count() const { return n_; }
    double mean() const { return n_ ? sum_ / double(n_) : 0; }
    int64_t max() const { return max_; }
    // The smallest recorded value v such that a share q of all samples is <= v.
    double quantile(double q) const {
        if (!n_) return 0;
        uint64_t want = uint64_t(q * double(n_) + 0.5), seen = 0;
        if (want < 1) want = 1;
        for (int i = 0; i < kSlots; i++) {
            seen += slot_[size_t(i)];
            if (seen >= want) return double(lower(i));
        }
        return double(max_);
    }
};

// ---------------------------------------------------------------- sockets

inline sockaddr_in loopback(int port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(uint16_t(port));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

inline void nodelay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

inline int listen_loopback(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in a = loopback(port);
    if (bind(fd, (sockaddr *)&a, sizeof a) || listen(fd, 4096)) die("listen on %d: %s", port, strerror(errno));
    return fd;
}

// Starts a non-blocking connect to 127.0.0.1:port; -1 when the kernel refuses.
inline int connect_loopback(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    nodelay(fd);
    sockaddr_in a = loopback(port);
    if (connect(fd, (sockaddr *)&a, sizeof a) && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

inline void raise_fd_limit() {
    rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

// epoll_wait with a nanosecond timeout (negative: for ever).
inline int wait_events(int ep, epoll_event *ev, int n, int64_t timeout_ns) {
    if (timeout_ns < 0) return epoll_wait(ep, ev, n, -1);
    timespec ts{timeout_ns / 1000000000, timeout_ns % 1000000000};
    return epoll_pwait2(ep, ev, n, &ts, nullptr);
}

// ---------------------------------------------------------------- HTTP text

// The value of a header in a raw head block, or an empty view.
inline std::string_view header(std::string_view head, std::string_view name) {
    size_t at = head.find("\r\n");
    while (at != std::string_view::npos && at + 2 < head.size()) {
        size_t b = at + 2, e = head.find("\r\n", b);
        if (e == std::string_view::npos) e = head.size();
        std::string_view line = head.substr(b, e - b);
        if (line.size() > name.size() && line[name.size()] == ':' &&
            strncasecmp(line.data(), name.data(), name.size()) == 0) {
            line.remove_prefix(name.size() + 1);
            while (!line.empty() && line[0] == ' ') line.remove_prefix(1);
            return line;
        }
        at = e;
    }
    return {};
}

// Incremental decoder of chunked framing. feed() calls sink(ptr, len) for each
// run of body bytes and returns how many input bytes it consumed; done() turns
// true after the zero chunk and its (possibly empty) trailer.
class ChunkDecoder {
    enum { Size, Ext, SizeLF, Data, DataCR, DataLF, Trailer, TrailerLine, EndLF, Done, Bad } st_ = Size;
    uint64_t left_ = 0;

  public:
    bool done() const { return st_ == Done; }
    bool bad() const { return st_ == Bad; }
    template <class F> size_t feed(const char *p, size_t n, F &&sink) {
        size_t i = 0;
        while (i < n && st_ != Done && st_ != Bad) {
            char c = p[i];
            switch (st_) {
            case Size: {
                int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
                if (d >= 0) left_ = left_ * 16 + uint64_t(d);
                else if (c == '\r') st_ = SizeLF;
                else if (c == ';') st_ = Ext;
                else st_ = Bad;
                i++;
                break;
            }
            case Ext: if (c == '\r') st_ = SizeLF; i++; break;
            case SizeLF: st_ = c != '\n' ? Bad : left_ ? Data : Trailer; i++; break;
            case Data: {
                size_t k = size_t(std::min<uint64_t>(left_, n - i));
                sink(p + i, k);
                i += k;
                if (!(left_ -= k)) st_ = DataCR;
                break;
            }
            case DataCR: st_ = c == '\r' ? DataLF : Bad; i++; break;
            case DataLF: st_ = c == '\n' ? Size : Bad; i++; break;
            case Trailer: st_ = c == '\r' ? EndLF : TrailerLine; i++; break;
            case TrailerLine: if (c == '\n') st_ = Trailer; i++; break;
            case EndLF: st_ = c == '\n' ? Done : Bad; i++; break;
            default: break;
            }
        }
        return i;
    }
};

// ---------------------------------------------------------------- other processes

// CPU time used so far by all threads of a process, in nanoseconds.
inline int64_t cpu_ns(int pid) {
    clockid_t id;
    timespec ts;
    if (clock_getcpuclockid(pid, &id) || clock_gettime(id, &ts)) return 0;
    return int64_t(ts.tv_sec) * 1000000000 + ts.tv_nsec;
}

// A line "Name:  123 kB" of /proc/PID/status, in KiB.
inline long status_kib(int pid, const char *name) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    long v = 0;
    size_t n = strlen(name);
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, name, n) && line[n] == ':') v = atol(line + n + 1);
    fclose(f);
    return v;
}

// Context switches so far of all threads of a process (voluntary + not).
inline long switches(int pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    long v = 0;
    if (DIR *d = opendir(path)) {
        while (dirent *e = readdir(d))
            if (int tid = atoi(e->d_name))   // a thread's id can be read like a process's
                v += status_kib(tid, "voluntary_ctxt_switches") + status_kib(tid, "nonvoluntary_ctxt_switches");
        closedir(d);
    }
    return v;
}

// "12,34" -> {12, 34}
inline std::vector<int> parse_pids(const char *s) {
    std::vector<int> v;
    for (const char *p = s; *p;) {
        char *e;
        long x = strtol(p, &e, 10);
        if (e == p) break;
        v.push_back(int(x));
        p = *e == ',' ? e + 1 : e;
    }
    return v;
}
