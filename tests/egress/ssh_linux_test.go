// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// ssh says no name: it is judged by the one its address was given for. The real client,
// and git over it, to a real sshd.
func TestGitOverSSH(t *testing.T) {
	dir := t.TempDir()
	sh(t, dir, "ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -q -t ed25519 -N '' -f host && git init -q --bare repo.git && "+
		"git init -q w && git -C w -c user.name=x -c user.email=x@x commit -q --allow-empty -m one && git -C w push -q ../repo.git HEAD:main")
	server := sshd(t, dir)
	for _, test := range []struct{ name, want string }{
		{"allowed.test", "refs/heads/main"}, {"x.denied.test", "Connection"}, {"strange.test", "Connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t, rig.Options{Nobody: true, Limits: egress.Limits{Silence: 100 * time.Millisecond}})
			r.Names.Bind(test.name, server.Addr())
			host, port, _ := net.SplitHostPort(r.Redirect(t, server))
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "git", "ls-remote", fmt.Sprintf("ssh://root@%s:%s%s/repo.git", host, port, dir))
			cmd.Env = append(cleanEnv(), "GIT_SSH_COMMAND=ssh -F none -i "+dir+"/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes")
			out, err := cmd.CombinedOutput()
			if !strings.Contains(string(out), test.want) || (test.name == "allowed.test") != (err == nil) {
				t.Errorf("%v: %s", err, out)
			}
			e := r.Events.Wait(t, 1)[0]
			if e.Attrs["server.address"] != test.name || e.Attrs["paddock.network.name_from"] != "dns" {
				t.Errorf("event %v", e.Attrs)
			}
		})
	}
}

// sshd starts a server that lets root in with the key in dir.
func sshd(t *testing.T, dir string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	config := filepath.Join(dir, "config")
	text := fmt.Sprintf("ListenAddress %s\nHostKey %s/host\nAuthorizedKeysFile %s/key.pub\nStrictModes no\nUsePAM yes\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\n", at, dir, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it gives up its rights
		t.Fatal(err)
	}
	var log bytes.Buffer
	says, said := io.Pipe()
	listens := make(chan struct{}, 1)
	go func() {
		for lines := bufio.NewScanner(says); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "Server listening on ") {
				listens <- struct{}{}
			}
		}
	}()
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", config)
	cmd.Stderr = io.MultiWriter(&log, said)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install openssh-server", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = said.Close()
		if t.Failed() {
			t.Logf("sshd said:\n%s", log.Bytes())
		}
	})
	select {
	case <-listens:
	case <-time.After(30 * time.Second):
		t.Fatal("sshd does not listen")
	}
	return at
}

func sh(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(cleanEnv(), "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
