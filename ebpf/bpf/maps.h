// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the kernel programs and the daemon share: records, keys and maps.
 * The Go side of every struct here is generated from this object's BTF
 * (bpf2go -type), never written by hand.
 */
#pragma once

enum limit {
	PATH_LEN = 256,  /* bytes of the called path an exec record carries */
	ARGV_LEN = 4096, /* bytes of argv hashed, cached and carried */
	TEXT_LEN = 2 * PATH_LEN + ARGV_LEN, /* the verifier sees only that argv begins before 2 * PATH_LEN */
	NAME_LEN = 64,   /* a program's basename, zero padded */
	NET_SPANS = 32,  /* ranges of ports one prefix may have */
	SLOTS = 4,       /* policy generations kept side by side */
	MAX_PROCS = 65536,
	FILTER_WORDS = 2048, /* of 64 bits each, of the boundary's filter */
	REMEMBERED = 65536,  /* directories, of what the boundary found above them */
};
#define PROC_SLACK 1024
#define MAX_SESSIONS 8192
#define MAX_HELD 16384

/* ---- records ---------------------------------------------------------- */

enum record_type {
	RECORD_EXEC = 1,
	RECORD_EXIT = 2,
	RECORD_CONNECT = 3,
	RECORD_REFUSED = 4,
	RECORD_SOCKET = 5,
	RECORD_SIGNAL = 6,
	RECORD_KILLED = 7,
	RECORD_FILE = 8,
};

/* What the kernel did with an exec. */
enum exec_action {
	EXEC_ALLOWED = 1,   /* a cached decision let it run */
	EXEC_HELD = 2,      /* stopped; the daemon must answer */
	EXEC_OBSERVED = 3,  /* observe mode: it runs, the daemon only records */
	EXEC_CANDIDATE = 4, /* not governed until now; may be an agent */
	EXEC_KILLED = 5,    /* could not be judged: killed */
};

/* Why the kernel killed on its own. */
enum kill_reason {
	KILL_NONE = 0,
	KILL_NO_DAEMON = 1,   /* nobody there to judge */
	KILL_RING_FULL = 2,   /* the question could not be delivered */
	KILL_HELD_FULL = 3,   /* too many holds at once */
	KILL_TRACED = 4,      /* a tracer could swallow the stop */
	KILL_ESCAPED = 5,     /* ran before its release */
	KILL_PROCS_FULL = 6,  /* more governed processes than can be tracked */
	KILL_NO_POLICY = 7,   /* no policy generation in force */
	KILL_SIGNAL_FAILED = 8,
};

/* A file's identity: changes whenever its content, name or mode does. */
struct file_id {
	__u64 ino;
	__u64 size;
	__s64 ctime_sec;
	__u32 ctime_nsec;
	__u32 dev; /* kernel encoding: major << 20 | minor */
};

struct inode_id {
	__u64 ino;
	__u32 dev;
	__u32 pad;
};

struct record_head {
	__u32 type;
	__u32 pid;
	__u64 time;    /* ns since boot */
	__u64 session; /* key of the session, 0 for none */
	__u64 cause;   /* daemon's number for the tool call it serves, 0 for none */
	__u64 start;   /* ns since boot: with pid, the process */
};

enum exec_flag {
	EXEC_SCRIPT = 1,      /* run through an interpreter line */
	EXEC_ARGV_CUT = 2,    /* argv is longer than the record */
	EXEC_ARGV_UNREAD = 4, /* argv could not be read here */
	EXEC_PATH_CUT = 8,
	EXEC_FROM_AGENT = 16, /* the agent's own process started it */
	EXEC_UNLINKED = 32,   /* the file has no name: memfd or deleted */
	EXEC_SURE = 64,       /* candidate by a name that needs no second look */
	EXEC_FOREIGN = 128,   /* a user's own file system, which may say of a file what it likes */
};

struct exec_record {
	struct record_head head;
	struct file_id exe;
	struct inode_id cwd;
	__u64 argv_hash;
	__u64 called_hash;
	__u64 token; /* of the hold */
	__u32 ppid;
	__u32 uid;
	__u32 gid;
	__u32 generation;
	__u32 action;
	__u32 kill_reason;
	__u32 flags;
	__u32 pad;
	__u32 path_len;   /* bytes of the called path, its zero included */
	__u32 argv_at;    /* where in text[] argv begins: a multiple of 8 after the path */
	__u32 argv_len;   /* bytes of argv */
	__u32 argv_total; /* bytes the process has */
	__u8 name[NAME_LEN];
	__u8 text[TEXT_LEN]; /* the path, then argv: as much of it is sent as there is */
};

struct exit_record {
	struct record_head head;
	__s32 code;    /* as wait(2) reports it */
	__u32 remaining; /* processes left in the session */
};

struct connect_record {
	struct record_head head;
	__u8 addr[16]; /* v4 as ::ffff:a.b.c.d */
	__u16 port;
	__u8 protocol; /* NET_TCP, NET_UDP */
	__u8 decision; /* NET_ALLOW, NET_DENY: what policy says */
	__u8 enforced; /* 0: observe mode let it through */
	__u8 pad[3];
	__s32 rule;
	__u32 uid;
	__u32 generation;
	__u32 coalesced;
};

struct refused_record {
	struct record_head head;
	struct file_id exe;
	__u32 uid;
	__u32 hook; /* HOOK_BPRM, HOOK_MMAP */
	__u32 enforced;
	__u32 pad;
	__u8 name[NAME_LEN];
	__u8 path[PATH_LEN];
};

struct socket_record {
	struct record_head head;
	__u32 family;
	__u32 socket_type;
	__u32 protocol;
	__u32 enforced;
	__u32 uid;
	__u32 routed; /* 1: not for its kind, but for choosing the way of its packets */
};

struct signal_record {
	struct record_head head;
	__u32 target;
	__u32 signal; /* 0: ptrace */
	__u32 uid;
	__u32 pad;
};

struct killed_record {
	struct record_head head;
	__u32 reason;
	__u32 uid;
};

enum hook { HOOK_BPRM = 1, HOOK_MMAP = 2 };

/* ---- who is governed -------------------------------------------------- */

struct proc {
	__u64 session; /* 0: was marked and let go; the entry ends with the process */
	__u64 cause;
	__u64 start;
	__u32 flags;
	__u32 pad;
};

enum proc_flag {
	PROC_AGENT = 1,      /* runs the agent's own program */
	PROC_FROM_AGENT = 2, /* forked by it and has not called exec yet */
	PROC_CANARY = 4,     /* always under enforcement */
	PROC_COUNTED = 8,    /* in proc_count: marked by the kernel, not by the daemon */
};

struct session {
	__u32 procs;
	__u32 pad;
};

struct hold {
	__u64 token;
	__u64 since; /* ns since boot */
	__u64 start; /* of the process */
};

/* Keyed by the thread group's id in the first pid namespace; removed when its
 * last thread exits, so an entry always speaks of the process alive now.
 * Preallocated: an insert cannot fail for want of memory. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCS);
	__type(key, __u32);
	__type(value, struct proc);
} procs SEC(".maps");

/* A byte for each number that a process can have (include/linux/threads.h, PID_MAX_LIMIT), eight to an entry.
 * It is set before there is an entry in procs, and cleared when there is none any more. */
enum mark {
	MARKED_NOT = 0,   /* procs has nothing under it, for a tenth of what a look costs */
	MARKED_MAYBE = 1, /* it has to be looked for */
	MARKED_STRAY = 2, /* there was no room for it: it dies before its first instruction */
};
#define MAX_NUMBERS (4 * 1024 * 1024)
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_NUMBERS / 8);
	__type(key, __u32);
	__type(value, __u64);
} marked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SESSIONS);
	__type(key, __u64);
	__type(value, struct session);
} sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_HELD);
	__type(key, __u32);
	__type(value, struct hold);
} held SEC(".maps");

/*
 * How many entries held has, or more: it is asked at every system call where nothing
 * better watches those who are held. Who adds one counts first, who took one away
 * counts after: the kernel with atomics, and so does the daemon, which has it mapped.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} holding SEC(".maps");

/*
 * Those above a process that was held, and when. Programs that pass on what happens
 * to a child (script, sudo) stop themselves when it is stopped, and nobody would have
 * them go on.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} above_held SEC(".maps");

struct name_key {
	__u8 name[NAME_LEN];
};

enum name_flag {
	NAME_CANDIDATE = 1,   /* may be an agent */
	NAME_SURE = 2,        /* is one: killed, not let go, when nobody can be asked */
	NAME_INTERPRETER = 4, /* may run one as a script */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct name_key);
	__type(value, __u32);
} names SEC(".maps");

/* ---- the daemon ------------------------------------------------------- */

struct state {
	__u32 daemon;   /* its pid; 0: none */
	__u32 alive;    /* the exit hook clears it */
	__u32 guard;    /* the process that kills what is held if the daemon dies */
	__u32 pad;
	__u64 seed[2];  /* of the argv hash */
	__u64 lost[3];  /* records each ring could not take that were reported as lost */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps");

/* Programs in which people are asked, and answer: the companion's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct inode_id);
	__type(value, __u32);
} companions SEC(".maps");

/* Entries the kernel made in procs. Only the kernel counts: the daemon could not
 * add to it without losing what the kernel adds meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __s64);
} proc_count SEC(".maps");

/* ---- policy: one generation, swapped whole ----------------------------- */

enum net_protocol { NET_TCP = 1, NET_UDP = 2 };
/* What is missing or zero denies. */
enum net_decision { NET_DENY = 0, NET_ALLOW = 1 };
/* Where no rule of the policy spoke. */
enum net_rule {
	RULE_DEFAULT = -1,
	RULE_CANARY = -2, /* the daemon's */
	RULE_MISSING = -3,
	/* Of the managed network: */
	RULE_OWN_SERVICE = -4,  /* a service of Paddock's own */
	RULE_LISTENER = -5,     /* where redirected connections arrive: nobody goes there by himself */
	RULE_NAMESPACE = -6,    /* another network namespace */
	RULE_DATAGRAM = -7,     /* UDP that is no DNS */
	RULE_DNS_OVER_TLS = -8,
	RULE_DEVICE = -9,       /* the socket is bound to a device */
	RULE_NOBODY = -10,      /* the daemon does not run */
	RULE_NO_MEMORY = -11,   /* the socket could not be marked */
	RULE_OWN_LISTENER = -12, /* a socket of the session itself is there */
	RULE_SILENT_PORT = -13, /* nobody listens there, and the kernel says so */
	RULE_TAKEN = -14,       /* was one of these before, and now somebody else is there */
	RULE_OWN_CLIENT = -15,  /* a socket that is connected to this one is there */
};

enum network_flag {
	NETWORK_MANAGED = 1,     /* governed connections go through the daemon */
	NETWORK_OWN = 2,         /* but for those to what a session itself listens on, on loopback */
	NETWORK_NEAR_DENIED = 4, /* no rule by name opens loopback */
};

struct settings {
	__u32 generation;
	__u32 enforce; /* 0: observe */
	__u32 network; /* enum network_flag */
	__u32 boundary; /* enum boundary_mode */
};

struct net4_key {
	__u32 prefixlen;
	__u8 addr[4];
};

struct net6_key {
	__u32 prefixlen;
	__u8 addr[16];
};

struct net_span {
	__u16 first;
	__u16 last;
	__u8 protocols;
	__u8 decision;
	__u16 pad;
	__s32 rule;
};

struct net_value {
	__u32 count;
	struct net_span spans[NET_SPANS];
};

struct deny_value {
	__u32 rule;
};

struct settings_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
};

struct net4_inner {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct net4_key);
	__type(value, struct net_value);
};

struct net6_inner {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct net6_key);
	__type(value, struct net_value);
};

struct deny_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct inode_id);
	__type(value, struct deny_value);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__array(values, struct settings_inner);
} policy_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__array(values, struct net4_inner);
} policy_net4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__array(values, struct net6_inner);
} policy_net6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__array(values, struct deny_inner);
} policy_deny SEC(".maps");

/* The slot in force. One aligned write swaps the generation. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} active SEC(".maps");

/* ---- caches: only ever hold "allow"; losing an entry costs time, not safety */

struct exe_key {
	struct file_id exe;
	__u64 called; /* hash of the name it was called by */
	__u32 generation;
	__u32 pad;
};

struct argv_key {
	struct file_id exe;
	__u64 called;
	__u64 hash;
	__u32 generation;
	__u32 len;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct exe_key);
	__type(value, __u32);
} exe_cache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct argv_key);
	__type(value, __u32);
} argv_cache SEC(".maps");

/* An allowed datagram's destination is recorded once a second, not per packet. */
struct seen_key {
	__u32 pid;
	__u16 port;
	__u16 refused;
	__u8 addr[16];
};

struct seen_value {
	__u64 since;
	__u32 count;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct seen_key);
	__type(value, struct seen_value);
} udp_seen SEC(".maps");

/* ---- the managed network ------------------------------------------------- */

enum listener {
	LISTEN_PROXY4 = 0,
	LISTEN_PROXY6 = 1,
	LISTEN_DNS_TCP4 = 2,
	LISTEN_DNS_TCP6 = 3,
	LISTEN_DNS_UDP4 = 4,
	LISTEN_DNS_UDP6 = 5,
	LISTENERS = 6,
};

struct egress {
	__u64 netns; /* cookie of the network namespace that the daemon listens in; 0: not known */
	__u32 learn; /* thread whose next socket tells it; 0: none */
	__u16 ports[LISTENERS]; /* on loopback, host order; 0: nobody listens */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct egress);
} homes SEC(".maps");

/* 1: on_egress is attached, or about to be. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} egress_watched SEC(".maps");

/* TCP ports of Paddock's other services on loopback. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} own_ports SEC(".maps");

/* Whose a socket is: of the session that made it, or that the daemon serves there. Who
 * has it passed to him is the session's accomplice. Lives and ends with its socket. */
struct owner {
	__u64 session;
	__u32 served; /* a listener that this daemon was handed, for this session; 0: is none */
	__u32 client; /* of a socket of nobody's: the user who connected it to one of a session; 0: is none */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct owner);
} owners SEC(".maps");

enum flow_kind {
	FLOW_NONE = 0,
	FLOW_PROXY = 1,
	FLOW_DNS = 2,
	FLOW_SERVICE = 3,
	FLOW_LOCAL = 4,  /* stays on loopback */
	FLOW_UNSURE = 5, /* so does this, and who is there is looked at once more */
};

/* Who asked for what. */
struct flow {
	__u64 session;
	__u64 cause;
	__u64 start;
	__u64 cookie;
	__u32 pid;
	__u32 uid;
	__u32 generation;
	__s32 rule; /* of the connect gate */
	__u8 addr[16]; /* v4 as ::ffff:a.b.c.d */
	__u16 port;
	__u8 protocol;
	__u8 decision; /* of the connect gate */
	__u8 enforced;
	__u8 kind;
	__u8 own; /* datagrams to sockets of the session itself: each is looked at */
	__u8 elsewhere; /* in another network namespace than our listeners */
};

/* Lives and ends with its socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct flow);
} sockets SEC(".maps");

/* A connection as the side sees it that accepts it. */
struct flow_key {
	__u8 client[16];
	__u8 server[16];
	__u16 client_port; /* host order */
	__u16 server_port;
};

/* Needed from the first packet to accept(2); what is pushed out is refused. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

/* What find_datagram is asked, and where it puts the answer. */
struct flow_question {
	struct flow_key key;
	__u32 pad;
	struct flow flow;
};

/* ---- rings and what went through them ---------------------------------- */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring_holds SEC(".maps"); /* questions: holds and candidates */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} ring_security SEC(".maps"); /* what was refused or killed */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} ring_volume SEC(".maps"); /* what was allowed, exits */

enum ring { RING_HOLDS = 0, RING_SECURITY = 1, RING_VOLUME = 2, RINGS = 3 };

/* Records read of each ring, by all daemons so far: written through a mapping by
 * whoever reads, so that a successor knows what its predecessor has seen. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RINGS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} ring_read SEC(".maps");

/* Of one ring, per CPU. seen == submitted + full, always. */
struct counters {
	__u64 seen;
	__u64 submitted;
	__u64 full;
	__u64 oversized; /* submitted, but cut */
	__u64 coalesced; /* repeated datagrams folded into a record */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RINGS);
	__type(key, __u32);
	__type(value, struct counters);
} ring_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_record);
} exec_scratch SEC(".maps");
