// SPDX-License-Identifier: Apache-2.0

package sandbox

// Ruleset is what a process in the domain may do with files. Landlock knows no "but
// not": a right that is handled, nobody has but in the places that are listed, and
// below them.
type Ruleset struct {
	// Reading is handled: only what lies in Read, or is one of its files, may be opened
	// for reading. Names may be listed anywhere.
	Reading bool     `json:"reading,omitempty"`
	Read    []string `json:"read,omitempty"`
	// Writing is handled: only in Write may files be opened for writing, made, moved
	// and removed. Of Devices, and what lies in them, only the content may be written.
	Writing bool     `json:"writing,omitempty"`
	Write   []string `json:"write,omitempty"`
	Devices []string `json:"devices,omitempty"`
}

// Versions of Landlock's interface, by what came with them.
const (
	needsRefer    = 2 // Linux 5.19: before, a file stays in its directory
	NeedsTruncate = 3 // 6.2: before, truncate(2) is not judged
	NeedsScopes   = 6 // 6.12: before, signals and abstract sockets are not judged
)
