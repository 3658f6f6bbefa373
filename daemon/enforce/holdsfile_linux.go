// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/whole"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// holdsFile names the holds of which people are asked, for the guard, which spares
// them, and for the next daemon, which asks again. What is not in it when the daemon
// dies is killed.
type holdsFile struct {
	path  string
	now   func() []*ebpf.Exec
	write sync.Mutex // one writer
	dirty chan struct{}
}

// holdsGather is how long changes are gathered before they are written.
const holdsGather = 10 * time.Millisecond

func newHoldsFile(path string, now func() []*ebpf.Exec) *holdsFile {
	return &holdsFile{path: path, now: now, dirty: make(chan struct{}, 1)}
}

func (f *holdsFile) soon() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// run writes whenever something has changed, until stop closes.
func (f *holdsFile) run(stop <-chan struct{}, failed func(error)) {
	for {
		select {
		case <-stop:
			return
		case <-f.dirty:
		}
		if err := f.save(f.now()); err != nil {
			failed(err)
		}
		select {
		case <-stop:
			return
		case <-time.After(holdsGather):
		}
	}
}

// save replaces the file. It need not outlive the machine, as holds do not.
func (f *holdsFile) save(holds []*ebpf.Exec) error {
	f.write.Lock()
	defer f.write.Unlock()
	if f.path == "" {
		return nil
	}
	var data bytes.Buffer // not JSON: names need not be UTF-8
	if err := gob.NewEncoder(&data).Encode(holds); err != nil {
		return fmt.Errorf("writing the holds that wait for people: %w", err)
	}
	if err := whole.Write(f.path, data.Bytes(), whole.Process); err != nil {
		return fmt.Errorf("the holds that wait for people: %w", err)
	}
	return nil
}

// readHolds reads the file; without one there are none.
func readHolds(path string) ([]*ebpf.Exec, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var holds []*ebpf.Exec
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(data)).Decode(&holds)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the holds that wait for people, %s: %w", filepath.Base(path), err)
	}
	for i, x := range holds {
		if x == nil {
			return nil, fmt.Errorf("reading the holds that wait for people: number %d is none", i)
		}
	}
	return holds, nil
}

func holdsOf(execs []*ebpf.Exec) ebpf.HoldSet {
	out := ebpf.HoldSet{}
	for _, x := range execs {
		out.Add(x)
	}
	return out
}
