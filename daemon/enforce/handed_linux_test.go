// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// handed: a descriptor that somebody outside opened is judged as if the session had
// opened it.
func (b *boundedMachine) handed(t *testing.T) {
	b.bound("temporary = false\nunreadable = [\"AROUND/secret\"]\nprojects = [\"PROJECT\"]\n")
	hand := func(name string, file string, flags int) string {
		f, err := os.OpenFile(file, flags, 0)
		must(t, err)
		return handOut(t, filepath.Join(b.project, name), f)
	}
	// What is got is written to or read.
	take := func(socket string, then string) string {
		return fmt.Sprintf(`python3 -c 'import socket, os
s = socket.socket(socket.AF_UNIX); s.connect("%s"); fds = socket.recv_fds(s, 1, 1)[1]
fd = fds[0]
%s
print("done")' 2>&1`, socket, then)
	}
	write, read := `os.write(fd, b"x")`, `os.read(fd, 1)`
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { r.Close() })
	b.fail(t, attempts{
		"A10 a descriptor to write, handed over":    take(hand("outside", filepath.Join(b.around, "file"), os.O_RDWR), write),
		"A10 a descriptor of a secret, handed over": take(hand("secret", filepath.Join(b.around, "secret/key"), os.O_RDONLY), read),
	})
	honest := attempts{
		"a file of the project": take(hand("inside", filepath.Join(b.project, "file"), os.O_RDWR), write),
		"a file to read":        take(hand("reading", filepath.Join(b.around, "file"), os.O_RDONLY), read),
		"a pipe":                take(handOut(t, filepath.Join(b.project, "pipe"), w), write),
	}
	said := b.all(true, honest)
	for name := range honest {
		if !strings.Contains(said[name], "done") {
			t.Errorf("%s: %.500q", name, said[name])
		}
	}
	b.wait("the refusal of what was handed over", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameFileDecision && e.Attrs[telemetry.AttrFilePath] == filepath.Join(b.around, "secret/key")
	})
}

// handOut gives a descriptor to whoever connects, until the test ends, and returns
// where.
func handOut(t *testing.T, socket string, f *os.File) string {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	must(t, err)
	t.Cleanup(func() { l.Close(); f.Close() })
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			_, _, _ = c.WriteMsgUnix([]byte("x"), unix.UnixRights(int(f.Fd())), nil)
			c.Close()
		}
	}()
	return socket
}
