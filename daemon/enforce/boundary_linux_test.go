// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
	"github.com/seed-649e9bbc/paddock/tests/pty"
)

// boundedMachine is a machine with a boundary, the agent's project, and what lies
// around it.
type boundedMachine struct {
	*machine
	project, around string
}

// layOut makes a project and its surroundings in dir.
func layOut(t *testing.T, dir string) (project, around string) {
	t.Helper()
	for _, d := range []string{
		"project/.git/hooks", "project/.git/modules/libs/sub", "project/.git/worktrees/tree", "project/.git/worktrees/own", "around/tree", "project/within", "project/src/deep", "around/secret", "around/kept",
	} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{
		"project/file", "project/.git/config", "project/.git/hooks/old", "project/src/deep/file",
		"around/file", "around/secret/key", "around/kept/file",
		"project/.git/modules/libs/sub/config", "project/.git/worktrees/tree/commondir", "project/.git/worktrees/own/commondir",
	} {
		must(t, os.WriteFile(filepath.Join(dir, f), []byte("content\n"), 0o644))
	}
	for name, tree := range map[string]string{"tree": "around/tree", "own": "project/within"} {
		must(t, os.WriteFile(filepath.Join(dir, "project/.git/worktrees", name, "gitdir"), []byte(filepath.Join(dir, tree, ".git")+"\n"), 0o644))
	}
	return filepath.Join(dir, "project"), filepath.Join(dir, "around")
}

// bound puts a boundary into force. In table, AROUND and PROJECT stand for the paths.
func (b *boundedMachine) bound(table string) {
	b.t.Helper()
	table = strings.NewReplacer("AROUND", b.around, "PROJECT", b.project).Replace(table)
	b.apply("[paddock]\nmode = \"enforce\"\n[paddock.boundary]\n" + table)
}

// newBounded proves a boundary, and returns false where the kernel can have none:
// then that must have been said.
func newBounded(t *testing.T) (*boundedMachine, bool) {
	t.Helper()
	b := &boundedMachine{machine: newMachine(t, "[paddock]\nmode = \"enforce\"\n")}
	b.project, b.around = layOut(t, b.dir)
	must(t, os.Mkdir(filepath.Join(b.dir, "own"), 0o755))
	b.bound("")
	must(t, b.Prove(t.Context()))
	best := bestMechanism()
	proven := true
	for _, g := range b.Gates() {
		if g.Gate != "boundary" && g.Gate != "unix" && g.Gate != "ptrace" && g.Gate != "machine" {
			continue
		}
		t.Logf("%s: %s %v %s", g.Gate, g.Tier, g.Proven, g.Detail)
		if !g.Proven && (best != "" || g.Tier != string(ebpf.None) || g.Detail == "") {
			t.Errorf("gate %s: tier %q, proven %v: %s", g.Gate, g.Tier, g.Proven, g.Detail)
		}
		proven = proven && g.Proven
	}
	return b, proven
}

// attempts are scripts by name. Each runs in the project and says "done" if it got
// what it wanted.
type attempts map[string]string

// all runs every attempt, one after the other in one shell: the agent's, or that of
// somebody nobody governs, who has for each a project and surroundings of its own.
func (b *boundedMachine) all(governed bool, a attempts) map[string]string {
	b.t.Helper()
	shell, dir := b.agent, b.t.TempDir()
	if !governed {
		shell = "/bin/sh"
	}
	var script strings.Builder
	script.WriteString("/bin/true\n") // once this ran, the agent is recognised
	n := 0
	for name, text := range a {
		project, around := b.project, b.around
		if !governed {
			n++
			project, around = layOut(b.t, filepath.Join(dir, fmt.Sprint(n)))
		}
		fmt.Fprintf(&script, "echo '== %s'\n(PROJECT=%s AROUND=%s; export PROJECT AROUND; cd $PROJECT; %s\n) 2>&1\n",
			strings.ReplaceAll(name, "'", ""), project, around, text)
	}
	cmd := exec.Command(shell, "-c", script.String())
	cmd.Dir = b.project
	self, err := os.Executable()
	must(b.t, err)
	cmd.Env = append(os.Environ(), "SELF="+self)
	if governed {
		cmd.Env = append(cmd.Env, "GOVERNED=1")
	}
	said, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Logf("the shell ended with %v", err)
	}
	out := map[string]string{}
	for part := range strings.SplitSeq(string(said), "== ") {
		name, text, _ := strings.Cut(part, "\n")
		out[name] = text
	}
	for name := range a {
		if _, ok := out[strings.ReplaceAll(name, "'", "")]; !ok {
			b.t.Errorf("%s did not even begin: %.500q", name, said)
		}
	}
	return out
}

// fail runs attempts that must work where nothing is governed, and must not where
// something is.
func (b *boundedMachine) fail(t *testing.T, a attempts) {
	t.Helper()
	var free map[string]string
	var other sync.WaitGroup
	other.Go(func() { free = b.all(false, a) })
	kept := b.all(true, a)
	other.Wait()
	for name := range a {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(free[name], "done") {
				t.Fatalf("the attack does not even work where nothing is governed: %.500q", free[name])
			}
			if strings.Contains(kept[name], "done") {
				t.Errorf("it worked: %.500q", kept[name])
			}
		})
	}
}

// Ways past the boundary of files.
var fileAttacks = attempts{
	"F1 write outside":              `echo x >>$AROUND/file && echo done`,
	"F1 create outside":             `true >$AROUND/new && echo done`,
	"F1 read what is unreadable":    `cat $AROUND/secret/key >/dev/null && echo done`,
	"F1 list what is unreadable":    `ls $AROUND/secret >/dev/null && echo done`,
	"F1 by a symbolic link":         `ln -sf $AROUND/file l && echo x >>l && echo done`,
	"F1 by dots":                    `echo x >>src/deep/../../../around/file && echo done`,
	"F1 by the root of a process":   `echo x >>/proc/$$/root$AROUND/file && echo done`,
	"F1 by a descriptor of its own": `exec 7<$AROUND && echo x >>/proc/self/fd/7/file && echo done`,
	"F1 by a handle": `perl -e '$h = pack("Ii", 120, 0) . "\0" x 120; $m = pack("i", 0); $p = "$ENV{AROUND}/file"; open(D, "<", $ENV{AROUND});
		syscall(303, -100, $p, $h, $m, 0) == 0 and syscall(304, fileno(D), $h, 1) >= 0 and print "done\n"'`,
	"F1 by io_uring": `$SELF attack-uring $AROUND/file`,
	"F3 by io_uring": `$SELF attack-uring $AROUND/file taken`,
	"F1 by io_uring, under credentials lent to it": `$SELF attack-lent personality $AROUND/file`,
	"F1 by io_uring, under credentials of before":  `$SELF attack-lent drain $AROUND/file`,
	"F11 a core": `cd $AROUND && ulimit -c unlimited && perl -e '$h = pack("Li", 0x20080522, 0); $d = "\0" x 24; syscall(125, $h, $d) == 0 or die; @v = unpack("L6", $d);
		$v[0] &= ~(1 << 24); $d = pack("L6", @v); syscall(126, $h, $d) == 0 or die; kill "SEGV", $$'; set -- core*; [ -e "$1" ] && echo done`,
	"F1 a file without a name":          `perl -e '$d = $ENV{AROUND}; $f = syscall(257, -100, $d, 0x410001, 0600); print "done\n" if $f >= 0'`,
	"F2 truncate":                       `perl -e 'truncate("$ENV{AROUND}/file", 0) and print "done\n"'`,
	"F3 rename over":                    `mv -f file $AROUND/file && echo done`,
	"F3 rename away":                    `perl -e 'rename("$ENV{AROUND}/file", "taken") and print "done\n"'`,
	"F3 exchange":                       `perl -e '$a = "$ENV{AROUND}/file"; $b = "src/deep/file"; syscall(316, -100, $a, -100, $b, 2) == 0 and print "done\n"'`,
	"F4 hard link":                      `ln $AROUND/file hard && echo x >>hard && echo done`,
	"F4 hard link to a secret":          `ln $AROUND/secret/key hard2 && cat hard2 && echo done`,
	"F5 remove":                         `rm -f $AROUND/file && echo done`,
	"F5 the directory of hooks":         `mv .git/hooks .git/h && mkdir .git/hooks && echo done`,
	"F5 the parent of hooks":            `mv .git g && cp -r g .git && echo evil >.git/hooks/pre-commit && echo done`,
	"F5 a hook":                         `echo evil >.git/hooks/pre-commit && echo done`,
	"F5 an old hook":                    `echo evil >>.git/hooks/old && echo done`,
	"F5 git configuration":              `echo x >c && mv c .git/config && echo done`,
	"F5 another common directory":       `echo ../evil >.git/commondir && echo done`,
	"F15 configuration of a submodule":  `echo x >>.git/modules/libs/sub/config && echo done`,
	"F15 hooks of a submodule":          `mkdir .git/modules/libs/sub/hooks && echo evil >.git/modules/libs/sub/hooks/post-checkout && echo done`,
	"F15 a submodule made anew":         `mv .git/modules/libs .git/modules/l && mkdir .git/modules/libs && echo done`,
	"F15 another work tree":             `echo /evil >.git/worktrees/tree/commondir && echo done`,
	"F15 settings of another work tree": `echo x >.git/worktrees/tree/config.worktree && echo done`,
	"F5 a directory agents obey":        `mkdir .agents; echo evil >.agents/x && echo done`,
	"F5 what is yet to come":            `mkdir -p vendor/locked; echo x >vendor/locked/x && echo done`,
	"F5 a protected directory":          `mv $AROUND/kept $AROUND/k && echo done`,
	"F8 mode":                           `chmod 777 $AROUND/file && echo done`,
	"F8 owner":                          `chown 65534 $AROUND/file && echo done`,
	"F8 times":                          `touch $AROUND/file && echo done`,
	"F8 flags":                          `perl -e 'open(F, "<", "$ENV{AROUND}/file"); $n = pack("L!", 0x40); (ioctl(F, 0x40086602, $n) || $! == 25) and print "done\n"'`,
	"F8 attributes":                     `perl -e '$p = "$ENV{AROUND}/file"; $n = "trusted.x"; $v = "x"; syscall(188, $p, $n, $v, 1, 0) == 0 and print "done\n"'`,
	"F9 bind over it":                   `mount --bind src $AROUND && umount $AROUND && echo done`,
	"F9 in a namespace of its own":      `unshare -Urm sh -c 'mkdir -p b && mount --bind $AROUND b && echo x >>b/file && echo done'`,
	"F9 a secret in a namespace":        `unshare -Urm sh -c 'mkdir -p b && mount --rbind $AROUND b && cat b/secret/key && echo done'`,
	"F9 an overlay of its own": `unshare -Urm sh -c 'mkdir -p u w m && mount -t overlay -o lowerdir=$AROUND,upperdir=u,workdir=w o m && cat m/secret/key && echo done' ||
		{ [ "$GOVERNED" ] || echo done; }`, // a user's overlay needs Linux 5.11
	"F9 an overlay in no view": `mkdir -p u w && perl -e 'sub get { my $n = shift; my $r = syscall($n, @_); $r >= 0 or exit 1; $r } $t = "overlay"; $f = get(430, $t, 0);
		for (["lowerdir", $ENV{AROUND}], ["upperdir", "$ENV{PROJECT}/u"], ["workdir", "$ENV{PROJECT}/w"]) { ($k, $v) = @$_; get(431, $f, 1, $k, $v, 0) } get(431, $f, 6, 0, 0, 0); $m = get(432, $f, 0, 0);
		$p = "secret/key"; get(257, $m, $p, 0, 0); print "done\n"'`,
	"F9 an overlay in anothers view": `mkdir -p u w m && perl -e 'pipe(R, W); if (!($c = fork)) { open(STDOUT, ">/dev/null"); open(STDERR, ">/dev/null"); close R; alarm 20; syscall(272, 0x10020000) == 0 and syswrite(W, "x") and sleep 20; exit } close W; sysread(R, $x, 1) or exit 1;
		open(N, "<", "/proc/$c/ns/mnt"); syscall(308, fileno(N), 0x20000) == 0 or exit 1; chdir($ENV{PROJECT}); $t = "overlay"; $m = "$ENV{PROJECT}/m"; $o = "lowerdir=$ENV{AROUND},upperdir=$ENV{PROJECT}/u,workdir=$ENV{PROJECT}/w";
		syscall(165, $t, $m, $t, 0, $o) == 0 and open(F, "<", "$m/secret/key") and print "done\n"; kill 9, $c'`,
	"F9 an overlay that is never seen": `mkdir never never/u never/w && perl -e 'sub set { syscall(431, $f, @_) == 0 or exit 1 } $t = "overlay"; ($f = syscall(430, $t, 0)) >= 0 or exit 1; $d = "$ENV{PROJECT}/never";
		for (["lowerdir", $ENV{AROUND}], ["upperdir", "$d/u"], ["workdir", "$d/w"]) { ($k, $v) = @$_; set(1, $k, $v, 0) } set(6, 0, 0, 0)'; [ -e never/w/work ] && echo done`,
	"F11 mkdir, mkfifo, symlink": `mkdir $AROUND/d || mkfifo $AROUND/p || ln -s x $AROUND/s && echo done`,
	"F11 a socket":               `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("$ENV{AROUND}/sock")) and print "done\n"'`,
	"F12 a disk":                 `: </dev/pdk-disk && echo done`,
	"F12 the node of a disk":     `mknod src/disk b 7 0 && echo done`,
	"F12 the node of a keyboard": `mknod src/keys c 13 64 && echo done`,
	"F12 settings of the kernel": `cat /proc/sys/kernel/core_pattern >saved && cat saved >/proc/sys/kernel/core_pattern && echo done`,
	"F17 a microphone":           `: </dev/snd/pdk-microphone && echo done`,
	"P1 freeze by a cgroup": `for c in /sys/fs/cgroup /sys/fs/cgroup/unified; do
		if [ -e $c/cgroup.procs ]; then mkdir $c/pdk-freeze && rmdir $c/pdk-freeze && echo done; fi; done`,
	"P2 a pin": `mkdir /sys/fs/bpf/pdk-stranger && rmdir /sys/fs/bpf/pdk-stranger && echo done`,
}

// Ways to have others act, and to act on others.
func strangerAttacks(b *boundedMachine, pid int, socket, terminal string) attempts {
	replace := strings.NewReplacer("PID", fmt.Sprint(pid), "NAME", b.dir, "SOCKET", socket, "TERMINAL", terminal)
	a := attempts{
		"A17 what is typed elsewhere":    `: <TERMINAL && echo done`,
		"A17 what is shown elsewhere":    `: >TERMINAL && echo done`,
		"A17 what is typed at a console": `: </dev/tty2 && echo done`,
		"P16 whom the kernel ends first": `echo 500 >/proc/PID/oom_score_adj && echo done`,
		"A5 the socket of a broker":      `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("SOCKET")) and print "done\n"'`,
		"A5 a resolver of the machine":   `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("/run/nscd/socket")) and print "done\n"'`,
		"A7 an abstract socket":          `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("\0NAME")) and print "done\n"'`,
		"A9 ptrace":                      `perl -e 'syscall(101, 0x4206, PID, 0, 0) == 0 and print "done\n"'`,
		"A9 the memory of another":       `exec 7<>/proc/PID/mem && echo done`,
		"A10 a descriptor of another":    `perl -e '$p = syscall(434, PID, 0); syscall(438, $p, 0, 0) >= 0 and print "done\n"'`,
		"A9 the environment of another":  `head -c1 /proc/PID/environ >/dev/null && echo done`,
		"A14 input to the terminal": `perl -e 'use POSIX; open(M, "+<", "/dev/ptmx"); $z = pack("i", 0); ioctl(M, 0x40045431, $z); $n = pack("i", 0); ioctl(M, 0x80045430, $n);
			$s = "/dev/pts/" . unpack("i", $n); if (!($p = fork)) { POSIX::setsid(); open(S, "+<", $s) or exit 1; $x = "x"; exit(ioctl(S, 0x5412, $x) ? 0 : 1) }
			waitpid $p, 0; print "done\n" if $? == 0'
			[ "$GOVERNED" ] || [ "$(cat /proc/sys/dev/tty/legacy_tiocsti 2>/dev/null || echo 1)" = 1 ] || echo done`,
		"P3 unmount":                     `mkdir -p m && perl -e '$t = "t"; $m = "m"; $f = "tmpfs"; $r = syscall(165, $t, $m, $f, 0, 0); syscall(166, $m, 2); print "done\n" if $r == 0'`,
		"P5 maps and programs by bpf(2)": `perl -e '$a = "\0" x 32; syscall(321, 11, $a, 32) == 0 and print "done\n"'`,
		"P5 a kernel module":             `insmod $(modinfo -n dummy) && { rmmod dummy; echo done; } || { [ "$GOVERNED" ] || echo done; }`,
	}
	for name, script := range a {
		a[name] = replace.Replace(script)
	}
	return a
}

// What a session needs, it may: its project, temporary files, devices that are none,
// namespaces, and reading what is not secret.
var honestWork = attempts{
	"a work tree of its own": `echo x >.git/worktrees/own/commondir && rm -r .git/worktrees/own && echo done`,
	"files":                  `echo x >new && mkdir -p a/b && mv new a/b && ln a/b/new hard3 && ln -s hard3 soft && chmod 600 hard3 && rm -r a && echo done`,
	"temporary":              "f=$(mktemp) && echo x >$f && rm $f && cat <<END >/dev/null && echo done\nhere\nEND\n",
	"nodes":                  `mknod src/null c 1 3 && mknod src/white c 0 0 && mkfifo src/pipe && rm src/null src/white src/pipe && echo done`,
	"devices":                `echo x >/dev/null && head -c1 /dev/urandom >/dev/null && dd if=/dev/zero of=/dev/null count=1 2>/dev/null && echo done`,
	"pipes":                  `echo x | tee /dev/stderr 2>&1 >/dev/null | cat >/dev/stdout && echo done`,
	"reading":                `cat $AROUND/file /etc/passwd >/dev/null && ls / >/dev/null && echo done`,
	"proc":                   `echo 500 >/proc/self/oom_score_adj && cat /proc/self/status >/dev/null && echo done`,
	"memfd":                  `perl -e '$n = "x"; $f = syscall(319, $n, 0); open(F, ">", "/proc/self/fd/$f") and print F "x" and print "done\n"'`,
	"namespaces":             `unshare -Urm perl -e '$t = "t"; $m = "/mnt"; syscall(165, $t, $m, $t = "tmpfs", 0, 0) == 0 and open(F, ">", "/mnt/f") and print "done\n"'`,
	"git": `export HOME=$PWD/home GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; mkdir home && git init -q -b main repo && cd repo &&
		echo 1 >f && git add f && git commit -qm 1 && git checkout -qb two && echo 2 >g && git add g && git commit -qm 2 && git checkout -q main && echo 3 >h && git add h &&
		git commit -qm 3 && git rebase -q two && cd .. && git clone -q repo copy && git -C copy log --oneline | grep -c . | grep -q 3 && echo done`,
	"a terminal of its own": `perl -e 'use POSIX; open(M, "+<", "/dev/ptmx"); $z = pack("i", 0); ioctl(M, 0x40045431, $z); $n = pack("i", 0); ioctl(M, 0x80045430, $n);
		$s = "/dev/pts/" . unpack("i", $n); if (!($p = fork)) { POSIX::setsid(); open(S, "+<", $s) && open(T, "+<", $s) or exit 1; exit 0 }
		waitpid $p, 0; print "done\n" if $? == 0'`,
	"debugging its own": `perl -e 'if (!($p = fork)) { sleep 1000 } $r = syscall(101, 0x4206, $p, 0, 0); kill 9, $p; waitpid $p, 0; print "done\n" if $r == 0'`,
	"its own services": `perl -MSocket -e 'for $n ("$ENV{PROJECT}/own", "\0pdk-own-$$") { socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un($n)); listen(S, 1);
		socket(C, AF_UNIX, SOCK_STREAM, 0); connect(C, pack_sockaddr_un($n)) or exit 1 } print "done\n"'`,
}

// A session tells the next one that a work tree outside is below the project, or that
// there is none, to have it write what a developer's git obeys there.
func (b *boundedMachine) forTheNext(t *testing.T) {
	for lie, a := range map[string]attempts{
		"$PROJECT/within/.git": {
			"F15 another work tree, said to be below":     `echo /evil >.git/worktrees/tree/commondir && echo done`,
			"F15 settings of one said to be below":        `echo x >.git/worktrees/tree/config.worktree && echo done`,
			"F15 a work tree said to be below, made anew": `mv .git/worktrees/tree .git/worktrees/old && cp -r .git/worktrees/old .git/worktrees/tree && echo done`,
			"F15 all work trees made anew":                `mv .git/worktrees .git/old && cp -r .git/old .git/worktrees && echo done`,
		},
		"$PROJECT/../missing/.git": {
			"F15 another work tree, said to be nowhere": `echo /evil >.git/worktrees/tree/commondir && echo done`,
			"F15 settings of one said to be nowhere":    `echo x >.git/worktrees/tree/config.worktree && echo done`,
		},
	} {
		out := b.all(true, attempts{"lie": "echo " + lie + " >.git/worktrees/tree/gitdir && echo done"})
		if !strings.Contains(out["lie"], "done") {
			t.Fatalf("a session cannot say where a work tree is, as git must: %.500q", out["lie"])
		}
		b.fail(t, a)
	}
	must(t, os.WriteFile(filepath.Join(b.project, ".git/worktrees/tree/gitdir"), []byte(filepath.Join(b.around, "tree", ".git")+"\n"), 0o644))
}

// TestBoundary holds a session against everything known, on one machine, since its
// programs take long to load where processors are emulated.
func TestBoundary(t *testing.T) {
	b, proven := newBounded(t)
	t.Run("honest work", func(t *testing.T) {
		before := len(b.refusals())
		work := attempts{}
		maps.Copy(work, honestWork)
		maps.Copy(work, sharedWork)
		out := b.all(true, work)
		for name := range work {
			if !strings.Contains(out[name], "done") {
				t.Errorf("%s: %.800q", name, out[name])
			}
		}
		for _, e := range b.refusals()[before:] {
			t.Errorf("refused: %v", e.Attrs)
		}
	})
	if !proven {
		return // and newBounded saw that it is told
	}
	t.Run("files", func(t *testing.T) {
		must(t, os.MkdirAll("/dev/snd", 0o755))
		const microphone = "/dev/snd/pdk-microphone"
		must(t, os.WriteFile(microphone, nil, 0o600))
		defer os.Remove(microphone)
		const disk = "/dev/pdk-disk"
		must(t, unix.Mknod(disk, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))))
		defer os.Remove(disk)
		b.bound(`temporary = false
			writable = ["AROUND/kept/writable"]
			protected = ["AROUND/kept", "vendor/locked"]
			unreadable = ["AROUND/secret"]
			projects = ["PROJECT"]`)
		b.fail(t, fileAttacks)
		ev := b.wait("the refusal of a file outside", func(e telemetry.Event) bool {
			return e.Name == telemetry.NameFileDecision && e.Attrs[telemetry.AttrFilePath] == filepath.Join(b.around, "file") && e.Attrs[telemetry.AttrFileOperation] == "write"
		})
		if ev.Attrs[telemetry.AttrGate] != "boundary" || ev.Attrs[telemetry.AttrDecisionEnforced] != true || ev.Session == "" {
			t.Errorf("event: %v", ev.Attrs)
		}
	})
	t.Run("for the next session", b.forTheNext)
	t.Run("strangers", func(t *testing.T) {
		b.bound(`sockets = ["AROUND/kept"]`)
		socket := filepath.Join(b.around, "kept", "broker")
		listen(t, socket)
		listen(t, "@"+b.dir)
		nameService(t)
		// Somebody at a terminal of their own.
		master, slave, err := pty.Open()
		must(t, err)
		defer master.Close()
		defer slave.Close()
		stranger := exec.Command("sleep", "infinity")
		stranger.Stdin = slave
		stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		must(t, stranger.Start())
		defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
		b.fail(t, strangerAttacks(b, stranger.Process.Pid, socket, slave.Name()))
		b.wait("the refusal to trace", func(e telemetry.Event) bool {
			return e.Name == telemetry.NameTamper && e.Attrs[telemetry.AttrTamperOperation] == "ptrace" && e.Attrs[telemetry.AttrTamperTarget] == int64(stranger.Process.Pid)
		})
	})
	t.Run("handed over", b.handed)
	t.Run("shared", b.shared)
	t.Run("overlay", func(t *testing.T) {
		t.Run("numbers", b.numbered)
		t.Run("layers of two file systems", func(t *testing.T) { b.overlaid(t, workUser, true) })
		t.Run("layers of one file system", func(t *testing.T) { b.overlaid(t, 0, false) })
		t.Run("a container", b.contained)
	})
	t.Run("modes", b.modes)
	t.Run("guard", b.guarded)
}

// guarded: where people are asked, and requirements have no boundary, a session is kept
// from those who could answer for them, and from no file.
func (b *boundedMachine) guarded(t *testing.T) {
	const asks = "[rules]\nprefix_rules = [{ pattern = [{ token = \"pdk-asked\" }], decision = \"prompt\" }]\n[paddock]\nmode = \"enforce\"\n"
	listen(t, "@"+b.dir+"-guard")
	stranger := exec.Command("sleep", "infinity")
	must(t, stranger.Start())
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	all := strangerAttacks(b, stranger.Process.Pid, tmuxSocket(t), "")
	all["A7 an abstract socket"] = strings.ReplaceAll(all["A7 an abstract socket"], b.dir, b.dir+"-guard")
	kept := attempts{}
	for _, name := range []string{"A5 the socket of a broker", "A7 an abstract socket", "A9 ptrace", "A9 the memory of another", "A14 input to the terminal"} {
		kept[name] = all[name]
	}
	free := attempts{"a file": `echo x >>$AROUND/file && echo done`, "a secret": `cat $AROUND/secret/key >/dev/null && echo done`}
	works := func(a attempts) {
		t.Helper()
		out := b.all(true, a)
		for name := range a {
			if !strings.Contains(out[name], "done") {
				t.Errorf("%s: %.500q", name, out[name])
			}
		}
	}

	b.apply(asks)
	must(t, b.Prove(t.Context()))
	var gates []string
	for _, g := range b.Gates() {
		if slices.Contains([]string{"boundary", "unix", "ptrace", "machine"}, g.Gate) {
			gates = append(gates, fmt.Sprint(g.Gate, " ", g.Proven))
		}
	}
	if got := strings.Join(gates, ", "); got != "unix true, ptrace true" {
		t.Errorf("gates: %s", got)
	}
	b.fail(t, kept)
	works(free)
	b.apply(asks + "[paddock.approvals]\nguard = false\n")
	must(t, b.Prove(t.Context()))
	works(attempts{"a broker": kept["A5 the socket of a broker"], "an abstract socket": kept["A7 an abstract socket"]})
}

// tmuxSocket is one where tmux has those of a user.
func tmuxSocket(t *testing.T) string {
	dir := fmt.Sprintf("/tmp/tmux-pdk-%d", os.Getpid())
	must(t, os.Mkdir(dir, 0o700))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listen(t, filepath.Join(dir, "default"))
	return filepath.Join(dir, "default")
}

// modes: the three mean what they do for Codex, and without a boundary in
// requirements nothing is judged. The project is in a directory for temporary files.
func (b *boundedMachine) modes(t *testing.T) {
	tries := attempts{
		"in": `echo x >new && echo done`, "out": `echo x >/srv/pdk-out && rm /srv/pdk-out && echo done`,
		"tmp": `f=$(mktemp) && rm $f && echo done`, "secret": `cat $AROUND/secret/key >/dev/null && echo done`,
		"own": `echo x >` + b.dir + `/own/file && echo done`, // Paddock's
	}
	for _, c := range []struct{ table, want string }{
		{"mode = \"read-only\"\nunreadable = [\"AROUND/secret\"]\n", ""},
		{"unreadable = [\"AROUND/secret\"]\n", "in tmp"},
		// What is Paddock's own lies in the protected directory, and protects nothing else of it.
		{"mode = \"danger-full-access\"\nunreadable = [\"AROUND/secret\"]\nprotected = [\"" + b.dir + "\"]\n", "in out tmp"},
		{"temporary = false\nproject = \"none\"\n", "secret"},
		{"temporary = false\nprojects = [\"PROJECT\"]\n", "in secret"},
		{"none", "in out tmp secret own"},
	} {
		if c.table == "none" {
			b.apply("[paddock]\nmode = \"enforce\"\n")
		} else {
			b.bound(c.table)
		}
		out := b.all(true, tries)
		var got []string
		for _, name := range []string{"in", "out", "tmp", "secret", "own"} {
			if strings.Contains(out[name], "done") {
				got = append(got, name)
			}
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.table, got, c.want)
		}
	}
}

// refusals are the events of the boundary so far.
func (b *boundedMachine) refusals() []telemetry.Event {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	var out []telemetry.Event
	for _, e := range b.log.events {
		if e.Name == telemetry.NameFileDecision || e.Name == telemetry.NameTamper {
			out = append(out, e)
		}
	}
	return out
}

// nameService is a service that resolves names for whoever asks, where glibc looks for it.
func nameService(t *testing.T) {
	t.Helper()
	const dir = "/run/nscd"
	if _, err := os.Lstat(dir); err == nil {
		t.Fatalf("%s is there: this machine has a service that the test would disturb", dir)
	}
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listen(t, dir+"/socket")
}

// listen accepts whoever comes, until the test ends.
func listen(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("unix", address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}
