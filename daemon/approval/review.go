// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Review is the answer of a reviewer program.
type Review struct {
	Class  string // of policy.ReviewClasses: what the answer goes by
	Reason string // one sentence, for the history
}

// Reviewer may allow routine questions in the person's place. It says nothing about
// others: only a person refuses. It is never asked what is for people only, or of
// high risk, and must answer at once.
type Reviewer interface {
	// Review returns an answer of one of the classes, and whether it has one.
	Review(a *Approval, classes []string) (Review, bool)
}

// SlowReviewer is a Reviewer that takes its time, such as a model. While it thinks, the
// question is not shown to the person.
type SlowReviewer interface {
	// Review returns an answer of one of the classes. On an error, with an answer of no
	// class, and without one when ctx ends, the person is asked. ctx ends after
	// ReviewTime, and when the question is over.
	Review(ctx context.Context, a Approval, classes []string) (Review, error)
}

// ReviewTime is how long a SlowReviewer may think. The question's own time goes on
// meanwhile; half of it is the person's at least.
const ReviewTime = 20 * time.Second

// reviewable says whether requirements let somebody else than a person allow it.
func (q *Queue) reviewable(r *request) bool {
	a := &r.approval
	return len(q.policy.AutoReview) > 0 && !a.HumanOnly && a.Risk == "" && slices.Contains(a.Scopes, Once)
}

// reviewed is the answer of a reviewer, if it may give it.
func (q *Queue) reviewed(r *request, review Review) (Answer, bool) {
	if !q.reviewable(r) || !slices.Contains(q.policy.AutoReview, review.Class) {
		return Answer{}, false
	}
	return Answer{Allow: true, Scope: Once, By: ByReview, Reason: review.Reason, At: time.Now()}, true
}

// review asks the reviewer, where requirements allow it.
func (q *Queue) review(r *request) (Answer, bool) {
	if q.options.Reviewer == nil || !q.reviewable(r) {
		return Answer{}, false
	}
	review, ok := q.options.Reviewer.Review(&r.approval, q.policy.AutoReview)
	if !ok {
		return Answer{}, false
	}
	return q.reviewed(r, review)
}

// think hands a new question to the slow reviewer, where requirements allow it, and
// keeps it from the person until that is done.
func (q *Queue) think(r *request) {
	if q.options.SlowReviewer == nil || !q.reviewable(r) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(ReviewTime, time.Until(r.approval.Deadline)/2))
	r.thinking = cancel
	asked, classes := r.approval, slices.Clone(q.policy.AutoReview)
	q.work.Go(func() {
		defer cancel()
		answer := make(chan Review, 1)
		go func() { // it may not look at ctx
			review, err := q.options.SlowReviewer.Review(ctx, asked, classes)
			if err != nil {
				q.log.Warn("the reviewer has no answer: the person is asked", "approval", asked.ID, "error", err)
				review = Review{}
			}
			answer <- review
		}()
		select {
		case review := <-answer:
			q.thought(r, review)
		case <-ctx.Done():
			q.thought(r, Review{})
		}
	})
}

// thought carries out what the slow reviewer says, unless the question is over.
func (q *Queue) thought(r *request, review Review) {
	q.mu.Lock()
	var events []telemetry.Event
	if q.pending[r.approval.ID] == r && !q.closed {
		r.thinking = nil
		if answer, ok := q.reviewed(r, review); ok {
			events = q.finish(r, Allowed, answer)
		} else {
			q.changed(r)
		}
	}
	q.mu.Unlock()
	q.record(events...)
}

// Deterministic is the reviewer that is built in: it knows what cannot change
// anything, where packages come from, and what lies in the session's own project.
type Deterministic struct{}

// Classes the deterministic reviewer knows, as requirements name them.
const (
	ReviewReadOnly   = "read-only"  // commands that only read
	ReviewRegistries = "registries" // connections to package registries
	ReviewProject    = "project"    // files in the project directory
)

// Review answers.
func (Deterministic) Review(a *Approval, classes []string) (Review, bool) {
	for _, class := range classes {
		reason := ""
		switch class {
		case ReviewReadOnly:
			reason = readOnly(a)
		case ReviewRegistries:
			if a.Kind == Connection && a.Port == 443 && isRegistry(a.Host) {
				reason = a.Host + " is a public package registry"
			}
		case ReviewProject:
			if a.Kind == File && inside(a.Project, a.Path) {
				reason = "the path is in the session's own project directory"
			}
		}
		if reason != "" {
			return Review{class, reason}, true
		}
	}
	return Review{}, false
}

// readers are programs that change nothing and run nothing else, whatever their
// arguments. git is not: a repository says what it runs (diff.external, fsmonitor).
var readers = setOf(`cat head tail wc ls dir stat du df pwd basename dirname realpath readlink nl od cksum md5sum
	sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cmp diff comm cut paste tr grep egrep fgrep whoami id groups
	uname arch nproc uptime printenv true false test tty expr seq echo printf`)

// trusted are the directories in which a program is what its name says: an agent's
// own "cat" is not.
var trusted = []string{"/usr/bin", "/bin", "/usr/local/bin"}

// readOnly says why a command changes nothing; empty: it may.
func readOnly(a *Approval) string {
	if a.Kind != Command || len(a.Argv) == 0 || a.Program == "" || !slices.Contains(trusted, filepath.Dir(a.Program)) {
		return ""
	}
	name := filepath.Base(a.Program)
	switch {
	case name != filepath.Base(a.Argv[0]):
		return "" // what is run by another name may be another program
	case readers[name]:
		return name + " only reads"
	}
	return ""
}

// registries are public package registries: domains, each with the names below it that
// serve packages. Other names of the same domain may take what anybody uploads.
var registries = map[string]map[string]bool{
	"npmjs.org": setOf("registry"), "yarnpkg.com": setOf("registry"),
	"pypi.org": setOf("@"), "pythonhosted.org": setOf("files"),
	"crates.io": setOf("@ static index"), "golang.org": setOf("proxy sum"), "rubygems.org": setOf("@ index"),
	"maven.apache.org": setOf("repo"), "maven.org": setOf("repo1"), "gradle.org": setOf("plugins"),
	"nuget.org": setOf("api"), "packagist.org": setOf("@ repo"), "hex.pm": setOf("@ repo"),
	"debian.org": setOf("deb security"), "ubuntu.com": setOf("archive security"), "alpinelinux.org": setOf("dl-cdn"),
}

func isRegistry(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	name, domain, _ := strings.Cut(host, ".")
	return registries[host]["@"] || name != "@" && registries[domain][name]
}

// inside reports whether a path, as it is written, lies below a directory.
func inside(dir, path string) bool {
	if dir == "" || dir == "/" || !filepath.IsAbs(dir) || !filepath.IsAbs(path) {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil || !filepath.IsLocal(rel) {
		return false
	}
	// What tools run by themselves is not routine.
	for part := range strings.SplitSeq(rel, string(filepath.Separator)) {
		if strings.HasPrefix(part, ".") && part != "." {
			return false
		}
	}
	return true
}
