// load - drives a proxy (or the upstream directly) and prints one JSON line.
//
//   load stream --port P --conns S --chunks K --delay-us D [--path /api/generate]
//       S connections, each running one streamed generation after another. Checks
//       that every line arrives once and in order; measures per-line latency
//       (receive time - the stamp inside the line), time to first line, lines/s.
//   load short  --port P --conns C [--path /api/version] [--method GET] [--body JSON] [--rate R]
//       C keep-alive connections. Closed loop, or with --rate R an open loop: R
//       requests/s are due on a fixed schedule and latency counts from the due
//       time, so that a stall is charged to every request it delays.
//   load park   --port P --conns N [--path /park] [--method GET] [--body JSON] [--ramp R]
//       Opens N connections (R per second), sends one request on each and holds
//       them; reports memory of the --cpu processes before, during and after, and
//       what the held connections received.
//
// Common: --warmup S, --time S (measuring window), --max-s S (hard stop), and
// --cpu name=PID[,PID...] (repeatable): CPU seconds of those processes over the window.
// The exit status is 1 when any response was wrong or cut short.
#include "common.h"
#include <deque>

struct Group { std::string name; std::vector<int> pids; int64_t cpu0 = 0, cpu1 = 0; long rss0 = 0, rss1 = 0, rss2 = 0, cs0 = 0, cs1 = 0; };

struct Options {
    std::string mode, path, method, body;
    int port = 0, conns = 64, chunks = 64, delay_us = 10000, prefill_us = 0, ramp = 4000;
    double warmup = 1, time = 5, max_s = 120, rate = 0;
    std::vector<Group> groups;
} opt;

struct Conn {
    int fd = -1;
    bool up = false, busy = false, got_any = false;
    // response parser
    enum { Head, Sized, Chunked, UntilClose } st = Head;
    std::string head, line;
    ChunkDecoder dec;
    long left = 0;
    bool closing = false, bad_status = false;
    // stream checks
    uint32_t expect = 0;
    bool saw_done = false;
    int64_t sent = 0, due = 0;
    uint64_t bytes = 0;
    char last = '\n';
};

static int ep;
static std::vector<Conn> conns;
static std::string request;
static Hist lat, ttfb, whole;
static uint64_t lines = 0, responses = 0, bytes_in = 0, recvs = 0;
static uint64_t bad_status = 0, broken = 0, disorder = 0, connects = 0;
static int64_t t_begin = 0, t_end = 0;              // the measuring window
static std::deque<int> idle;                         // open loop: free connections
static int64_t next_due = 0, rate_step = 0;          // open loop: schedule
static bool finishing = false;
static std::string first_error;

static bool in_window(int64_t t) { return t >= t_begin && t < t_end; }

// Keeps the first thing that went wrong, as text that is safe inside a JSON string.
static void note(const char *what) {
    if (!first_error.empty()) return;
    for (; *what; what++) first_error += *what < ' ' || *what == '"' || *what == '\\' ? ' ' : *what;
}

static void open_conn(int i) {
    Conn &c = conns[size_t(i)];
    c.fd = connect_loopback(opt.port);
    if (c.fd < 0) die("connect: %s", strerror(errno));
    connects++;
    c.up = false;
    c.busy = false;
    c.st = Conn::Head;
    c.head.clear();
    c.line.clear();
    epoll_event e{};
    e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    e.data.u32 = uint32_t(i);
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c.fd, &e)) die("epoll_ctl: %s", strerror(errno));
}

static void close_conn(int i) {
    Conn &c = conns[size_t(i)];
    if (c.fd >= 0) close(c.fd);
    c.fd = -1;
    c.up = c.busy = false;
}

static void send_request(int i, int64_t due) {
    Conn &c = conns[size_t(i)];
    c.busy = true;
    c.got_any = false;
    c.expect = 0;
    c.saw_done = false;
    c.line.clear();
    c.dec = ChunkDecoder();
    c.sent = now_ns();
    c.due = due ? due : c.sent;
    ssize_t n = send(c.fd, request.data(), request.size(), MSG_NOSIGNAL);
    if (n != ssize_t(request.size())) {   // small requests always fit in a fresh socket buffer
        broken++;
        note("send");
        close_conn(i);
        if (!finishing) open_conn(i);
    }
}

// One NDJSON line of a generation: {"i":"00000012","t":"00000001234567890123",...
static void on_line(Conn &c, std::string_view s, int64_t now) {
    if (s.size() < 50 || s.compare(0, 6, "{\"i\":\"")) { disorder++; note("line"); return; }
    uint32_t seq = 0;
    for (int k = 6; k < 14; k++) seq = seq * 10 + uint32_t(s[size_t(k)] - '0');
    int64_t t = 0;
    for (int k = 21; k < 41; k++) t = t * 10 + (s[size_t(k)] - '0');
    if (seq != c.expect) { disorder++; note("sequence"); }
    c.expect = seq + 1;
    if (in_window(now)) {
        lines++;
        if (t >= t_begin) lat.add(now - t);
        if (seq == 0) ttfb.add(now - c.sent);
    }
    if (s.find("\"done\":true") != std::string_view::npos) c.saw_done = true;
}

static void on_body(Conn &c, const char *p, size_t n, int64_t now) {
    c.bytes += n;
    if (opt.mode == "short") return;
    if (opt.mode == "park") {
        for (size_t k = 0; k < n; k++) {   // non-empty lines: an SSE event "data: ..\n\n" counts once
            if (p[k] == '\n' && c.last != '\n' && in_window(now)) lines++;
            c.last = p[k];
        }
        return;
    }
    while (n) {
        const char *nl = (const char *)memchr(p, '\n', n);
        if (!nl) { c.line.append(p, n); return; }
        size_t k = size_t(nl - p);
        if (c.line.empty()) on_line(c, {p, k}, now);
        else { c.line.append(p, k); on_line(c, c.line, now); c.line.clear(); }
        p += k + 1;
        n -= k + 1;
    }
}

static void on_response_end(int i, int64_t now) {
    Conn &c = conns[size_t(i)];
    c.busy = false;
    c.st = Conn::Head;
    c.head.clear();
    if (opt.mode == "stream" && !c.bad_status && (!c.saw_done || c.expect != uint32_t(opt.chunks) + 1)) {
        disorder++;
        note("incomplete stream");
    }
    if (in_window(now)) {
        responses++;
        whole.add(now - c.due);
        if (opt.mode == "short") lat.add(now - c.due);
    }
    if (c.closing) {
        close_conn(i);
        if (!finishing) open_conn(i);
        return;
    }
    if (finishing || opt.mode == "park") return;
    if (rate_step) idle.push_back(i);
    else send_request(i, 0);
}

// Consumes received bytes; false when the response is malformed.
static bool on_bytes(int i, const char *p, size_t n, int64_t now) {
    Conn &c = conns[size_t(i)];
    while (n) {
        if (!c.busy) { note("bytes after the end"); return false; }
        if (c.st == Conn::Head) {
            size_t before = c.head.size();
            c.head.append(p, n);
            size_t end = c.head.find("\r\n\r\n", before > 3 ? before - 3 : 0);
            if (end == std::string::npos) return c.head.size() < 65536;
            size_t used = end + 4 - before;
            std::string_view h(c.head.data(), end + 2);
            int status = atoi(c.head.c_str() + 9);
            if (status == 100) { c.head.clear(); p += used; n -= used; continue; }
            c.bad_status = status != 200;
            if (c.bad_status) { bad_status++; note(c.head.substr(0, 40).c_str()); }
            std::string_view te = header(h, "Transfer-Encoding"), cl = header(h, "Content-Length"), cn = header(h, "Connection");
            c.closing = cn.size() >= 5 && strncasecmp(cn.data(), "close", 5) == 0;
            if (!te.empty()) c.st = Conn::Chunked;
            else if (!cl.empty()) { c.st = Conn::Sized; c.left = atol(std::string(cl).c_str()); }
            else { c.st = Conn::UntilClose; c.closing = true; }
            p += used;
            n -= used;
            if (c.st == Conn::Sized && c.left == 0) { on_response_end(i, now); continue; }
        } else if (c.st == Conn::Sized) {
            size_t k = std::min(n, size_t(c.left));
            on_body(c, p, k, now);
            c.left -= long(k);
            p += k;
            n -= k;
            if (!c.left) on_response_end(i, now);
        } else if (c.st == Conn::Chunked) {
            size_t k = c.dec.feed(p, n, [&](const char *q, size_t m) { on_body(c, q, m, now); });
            p += k;
            n -= k;
            if (c.dec.bad()) { note("chunk framing"); return false; }
            if (c.dec.done()) on_response_end(i, now);
        } else {
            on_body(c, p, n, now);
            n = 0;
        }
    }
    return true;
}

static void on_event(int i, uint32_t e) {
    Conn &c = conns[size_t(i)];
    if (c.fd < 0) return;
    if (!c.up && (e & EPOLLOUT)) {
        int err = 0;
        socklen_t l = sizeof err;
        getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &err, &l);
        if (err) {
            broken++;
            note(strerror(err));
            close_conn(i);
            if (!finishing) open_conn(i);
            return;
        }
        c.up = true;
        if (rate_step) idle.push_back(i);
        else send_request(i, 0);
    }
    static char buf[262144];
    bool hup = e & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    while ((e & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) && c.fd >= 0) {
        ssize_t n = recv(c.fd, buf, sizeof buf, 0);
        if (n > 0) {
            int64_t now = now_ns();
            c.got_any = true;
            bytes_in += uint64_t(n);
            recvs++;
            if (!on_bytes(i, buf, size_t(n), now)) { broken++; close_conn(i); if (!finishing) open_conn(i); return; }
            if (size_t(n) < sizeof buf && !hup) return;
            continue;
        }
        if (n < 0 && errno == EAGAIN) return;
        bool clean = n == 0 && (!c.busy || c.st == Conn::UntilClose);
        if (n == 0 && c.busy && c.st == Conn::UntilClose) { on_response_end(i, now_ns()); return; }
        if (!clean) { broken++; note(n ? strerror(errno) : "closed in mid-response"); }
        close_conn(i);
        if (!finishing && opt.mode != "park") open_conn(i);
        return;
    }
}

static void poll_once(int64_t until) {
    static std::vector<epoll_event> ev(1024);
    int64_t w = until - now_ns();
    int n = wait_events(ep, ev.data(), int(ev.size()), std::max<int64_t>(0, w));
    for (int k = 0; k < n; k++) on_event(int(ev[size_t(k)].data.u32), ev[size_t(k)].events);
}

static long rss(const Group &g) { long v = 0; for (int p : g.pids) v += status_kib(p, "VmRSS"); return v; }
static int64_t cpu(const Group &g) { int64_t v = 0; for (int p : g.pids) v += cpu_ns(p); return v; }
static long csw(const Group &g) { long v = 0; for (int p : g.pids) v += switches(p); return v; }

int main(int argc, char **argv) {
    if (argc < 2) die("usage: load stream|short|park --port P [options]; see the head of load.cc");
    opt.mode = argv[1];
    for (int i = 2; i < argc; i++) {
        std::string a = argv[i];
        auto val = [&]() -> const char * { return i + 1 < argc ? argv[++i] : (die("%s wants a value", a.c_str()), ""); };
        if (a == "--port") opt.port = atoi(val());
        else if (a == "--conns") opt.conns = atoi(val());
        else if (a == "--chunks") opt.chunks = atoi(val());
        else if (a == "--delay-us") opt.delay_us = atoi(val());
        else if (a == "--prefill-us") opt.prefill_us = atoi(val());
        else if (a == "--path") opt.path = val();
        else if (a == "--method") opt.method = val();
        else if (a == "--body") opt.body = val();
        else if (a == "--ramp") opt.ramp = atoi(val());
        else if (a == "--rate") opt.rate = atof(val());
        else if (a == "--warmup") opt.warmup = atof(val());
        else if (a == "--time") opt.time = atof(val());
        else if (a == "--max-s") opt.max_s = atof(val());
        else if (a == "--cpu") {
            std::string s = val();
            size_t eq = s.find('=');
            if (eq == std::string::npos) die("--cpu name=pid,pid");
            Group g;
            g.name = s.substr(0, eq);
            g.pids = parse_pids(s.c_str() + eq + 1);
            opt.groups.push_back(g);
        } else die("unknown option %s", a.c_str());
    }
    bool stream = opt.mode == "stream", park = opt.mode == "park", shrt = opt.mode == "short";
    if (!stream && !park && !shrt) die("unknown mode %s", opt.mode.c_str());
    if (opt.path.empty()) opt.path = stream ? "/api/generate" : park ? "/park" : "/api/version";
    if (stream && opt.body.empty()) {
        char b[256];
        snprintf(b, sizeof b, "{\"model\":\"mock:1b\",\"prompt\":\"hi\",\"num_predict\":%d,\"rig_delay_us\":%d,\"rig_prefill_us\":%d}",
                 opt.chunks, opt.delay_us, opt.prefill_us);
        opt.body = b;
    }
    if (opt.method.empty()) opt.method = opt.body.empty() ? "GET" : "POST";
    request = opt.method + " " + opt.path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n";
    if (!opt.body.empty()) request += "Content-Type: application/json\r\nContent-Length: " + std::to_string(opt.body.size()) + "\r\n";
    request += "\r\n" + opt.body;

    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    raise_fd_limit();
    ep = epoll_create1(EPOLL_CLOEXEC);
    conns.resize(size_t(opt.conns));
    int64_t t0 = now_ns(), hard_stop = t0 + int64_t(opt.max_s * 1e9);
    t_begin = t_end = INT64_MAX;
    for (auto &g : opt.groups) g.rss0 = rss(g);

    if (opt.rate > 0) rate_step = int64_t(1e9 / opt.rate);
    // Open the connections at the ramp rate; that also spreads the streams' phases,
    // so that their lines do not come in volleys.
    for (int i = 0; i < opt.conns; i++) {
        int64_t at = t0 + int64_t(i) * 1000000000 / opt.ramp;
        while (now_ns() < at) poll_once(at);
        open_conn(i);
    }
    int64_t start = now_ns();
    if (park) {   // until every connection has had a first byte, at most 10 s
        int64_t limit = std::min(hard_stop, start + int64_t(10e9));
        for (;;) {
            size_t got = 0;
            for (auto &c : conns) got += c.got_any;
            if (got == conns.size() || now_ns() >= limit) break;
            poll_once(now_ns() + 20000000);
        }
        start = now_ns();
    }
    t_begin = start + int64_t(opt.warmup * 1e9);
    t_end = t_begin + int64_t(opt.time * 1e9);
    int64_t self0 = 0, self1 = 0;
    bool begun = false;
    next_due = start;
    while (now_ns() < std::min(t_end, hard_stop)) {
        int64_t until = begun ? t_end : t_begin, now = now_ns();
        if (rate_step) {
            while (next_due <= now && !idle.empty()) {
                int i = idle.front();
                idle.pop_front();
                if (conns[size_t(i)].fd >= 0 && conns[size_t(i)].up && !conns[size_t(i)].busy) {
                    send_request(i, next_due);
                    next_due += rate_step;
                }
            }
            if (!idle.empty()) until = std::min(until, next_due);
        }
        if (!begun && now >= t_begin) {
            for (auto &g : opt.groups) { g.cpu0 = cpu(g); g.cs0 = csw(g); g.rss1 = rss(g); }
            self0 = cpu_ns(getpid());
            lines = responses = 0;
            bytes_in = recvs = 0;
            t_begin = now_ns();
            t_end = t_begin + int64_t(opt.time * 1e9);
            begun = true;
        }
        poll_once(until);
    }
    for (auto &g : opt.groups) { g.cpu1 = cpu(g); g.cs1 = csw(g); g.rss1 = std::max(g.rss1, rss(g)); }
    self1 = cpu_ns(getpid());
    double secs = double(now_ns() - t_begin) / 1e9;
    size_t open_now = 0, got_now = 0;
    for (auto &c : conns) { open_now += c.fd >= 0 && c.up; got_now += c.got_any; }
    finishing = true;
    for (int i = 0; i < opt.conns; i++) close_conn(i);
    if (park) {
        usleep(1500000);
        for (auto &g : opt.groups) g.rss2 = rss(g);
    }

    double unit = stream ? double(lines) : park ? double(lines) : double(responses);
    printf("{\"mode\":\"%s\",\"path\":\"%s\",\"conns\":%d,\"secs\":%.2f,\"responses_per_s\":%.0f,\"lines_per_s\":%.0f,"
           "\"mb_per_s\":%.2f,\"lines_per_recv\":%.2f,"
           "\"lat_us\":{\"n\":%llu,\"mean\":%.1f,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f},"
           "\"ttfb_us\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f},"
           "\"whole_us\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f},"
           "\"self_cpu\":%.3f,\"open\":%zu,\"answered\":%zu,\"connects\":%llu,\"bad_status\":%llu,\"broken\":%llu,\"disorder\":%llu,\"error\":\"%s\",\"cpu\":{",
           opt.mode.c_str(), opt.path.c_str(), opt.conns, secs, double(responses) / secs, double(lines) / secs,
           double(bytes_in) / secs / 1e6, recvs ? double(lines) / double(recvs) : 0, (unsigned long long)lat.count(),
           lat.mean() / 1e3, lat.quantile(.5) / 1e3, lat.quantile(.99) / 1e3, lat.quantile(.999) / 1e3, double(lat.max()) / 1e3,
           ttfb.quantile(.5) / 1e3, ttfb.quantile(.99) / 1e3, ttfb.quantile(.999) / 1e3, whole.quantile(.5) / 1e3,
           whole.quantile(.99) / 1e3, whole.quantile(.999) / 1e3, double(self1 - self0) / 1e9 / secs, open_now, got_now,
           (unsigned long long)connects, (unsigned long long)bad_status, (unsigned long long)broken,
           (unsigned long long)disorder, first_error.c_str());
    for (size_t k = 0; k < opt.groups.size(); k++) {
        Group &g = opt.groups[k];
        double s = double(g.cpu1 - g.cpu0) / 1e9;
        // cores: how many cores it kept busy; us_per_unit: CPU microseconds per line (short: per request)
        printf("%s\"%s\":{\"cores\":%.4f,\"us_per_unit\":%.3f,\"switches_per_s\":%.0f,\"rss_before_kib\":%ld,\"rss_kib\":%ld,"
               "\"rss_after_kib\":%ld,\"kib_per_conn\":%.2f}",
               k ? "," : "", g.name.c_str(), s / secs, unit ? s * 1e6 / unit : 0, double(g.cs1 - g.cs0) / secs, g.rss0, g.rss1,
               g.rss2, double(g.rss1 - g.rss0) / opt.conns);
    }
    printf("}}\n");
    return bad_status || broken || disorder ? 1 : 0;
}
