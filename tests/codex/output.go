// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"strconv"
	"strings"
)

// NoExit is the ExitCode of a call whose command did not start, or had not ended when Codex stopped waiting.
const NoExit = -1

// Call is one tool call and what came of it.
type Call struct {
	ID       string // CODEX_TOOL_CALL_ID in the environment of the command
	Command  string // the shell text that the model asked for
	Answered bool   // whether Codex reported anything about it
	Output   string // stdout and stderr of the command
	ExitCode int    // of the shell, 128 + N when signal N ended it; or NoExit
	Blocked  string // Codex's own words when it refused to run the command; else empty
}

// read fills in what Codex 0.169.0 reports about an exec_command: some lines of "Name: value", among them "Process exited
// with code N" or "Process running with session ID N", then "Output:" and what the command wrote. A report without an
// "Output:" is a refusal or a failure of Codex.
func (c *Call) read(report string) {
	c.Answered = true
	c.ExitCode = NoExit
	head, output, found := strings.Cut(report, "\nOutput:\n")
	if !found {
		c.Blocked = report
		return
	}
	c.Output = output
	for line := range strings.Lines(head) {
		text, found := strings.CutPrefix(strings.TrimSpace(line), "Process exited with code ")
		if !found {
			continue
		}
		if code, err := strconv.Atoi(text); err == nil {
			c.ExitCode = code
		}
	}
}
