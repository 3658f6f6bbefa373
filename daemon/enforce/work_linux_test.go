// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Work that a boundary must not be in the way of. It is done in a developer's home
// directory, which only a virtual machine can have to spare.

const (
	workUser  = 1000
	workHome  = "/home/dev"
	workPlace = workHome + "/src/project"
)

// job is a piece of work: a script in the project, which fails if anything does.
type job struct {
	name string
	long bool     // only with PADDOCK_LONG=1: it takes longer than a run of all tests has
	with []string // programs that must be there
	text string
	// refused is what the boundary is there to refuse, and the work is done without:
	// a regular expression for the path in each event. Without it there may be no event.
	refused string
}

var jobs = []job{
	// A clone would link the objects of a repository outside into its own, then copies
	// them. Git rewrites its configuration when a branch goes, with nothing changed.
	{name: "git: clone, commit, rebase, stash, worktree, gc", refused: `^/home/dev/src/(upstream\.git/objects/.*|project/\.git(/config(\.lock)?)?)$`, text: `
		git clone -q ../upstream.git copied && git -C copied log -1 --format=%s | grep -q first
		git checkout -q -b topic && echo 2 >two && git add two && git commit -q -m two
		git checkout -q - && echo 3 >three && git add three && git commit -q -m three
		git checkout -q topic && git rebase -q - && git checkout -q - && git merge -q topic
		echo 4 >>two && git stash -q && git stash pop -q && git commit -q -a -m four
		git tag -a -m v1 v1 && git cherry-pick --abort 2>/dev/null || true
		git worktree add -q wt -b side && echo 5 >wt/five && git -C wt add five && git -C wt commit -q -m five
		git worktree remove wt && git branch -q -D side
		git reset -q --hard HEAD~1 && git clean -q -f && git reflog expire --all --expire=now && git gc -q
		git fetch -q origin && git fsck --no-progress`},
	{name: "files", text: `
		mkdir -p a/b/c && echo x >a/b/c/f && mv a/b/c/f a/g && ln a/g a/h && ln -s g a/l && chmod 700 a/g && touch -d 2020-01-01 a/g
		sed -i s/x/y/ a/g && grep -q y a/g && printf z >a/new && mv a/new a/g
		tar czf a.tgz a && rm -r a && tar xzf a.tgz && cp -a a b && diff -r a b
		f=$(mktemp) && echo x >"$f" && rm "$f"
		cat <<-END >/dev/null
			here
		END
		(exec 9>lock; flock 9 true) && truncate -s 1M big && rm -r a b a.tgz big
		mkdir ~/.config/go/telemetry && echo x >~/.config/go/telemetry/f # a cache that is not there yet`},
	{name: "make, gcc", with: []string{"gcc", "make"}, text: `
		printf 'int main(void) { return 0; }\n' >m.c && printf 'm: m.o\n\tgcc -o m m.o\n' >Makefile && make -s && ./m && rm m m.o m.c Makefile`},
	{name: "npm ci, npm test", with: []string{"npm"}, long: true, text: `
		mkdir -p node/dep node/app && cd node && printf '{"name":"dep","version":"1.0.0","scripts":{"install":"touch built"}}' >dep/package.json
		echo 'module.exports = 42' >dep/index.js && tar czf dep.tgz --transform s,^dep,package, dep
		cd app && printf '{"name":"app","version":"1.0.0","scripts":{"test":"node t.js"},"dependencies":{"dep":"file:../dep.tgz"}}' >package.json
		echo 'if (require("dep") !== 42) process.exit(1)' >t.js
		npm install -s --offline && npm ci -s --offline && test -e node_modules/dep/built && npm test -s`},
	{name: "vim", with: []string{"vim.basic"}, text: `
		printf 'one\n' >edited && HOME=$HOME vim.basic -u NONE -es -c 'set swapfile backup writebackup' -c '%s/one/two/' -c 'w' -c 'qa!' edited && grep -q two edited && test -e edited~`, long: true},
	{name: "go build, go test", with: []string{"go"}, long: true, text: `
		mkdir gomod && cd gomod && cat >go.mod <<-END
			module example.com/m
			go 1.24
			require github.com/google/go-cmp v0.7.0
		END
		printf 'package m\nimport "github.com/google/go-cmp/cmp"\nfunc Same(a, b int) bool { return cmp.Equal(a, b) }\n' >m.go
		printf 'package m\nimport "testing"\nfunc TestSame(t *testing.T) { if !Same(1, 1) { t.Fail() } }\n' >m_test.go
		export GOPROXY=file:///root/go/pkg/mod/cache/download GOFLAGS='-mod=mod -trimpath' GONOSUMDB='*' GOTOOLCHAIN=local CGO_ENABLED=0
		go build ./... && go vet ./... && go test ./... && gofmt -l . && go clean -testcache`},
	// A server of its own, reached by a socket, as editors do.
	{name: "gopls", with: []string{"gopls"}, long: true, text: `
		cd gomod && export GOPROXY=off GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0
		gopls serve -listen='unix;/tmp/gopls.sock' -listen.timeout=2m & until [ -e /tmp/gopls.sock ]; do sleep 0.1; done
		gopls -remote='unix;/tmp/gopls.sock' definition m.go:3:39 >said
		grep -q 'compare.go:.*Equal' said
		gopls -remote='unix;/tmp/gopls.sock' rename -w m.go:3:6 Alike
		grep -q 'func Alike' m.go
		kill $!`},
	// What it runs is new, so it is held; script would stop with it.
	{name: "script", with: []string{"script"}, text: `
		printf '#!/bin/sh\ntty && echo from inside' >fresh && chmod 755 fresh && script -q -e -c ./fresh typescript && grep -q 'from inside' typescript && rm typescript fresh`},
	{name: "cargo build, cargo test", with: []string{"cargo"}, long: true, text: `
		cargo new -q --vcs none rusty && cd rusty && cargo build -q --offline && cargo test -q --offline && cargo run -q --offline`},
	{name: "pip install in a venv", with: []string{"python3"}, long: true, text: `
		python3 - <<-END
			import zipfile
			z = zipfile.ZipFile("dep-1.0-py3-none-any.whl", "w")
			z.writestr("dep.py", "answer = 42\n")
			z.writestr("dep-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: dep\nVersion: 1.0\n")
			z.writestr("dep-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
			z.writestr("dep-1.0.dist-info/RECORD", "dep.py,,\ndep-1.0.dist-info/METADATA,,\ndep-1.0.dist-info/WHEEL,,\ndep-1.0.dist-info/RECORD,,\n")
		END
		python3 -m venv venv && venv/bin/pip install -q --no-index ./dep-1.0-py3-none-any.whl && venv/bin/python -c 'import dep; assert dep.answer == 42'
		python3 -m compileall -q venv/lib/python3*/site-packages/dep.py`},
	{name: "python: processes, shared memory, a server", with: []string{"python3"}, long: true, text: `
		cat >w.py <<-END
			import multiprocessing, socket, tempfile, threading
			from multiprocessing import shared_memory
			def f(x): return x * x
			if __name__ == "__main__":
			    with multiprocessing.Pool(2) as p: assert p.map(f, [1, 2]) == [1, 4]
			    m = shared_memory.SharedMemory(create=True, size=4096); m.close(); m.unlink()
			    with tempfile.TemporaryDirectory() as d: open(d + "/f", "w").write("x")
			    s = socket.socket(socket.AF_UNIX); s.bind("w.sock"); s.listen()
			    c = socket.socket(socket.AF_UNIX); c.connect("w.sock")
		END
		python3 w.py`},
	{name: "sqlite", with: []string{"sqlite3"}, long: true, text: `
		sqlite3 db 'pragma journal_mode=wal; create table t(a); insert into t values (1); select * from t; vacuum' | grep -q 1 && rm db*`},
	{name: "debugger, strace", with: []string{"gdb", "strace"}, long: true, text: `
		sh -c true && /bin/true # what is traced may run only if it is known to be allowed
		strace -f -o s.out sh -c true && gdb -batch -nx -ex 'set startup-with-shell off' -ex run --args /bin/true >/dev/null && rm s.out`},
	{name: "bubblewrap", with: []string{"bwrap"}, long: true, text: `
		bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --bind "$PWD" "$PWD" --unshare-all sh -c 'echo x >inside' && rm inside`},
	{name: "ps, top, du, find", long: true, refused: "^/home/dev/.config/procps$", text: `
		ps aux >/dev/null && top -b -n 1 >/dev/null && du -s . >/dev/null && find . -newer two >/dev/null && df >/dev/null && id >/dev/null`},
	{name: "git submodule", refused: `^/home/dev/src/(super|library)\.git/objects/`, text: `
		git -c protocol.file.allow=always clone -q --recurse-submodules ../super.git super && cd super && test -e sub/first
		echo 2 >sub/second && git -C sub add second && git -C sub commit -q -m second && git commit -q -a -m sub && git submodule -q update
		git -c protocol.file.allow=always submodule -q add ../library.git again && git commit -q -m again`},
	{name: "docker build", with: []string{"docker"}, long: true, refused: "^/run/docker.sock$", text: `
		printf 'FROM scratch\n' >Dockerfile && ! docker build . 2>said && cat said && grep -q 'permission denied' said && rm Dockerfile`},
}

// What another program would run or obey later, outside of the session.
var laterAttacks = attempts{
	"E19 a shell's start-up file":     `echo evil >>~/.bashrc && echo done`,
	"E19 the search path":             `mkdir -p ~/.local/bin && echo evil >~/.local/bin/git && echo done`,
	"E19 python's packages":           `d=~/.local/lib/python3.11/site-packages; mkdir -p $d && echo 'import evil' >$d/evil.pth && echo done`,
	"E19 git's configuration":         `git config --global core.fsmonitor evil && echo done`,
	"E19 an editor's plugin":          `mkdir -p ~/.vim/plugin && echo evil >~/.vim/plugin/evil.vim && echo done`,
	"E19 a prompt's cache":            `echo evil >~/.cache/gitstatus/gitstatusd && echo done`,
	"A5 a sound server":               `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("/run/user/1000/pulse/native")) and print "done\n"'`,
	"A4 systemd":                      `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("/run/systemd/private")) and print "done\n"'`,
	"A4 the system's bus":             `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("/run/dbus/system_bus_socket")) and print "done\n"'`,
	"A4 the user's bus":               `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("/run/user/1000/bus")) and print "done\n"'`,
	"A4 a unit":                       `mkdir -p ~/.config/systemd/user && echo evil >~/.config/systemd/user/evil.service && echo done`,
	"A4 what starts with the desktop": `mkdir -p ~/.config/autostart && echo evil >~/.config/autostart/evil.desktop && echo done`,
	"A4 a crontab":                    `echo evil >/var/spool/cron/crontabs/dev && echo done`,
}

// later is the script of all of them.
func later() string {
	var script strings.Builder
	script.WriteString("/bin/true\n")
	for name, text := range laterAttacks {
		fmt.Fprintf(&script, "echo \"== %s\"; %s\n", name, text)
	}
	return script.String()
}

// TestWork does a developer's work in workspace-write, and nothing of it may be
// refused.
func TestWork(t *testing.T) {
	long := os.Getenv("PADDOCK_LONG") != ""
	if os.Getenv("PADDOCK_VM") == "" || !long && os.Getenv("PADDOCK_VM") != "6.1" {
		return // not a skip: tests/vm runs it on 6.1, and everywhere with PADDOCK_LONG, where there is a home directory to spare
	}
	settle(t)
	m := newMachine(t, "[paddock]\nmode = \"enforce\"\n[paddock.boundary]\n")
	must(t, os.Chmod(filepath.Dir(m.dir), 0o755))
	must(t, m.Prove(t.Context()))
	proven := false
	for _, g := range m.Gates() {
		proven = proven || g.Gate == "boundary" && g.Proven
	}
	if !proven && bestMechanism() != "" {
		t.Fatal("the boundary is not proven")
	}
	var script strings.Builder
	script.WriteString("/bin/true\n") // once this ran, the agent is recognised
	var todo []job
	dir := filepath.Join(m.dir, "bin")
	for _, j := range jobs {
		if j.long && !long {
			continue
		}
		if missing := missingPrograms(j.with); missing != "" {
			t.Logf("%s: there is no %s here", j.name, missing)
			continue
		}
		file := filepath.Join(dir, fmt.Sprintf("job-%d", len(todo)))
		must(t, os.WriteFile(file, []byte("set -e\n"+j.text+"\n"), 0o755))
		fmt.Fprintf(&script, "began=$(date +%%s); echo '== %s'; PDK_TOOL_CALL=job-%d timeout -k 5 900 sh %s </dev/null 2>&1 && echo done; echo took $(($(date +%%s) - began)) s\n", j.name, len(todo), file)
		todo = append(todo, j)
	}
	said, err := atWork(m.agent, script.String())
	if err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	m.wait("the end of the session", func(e telemetry.Event) bool { return e.Name == telemetry.NameSessionEnd })
	refusals := map[any][]telemetry.Event{}
	for _, e := range (&boundedMachine{machine: m}).refusals() {
		refusals[e.Attrs[telemetry.AttrToolCallID]] = append(refusals[e.Attrs[telemetry.AttrToolCallID]], e)
	}
	for _, e := range refusals[nil] {
		t.Errorf("refused outside of any work: %v", e.Attrs)
	}
	parts := strings.Split(said, "== ")
	for i, j := range todo {
		t.Run(j.name, func(t *testing.T) {
			if i+1 >= len(parts) || !strings.Contains(parts[i+1], "\ndone\n") {
				t.Errorf("it failed: %s", strings.Join(parts[min(i+1, len(parts)):min(i+2, len(parts))], ""))
			} else {
				t.Log(parts[i+1])
			}
			told := refusals[fmt.Sprintf("job-%d", i)]
			for _, e := range told {
				if path := fmt.Sprint(e.Attrs[telemetry.AttrFilePath]); j.refused == "" || !regexp.MustCompile(j.refused).MatchString(path) {
					t.Errorf("refused: %v", e.Attrs)
				}
			}
			if proven && j.refused != "" && len(told) == 0 {
				t.Errorf("no event tells of %q", j.refused)
			}
		})
	}
	if !proven {
		return
	}
	kept, _ := atWork(m.agent, later())
	free, _ := atWork("/bin/sh", later())
	for name := range laterAttacks {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(free, "== "+name+"\ndone\n") {
				t.Errorf("the attack does not even work where nothing is governed: %s", free)
			}
			if !strings.Contains(kept, "== "+name+"\n") || strings.Contains(kept, "== "+name+"\ndone\n") {
				t.Errorf("it worked, or did not begin: %s", kept)
			}
		})
	}
}

// atWork runs a script as the developer, in the project.
func atWork(shell, script string) (string, error) {
	cmd := exec.Command(shell, "-c", script)
	cmd.Dir = workPlace
	cmd.Env = []string{"HOME=" + workHome, "USER=dev", "LOGNAME=dev", "LANG=C.UTF-8", "PATH=" + workPath()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: workUser, Gid: workUser}}
	var said bytes.Buffer
	cmd.Stdout = &said
	if testing.Verbose() { // what it is at, for whoever waits
		cmd.Stdout = io.MultiWriter(&said, os.Stderr)
	}
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	return said.String(), err
}

// workPath has what this machine has of compilers, wherever that is.
func workPath() string {
	dirs := []string{"/usr/local/bin", "/usr/bin", "/bin", "/usr/local/go/bin"}
	found, _ := filepath.Glob("/root/.rustup/toolchains/stable-*/bin")
	return strings.Join(append(append(dirs, found...), "/root/go/bin", os.Getenv("PADDOCK_WORK_BIN")), ":")
}

func missingPrograms(names []string) string {
	for _, name := range names {
		if out, err := exec.Command("env", "PATH="+workPath(), "which", name).CombinedOutput(); err != nil {
			return name + string(out)
		}
	}
	return ""
}

// settle makes a home directory, as somebody has it who worked here before.
func settle(t *testing.T) {
	t.Helper()
	passwd, err := os.OpenFile("/etc/passwd", os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = fmt.Fprintf(passwd, "dev:x:%d:%d::%s:/bin/sh\n", workUser, workUser, workHome)
	must(t, err)
	must(t, passwd.Close())
	must(t, os.Chmod("/root", 0o755)) // what is installed there, only root can see
	cmd := exec.Command("sh", "-ec", `mkdir -p ~/src ~/.cache/gitstatus ~/.npm ~/go/pkg ~/.cargo/registry ~/.ssh ~/.config/go
		git config --global user.name Dev && git config --global user.email dev@example.com && git config --global init.defaultBranch main
		for r in upstream library; do
			git init -q $r && cd $r && echo 1 >first && git add first && git commit -q -m first && cd ..
			git clone -q --bare $r src/$r.git && rm -rf $r
		done
		git clone -q src/upstream.git src/project && git clone -q src/upstream.git super && cd super
		git -c protocol.file.allow=always submodule -q add ~/src/library.git sub && git commit -q -m sub && git clone -q --bare . ../src/super.git && rm -rf ../super`)
	// A file system of its own: of an overlay, which the guest's root is, every file
	// is two.
	must(t, unix.Mount("tmpfs", filepath.Dir(workHome), "tmpfs", 0, "mode=755"))
	must(t, os.MkdirAll(workHome, 0o755))
	must(t, os.Chown(workHome, workUser, workUser))
	cmd.Dir = workHome
	cmd.Env = []string{"HOME=" + workHome, "PATH=" + workPath()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: workUser, Gid: workUser}}
	for _, path := range []string{"/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket", "/run/user/1000/bus", "/run/user/1000/pulse/native"} {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		listen(t, path)
		must(t, os.Chmod(path, 0o666))
	}
	const crontabs = "/var/spool/cron/crontabs" // where crontab(1), which has more rights, can write
	must(t, os.MkdirAll(crontabs, 0o755))
	must(t, os.Chmod(crontabs, 0o777))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making a home: %v: %s", err, out)
	}
	if cache := os.Getenv("PADDOCK_GOCACHE"); cache != "" { // compiled before: see tests/vm
		fill := exec.Command("sh", "-c", fmt.Sprintf("cp -r %s %s/.cache/go-build && chown -R %d:%d %s/.cache", cache, workHome, workUser, workUser, workHome))
		if out, err := fill.CombinedOutput(); err != nil {
			t.Fatalf("copying the build cache: %v: %s", err, out)
		}
	}
}
