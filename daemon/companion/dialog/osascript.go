// SPDX-License-Identifier: Apache-2.0

package dialog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
)

// AppleScript shows dialogs with osascript(1).
type AppleScript struct {
	Path string // of osascript
}

// script gets everything as arguments: title, text, seconds, then the buttons from the
// left. The last one stands at the right and is what the return key presses. There is
// no cancel button: the escape key would press it.
const script = `on run argv
set theTitle to item 1 of argv
set theText to item 2 of argv
set theTime to (item 3 of argv) as integer
set theButtons to items 4 thru -1 of argv
set theDefault to item -1 of argv
set theAnswer to display dialog theText with title theTitle buttons theButtons default button theDefault with icon caution giving up after theTime
if gave up of theAnswer then return "gave up"
return "button:" & (button returned of theAnswer)
end run`

// Ask shows a dialog.
func (a AppleScript) Ask(ctx context.Context, n notify.Notification) (string, error) {
	actions, err := buttons(n)
	if err != nil {
		return "", err
	}
	args := []string{"-e", script, n.Summary, n.Body, fmt.Sprint(int(giveUp.Seconds()))}
	for _, action := range slices.Backward(actions) {
		args = append(args, action.Label)
	}
	out, err := output(ctx, a.Path, args...)
	if err != nil {
		return "", err
	}
	answer := strings.TrimSpace(out)
	if answer == "gave up" {
		return "", nil
	}
	label, ok := strings.CutPrefix(answer, "button:")
	i := slices.IndexFunc(actions, func(action notify.Action) bool { return action.Label == label })
	if !ok || i < 0 {
		return "", fmt.Errorf("%s answers %.80q", a.Path, answer)
	}
	return actions[i].Key, nil
}

// output runs a program and returns what it says, if it ends well.
func output(ctx context.Context, path string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return stdout.String(), &exitError{path, exit.ExitCode(), strings.TrimSpace(stderr.String())}
	}
	if err != nil {
		return "", fmt.Errorf("showing a dialog: %w", err)
	}
	return stdout.String(), nil
}

// exitError is a program that did not end well.
type exitError struct {
	path string
	code int
	said string
}

func (e *exitError) Error() string {
	return fmt.Sprintf("%s ended with %d: %.200s", e.path, e.code, e.said)
}
