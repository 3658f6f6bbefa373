// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// stateDir is where the daemon of the machine keeps bundles.
const stateDir = "/var/lib/paddock/requirements"

// ErrUnseen is of a source that only root can look at.
var ErrUnseen = errors.New("only root can see whether there are any, and they are not among what is shown")

// Read returns what the sources under root say now, from low to high, and what
// cannot be read of them. It keeps nothing and knows of no last-known-good: it is for
// looking, not for enforcing.
func Read(root string) ([]codex.Layer, []Incident) {
	var layers []codex.Layer
	var incidents []Incident
	for _, s := range sources(root, under(root, stateDir)) {
		data, _, err := s.read(root)
		var documents []codex.Layer
		if err == nil {
			documents, err = s.documents(data, time.Now())
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, fs.ErrPermission) && s.kind == codex.Cloud:
			incidents = append(incidents, Incident{s.name, fmt.Errorf("%s: %w", s.name, ErrUnseen)})
		case err != nil:
			incidents = append(incidents, Incident{s.name, err})
		default:
			layers = append(layers, documents...)
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
