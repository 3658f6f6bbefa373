// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Where no program may be attached to security hooks, `paddock run` has Landlock, and
// everybody fanotify. On other machines there is nothing to try here: those that have
// hooks do so in the VM.

const withoutHooks = `
[paddock]
mode = "enforce"
[paddock.boundary]
temporary = false
unreadable = ["DIR/around/secret", "DIR/around/deep/er/key"]
protected = ["DIR/around/kept"]
`

// newWithout makes a machine with a project and what lies around it; nil where the
// kernel has better.
func newWithout(t *testing.T, change ...string) *machine {
	t.Helper()
	m := newMachine(t, "")
	for _, d := range []string{"around/secret/sub", "around/deep/er", "around/kept", "w/.git/hooks", "w/src"} {
		must(t, os.MkdirAll(m.path(d), 0o777))
	}
	for _, f := range []string{"around/file", "around/secret/key", "around/secret/sub/key", "around/deep/er/key", "around/deep/er/open", "around/deep/open", "w/file", "w/src/file"} {
		must(t, os.WriteFile(m.path(f), []byte("content\n"), 0o666))
	}
	m.require(strings.NewReplacer(append([]string{"DIR", m.path("")}, change...)...).Replace(withoutHooks))
	m.more = []string{"--fanotify-below", m.path("around")}
	m.start()
	for _, g := range m.status().Gates {
		if g.Gate == "boundary" && g.Proven && g.Tier != api.TierLandlock {
			t.Logf("this kernel has %s", g.Tier)
			return nil
		}
	}
	return m
}

// tries are scripts by name, which say "done" if they got what they wanted.
type tries map[string]string

// each runs every script, one after the other below one shell, and returns what each
// said. how is the command line in front of the shell's script.
func (m *machine) each(all tries, how ...string) map[string]string {
	m.t.Helper()
	script := "/bin/true\n" // once this ran, an agent is recognised
	for name, text := range all {
		script += fmt.Sprintf("echo \"== %s\"\n(%s\n) 2>&1\n", name, text)
	}
	p := newProcess(append(append([]string{}, how...), script)...)
	p.cmd.Dir = m.dir
	p.cmd.Env = append(os.Environ(), "AROUND="+m.path("around"), "HOME="+m.dir)
	p.start(m.t)
	p.wait(m.t)
	out := map[string]string{}
	for part := range strings.SplitSeq(p.out.String(), "== ") {
		if name, text, _ := strings.Cut(part, "\n"); all[name] != "" {
			out[name] = text
		}
	}
	for name := range all {
		if _, ok := out[name]; !ok {
			m.t.Errorf("%s did not even begin: %.500q", name, p.out.String())
		}
	}
	return out
}

// refused fails where a script got what it wanted under how, or does not even work
// where nothing is governed.
func (m *machine) refused(t *testing.T, all tries, how ...string) {
	t.Helper()
	kept := m.each(all, how...) // first: some destroy what they are about
	free := m.each(all, "/bin/sh", "-c")
	for name := range all {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(free[name], "done") {
				t.Errorf("the attack does not even work where nothing is governed: %.500q", free[name])
			}
			if strings.Contains(kept[name], "done") {
				t.Errorf("it worked: %.500q", kept[name])
			}
		})
	}
}

var secretTries = tries{
	"read":                      `cat $AROUND/secret/key >/dev/null && echo done`,
	"read below":                `cat $AROUND/secret/sub/key >/dev/null && echo done`,
	"read a file":               `cat $AROUND/deep/er/key >/dev/null && echo done`,
	"by a link":                 `ln -sf $AROUND/secret/key l && cat l >/dev/null && echo done`,
	"by the root of a process":  `cat /proc/$$/root$AROUND/secret/key >/dev/null && echo done`,
	"by a hard link":            `ln -f $AROUND/secret/key hard && cat hard >/dev/null && echo done`,
	"moved here":                `cp $AROUND/secret/key $AROUND/secret/two 2>/dev/null; mv $AROUND/secret/key here; cat here >/dev/null && echo done; mv here $AROUND/secret/key`,
	"the directory moved here":  `mv $AROUND/secret here; cat here/key >/dev/null && echo done; mv here $AROUND/secret`,
	"in a namespace of its own": `unshare -Urm sh -c 'mkdir -p b && mount --bind $AROUND/secret b && cat b/key >/dev/null && echo done'`,
	"executed":                  `cp /bin/echo $AROUND/secret/run 2>/dev/null; chmod +x $AROUND/secret/run; $AROUND/secret/run done`,
	"as standard input":         `cat <$AROUND/secret/key >/dev/null && echo done`,
}

// A session that was not started by `paddock run` has of the boundary what fanotify
// asks about: secrets.
func TestSecretsWithoutHooks(t *testing.T) {
	m := newWithout(t)
	if m == nil {
		return
	}
	must(t, os.WriteFile(m.path("around/secret/run"), nil, 0o755)) // so that the attack finds a file to execute
	gate := m.gate("boundary.read")
	if gate.Tier != api.TierFanotify || !gate.Proven {
		t.Errorf("%+v", gate)
	}
	m.refused(t, secretTries, m.agent, "-c")
	m.refused(t, tries{"list": `ls $AROUND/secret >/dev/null && echo done`}, m.agent, "-c")
	ev := m.events.wait("the refusal", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameFileDecision && e.Attrs[telemetry.AttrFilePath] == m.path("around/secret/key")
	})
	if ev.Attrs[telemetry.AttrTier] != api.TierFanotify || ev.Attrs[telemetry.AttrDecision] != "deny" || ev.Session == "" {
		t.Errorf("%v", ev.Attrs)
	}
	// Who reached for it, and what of, whoever asks later.
	if _, err := m.run("PDK_TOOL_CALL=call_9 sh -c 'cat " + m.path("around/secret/sub/key") + "; true'"); err != nil {
		t.Error(err)
	}
	m.events.wait("the refusal in a tool call", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameFileDecision && e.Attrs[telemetry.AttrToolCallID] == "call_9"
	})
	story := m.explain(m.path("around/secret/sub/key"))
	if c := story.Call; c == nil || c.ID != "call_9" || len(c.Files) == 0 || c.Files[0].Decision.What != "deny" || c.Stopped() == 0 ||
		story.Process == nil || strings.Join(story.Process.Args, " ") != "cat "+m.path("around/secret/sub/key") {
		t.Errorf("explained: %+v, process %+v", c, story.Process)
	}
	for name, said := range m.each(tries{
		"another file": `cat $AROUND/file $AROUND/deep/er/open >/dev/null && ls $AROUND $AROUND/deep/er >/dev/null && echo done`,
	}, m.agent, "-c") {
		if !strings.Contains(said, "done") {
			t.Errorf("%s: %q", name, said)
		}
	}
}

// To show the daemon what is opened, the kernel opens it for the daemon: a file on
// lease, and with older ones a pipe that nobody writes to, or a socket. Everybody's
// secrets would wait for that.
func TestNothingAmongSecretsBlocksTheAnswers(t *testing.T) {
	m := newWithout(t)
	if m == nil {
		return
	}
	const lease = `import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
f = os.open("leased", os.O_RDWR | os.O_CREAT)
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.rename("leased", sys.argv[1])
if os.fork() == 0:
    os.execvp("cat", ["cat", sys.argv[1]])
os.wait()`
	for _, script := range []string{
		`mkfifo $AROUND/secret/pipe; exec 3<>$AROUND/secret/pipe`,
		`python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $AROUND/secret/s; cat $AROUND/secret/s`,
		`python3 -c '` + lease + `' $AROUND/secret/leased`,
	} {
		p := newProcess(m.agent, "-c", "/bin/true\n"+script)
		p.cmd.Dir = m.dir
		p.cmd.Env = append(os.Environ(), "AROUND="+m.path("around"))
		p.start(t)
		p.wait(t)
		if strings.Contains(script, lease) && !strings.Contains(p.out.String(), "Operation not permitted") {
			t.Errorf("%s: %s", script, p.out)
		}
		if out, err := m.free("timeout 10 cat " + m.path("around/secret/key")); err != nil || out != "content\n" {
			t.Fatalf("%s: whose secret it is waits for it: %q, %v", script, out, err)
		}
	}
	m.refused(t, tries{"read": secretTries["read"]}, m.agent, "-c")
}

// The daemon's end lets everything through: then nobody is left to ask.
func TestSecretsOfADeadDaemon(t *testing.T) {
	m := newWithout(t)
	if m == nil {
		return
	}
	m.kill()
	if out, err := m.free("cat " + m.path("around/secret/key")); err != nil || out != "content\n" {
		t.Errorf("%q, %v", out, err)
	}
	m.start()
	m.refused(t, tries{"read": secretTries["read"]}, m.agent, "-c")
}

func (m *machine) gate(name string) api.Gate {
	m.t.Helper()
	for _, g := range m.status().Gates {
		if g.Gate == name {
			return g
		}
	}
	m.t.Fatalf("no gate %s", name)
	return api.Gate{}
}

// paddockRun is the command line of a session in a sandbox.
func (m *machine) paddockRun() []string {
	return []string{shared.paddock, "--socket", m.socket(), "run", "--", "/bin/sh", "-c"}
}

// What a session that `paddock run` started may not.
func TestRunWithoutHooks(t *testing.T) {
	m := newWithout(t)
	if m == nil {
		return
	}
	for _, name := range []string{"boundary", "ptrace"} {
		if g := m.gate(name); g.Tier != api.TierLandlock || !g.Proven || !strings.Contains(g.Detail, "paddock run") {
			t.Errorf("%+v", g)
		}
	}
	stranger := exec.Command("sleep", "infinity")
	must(t, stranger.Start())
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	l, err := net.Listen("unix", "@"+m.dir)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	attacks := tries{
		"write outside":          `echo x >>$AROUND/file && echo done`,
		"create outside":         `true >$AROUND/new && echo done`,
		"through a link":         `ln -sf $AROUND/file out && echo x >>out && echo done`,
		"by another root":        `echo x >>/proc/$$/root$AROUND/file && echo done`,
		"truncate":               `perl -e 'truncate("$ENV{AROUND}/file", 1) and print "done\n"'`,
		"rename away":            `perl -e 'rename("$ENV{AROUND}/file", "taken") and print "done\n"'; mv taken $AROUND/file`,
		"rename over":            `cp file f2; perl -e 'rename("f2", "$ENV{AROUND}/file") and print "done\n"'`,
		"hard link":              `perl -e 'link("$ENV{AROUND}/file", "hl$$") and print "done\n"'`,
		"mkdir":                  `mkdir $AROUND/d && rmdir $AROUND/d && echo done`,
		"symlink":                `ln -s x $AROUND/s && rm $AROUND/s && echo done`,
		"fifo":                   `mkfifo $AROUND/p && rm $AROUND/p && echo done`,
		"remove":                 `cp $AROUND/file $AROUND/file2 2>/dev/null; rm $AROUND/deep/open && : >$AROUND/deep/open && echo done`,
		"what is protected":      `true >$AROUND/kept/x && echo done`,
		"settings of the kernel": `cat /proc/sys/kernel/core_pattern >saved && cat saved >/proc/sys/kernel/core_pattern && echo done`,
		"bind mount":             `mount --bind src src && umount src && echo done`,
		"ptrace":                 fmt.Sprintf(`perl -e 'syscall(101, 0x4206, %d, 0, 0) == 0 and print "done\n"'`, stranger.Process.Pid),
		"memory of another":      fmt.Sprintf(`exec 7<>/proc/%d/mem && echo done`, stranger.Process.Pid),
		"signal":                 fmt.Sprintf(`kill -CONT %d && echo done`, stranger.Process.Pid),
		"an abstract socket":     `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("\0` + m.dir + `")) and print "done\n"'`,
	}
	for name, script := range secretTries {
		if name != "executed" { // a file of its own making
			attacks["secret: "+name] = script
		}
	}
	m.refused(t, attacks, m.paddockRun()...)

	for name, said := range m.each(tries{
		"files":   `echo x >new && mkdir -p a/b && mv new a/b && ln a/b/new hard3 && ln -s hard3 soft && rm -r a && echo done`,
		"reading": `cat $AROUND/file $AROUND/deep/open $AROUND/deep/er/open /etc/passwd >/dev/null && ls / $AROUND >/dev/null && echo done`,
		"devices": `echo x >/dev/null && head -c1 /dev/urandom >/dev/null && echo done`,
		"pipes":   `echo x | cat | cat >/dev/stdout && echo done`,
		"memfd":   `perl -e '$n = "x"; $f = syscall(319, $n, 0); open(F, ">", "/proc/self/fd/$f") and print F "x" and print "done\n"'`,
		"its own": `sleep 100 & kill $! && echo done`,
		"git":     `git init -q repo && cd repo && echo 1 >f && git add f && git -c user.name=a -c user.email=a@b commit -qm 1 && echo done`,
		"proc":    `cat /proc/self/status /proc/$$/stat >/dev/null && echo done`,
	}, m.paddockRun()...) {
		if !strings.Contains(said, "done") {
			t.Errorf("%s: %q", name, said)
		}
	}
}

// The modes, and what requirements can switch off.
func TestRunWithoutHooksModes(t *testing.T) {
	write := tries{"in": `echo x >>file && echo done`, "out": `echo x >>$AROUND/file && echo done`, "secret": secretTries["read"]}
	for _, c := range []struct {
		change string
		want   map[string]bool
	}{
		{`mode = "read-only"`, map[string]bool{}},
		{`mode = "danger-full-access"`, map[string]bool{"in": true, "out": true}},
		{`landlock = false`, map[string]bool{"in": true, "out": true}}, // fanotify keeps the secret
		{"landlock = false\nfanotify = false", map[string]bool{"in": true, "out": true, "secret": true}},
	} {
		t.Run(c.change, func(t *testing.T) {
			m := newWithout(t, "temporary = false", "temporary = false\n"+c.change)
			if m == nil {
				return
			}
			said := m.each(write, m.paddockRun()...)
			for name := range write {
				if got := strings.Contains(said[name], "done"); got != c.want[name] {
					t.Errorf("%s: %v, %q", name, got, said[name])
				}
			}
		})
	}
}

// An agent that `paddock run` starts is known as itself, and has its own files.
func TestRunKnowsTheAgent(t *testing.T) {
	m := started(t, "")
	if _, errs, code := m.cli("run", "--", m.agent, "-c", "/bin/true"); code != 0 {
		t.Fatalf("%d, %s", code, errs)
	}
	if _, errs, code := m.cli("run", "--", "/bin/sh", "-c", "/bin/true"); code != 0 {
		t.Fatalf("%d, %s", code, errs)
	}
	var agents []string
	for _, s := range m.sessions() {
		agents = append(agents, s.Agent)
	}
	slices.Sort(agents)
	if !slices.Equal(agents, []string{"run", agentName}) {
		t.Errorf("%q", agents)
	}
}
