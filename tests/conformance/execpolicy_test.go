// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/cli"
)

// execVector is one run of codex execpolicy check of codex-cli 0.169.0.
type execVector struct {
	Name     string          `json:"name"`
	Rules    []string        `json:"rules"`
	Argv     []string        `json:"argv"`
	Resolve  bool            `json:"resolveHostExecutables"`
	ExitCode int             `json:"exitCode"`
	Stdout   json.RawMessage `json:"stdout"`
	Error    string          `json:"error"`
}

func execVectors(t *testing.T, file string) []execVector {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []execVector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// runCheck runs paddock rules check on a execVector.
func runCheck(t *testing.T, v execVector) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"rules", "check"}
	for i, text := range v.Rules {
		name := filepath.Join(dir, fmt.Sprintf("%d.rules", i))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--rules", name)
	}
	if v.Resolve {
		args = append(args, "--resolve-host-executables")
	}
	root := cli.New("test")
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	code = cli.Main(root, append(append(args, "--"), v.Argv...))
	return code, out.String(), strings.ReplaceAll(errs.String(), dir, "DIR")
}

// wording holds what Paddock says where Codex has other words for it, or a value
// which Paddock does not support. All of them are errors in both.
var wording = map[string]string{
	"122_def_f_a_pass_f_b_1": "Found `b` extra named parameter(s)", // Codex: `a` is missing
	"151_x_0xfg":             "unexpected identifier 'xfg'",        // the two read numbers differently
	"187_x_int_1":            "expression is not allowed in type expression",
	"190_def_f_a_pass_f_1":   "Parse error: not an identifier", // a bare / among parameters
	"243_x_1":                `Parse error: invalid input ` + "`\\ufeff`",
	"374_fail_len_0_a_find_list_elems_upper_0_1_s": "a position in text beyond ASCII is not supported by Paddock",
	"375_fail":      "fail: None", // "..." is None
	"376_fail_type": "fail: NoneType",
	"379_fail_range_3_type_range_type_len_len_str": "fail: range(3) function function <built-in function len>",
	"392_fail_bytes_a_b_a_xff":                     `fail: b"a"`,
	"405_x_tuple_int_1_2":                          "`tuple[]` is implemented only for `tuple[T, ...]`",
	"407_x_1":                                      "expression is not allowed in type expression",
	"409_T_int_x_T_1":                              "Variable `T` not found", // Codex accepts variables as types
	"410_T_1_x_T_1":                                "Variable `T` not found",
	"411_x_int_a_1":                                "expression is not allowed in type expression",
	"419_x_y_int_1":                                "Parse error: unexpected symbol ':'",
	"420_x_y_int_1_2":                              "Parse error: unexpected symbol ':'",
	"428_prefix_rule_a_decision_a_3000":            "Type of parameter `decision` doesn't match, expected `str`, actual `list",
}

// refused are those Codex accepts and Paddock does not.
var refused = map[string]bool{"409_T_int_x_T_1": true}

func TestExecpolicy(t *testing.T) {
	for _, file := range []string{"execpolicy.json", "execpolicy_more.json", "execpolicy_unseen.json"} {
		for _, v := range execVectors(t, file) {
			t.Run(v.Name, func(t *testing.T) {
				code, stdout, stderr := runCheck(t, v)
				if refused[v.Name] && v.ExitCode == 0 {
					v.ExitCode = 1
				}
				if said, ok := wording[v.Name]; ok {
					v.Error = said
				}
				if code != v.ExitCode {
					t.Fatalf("exit code %d, Codex has %d: %s", code, v.ExitCode, stderr)
				}
				if v.Error != "" {
					if !strings.Contains(stderr, v.Error) {
						t.Errorf("it says\n  %sCodex says\n  %s", stderr, v.Error)
					}
					if stdout != "" {
						t.Errorf("an error, and yet it prints %s", stdout)
					}
					return
				}
				var want bytes.Buffer
				if err := json.Compact(&want, v.Stdout); err != nil {
					t.Fatal(err)
				}
				if got := strings.TrimSuffix(stdout, "\n"); got != want.String() {
					t.Errorf("it prints\n  %s\nCodex prints\n  %s", got, &want)
				}
			})
		}
	}
}
