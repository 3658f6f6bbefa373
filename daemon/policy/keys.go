// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// The table [paddock]. Its shapes name the keys for reading, explaining, the JSON
// Schema and the documentation; parse.go reads the values.
var (
	netRuleShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: []codex.Field{
		{Name: "cidr", Shape: textShape, Required: true, Meaning: "\"10.0.0.0/8\", \"2001:db8::/32\" or one address. No bits behind the prefix, no host names."},
		{Name: "decision", Shape: wordsShape(NetAllow.String(), NetDeny.String()), Required: true, Meaning: "What holds for it."},
		{Name: "justification", Shape: textShape, Meaning: "Why. Not blank."},
		{Name: "ports", Shape: portsShape, Meaning: "A port, \"443\", \"8000-8100\", or a list of at most 32 of these. Left out: all."},
		{Name: "protocol", Shape: wordsShape(TCP.String(), UDP.String(), AnyProtocol.String()), Meaning: "Left out: \"any\"."},
	}}
	portShape  = &codex.Shape{Form: codex.OneOf, Variants: []codex.Field{{Shape: textShape}, {Shape: &codex.Shape{Form: codex.Integer, Max: 65535}}}}
	portsShape = &codex.Shape{Form: codex.OneOf, Variants: []codex.Field{
		{Shape: textShape},
		{Shape: &codex.Shape{Form: codex.Integer, Max: 65535}},
		{Shape: &codex.Shape{Form: codex.List, Item: portShape, MinItems: 1}},
	}}
	networkShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: []codex.Field{
		{Name: "access", Shape: wordsShape(accessRules.String(), accessNone.String()), Meaning: "\"none\": nothing may be reached, whatever the rules say. Left out: \"rules\"."},
		{Name: "default", Shape: wordsShape(NetAllow.String(), NetDeny.String()), Meaning: "For what no rule is about. Left out: \"allow\"."},
		{Name: "mode", Shape: wordsShape(modeFull.String(), modeLimited.String()), Meaning: "\"limited\": requests over HTTP that is not encrypted may only be GET, HEAD and OPTIONS. Left out: \"full\"."},
		{Name: "rules", Shape: &codex.Shape{Form: codex.List, Item: netRuleShape}, Meaning: "Rules by address. The most specific cidr decides; of equal ones, \"deny\"."},
		{Name: "unfamiliar", Shape: wordsShape(NetAllow.String(), NetAsk.String(), NetDeny.String()), Meaning: "For hosts of which no rule speaks. \"ask\" holds the connection until somebody has answered. Left out: \"ask\" if experimental_network is enabled, else what default says."},
	}}
	approvalsShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: []codex.Field{
		{Name: "auto_review", Shape: someShape(reviewClasses...), Meaning: "Questions that the built-in reviewer answers in the person's place; never those of a rule \"prompt-user\", never of high risk. Left out: none."},
		{Name: "guard", Shape: &codex.Shape{Form: codex.Bool}, Meaning: "Where there is no boundary: whether agents are kept from where a person answers (displays, buses, terminals, and what starts programs for others). Left out: as long as anything is asked about."},
		{Name: "high_risk", Shape: someShape(RiskClasses()...), Meaning: "Classes of commands that need proof of who allows them. Left out: \"credentials\" and \"privilege\"."},
		{Name: "root_may_answer", Shape: &codex.Shape{Form: codex.Bool}, Meaning: "Whether root may answer for the user who is asked. Left out: false."},
		{Name: "scopes", Shape: &codex.Shape{Form: codex.List, Item: wordsShape(approvalScopes...), MinItems: 1}, Meaning: "What a person may allow: this once, for the agent session, or always. Left out: \"once\" and \"session\"."},
		{Name: "timeout", Shape: &codex.Shape{Form: codex.Integer, Max: maxTimeout}, Meaning: "Seconds a question waits, from 5; then it is denied. Left out: 120."},
	}}
	telemetryShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: append([]codex.Field{
		{Name: "sinks", Shape: &codex.Shape{Form: codex.List, Item: sinkShape}, Meaning: "Further receivers, each with a cursor of its own."},
		{Name: "heartbeat", Shape: &codex.Shape{Form: codex.Integer, Max: maxHeartbeat}, Meaning: "Seconds between two events that say that the machine lives, from 1. Left out: 300."},
		{Name: "prompts", Shape: keepShape, Meaning: "What people ask: \"record\" or \"omit\". Left out: what Codex's otel.log_user_prompt says, and without that \"omit\"."},
		{Name: "outputs", Shape: keepShape, Meaning: "What tools and models answer. Left out: \"record\"."},
		{Name: "arguments", Shape: keepShape, Meaning: "What tools are called with. Left out: \"record\"."},
		{Name: "commands", Shape: keepShape, Meaning: "The arguments of programs; their names are always recorded. Left out: \"record\"."},
		{Name: "environment", Shape: keepShape, Meaning: "Values of environment variables. Left out: \"omit\"."},
		{Name: "secrets", Shape: wordsShape("redact", "keep"), Meaning: "Whether what looks like a secret is replaced before it is stored. Left out: \"redact\"."},
	}, receiverFields...)}
	sinkShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: append([]codex.Field{
		{Name: "name", Shape: textShape, Required: true, Meaning: "What the sink is called: the cursor belongs to that name. Lower-case letters, digits and dashes; not \"otlp\", which is the receiver above."},
		{Name: "type", Shape: wordsShape(sinkTypes...), Required: true, Meaning: "\"otlp\": OTLP/HTTP; \"ndjson\": events as `paddock events --json` shows them, one a line; \"splunk_hec\": Splunk's HTTP Event Collector; \"ocsf\": OCSF 1.8, one a line."},
		{Name: "file", Shape: textShape, Meaning: "Of ndjson and ocsf: the file to append to, with its whole path, or \"stdout\"."},
	}, receiverFields...)}
	receiverFields = []codex.Field{
		{Name: "endpoint", Shape: textShape, Meaning: "The http or https URL of the receiver; of OTLP without /v1/logs, of Splunk without /services. No user name or password in it."},
		{Name: "headers", Shape: &codex.Shape{Form: codex.Map, Item: textShape, Secret: true}, Meaning: "Sent with each request; never logged."},
		{Name: "headers_file", Shape: textShape, Meaning: "A file of more headers, \"Name: value\", one a line; only root may be able to read it."},
		{Name: "ca_file", Shape: textShape, Meaning: "Certificates (PEM) that the receiver's must come from, instead of the machine's own."},
		{Name: "cert_file", Shape: textShape, Meaning: "The certificate (PEM) to show the receiver."},
		{Name: "key_file", Shape: textShape, Meaning: "The key (PEM) of cert_file; only root may be able to read it."},
	}
	keepShape     = wordsShape("record", "omit")
	pathsShape    = &codex.Shape{Form: codex.List, Item: textShape}
	boundaryShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: []codex.Field{
		{Name: "mode", Shape: wordsShape(ReadOnly.String(), WorkspaceWrite.String(), FullAccess.String()), Meaning: "The most any agent may write. Left out: \"workspace-write\"."},
		{Name: "project", Shape: wordsShape(Repository.String(), WorkingDirectory.String(), NoProject.String()), Meaning: "What an agent's project is: the git work tree it was started in, the directory, or nothing. Left out: \"repository\"."},
		{Name: "projects", Shape: pathsShape, Meaning: "A project must be one of these directories or lie in one. Left out: anywhere."},
		{Name: "writable", Shape: pathsShape, Meaning: "Further places to write to, also devices."},
		{Name: "caches", Shape: &codex.Shape{Form: codex.Bool}, Meaning: "Whether the caches of tools may be written. Left out: true."},
		{Name: "temporary", Shape: &codex.Shape{Form: codex.Bool}, Meaning: "Whether /tmp, /var/tmp and /dev/shm may be written. Left out: true."},
		{Name: "landlock", Shape: &codex.Shape{Form: codex.Bool}, Meaning: "Whether paddock run uses Landlock where the kernel has no better boundary. In it, nothing can be mounted: sandboxes of agents that stand on bubblewrap do not start. Left out: true."},
		{Name: "fanotify", Shape: &codex.Shape{Form: codex.Bool}, Meaning: "Whether Paddock is asked about opens of unreadable paths where the kernel has no better boundary. Left out: true."},
		{Name: "protected", Shape: pathsShape, Meaning: "Further paths that stay as they are. One that begins with neither / nor ~/ is below every project."},
		{Name: "unprotected", Shape: pathsShape, Meaning: "Paths of the built-in list of protected ones that may be written after all."},
		{Name: "unreadable", Shape: pathsShape, Meaning: "Further paths that may not be read."},
		{Name: "readable", Shape: pathsShape, Meaning: "Paths of the built-in list of unreadable ones that may be read after all."},
		{Name: "sockets", Shape: pathsShape, Meaning: "Further unix sockets, or directories of them, that may not be reached."},
		{Name: "reachable", Shape: pathsShape, Meaning: "Paths of the built-in list of such sockets that may be reached after all."},
	}}
	launchWords = wordsShape(LaunchRecord.String(), LaunchWarn.String(), LaunchRefuse.String())
	launchShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: []codex.Field{
		{Name: "environment", Shape: launchWords, Meaning: "Variables that lead an agent to other settings, another server, or load code into it. Left out: \"warn\"."},
		{Name: "flags", Shape: launchWords, Meaning: "Options that take away questions or the sandbox. Left out: \"warn\", and \"record\" for what allowed_sandbox_modes and allowed_approval_policies allow."},
		{Name: "overrides", Shape: launchWords, Meaning: "Settings that requirements are about, given on the command line or in files of the project. Left out: as for flags."},
		{Name: "versions", Shape: launchWords, Meaning: "A program that is older than minimum, none of programs, or outside of places. Left out: \"warn\"."},
		{Name: "minimum", Shape: &codex.Shape{Form: codex.Map, Item: textShape}, Meaning: "The lowest version of each agent, by its name. One whose version is not known counts as older."},
		{Name: "programs", Shape: &codex.Shape{Form: codex.Map, Item: textsShape}, Meaning: "Of an agent, by its name: the SHA-256 of every program it may be."},
		{Name: "places", Shape: pathsShape, Meaning: "Directories one of which an agent's program must lie in. Left out: anywhere."},
	}}
	cohortShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: []codex.Field{
		{Name: "name", Shape: textShape, Required: true, Meaning: "What the cohort is called; with it, machines are drawn for percent."},
		{Name: "hosts", Shape: textsShape, Meaning: "Host names, with * and ?, whatever their case."},
		{Name: "users", Shape: textsShape, Meaning: "Names of users. It is met while one of them has a session."},
		{Name: "groups", Shape: textsShape, Meaning: "Names of groups such a user is in."},
		{Name: "percent", Shape: &codex.Shape{Form: codex.Integer, Max: 100}, Meaning: "So many of a hundred machines, always the same ones; a greater number only adds machines."},
		{Name: "requirements", Shape: overlayShape, Required: true, Meaning: "What is laid over this file on these machines: any keys of requirements.toml. Rules are added; of all else, tables are merged and the cohort's value counts. Of a cohort with users or groups it is a layer of its own, which makes stricter and never milder."},
	}}
	paddockShape = &codex.Shape{Form: codex.Table, Closed: true, Fields: []codex.Field{
		{Name: "agents", Shape: &codex.Shape{Form: codex.List, Item: textShape, MinItems: 1}, Meaning: "Which agents to govern, by name. Left out: all that are known."},
		{Name: "approvals", Shape: approvalsShape, Meaning: "How people are asked, and who may answer."},
		{Name: "boundary", Shape: boundaryShape, Meaning: "Where agents may write, what they may not read, and which paths stay protected. The table being there, even empty, puts the boundary into force."},
		{Name: "cohort", Shape: &codex.Shape{Form: codex.List, Item: cohortShape}, Meaning: "Machines or people for whom this file says something else."},
		{Name: "launch", Shape: launchShape, Meaning: "What becomes of an agent that is started so as to slip its management."},
		{Name: "mode", Shape: wordsShape(Observe.String(), Enforce.String()), Meaning: "\"observe\" records what would have been refused, and lets it through. Left out: \"enforce\"."},
		{Name: "network", Shape: networkShape, Meaning: "What agents may reach, by address. Left out: everything."},
		{Name: "require_provenance", Shape: wordsShape(FileOnly.String(), Manual.String(), MDMVerified.String()), Meaning: "How sure it must be that device management wrote managed preferences (macOS) for them to count. Left out: \"file_only\", anything root wrote."},
		{Name: "telemetry", Shape: telemetryShape, Meaning: "Where events are exported to, and what of them is not kept. Left out: nowhere."},
		{Name: "unmatched", Shape: wordsShape(Allow.String(), Prompt.String(), Forbidden.String()), Meaning: "What holds for a command that no rule matches. Left out: \"allow\"."},
	}}

	// overlayShape is the shape of the whole file.
	overlayShape = &codex.Shape{Form: codex.Any}

	textShape  = &codex.Shape{Form: codex.String}
	textsShape = &codex.Shape{Form: codex.List, Item: textShape, MinItems: 1}
)

func someShape(all ...string) *codex.Shape {
	return &codex.Shape{Form: codex.List, Item: wordsShape(all...)}
}

func wordsShape(all ...string) *codex.Shape {
	s := &codex.Shape{Form: codex.Enum}
	for _, w := range all {
		s.Variants = append(s.Variants, codex.Field{Name: w})
	}
	return s
}

func keysOf(s *codex.Shape) []string { return codex.Names(s.Fields) }

// Keys returns every key of the top level of a requirements.toml: Codex's and
// [paddock].
func Keys() []codex.Key {
	return append(codex.Keys(), codex.Key{
		Field:    codex.Field{Name: ownTable, Shape: paddockShape, Meaning: "What Codex has no key for. Codex ignores this table; here, a key that is not known is an error."},
		Enforced: codex.ByPaddock,
		Merge:    "the strictest value of all layers, the rules of all layers; telemetry of the highest layer that has it",
		Example:  "[paddock]\nmode = \"observe\"\nunmatched = \"prompt\"\n",
	})
}
