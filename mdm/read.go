// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

func (s source) layer(data []byte) codex.Layer {
	return codex.Layer{Name: s.name, Kind: s.kind, Data: data}
}

// Read returns what the sources under root say now, from low to high, and what
// cannot be read of them; with them what only Codex enforces. It keeps nothing and knows of no last-known-good: it is for
// looking, not for enforcing.
func Read(root string) ([]codex.Layer, []Incident) {
	var layers []codex.Layer
	var incidents []Incident
	for _, s := range append(sources(root), legacy(root)...) {
		data, _, err := s.read(root)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			incidents = append(incidents, Incident{s.name, err})
		default:
			layers = append(layers, s.layer(data))
		}
	}
	return layers, incidents
}

// Subject returns the machine that has the files under root, as whom requirements are
// for: its name and its id. Who uses it is not known. What cannot be read is empty,
// and then matches no cohort.
func Subject(root string) policy.Subject {
	var s policy.Subject
	s.MachineID = firstLine(filepath.Join(under(root, ""), "etc", "machine-id"))
	if under(root, "") != "/" {
		s.Host = firstLine(filepath.Join(root, "etc", "hostname"))
		return s
	}
	if host, err := os.Hostname(); err == nil {
		s.Host = host
	}
	return s
}

func firstLine(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}
