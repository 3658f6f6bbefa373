// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mounted is one mount of the daemon's own view of the machine.
type mounted struct {
	dev   uint32 // major << 20 | minor, as in the kernel
	root  string // what of the file system is there
	point string // where
	// layers are the directories an overlay shows, by the paths it was given.
	layers []string
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
		m := mounted{dev: major<<20 | minor&0xfffff, root: unescape(fields[3]), point: unescape(fields[4])}
		if i := slices.Index(fields, "-"); i > 0 && len(fields) > i+3 && fields[i+1] == "overlay" {
			m.layers = parseLayers(fields[i+3])
		}
		out = append(out, m)
	}
	return out
}

// parseLayers reads the options of an overlay. A path in them that is none on this machine
// leads nowhere.
func parseLayers(options string) []string {
	var out []string
	for option := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(option, "=")
		value = unescape(value)
		switch name {
		case "upperdir", "lowerdir+", "datadir+":
			out = append(out, value)
		case "lowerdir":
			for layer := range strings.SplitSeq(strings.ReplaceAll(value, `\:`, "\x00"), ":") {
				out = append(out, strings.ReplaceAll(layer, "\x00", ":"))
			}
		}
	}
	return slices.DeleteFunc(out, func(layer string) bool { return !filepath.IsAbs(layer) })
}

// mountOf returns what a path is on.
func mountOf(all []mounted, path string) mounted {
	var at mounted
	for _, m := range all {
		if below(path, m.point) && len(m.point) >= len(at.point) {
			at = m // the last one lies on top
		}
	}
	return at
}

// inLayers returns what a path on an overlay is in each of its layers.
func inLayers(all []mounted, path string) []string {
	at := mountOf(all, path)
	inside := join(at.root, strings.TrimPrefix(path, strings.TrimSuffix(at.point, "/")))
	var out []string
	for _, layer := range at.layers {
		out = append(out, filepath.Join(layer, inside))
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
