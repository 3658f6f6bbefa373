// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"errors"
	"fmt"
)

// ErrUnknown is returned for an ID nobody asked the caller about.
var ErrUnknown = errors.New("there is no such question to you")

// ErrOver is wrapped by errors for a question that was answered already.
var ErrOver = errors.New("the question is over")

// RefusedError is an answer from somebody who may not give it.
type RefusedError struct{ Why string }

// Error returns one sentence: why the answer does not count.
func (e *RefusedError) Error() string { return "the answer does not count: " + e.Why }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }
