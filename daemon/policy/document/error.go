// SPDX-License-Identifier: Apache-2.0

package document

// Error says what is wrong in a document, and where.
type Error struct {
	// At is the place; its zero value: the problem is not at one place.
	At Position
	// Key is the dotted key with the problem. May be empty.
	Key string
	// Problem is the sentence: the bad value, and what is possible.
	Problem string
	// Codex is what codex-cli 0.169.0 says of the same problem, without the name of
	// the layer. Empty: what it says is not known, or it does not mind.
	Codex string

	tooMuch bool // the document must not be read any further
}

// Error returns the problem alone; who knows the source makes the sentence.
func (e *Error) Error() string { return e.Problem }
