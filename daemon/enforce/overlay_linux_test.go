// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// layers is a place with file systems of its own, on which overlays are made. It is no
// place for temporary files.
func layers(t *testing.T, names ...string) string {
	t.Helper()
	dir := fmt.Sprintf("/srv/pdk-layers-%d", os.Getpid())
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	for _, name := range names {
		place := filepath.Join(dir, name)
		must(t, os.Mkdir(place, 0o755))
		must(t, unix.Mount("pdk-"+name, place, "tmpfs", 0, "mode=755"))
		t.Cleanup(func() { must(t, unix.Unmount(place, unix.MNT_DETACH)) })
	}
	return dir
}

// overlay mounts one, as who makes containers does.
func overlay(t *testing.T, at, options string) {
	t.Helper()
	must(t, os.MkdirAll(at, 0o755))
	must(t, unix.Mount("overlay", at, "overlay", 0, options))
	t.Cleanup(func() { must(t, unix.Unmount(at, unix.MNT_DETACH)) })
}

// numbered: an overlay of two file systems gives its directories numbers that files of
// it have as well, and files of one those that files of the other have. What holds for
// a file of a number holds for nothing else that has it.
func (b *boundedMachine) numbered(t *testing.T) {
	dir := layers(t, "lower", "upper")
	const many = 100
	for i := range many {
		must(t, os.MkdirAll(filepath.Join(dir, "lower/secrets"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "lower/secrets", fmt.Sprint(i)), []byte("secret\n"), 0o644))
	}
	for i := range many {
		place := filepath.Join(dir, "lower/places", fmt.Sprint(i))
		must(t, os.MkdirAll(place, 0o755))
		must(t, os.WriteFile(filepath.Join(place, "file"), []byte("content\n"), 0o644))
	}
	must(t, os.Mkdir(filepath.Join(dir, "upper/work"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "upper/up/files"), 0o755))
	for i := range many {
		must(t, os.WriteFile(filepath.Join(dir, "upper/up/files", fmt.Sprint(i)), []byte("content\n"), 0o644))
	}
	merged := filepath.Join(dir, "merged")
	overlay(t, merged, fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper/up,workdir=%s/upper/work,xino=off", dir, dir, dir))

	taken, again := map[uint64]bool{}, map[string]bool{}
	var kept []*os.File // as long as they are open their numbers stay
	defer func() {
		for _, f := range kept {
			f.Close()
		}
	}()
	for _, path := range []string{"secrets", "places", "files"} {
		for i := range many {
			f, err := os.Open(filepath.Join(merged, path, fmt.Sprint(i)))
			must(t, err)
			kept = append(kept, f)
			var st unix.Stat_t
			must(t, unix.Fstat(int(f.Fd()), &st))
			if path == "secrets" {
				taken[st.Ino] = true
			} else if taken[st.Ino] {
				again[path] = true
			}
		}
	}
	for _, path := range []string{"places", "files"} {
		if !again[path] {
			t.Fatalf("none of the %s has the number of a secret: nothing is tried", path)
		}
	}
	b.bound(`unreadable = ["` + merged + `/secrets/*"]`)
	out, err := b.run(fmt.Sprintf(`/bin/true; cd %s; n=0; while [ $n -lt %d ]; do
		read x <places/$n/file || echo refused place $n; read x <files/$n || echo refused file $n; read x <secrets/$n && echo told secret $n; n=$((n + 1)); done 2>/dev/null; echo end`, merged, many))
	if err != nil || strings.TrimSpace(out) != "end" {
		t.Errorf("%v: %s", err, out)
	}
}

// onOverlay are what a session does in a project on an overlay, most of which was there
// before, in the lower layer; and what it may not.
var onOverlay = struct{ may, mayNot []string }{
	may: []string{
		`echo x >new`, `echo x >>file`, `grep -q content file`, `echo x >>src/deep/file`, `mkdir made && mv new made/renamed`,
		`mv src/deep/other src/moved`, `mv src src2 && mv src2 src`, `rm short`, `echo again >short`, `rm -r going`, `mkdir going && echo x >going/x`,
		`chmod 600 modest`, `touch -d 2020-01-01 modest`, `truncate -s 3 long`, `ln linked made/hard`, `ln -s file soft`, `mkfifo made/pipe`, `: >emptied`,
		`printf y >made/over && mv made/over replaced`, `rm -r made`, `sed -i s/content/else/ edited`,
		`export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
			git init -q -b main repo && cd repo && echo 1 >f && git add f && git commit -qm 1 && git log --oneline | grep -q 1`,
	},
	mayNot: []string{
		`echo x >>../around/file`, `echo x >../around/new`, `mkdir ../around/made`, `mv file ../around/taken`, `mv ../around/moving taken`, `ln ../around/file gained`,
		`chmod 700 ../around/file`, `cat ../around/secret/key`, `cat $LOWER/around/secret/key`, `cat $UPPER/around/secret/new`, `echo evil >.git/hooks/pre-commit`, `echo evil >>.git/hooks/old`, `mv .git/hooks .git/h`, `mv .git .g`,
		`echo x >>locked/file`, `echo x >locked/new`, `rm -r locked`,
		`echo x >>$UPPER/project/short`, `echo x >$UPPER/project/direct`, `mkdir $UPPER/project/d`, `rm $UPPER/project/src/moved`, `chmod 700 $UPPER/project`,
		`echo x >>$LOWER/project/file`, `rm $LOWER/project/long`, `echo x >>$LOWER/around/file`,
	},
}

// overlaid: a project on an overlay is like one elsewhere, and no way leads by it into
// the layers.
func (b *boundedMachine) overlaid(t *testing.T, uid int, two bool) {
	names := []string{"one"}
	if two {
		names = []string{"one", "two"}
	}
	dir := layers(t, names...)
	must(t, os.Chmod(filepath.Dir(b.dir), 0o755)) // another user runs the agent
	lower, upper := filepath.Join(dir, "one/lower"), filepath.Join(dir, names[len(names)-1], "upper")
	must(t, os.MkdirAll(upper+"/work", 0o755))
	must(t, os.MkdirAll(upper+"/up/project/locked", 0o755))
	layOut(t, lower)
	for _, f := range []string{"src/deep/other", "short", "going/deep/file", "modest", "long", "linked", "emptied", "replaced", "edited", "locked/file"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(lower, "project", f)), 0o755))
		must(t, os.WriteFile(filepath.Join(lower, "project", f), []byte("content\n"), 0o644))
	}
	must(t, os.WriteFile(filepath.Join(lower, "around/moving"), nil, 0o644))
	must(t, os.MkdirAll(upper+"/up/around/secret", 0o755))
	must(t, os.WriteFile(upper+"/up/around/secret/new", nil, 0o644))
	for _, place := range []string{lower, upper} {
		must(t, exec.Command("chown", "-R", fmt.Sprint(uid), place).Run())
	}
	merged := filepath.Join(dir, "merged")
	overlay(t, merged, fmt.Sprintf("lowerdir=%s,upperdir=%s/up,workdir=%s/work", lower, upper, upper))
	b.bound(fmt.Sprintf("temporary = false\nunreadable = [%q]\nprotected = [%q]\n", merged+"/around/secret", upper+"/up/project/locked"))

	before := len(b.refusals())
	said := func(shell string, all []string) string {
		cmd := exec.Command(shell, "-c", fmt.Sprintf("/bin/true; UPPER=%s/up; LOWER=%s\n", upper, lower)+numbering(all))
		cmd.Dir = filepath.Join(merged, "project")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		return outputOf(t, cmd)
	}
	out := said(b.agent, onOverlay.may)
	for i, text := range onOverlay.may {
		if !strings.Contains(out, fmt.Sprintf("done %d\n", i)) {
			t.Errorf("refused: %s", text)
		}
	}
	for _, e := range b.refusals()[before:] {
		t.Errorf("an event tells of a refusal: %v", e.Attrs)
	}
	refused(t, said(b.agent, onOverlay.mayNot), said("/bin/sh", onOverlay.mayNot), onOverlay.mayNot)
}

// numbering is a script that says of each of some which worked.
func numbering(all []string) string {
	var script strings.Builder
	for i, text := range all {
		fmt.Fprintf(&script, "(%s\n) >/dev/null 2>&1 && echo done %d\n", text, i)
	}
	return script.String() + "echo end"
}

func outputOf(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "end\n") {
		t.Errorf("the shell ended with %v: %s", err, out)
	}
	return string(out)
}

func refused(t *testing.T, kept, free string, all []string) {
	t.Helper()
	for i, text := range all {
		if strings.Contains(kept, fmt.Sprintf("done %d\n", i)) {
			t.Errorf("it worked: %s", text)
		}
		if !strings.Contains(free, fmt.Sprintf("done %d\n", i)) {
			t.Errorf("not even where nothing is governed: %s", text)
		}
	}
}

// contained: a session in a container, whose root somebody outside mounted.
func (b *boundedMachine) contained(t *testing.T) {
	dir := layers(t, "one")
	up := filepath.Join(dir, "one/up")
	must(t, os.Mkdir(filepath.Join(dir, "one/work"), 0o755))
	layOut(t, up+"/src")
	must(t, os.MkdirAll(up+"/root/.ssh", 0o700))
	must(t, os.WriteFile(up+"/root/.ssh/id_x", []byte("secret\n"), 0o600))
	copyFile(t, b.agent, filepath.Join(up, "src", filepath.Base(b.agent)))
	merged := filepath.Join(dir, "merged")
	overlay(t, merged, fmt.Sprintf("lowerdir=/,upperdir=%s,workdir=%s/one/work", up, dir))
	b.bound("")
	run := func(shell string, all []string) string {
		return outputOf(t, exec.Command("unshare", "-m", "sh", "-ec", fmt.Sprintf(`mount --bind %[1]s %[1]s && cd %[1]s && mount --bind /proc proc && mount --bind /dev dev
			pivot_root . mnt && umount -l /mnt && cd /src/project && exec "$0" -c "$1"`, merged), shell, "/bin/true\n"+numbering(all)))
	}
	may := []string{`echo x >new`, `echo x >>file`, `mkdir -p a/b && rm -r a`, `echo x >/tmp/pdk-new && rm /tmp/pdk-new`, `cat /etc/passwd`}
	mayNot := []string{
		`echo x >>../around/file`, `echo x >/etc/pdk-new`, `cat /root/.ssh/id_x`, `echo evil >.git/hooks/pre-commit`, `echo evil >>/root/.profile`, `echo x >/mnt/new`,
	}
	out := run("/src/"+filepath.Base(b.agent), may)
	for i, text := range may {
		if !strings.Contains(out, fmt.Sprintf("done %d\n", i)) {
			t.Errorf("refused: %s", text)
		}
	}
	refused(t, run("/src/"+filepath.Base(b.agent), mayNot), run("/bin/sh", mayNot), mayNot)
}
