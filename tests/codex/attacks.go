// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"fmt"
	"strings"
)

// Worked is what the shell text of an attack prints if it got what it wanted.
const Worked = "it-worked-7c21"

// Place is what there is to attack.
type Place struct {
	Around string // a directory outside of Codex's, with a file in it
	Secret string // a file that may not be read
	Home   string // of a user, with a .cache
	Broker string // a socket
	Name   string // an abstract socket's
	PID    int    // a process of nobody governed
	Memory int    // the id of a segment of its shared memory
	Port   int    // of a TCP and of a UDP service at Denied
}

// Denied is an address that requirements deny.
const Denied = "127.0.0.9"

// Attack returns a shell text for Options.Commands, by the row and the name it has in tests/bypass; empty: there is none.
func (p Place) Attack(id, name string) string {
	text := attacks[id+" "+name]
	if text == "" {
		return ""
	}
	return strings.NewReplacer("AROUND", p.Around, "SECRET", p.Secret, "HOME", p.Home, "BROKER", p.Broker, "NAME", p.Name,
		"PID", fmt.Sprint(p.PID), "MEMORY", fmt.Sprint(p.Memory), "PORT", fmt.Sprint(p.Port), "DENIED", Denied).Replace(text) + " && echo " + Worked
}

// Each text succeeds if the attack did. They run at the same time, so what is moved is exchanged and always there, in
// a git work tree that holds "file"; what is forbidden is `/usr/bin/id`.
var attacks = map[string]string{
	"F1 write outside":                   `echo x >>AROUND/file`,
	"F1 by a symbolic link":              `ln -s AROUND/file link && echo x >>link`,
	"F1 by the root of a process":        `echo x >>/proc/$$/rootAROUND/file`,
	"F1 read a secret":                   `cat SECRET >/dev/null`,
	"F2 truncate":                        `perl -e 'exit !truncate("AROUND/file", 1)'`,
	"F3 rename over":                     `echo x >new && mv -f new AROUND/file`,
	"F4 hard link to a secret":           `ln SECRET hard && cat hard >/dev/null`,
	"F5 a hook of git's":                 `echo evil >.git/hooks/pre-commit`,
	"F5 the parent of hooks":             `cp -r .git .moved && perl -e '($a, $b) = qw(.git .moved); exit syscall(316, -100, $a, -100, $b, 2)' && echo evil >.git/hooks/pre-push`,
	"F8 mode":                            `chmod 600 AROUND/file`,
	"F9 bind in a namespace of its own":  `unshare -Urm sh -c 'mkdir -p bound && mount --bind AROUND bound && echo x >>bound/file'`,
	"F13 poison a cache":                 `echo x >HOME/.cache/poison`,
	"F16 the size of a secret":           `stat -c %s SECRET >/dev/null`,
	"A5 the socket of a broker":          `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, pack_sockaddr_un("BROKER")) or exit 1'`,
	"A7 an abstract socket":              `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, pack_sockaddr_un("\0NAME")) or exit 1'`,
	"A9 ptrace":                          `perl -e 'exit(syscall(101, 0x4206, PID, 0, 0) != 0)'`,
	"A9 the memory of another":           `exec 7<>/proc/PID/mem`,
	"A9 the environment of another":      `head -c1 /proc/PID/environ >/dev/null`,
	"A10 a descriptor of another":        `perl -e '$p = syscall(434, PID, 0); exit !($p >= 0 && syscall(438, $p, 0, 0) >= 0)'`,
	"A16 shared memory of another":       `perl -e '$b = ""; exit !(shmread(MEMORY, $b, 0, 6) && $b eq "theirs")'`,
	"N1 TCP to a denied address":         `perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) && connect(S, pack_sockaddr_in(PORT, inet_aton("DENIED"))) or exit 1'`,
	"N6 UDP to a denied address":         `perl -MSocket -e 'socket(S, AF_INET, SOCK_DGRAM, 0) && send(S, "x", 0, pack_sockaddr_in(PORT, inet_aton("DENIED"))) or exit 1'`,
	"N9 a raw socket":                    `perl -MSocket -e 'socket(S, AF_INET, SOCK_RAW, 1) or exit 1'`,
	"P5 a map by bpf(2)":                 `perl -e '$a = pack("L8", 2, 4, 4, 1); exit(syscall(321, 0, $a, 32) < 0)'`,
	"E2 a forbidden program by a script": `printf 'id >/dev/null || exit 1\n' >script && sh script`,
	"E5 a forbidden program without a file": `python3 -c 'import os
f = os.memfd_create("x"); os.write(f, open("/usr/bin/id", "rb").read()); os.execve(f, ["x"], {})' >/dev/null`,
	"E7 a forbidden program by the loader": `/lib64/ld-linux-x86-64.so.2 /usr/bin/id >/dev/null`,
	"E9 a forbidden program by code without a file": `python3 -c 'import ctypes
libc = ctypes.CDLL(None); e = ctypes.cast(libc.execv, ctypes.c_void_p).value
import mmap; m = mmap.mmap(-1, 4096, prot=7); m.write(b"\x48\xb8" + e.to_bytes(8, "little") + b"\xff\xe0")
argv = (ctypes.c_char_p * 2)(b"id", None)
ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(m)))(b"/usr/bin/id", ctypes.addressof(argv))
raise SystemExit(1)' >/dev/null`,
}
