// SPDX-License-Identifier: Apache-2.0

package codex

import "testing"

func TestReadReport(t *testing.T) {
	const head = "Chunk ID: 44ff73\nWall time: 0.0000 seconds\n"
	for _, test := range []struct {
		name, report string
		want         Call
	}{
		{"ended", head + "Process exited with code 137\nOriginal token count: 1\nOutput:\na\nb\n", Call{ExitCode: 137, Output: "a\nb\n"}},
		{"still running", head + "Process running with session ID 7\nOutput:\na", Call{ExitCode: NoExit, Output: "a"}},
		{"a command that looks like a report", head + "Process exited with code 1\nOutput:\nProcess exited with code 0\nOutput:\n", Call{ExitCode: 1, Output: "Process exited with code 0\nOutput:\n"}},
		{"refused", "exec_command failed: no", Call{ExitCode: NoExit, Blocked: "exec_command failed: no"}},
	} {
		var got Call
		got.read(test.report)
		test.want.Answered = true
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func FuzzReadReport(f *testing.F) {
	f.Add("Process exited with code 3\nOutput:\nx")
	f.Fuzz(func(t *testing.T, report string) {
		var c Call
		c.read(report)
		if c.Blocked != "" && (c.Output != "" || c.ExitCode != NoExit) {
			t.Errorf("both refused and run: %+v", c)
		}
	})
}
