// SPDX-License-Identifier: Apache-2.0

package policy

import "fmt"

// HostProtocol is what is spoken on a connection, as far as it can be read.
type HostProtocol int

const (
	// RawTCP is anything but the others: ssh, databases, what nobody knows.
	RawTCP HostProtocol = iota
	// HTTP is HTTP that is not encrypted, of any version.
	HTTP
	// HTTPS is TLS, and a tunnel that was asked for with CONNECT.
	HTTPS
)

// String returns the word of .rules files: "socks5_tcp", "http" or "https". Codex
// sees plain TCP only as what comes through its SOCKS5 proxy, hence the name.
func (p HostProtocol) String() string {
	switch p {
	case RawTCP:
		return "socks5_tcp"
	case HTTP:
		return "http"
	case HTTPS:
		return "https"
	}
	return fmt.Sprintf("HostProtocol(%d)", int(p))
}

// HostCause says what kind of reason a verdict has, in the words of Codex's own
// proxy where it has one.
type HostCause string

const (
	// CauseAllowed is a rule, or a setting, that allows.
	CauseAllowed HostCause = "allowed"
	// CauseDenied is a rule that denies.
	CauseDenied HostCause = "denied"
	// CauseNotAllowed is that no rule allows.
	CauseNotAllowed HostCause = "not_allowed"
	// CauseReview is a rule that wants somebody to be asked.
	CauseReview HostCause = "review"
	// CauseLocal is an address of the machine or of a private network.
	CauseLocal HostCause = "not_allowed_local"
	// CauseMethod is a method that may not be used.
	CauseMethod HostCause = "method_not_allowed"
	// CauseMismatch is that names disagree: of the host that was asked for, of the one
	// that was resolved, and of the address.
	CauseMismatch HostCause = "host_mismatch"
	// CauseMalformed is what cannot be understood in one way only.
	CauseMalformed HostCause = "malformed"
)

// HostVerdict is what is decided about a connection by its name. Its zero value
// denies.
type HostVerdict struct {
	Decision NetDecision
	Cause    HostCause
	// Rule is the pattern, host or network of the rule that decides. Empty: a setting
	// does, or nothing.
	Rule string
	// Source and Line say where the rule or the setting is written. Source is empty
	// where nothing is.
	Source string
	Line   int
	// Reason is one sentence for people, with the rule and its place.
	Reason string
}

// Origin returns "source:line", or only the part that is known.
func (v *HostVerdict) Origin() string { return origin(v.Source, v.Line) }
