// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

func (a *app) explainCommand() *cobra.Command {
	var as, at, session string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain PID|COMMAND|HOST|FILE|ID|ALERT.json",
		Short: "Tell why something ran",
		Long: `Tell why something ran: the prompt, the tool call, the decisions and who took them, the
processes, files and connections, and the result. It works from what is stored: the
process may be long gone.

The subject is the number of a process, a program or words of its command line, a host
or an address (with a port, if you like), the path of a file, the id of an event or of a
tool call, or a file of JSON with an alert (- for standard input): fields such as
process.pid, process.command_line, destination.ip and file.path count in any format.
What happened last is told; --at asks for another time, --as says what the words mean.
Quote a command with options: 'curl -s https://example.com'.

How sure it is that things belong together is told with each: exact (the same id on both
sides), high, medium or low. Root sees all sessions, another user those of that user.`,
		Example: `  paddock explain 4711
  paddock explain curl https://example.com/install.sh
  paddock explain example.com:443 --at 2026-11-25T14:00:00Z
  paddock explain --json alert.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("nothing to explain: give a process, a command, a host, a file, an id or an alert"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			subjects, err := subjectsOf(cmd, args, as)
			if err != nil {
				return err
			}
			for i := range subjects {
				if session != "" {
					subjects[i].Session = strings.ToUpper(session)
				}
				if at == "" {
					continue
				}
				if subjects[i].At, err = time.Parse(time.RFC3339, at); err != nil {
					return usage(cmd, fmt.Errorf("--at %q: write a time like 2026-11-25T14:00:00Z", at))
				}
			}
			story, err := a.client().Explain(cmd.Context(), subjects...)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), story)
			}
			return a.printStory(cmd.OutOrStdout(), story)
		},
	}
	f := cmd.Flags()
	f.StringVar(&as, "as", "", "what the words mean: pid, command, host, file, event, call")
	f.StringVar(&at, "at", "", "about when it happened (RFC 3339); default: the last time")
	f.StringVar(&session, "session", "", "only in the session with this ID")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// subjectsOf says what the words on the command line may mean.
func subjectsOf(cmd *cobra.Command, args []string, as string) ([]join.Subject, error) {
	words := strings.Join(args, " ")
	switch {
	case as != "":
		if !slices.Contains(join.Kinds(), join.Kind(as)) {
			return nil, usage(cmd, fmt.Errorf("--as %q: must be one of %v", as, join.Kinds()))
		}
		return []join.Subject{{Kind: join.Kind(as), Value: words}}, nil
	case words == "-":
		data, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), join.MaxAlert+1))
		if err != nil {
			return nil, fmt.Errorf("reading an alert from standard input: %w", err)
		}
		return join.ParseAlert(data)
	case len(args) == 1 && strings.HasSuffix(words, ".json"):
		data, err := readAlert(words)
		if err == nil {
			return join.ParseAlert(data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading an alert: %w", err)
		}
		// A name that is not there here: perhaps of a file that an agent wrote.
	}
	return join.Guess(words), nil
}

func readAlert(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, join.MaxAlert+1))
}
