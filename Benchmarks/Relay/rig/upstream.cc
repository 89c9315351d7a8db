// upstream - a stand-in for `ollama serve` that is much cheaper than any proxy in
// front of it, and serves all requests at once.
//
//   upstream serve        listens at OLLAMA_HOST, as the pool starts its instances
//
//   GET  /api/version, /api/tags, /api/ps     small fixed JSON
//   POST /api/embed                           fixed JSON of about 1.5 KB
//   POST /api/generate, /api/chat             NDJSON stream, one line per HTTP chunk
//   GET  /rig/stats                           what was seen, as JSON; the histograms begin anew with it
//
// A stream is shaped by the request body:
//   "num_predict":K        K token lines, then one "done":true line; 64 without it
//   "rig_delay_us":D       microseconds between lines; 0 = as fast as possible; 10000 without it
//   "rig_prefill_us":P     microseconds before the first line; 0 without it
//   "stream":false         one JSON object with Content-Length instead
//
// Every line starts with its sequence number and the monotonic time at which it
// was handed to the kernel:  {"i":"00000012","t":"00000001234567890123",...}
// so that the client can check order and compute the added latency of that line.
#include "common.h"
#include <deque>
#include <queue>

struct Conn {
    int fd = -1;
    uint32_t gen = 0;               // distinguishes reuses of the same fd
    std::string in, out;            // unparsed input; output the kernel did not take yet
    size_t out_off = 0;
    bool streaming = false, chat = false, close_after = false;
    uint32_t seq = 0, total = 0;
    int64_t delay = 0, due = 0;
    uint64_t key() const { return (uint64_t(gen) << 32) | uint32_t(fd); }
};

struct Timer {
    int64_t at;
    uint64_t key;
    bool operator<(const Timer &o) const { return at > o.at; }   // min-heap
};

static int ep;
static std::vector<Conn> conns;
static std::priority_queue<Timer> timers;
static int active = 0;
static uint64_t requests = 0, streams = 0, lines = 0, aborted = 0;
static int64_t aborted_at = 0;      // when the last stream was given up by its client
static int64_t late_max = 0;        // how far the upstream itself fell behind its schedule
static std::deque<int64_t> ended;   // when streams ended whose place no other has taken yet
static Hist handover;               // from a stream's end to the next one's request

static void on_input(Conn &c);

static Conn *by_key(uint64_t key) {
    Conn &c = conns[uint32_t(key)];
    return c.fd >= 0 && c.gen == uint32_t(key >> 32) ? &c : nullptr;
}

static void end_stream(Conn &c) {
    c.streaming = false;
    active--;
}

static void drop(Conn &c) {
    if (c.streaming) {
        aborted++;
        aborted_at = now_ns();
        end_stream(c);
    }
    close(c.fd);
    c.fd = -1;
    c.gen++;
    std::string().swap(c.in);
    std::string().swap(c.out);
    c.out_off = 0;
}

// Writes what is pending; false when the connection broke.
static bool flush(Conn &c) {
    while (c.out_off < c.out.size()) {
        ssize_t n = send(c.fd, c.out.data() + c.out_off, c.out.size() - c.out_off, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN;
        c.out_off += size_t(n);
    }
    c.out.clear();
    c.out_off = 0;
    return true;
}

static void reply(Conn &c, const char *status, std::string_view body) {
    char head[256];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %s\r\nContent-Type: application/json\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                     "Content-Length: %zu\r\n%s\r\n",
                     status, body.size(), c.close_after ? "Connection: close\r\n" : "");
    c.out.append(head, size_t(n));
    c.out.append(body);
}

static const char kStreamHead[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

// Appends one NDJSON line as one HTTP chunk, stamped with the time `t`.
static void append_line(Conn &c, int64_t t, bool done) {
    char line[512], size[16];
    const char *text = c.chat ? "\"message\":{\"role\":\"assistant\",\"content\":\" token\"}" : "\"response\":\" token\"";
    int n = snprintf(line, sizeof line, "{\"i\":\"%08u\",\"t\":\"%020lld\",\"model\":\"mock:1b\",%s,\"done\":%s%s}\n", c.seq,
                     (long long)t, text, done ? "true" : "false",
                     done ? ",\"done_reason\":\"stop\",\"total_duration\":1000000,\"eval_count\":64" : "");
    int k = snprintf(size, sizeof size, "%x\r\n", unsigned(n));
    c.out.append(size, size_t(k));
    c.out.append(line, size_t(n));
    c.out.append("\r\n", 2);
    if (done) c.out.append("0\r\n\r\n", 5);
    c.seq++;
}

// The due time of a stream has come: send its next line.
static void on_due(Conn &c, int64_t now) {
    late_max = std::max(late_max, now - c.due);
    if (c.delay == 0 && !c.out.empty()) return;   // full speed: EPOLLOUT resumes it
    if (c.seq == 0) c.out.append(kStreamHead, sizeof kStreamHead - 1);
    bool done = c.seq == c.total;
    append_line(c, now_ns(), done);
    lines++;
    if (!flush(c)) return drop(c);
    if (done) {
        end_stream(c);
        ended.push_back(now_ns());
        if (c.close_after && c.out.empty()) return drop(c);
        if (!c.in.empty()) on_input(c);           // a pipelined request
        return;
    }
    if (c.delay) {
        c.due += c.delay;                          // keep the schedule, even when late
        timers.push({c.due, c.key()});
    } else if (c.out.empty()) {
        c.due = now;
        timers.push({c.due, c.key()});
    }
}

// Reads an integer after "name": in a JSON text, or gives the default.
static long json_int(std::string_view body, const char *name, long otherwise) {
    size_t at = body.find(name);
    if (at == std::string_view::npos) return otherwise;
    at += strlen(name);
    while (at < body.size() && (body[at] == ' ' || body[at] == ':')) at++;
    return at < body.size() && isdigit((unsigned char)body[at]) ? strtol(body.data() + at, nullptr, 10) : otherwise;
}

static const char kModel[] =
    "{\"models\":[{\"name\":\"mock:1b\",\"model\":\"mock:1b\",\"modified_at\":\"2026-01-01T00:00:00Z\",\"size\":1321098329,"
    "\"digest\":\"baf6a787fdffd633537aa2eb51cfd54cb93ff08e28040095462bb63daf552878\",\"details\":{\"format\":\"gguf\","
    "\"family\":\"llama\",\"parameter_size\":\"1.2B\",\"quantization_level\":\"Q8_0\"},"
    "\"expires_at\":\"2036-01-01T00:00:00Z\",\"size_vram\":1321098329,\"context_length\":4096}]}";
static std::string fixed_embed;

static void handle(Conn &c, std::string_view method, std::string_view path, std::string_view body) {
    requests++;
    path = path.substr(0, path.find('?'));
    if (path == "/api/version") return reply(c, "200 OK", "{\"version\":\"0.13.5\"}");
    if (path == "/api/tags" || path == "/api/ps") return reply(c, "200 OK", kModel);
    if (path == "/api/embed") return reply(c, "200 OK", fixed_embed);
    if (path == "/") return reply(c, "200 OK", "Ollama is running");
    if (path == "/rig/stats") {
        char b[512];
        snprintf(b, sizeof b,
                 "{\"requests\":%llu,\"streams\":%llu,\"lines\":%llu,\"aborted\":%llu,\"aborted_at_ns\":%lld,\"active\":%d,"
                 "\"late_max_us\":%lld,\"handovers\":%llu,\"handover_us\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}}",
                 (unsigned long long)requests, (unsigned long long)streams, (unsigned long long)lines,
                 (unsigned long long)aborted, (long long)aborted_at, active, (long long)late_max / 1000,
                 (unsigned long long)handover.count(), handover.quantile(.5) / 1e3, handover.quantile(.99) / 1e3,
                 double(handover.max()) / 1e3);
        late_max = 0;
        handover = Hist();
        ended.clear();
        return reply(c, "200 OK", b);
    }
    if (method == "POST" && (path == "/api/generate" || path == "/api/chat")) {
        int64_t now = now_ns();
        if (!ended.empty()) {
            handover.add(now - ended.front());
            ended.pop_front();
        }
        if (body.find("\"stream\":false") != std::string_view::npos)
            return reply(c, "200 OK", "{\"model\":\"mock:1b\",\"response\":\"token\",\"done\":true}");
        c.chat = path == "/api/chat";
        c.total = uint32_t(json_int(body, "\"num_predict\"", 64));
        c.delay = json_int(body, "\"rig_delay_us\"", 10000) * 1000;
        c.streaming = true;
        c.seq = 0;
        c.due = now + json_int(body, "\"rig_prefill_us\"", 0) * 1000;
        active++;
        streams++;
        timers.push({c.due, c.key()});
        return;
    }
    reply(c, "404 Not Found", "{\"error\":\"not found\"}");
}

// Parses and answers every complete request in c.in, one at a time.
static void on_input(Conn &c) {
    while (!c.streaming && !c.in.empty()) {
        size_t end = c.in.find("\r\n\r\n");
        if (end == std::string::npos) return;
        std::string_view head(c.in.data(), end + 2);
        size_t used = end + 4;
        std::string body;
        if (header(head, "Transfer-Encoding") == "chunked") {
            ChunkDecoder d;
            used += d.feed(c.in.data() + used, c.in.size() - used, [&](const char *p, size_t n) { body.append(p, n); });
            if (!d.done()) return;
        } else {
            size_t n = size_t(atol(std::string(header(head, "Content-Length")).c_str()));
            if (c.in.size() < used + n) return;
            body.assign(c.in, used, n);
            used += n;
        }
        size_t sp = head.find(' '), sp2 = head.find(' ', sp + 1);
        std::string method(head.substr(0, sp)), path(head.substr(sp + 1, sp2 - sp - 1));
        std::string_view cn = header(head, "Connection");
        bool http10 = head.find(" HTTP/1.0\r\n") != std::string_view::npos;
        c.close_after = (cn.size() >= 5 && strncasecmp(cn.data(), "close", 5) == 0) ||
                        (http10 && !(cn.size() >= 10 && strncasecmp(cn.data(), "keep-alive", 10) == 0));
        c.in.erase(0, used);
        handle(c, method, path, body);
        if (!c.out.empty() && !flush(c)) return drop(c);
        if (!c.streaming && c.close_after && c.out.empty()) return drop(c);
    }
}

static void on_readable(Conn &c, bool hup) {
    char buf[65536];
    for (;;) {
        ssize_t n = recv(c.fd, buf, sizeof buf, 0);
        if (n > 0) {
            c.in.append(buf, size_t(n));
            if (size_t(n) < sizeof buf && !hup) break;   // with hup, read on to the end
        } else if (n == 0 || errno != EAGAIN) {
            return drop(c);
        } else {
            break;
        }
    }
    on_input(c);
}

static void on_accept(int listener) {
    int fd;
    while ((fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        nodelay(fd);
        if (size_t(fd) >= conns.size()) conns.resize(size_t(fd) * 2 + 64);
        Conn &c = conns[size_t(fd)];
        c.fd = fd;
        epoll_event e{};
        e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;   // registered once, never changed
        e.data.u64 = c.key();
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(int argc, char **argv) {
    const char *host = getenv("OLLAMA_HOST");
    const char *colon = host ? strrchr(host, ':') : nullptr;
    if (argc != 2 || strcmp(argv[1], "serve") || !colon) die("usage: OLLAMA_HOST=127.0.0.1:PORT upstream serve");
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    raise_fd_limit();
    fixed_embed = "{\"model\":\"mock:1b\",\"embeddings\":[[";
    for (int i = 0; i < 128; i++) fixed_embed += i ? ",0.0123456" : "0.0123456";
    fixed_embed += "]],\"total_duration\":1000}";

    ep = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_loopback(atoi(colon + 1));
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = UINT64_MAX;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    conns.resize(1024);
    std::vector<epoll_event> ev(512);
    for (;;) {
        int64_t now = now_ns();
        // Serve what is due, but look at the sockets at least every 256 lines.
        for (int budget = 256; budget > 0 && !timers.empty() && timers.top().at <= now; budget--) {
            Timer t = timers.top();
            timers.pop();
            if (Conn *c = by_key(t.key); c && c->streaming && c->due == t.at) on_due(*c, now);
        }
        int64_t wait = timers.empty() ? -1 : std::max<int64_t>(0, timers.top().at - now_ns());
        int n = wait_events(ep, ev.data(), int(ev.size()), wait);
        for (int i = 0; i < n; i++) {
            if (ev[size_t(i)].data.u64 == UINT64_MAX) {
                on_accept(listener);
                continue;
            }
            Conn *c = by_key(ev[size_t(i)].data.u64);
            if (!c) continue;
            uint32_t e = ev[size_t(i)].events;
            if ((e & EPOLLOUT) && !c->out.empty()) {
                if (!flush(*c)) { drop(*c); continue; }
                if (c->out.empty()) {
                    if (!c->streaming && c->close_after) { drop(*c); continue; }
                    if (c->streaming && c->delay == 0) {
                        c->due = now_ns();
                        timers.push({c->due, c->key()});
                    }
                }
            }
            if (e & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) on_readable(*c, e & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
        }
    }
}
