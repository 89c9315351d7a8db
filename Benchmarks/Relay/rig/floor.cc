// floor - the cheapest possible relay: it accepts, opens one upstream
// connection per client connection and copies bytes both ways without looking at
// them. Per line: one epoll_wait (shared by all ready sockets), one recv, one send.
// No real HTTP proxy can cost less with sockets and epoll; the rig uses it as the floor.
//
// usage: floor LISTEN_PORT UPSTREAM_PORT
#include "common.h"

struct End { int fd = -1, peer = -1; bool reading = true; std::string out; };
static std::vector<End> ends;
static int ep;

static void add(int fd, int peer) {
    if (size_t(fd) >= ends.size()) ends.resize(size_t(fd) * 2 + 64);
    ends[size_t(fd)] = End{fd, peer, true, {}};
    epoll_event e{};
    e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    e.data.fd = fd;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static void drop(int fd) {
    int peer = ends[size_t(fd)].peer;
    for (int f : {fd, peer})
        if (f >= 0 && ends[size_t(f)].fd >= 0) { close(f); ends[size_t(f)] = End{}; }
}

// Moves what fd has to its peer; stops while the peer is blocked (back-pressure).
static void pump(int fd) {
    static char buf[65536];
    for (;;) {
        End &a = ends[size_t(fd)];
        if (a.fd < 0) return;
        End &b = ends[size_t(a.peer)];
        if (!b.out.empty()) { a.reading = false; return; }
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) return drop(fd);
        ssize_t k = send(b.fd, buf, size_t(n), MSG_NOSIGNAL);
        if (k < 0 && errno == EAGAIN) k = 0;
        if (k < 0) return drop(fd);
        if (k < n) b.out.assign(buf + k, size_t(n - k));
        if (size_t(n) < sizeof buf) return;
    }
}

int main(int argc, char **argv) {
    if (argc != 3) die("usage: floor LISTEN_PORT UPSTREAM_PORT");
    signal(SIGPIPE, SIG_IGN);
    raise_fd_limit();
    int up = atoi(argv[2]), lfd = listen_loopback(atoi(argv[1]));
    ep = epoll_create1(EPOLL_CLOEXEC);
    ends.resize(1024);
    epoll_event le{};
    le.events = EPOLLIN;
    le.data.fd = lfd;
    epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &le);
    std::vector<epoll_event> ev(512);
    for (;;) {
        int n = epoll_wait(ep, ev.data(), int(ev.size()), -1);
        for (int i = 0; i < n; i++) {
            int fd = ev[size_t(i)].data.fd;
            if (fd == lfd) {
                int c;
                while ((c = accept4(lfd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    nodelay(c);
                    int u = connect_loopback(up);
                    if (u < 0) { close(c); continue; }
                    add(c, u);
                    add(u, c);
                }
                continue;
            }
            End &a = ends[size_t(fd)];
            if (a.fd < 0) continue;
            uint32_t e = ev[size_t(i)].events;
            if ((e & EPOLLOUT) && !a.out.empty()) {
                ssize_t k = send(fd, a.out.data(), a.out.size(), MSG_NOSIGNAL);
                if (k > 0) a.out.erase(0, size_t(k));
                if (a.out.empty() && !ends[size_t(a.peer)].reading) { ends[size_t(a.peer)].reading = true; pump(a.peer); }
            }
            if (ends[size_t(fd)].fd >= 0 && (e & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))) {
                pump(fd);
                if (ends[size_t(fd)].fd >= 0 && (e & EPOLLRDHUP)) drop(fd);
            }
        }
    }
}
