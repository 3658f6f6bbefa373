// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/rulesfile"
)

// Layer is what one source says.
type Layer struct {
	// Source names the source, as in policy.PrefixRule.Source.
	Source string
	// Path is the file that was read, root prefix included.
	Path string
	// Requirements is the layer alone. Not to be changed.
	Requirements *policy.Requirements
	// Digest is the SHA-256 of what it says, in hexadecimal.
	Digest string
	// LastKnownGood says that the file cannot be used now, and that this is what
	// it said when it last could.
	LastKnownGood bool
	// Provenance is how sure it is that device management wrote it; of managed
	// preferences that can be used, else Absent.
	Provenance policy.Provenance
}

// Incident is something about a source that an administrator must look at.
type Incident struct {
	Source string
	Err    error
}

// Result is what holds, where it comes from, and what is wrong.
type Result struct {
	// Requirements is all layers merged. Never nil, not to be changed.
	Requirements *policy.Requirements
	// Layers are those that were used, from low to high.
	Layers []Layer
	// RuleFiles are the files of rules that were used, in their order; they have no
	// Requirements.
	RuleFiles []Layer
	// Incidents are the sources that could not be used as they are.
	Incidents []Incident
	// Generation counts the requirements that differ from those before; the first
	// are 1. It begins anew with each Loader.
	Generation uint64
	// Load counts the times the sources were read.
	Load uint64
	// LastKnownGood says that some layer is not what its file says now.
	LastKnownGood bool
	// Strictest says that some source could be used in no way, so that the built-in
	// strictest requirements hold.
	Strictest bool
}

// Loader reads the sources of requirements of one machine.
type Loader struct {
	root string
	kept keeper
	log  *slog.Logger
	// evidence asks the machine about its profiles.
	evidence func() Evidence
	now      func() time.Time

	mu         sync.Mutex
	people     []policy.Person
	loads      uint64
	generation uint64
	effective  string // what holds, in short
	state      string // all that was last found, in short
	told       string // the state that was last handed out
}

// looking is what all sources of one Load are looked at with.
type looking struct {
	subject  policy.Subject
	now      time.Time
	evidence func() Evidence
}

// NewLoader returns a Loader of the sources under root: "" or "/" for those of
// the machine. In stateDir, which is made if needed, it keeps what each source
// last said; only root may be able to write there. A log of nil logs nothing.
func NewLoader(root, stateDir string, log *slog.Logger) *Loader {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Loader{root: root, kept: keeper{dir: stateDir}, log: log, evidence: installedProfiles, now: time.Now}
}

// SetPeople says who uses the machine, for the cohorts of people. It counts from the
// next Load on, and returns whether that is somebody else than before.
func (l *Loader) SetPeople(people []policy.Person) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	same := slices.EqualFunc(l.people, people, func(a, b policy.Person) bool {
		return a.User == b.User && a.Unsure == b.Unsure && slices.Equal(a.Groups, b.Groups)
	})
	l.people = slices.Clone(people)
	return !same
}

// Load reads all sources. It never fails:
//
//   - No source has a file: policy.Defaults, which observe.
//   - A file cannot be used (not locked, not valid): an incident. What it said
//     when it last could be used goes on to hold.
//   - And nothing is known that it said: policy.Strictest. Only the telemetry
//     destination is still taken from the other layers, so that somebody hears of it.
//
// A file that is gone is a layer withdrawn, and what it said is forgotten.
func (l *Loader) Load() Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	result := l.load()
	l.told = l.state
	return result
}

// Reload is Load, and says whether the result differs from the one before.
func (l *Loader) Reload() (Result, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	result := l.load()
	differs := l.state != l.told
	l.told = l.state
	return result, differs
}

func (l *Loader) load() Result {
	var r Result
	look := &looking{subject: Subject(l.root), now: l.now(), evidence: sync.OnceValue(l.evidence)}
	look.subject.People = l.people
	var all []found
	for _, s := range l.sources() {
		all = append(all, l.find(s, look))
	}
	l.prove(all, look)
	for i := range all {
		l.take(&all[i], &r)
	}
	files := l.loadRules(&r)
	r.Requirements = merge(&r, files)
	l.missBundle(&r)

	effective, state := l.describe(&r)
	if effective != l.effective {
		l.effective = effective
		l.generation++
	}
	l.loads++
	r.Generation, r.Load = l.generation, l.loads
	if state != l.state {
		l.state = state
		l.report(&r)
	}
	return r
}

// missBundle says what is not enforced: there is a server with requirements, and
// nothing of it.
func (l *Loader) missBundle(r *Result) {
	if r.Requirements.Codex == nil || r.Requirements.Codex.Get("config_server") == nil {
		return
	}
	if _, err := ReadLocked(l.kept.dir, "/"+bundleFile); errors.Is(err, fs.ErrNotExist) {
		r.Incidents = append(r.Incidents, Incident{bundleName, errors.New("there is a config_server, and none of its bundles was kept: what it requires is not in force")})
	}
}

func merge(r *Result, files *rulesfile.Policy) *policy.Requirements {
	layers := make([]*policy.Requirements, len(r.Layers))
	for i := range r.Layers {
		layers[i] = r.Layers[i].Requirements
	}
	merged := policy.Merge(layers...)
	if r.Strictest {
		// Not merged with the rest: a rule that says "prompt" is weaker than nothing.
		strictest := policy.Strictest()
		strictest.Telemetry, strictest.Sinks, strictest.Warnings = merged.Telemetry, merged.Sinks, merged.Warnings
		strictest.Contents, strictest.Secrets = merged.Contents, merged.Secrets
		return strictest
	}
	if merged.CodexError != nil {
		r.Incidents = append(r.Incidents, Incident{"all layers together", fmt.Errorf("with them Codex does not start: %w", merged.CodexError)})
	}
	// Each layer alone is known to fit the kernel's map; together they may not.
	if _, err := merged.Network.Entries(); err != nil {
		r.Incidents = append(r.Incidents, Incident{"all layers together", fmt.Errorf("no connection is allowed: %w", err)})
		merged.Network = policy.Network{None: true, Default: policy.NetDeny, Why: tooMany}
	}
	return addRules(merged, files)
}

// tooMany is the reason of connections that only fail because of how many rules there are.
const tooMany = "the network rules on this machine cannot be used together, so no connection is allowed: ask who manages it; paddock status says what is wrong"

// All returns the layers, and after them the files of rules.
func (r *Result) All() []Layer { return slices.Concat(r.Layers, r.RuleFiles) }

// describe returns what holds, and all there is to know about it.
func (l *Loader) describe(r *Result) (effective, state string) {
	var b strings.Builder
	fmt.Fprintf(&b, "strictest %t", r.Strictest)
	for _, layer := range r.All() {
		fmt.Fprintf(&b, "\n%s %s", layer.Source, layer.Digest)
	}
	for _, c := range r.Requirements.Cohorts {
		fmt.Fprintf(&b, "\n%s %d %t", c.Source, c.Line, c.Applied)
	}
	effective = b.String()
	for _, layer := range r.All() {
		fmt.Fprintf(&b, "\n%s kept %t %s", layer.Source, layer.LastKnownGood, layer.Provenance)
	}
	for _, i := range r.Incidents {
		fmt.Fprintf(&b, "\n%s %s", i.Source, i.Err)
	}
	return effective, b.String()
}

func (l *Loader) report(r *Result) {
	for _, i := range r.Incidents {
		l.log.Error("requirements cannot be used", "source", i.Source, "error", i.Err)
	}
	for _, w := range r.Requirements.Warnings {
		l.log.Warn("requirements", "warning", w)
	}
	for _, layer := range r.Layers {
		if layer.Provenance != policy.Absent {
			l.log.Info("managed preferences", "source", layer.Source, "provenance", layer.Provenance.String())
		}
	}
	l.log.Info("requirements loaded", "generation", r.Generation, "layers", len(r.Layers), "rule_files", len(r.RuleFiles),
		"mode", r.Requirements.Mode.String(), "rules", len(r.Requirements.Rules),
		"last_known_good", r.LastKnownGood, "strictest", r.Strictest)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
