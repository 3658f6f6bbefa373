// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mounted is one mount of the daemon's own view of the machine.
type mounted struct {
	dev   uint32 // major << 20 | minor, as in the kernel
	root  string // what of the file system is there
	point string // where
}

func mounts() ([]mounted, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading what is mounted: %w", err)
	}
	return parseMounts(data), nil
}

// parseMounts reads the format of proc_pid_mountinfo(5).
func parseMounts(data []byte) []mounted {
	var out []mounted
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 {
			continue
		}
		var major, minor uint32
		if n, _ := fmt.Sscanf(fields[2], "%d:%d", &major, &minor); n != 2 {
			continue
		}
		out = append(out, mounted{major<<20 | minor&0xfffff, unescape(fields[3]), unescape(fields[4])})
	}
	return out
}

// unescape undoes \040 and its like.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(s string) bool { return s[0] >= '0' && s[0] <= '3' && strings.Trim(s, "01234567") == "" }

// pathOn makes a path of one inside a file system.
func pathOn(all []mounted, dev uint32, inside string) string {
	best := ""
	for _, m := range all {
		if m.dev != dev || !below(inside, m.root) {
			continue
		}
		p := filepath.Join(m.point, strings.TrimPrefix(inside, strings.TrimSuffix(m.root, "/")))
		if best == "" || len(p) < len(best) {
			best = p
		}
	}
	return best
}

// below reports whether a path is dir or lies in it, as text.
func below(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
