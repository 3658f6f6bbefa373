// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// stdout is the name of a file that is none.
const stdout = "stdout"

// fileTarget appends events to a file, one a line. The file is opened for each
// batch: whoever rotates it needs to tell nobody.
type fileTarget struct {
	path     string
	resource map[string]any
	encode   encoder
}

func (f *fileTarget) name() string { return f.path }
func (f *fileTarget) close()       {}

func (f *fileTarget) post(_ context.Context, events []Event) (answer, error) {
	body, err := f.encode(f.resource, events)
	if err != nil {
		return answer{}, &refusal{err.Error()}
	}
	if f.path == stdout {
		_, err = os.Stdout.Write(body)
	} else {
		err = appendTo(f.path, body)
	}
	if err != nil {
		return answer{}, &setback{err: err}
	}
	return answer{}, nil
}

// appendTo writes all of body to the end of a file and on to the disk, or, as far
// as it can, nothing.
func appendTo(path string, body []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("appending events: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("appending events: %w", err)
	}
	if info.Mode().IsRegular() && info.Size() > 0 {
		// A crash may have cut the last line: what comes next must not be part of it.
		var last [1]byte
		if _, err := f.ReadAt(last[:], info.Size()-1); err == nil && last[0] != '\n' {
			body = append([]byte{'\n'}, body...)
		}
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
		if errors.Is(err, unix.EINVAL) {
			err = nil // a pipe
		}
	}
	if err != nil {
		if info.Mode().IsRegular() {
			_ = f.Truncate(info.Size()) // it comes again as a whole
		}
		return fmt.Errorf("appending events to %s: %w", path, err)
	}
	return nil
}
